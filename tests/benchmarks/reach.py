"""Cost in relevance, and gain in coverage, of a rule that moves items with many buyers down.

    python -m tests.benchmarks.reach [TIME]

The data are those of SHOPWRIGHT_HOME; the test window is the last 28 days of the data, or of the
data before TIME.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from configs.settings import Settings
from features.contracts.recommendations import RecommendationQuery
from features.facts.facts import Facts
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.ranking.slate.merchandising_rules import Rule, RuleSet
from tests.benchmarks.report_command import print_report
from training.recommendations.metrics import ndcg, recall
from training.recommendations.snapshots import TrainingContext, find_relevant_items
from training.recommendations.task import RecommendationsTask, train
from training.run import load_config
from training.significance import compute_paired_p_value
from training.splits import end_of_data, windows

FACTORS = (0.9, 0.7, 0.5, 0.3, 0.1)


def report_rules(facts: Facts, settings: Settings, until: datetime | None = None) -> list[str]:
    """Return a line per factor of the rule: NDCG@10, recall@20 and coverage@20 of all users."""
    config = load_config(RecommendationsTask(), settings)
    (window,) = windows(
        end_of_data(facts, until, settings.timezone), 1, config.window_weeks, settings.timezone
    )
    model = train(facts, settings, config, until=until, refit=False, progress=_quiet).evaluated
    snapshot = TrainingContext(facts, settings, config, _quiet).snapshot(window.cut)
    relevant = find_relevant_items(facts, window, snapshot)["all"]
    item_ids = set(snapshot.interactions.item_ids)
    users = sorted(snapshot.histories)
    queries = [RecommendationQuery(snapshot.histories[user], "all", 20) for user in users]
    lines = [f"{'':<24}{'NDCG@10':>9}{'p (NDCG)':>10}{'recall@20':>11}{'coverage@20':>13}"]
    ndcg_without_rule = None
    for factor in (None, *FACTORS):
        rules = {}
        if factor is not None:
            rules = {"reach": RuleSet({"rare": Rule("bury", factor=factor, by="buyers")})}
        placement = Placement("all", rules=tuple(rules))
        recommender = Recommender(model, snapshot.items, {"all": placement}, rules)
        slates = {
            user: slate.item_ids.tolist()
            for user, slate in zip(users, recommender.recommend_columns(queries), strict=True)
        }
        ndcg_values = np.array(
            [ndcg(slates[user], relevant[user], 10) for user in sorted(relevant)]
        )
        p_value = ""
        if ndcg_without_rule is None:
            ndcg_without_rule = ndcg_values
        else:
            p_value = f"{compute_paired_p_value(ndcg_without_rule, ndcg_values):.1e}"
        mean_recall = np.mean(
            [recall(slates[user], relevant[user], 20) for user in sorted(relevant)]
        )
        shown = {item_id for slate in slates.values() for item_id in slate}
        coverage = len(item_ids & shown) / len(item_ids)
        name = "no rule" if factor is None else f"bury by buyers, {factor:g}"
        lines.append(
            f"{name:<24}{ndcg_values.mean():>9.4f}{p_value:>10}"
            f"{mean_recall:>11.4f}{coverage:>13.4f}"
        )
    return lines


def _quiet(_: str) -> None:
    pass


if __name__ == "__main__":
    print_report(report_rules)
