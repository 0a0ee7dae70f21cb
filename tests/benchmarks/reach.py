"""What a rule that buries what many buy costs in relevance, and how much more of the catalogue it
shows.

`python -m tests.benchmarks.reach [TIME]` works on the state folder of SHOPWRIGHT_HOME; the test
window is the last 28 days of the data, or of what lies before TIME.
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
from tests.benchmarks.printed import print_report
from training.recommendations.metrics import ndcg, recall
from training.recommendations.snapshots import TrainingContext, find_relevant_items
from training.recommendations.task import RecommendationsTask, train
from training.run import load_config
from training.significance import compute_paired_p_value
from training.splits import end_of_data, windows

FACTORS = (0.9, 0.7, 0.5, 0.3, 0.1)


def report(facts: Facts, settings: Settings, until: datetime | None = None) -> list[str]:
    """The lines to print: NDCG@10, recall@20 and coverage@20 of all users' slates, without the rule
    and with it."""
    config = load_config(RecommendationsTask(), settings)
    (window,) = windows(
        end_of_data(facts, until, settings.timezone), 1, config.window_weeks, settings.timezone
    )
    model = train(facts, settings, config, until=until, refit=False, progress=_quiet).evaluated
    known = TrainingContext(facts, settings, config, _quiet).snapshot(window.cut)
    relevant = find_relevant_items(facts, window, known)["all"]
    items = set(known.interactions.item_ids)
    lines = [f"{'':<24}{'NDCG@10':>9}{'p (NDCG)':>10}{'recall@20':>11}{'coverage@20':>13}"]
    plain = None
    for factor in (None, *FACTORS):
        rules = (
            {}
            if factor is None
            else {"reach": RuleSet({"rare": Rule("bury", factor=factor, by="buyers")})}
        )
        recommender = Recommender(
            model, known.items, {"all": Placement("all", rules=tuple(rules))}, rules
        )
        users = sorted(known.histories)
        queries = [RecommendationQuery(known.histories[user], "all", 20) for user in users]
        slates = {
            user: slate.item_ids.tolist()
            for user, slate in zip(users, recommender.lines(queries), strict=True)
        }
        found = np.array([ndcg(slates[user], relevant[user], 10) for user in sorted(relevant)])
        plain = found if plain is None else plain
        p_value = "" if factor is None else f"{compute_paired_p_value(plain, found):.1e}"
        recalled = np.mean([recall(slates[user], relevant[user], 20) for user in sorted(relevant)])
        covered = len(
            items.intersection(each for slate in slates.values() for each in slate)
        ) / len(items)
        name = "no rule" if factor is None else f"bury by buyers, {factor:g}"
        lines.append(
            f"{name:<24}{found.mean():>9.4f}{p_value:>10}{recalled:>11.4f}{covered:>13.4f}"
        )
    return lines


def _quiet(_: str) -> None:
    pass


if __name__ == "__main__":
    print_report(report)
