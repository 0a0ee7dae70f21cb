"""What is served in small shops whose people buy often, and how EASE counts orders there.

    python -m tests.benchmarks.counted_orders [--first SEED] [--count N] [--kind KIND ...]
        [--sparse]

Each drawn shop is trained on all but its last four weeks: the weeks before these choose the
settings of EASE and what serves. What serves then is measured on the last four weeks, which nothing
has seen, beside the same training without both choices and beside baselines with their shipped
settings. Prints NDCG@10 of each shop and, by kind, the means and the standard deviation of the
difference over shops.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from configs.loading import load
from configs.settings import Settings
from features.contracts.recommendations import RecommendationQuery
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories, compute_offline_items
from models.ranking.model import TASKS, RankingTask, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.retrieval.interactions import Interactions
from tests.shops.dense_shops import END, KINDS, DenseShop, Kind
from training.recommendations.baseline_tuning import TestWindow, make_test_window
from training.recommendations.baselines import MethodConfig
from training.recommendations.config import RecommendationsConfig
from training.recommendations.metrics import ndcg
from training.recommendations.snapshots import Known, find_relevant_items
from training.recommendations.task import train
from training.splits import Window, windows

CHOSEN, FIXED = "served, EASE chosen", "served, EASE as configured"
_K = 10
Means = dict[str, dict[RankingTask, float]]


def evaluate_shop(shop: DenseShop, config: RecommendationsConfig) -> Means:
    """Return NDCG@10 on the last window by method and task."""
    with tempfile.TemporaryDirectory(prefix="shopwright-") as folder:
        facts, settings = shop.open(Path(folder))
        (window,) = windows(END, 1, config.window_weeks, settings.timezone)
        means: Means = {}
        for name in (CHOSEN, FIXED):
            model = _train(facts, settings, config, window, chosen=name == CHOSEN)
            means[name] = _measure(facts, window, model)
        test_window = make_test_window(facts, window, settings.seed)
        return means | _measure_baselines(test_window, config)


def _train(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    window: Window,
    *,
    chosen: bool,
) -> RecommendationModel:
    """Return what serves at the cut of `window`; if not `chosen`, EASE alone serves nothing."""
    used = config if chosen else replace(config, choose_ease=False)
    started = time.process_time()
    trained = train(facts, settings, used, until=window.cut, progress=lambda _: None)
    seconds = time.process_time() - started
    model = trained.served
    if not chosen:
        policies = model.policies
        model = model.with_policies(
            {task: "ranker" if policy == "ease" else policy for task, policy in policies.items()}
        )
    choice = trained.evaluation.choices.get("ease", "as configured")
    policies_of_tasks = {task: model.policies[task] for task in TASKS}
    print(f"    EASE {choice}; policies {policies_of_tasks}; {seconds:.1f} s of processor time")
    return model


def _measure(facts: Facts, window: Window, model: RecommendationModel) -> dict[RankingTask, float]:
    histories = compute_offline_histories(facts, window.cut)
    items = compute_offline_items(facts, window.cut)
    interactions = Interactions.from_histories(histories)
    relevant = find_relevant_items(facts, window, Known(histories, interactions))
    placements = {"all": Placement("all"), "new": Placement("new", exclude_purchased=True)}
    recommender = Recommender(model, items, placements)
    means: dict[RankingTask, float] = {}
    for task in TASKS:
        users = sorted(relevant[task])
        queries = [RecommendationQuery(histories[user], task, _K) for user in users]
        slates = recommender.recommend_ids(queries)
        values = [
            ndcg(slate.tolist(), relevant[task][user], _K)
            for user, slate in zip(users, slates, strict=True)
        ]
        means[task] = float(np.mean(values))
    return means


def _measure_baselines(window: TestWindow, config: RecommendationsConfig) -> Means:
    means: Means = {"EASE": {}, "item-kNN": {}, "TIFU-kNN": {}}
    for task in TASKS:
        given = config.baselines.of(task)
        methods: dict[str, MethodConfig] = {
            "EASE": given.ease,
            "item-kNN": given.item_knn,
            "TIFU-kNN": given.tifu_knn,
        }
        for name, method in methods.items():
            means[name][task] = float(window.measure(method)[task].mean())
    return means


def format_kind(kind: Kind, shops: Sequence[Means]) -> list[str]:
    """Return a line for each task: the means of every method, and the gain of the choice."""
    lines = []
    for task in TASKS:
        values = {name: np.array([means[name][task] for means in shops]) for name in shops[0]}
        gain = values[CHOSEN] - values[FIXED]
        spread = gain.std(ddof=1) if len(gain) > 1 else 0.0
        shown = ", ".join(f"{name} {value.mean():.4f}" for name, value in values.items())
        lines.append(
            f"{kind}, {task} items, {len(shops)} shops, NDCG@{_K}: {shown}; "
            f"gain {gain.mean():+.4f} (standard deviation over shops {spread:.4f})"
        )
    return lines


def main() -> None:
    """Print a line per shop and task, then the means by kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=20)
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--sparse", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    config = load("models/recommendations", RecommendationsConfig)
    lines = []
    for kind in options.kind:
        shops = []
        for seed in range(options.first, options.first + options.count):
            shop = DenseShop(kind, seed)
            if options.sparse:  # people come seldom and buy little
                shop = replace(shop, visits=0.15, lines=1.5)
            print(f"{kind} {seed}", flush=True)
            shops.append(evaluate_shop(shop, config))
            for task in TASKS:
                values = ", ".join(f"{name} {of[task]:.4f}" for name, of in shops[-1].items())
                print(f"    {task} items: {values}", flush=True)
        lines += format_kind(kind, shops)
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
