"""`make bench-recs`: recommendations beside every baseline on two windows, and their targets.

    python -m tests.benchmarks.recommendations

The last 28 days of the Complete Journey and the 28 days before them, each with five seeds of the
rankers: means, their spread, and paired tests of the means. Then what the last ranks cost and bring
when they show more of the catalogue, and what is served to users and of items that are hidden from
training. One line per target at the end. It works on the state folder when that holds the
Complete Journey, else on a temporary one. It exits with 1 when a target is missed. Each function of
`PARTS` checks some targets.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.settings import Settings
from features.contracts.recommendations import RecommendationQuery
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories, compute_offline_items
from features.sources.complete_journey import DEMO_CLOCK_START, TIMEZONE
from features.sources.folder import import_folder
from models.ranking.model import TASKS, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.ranking.slate.long_tail import LongTail
from serving.cli.evaluate import print_evaluation
from serving.cli.evaluation_data import EvaluationData, open_data
from serving.cli.shop import Shop
from tests.benchmarks.targets import Target
from tests.shops import small_shop
from training.recommendations.baselines import BUY_AGAIN
from training.recommendations.cold_start import evaluate_cold_start
from training.recommendations.long_tail_metrics import (
    ASSIGNED,
    USUAL,
    LongTailMetrics,
    format_long_tail,
    measure_long_tail,
)
from training.recommendations.seed_evaluation import SeedEvaluation, TaskSeeds, evaluate_seeds
from training.recommendations.snapshots import TrainingContext
from training.recommendations.task import RecommendationsTask, train
from training.results import Trained
from training.run import load_config
from training.splits import windows

LAST, BEFORE = "last 28 days", "28 days before them"
CARTS = "recall@10 last of cart"
N_SEEDS = 5
COVERAGE_TIMES = 1.5  # assigned last ranks against buy again + popularity
LONG_TAIL = LongTail(places=10)


@dataclass(frozen=True)
class Bench:
    """The data, and of each window the evaluation of all seeds and of filled last ranks."""

    data: EvaluationData
    evaluations: Mapping[str, SeedEvaluation]
    long_tails: Mapping[str, Mapping[str, LongTailMetrics]]


def check_accuracy(bench: Bench) -> list[Target]:
    """Check NDCG: above every baseline in both windows, and its target values in the last one.

    By the mean of the seeds, with paired tests over users.
    """
    targets = []
    for window, evaluation in bench.evaluations.items():
        targets.append(_check_baselines(evaluation.tasks["all"], "all", 0.01, window))
        targets.append(_check_baselines(evaluation.tasks["new"], "new", 0.05, window))
    for task, minimum in (("all", 0.42), ("new", 0.052)):
        seeds = bench.evaluations[LAST].tasks[task]
        name = f"{LAST}, NDCG@10 {task} items at least {minimum}"
        targets.append(Target(name, _format_seeds(seeds), seeds.mean() >= minimum))
    return targets


def _check_baselines(seeds: TaskSeeds, task: str, level: float, window: str) -> Target:
    p_values = seeds.p_values()
    means = {name: float(values.mean()) for name, values in seeds.baselines.items()}
    behind = [
        f"{name} {mean:.4f} (p = {p_values[name]:.2g})"
        for name, mean in means.items()
        if seeds.mean() <= mean or p_values[name] >= level
    ]
    strongest = max(means, key=lambda name: means[name])
    measured = (
        f"{_format_seeds(seeds)} against {strongest} {means[strongest]:.4f}, "
        f"p = {p_values[strongest]:.2g}"
    )
    if behind:
        measured += f"; not above {', '.join(behind)}"
    name = f"{window}, NDCG@10 {task} items above every tuned baseline, corrected p < {level}"
    return Target(name, measured, not behind)


def _format_seeds(seeds: TaskSeeds) -> str:
    return f"{seeds.mean():.4f} (mean of {len(seeds.ours)} seeds, s = {seeds.spread():.4f})"


def check_coverage(bench: Bench) -> list[Target]:
    """Check the coverage of assigned last ranks against the simple rule, at equal NDCG@10."""
    targets = []
    for window, measured in bench.long_tails.items():
        assigned, simple = measured[ASSIGNED], measured[BUY_AGAIN]
        times = assigned.coverage / simple.coverage
        keeps_ndcg = assigned.ndcg_10.mean() >= measured[USUAL].ndcg_10.mean()
        shown = (
            f"{assigned.coverage:.4f} against {simple.coverage:.4f}, {times:.2f} times, "
            f"NDCG@10 {'' if keeps_ndcg else 'not '}as good"
        )
        name = (
            f"{window}, coverage@20 of assigned last ranks at least {COVERAGE_TIMES:g} times "
            "buy again + popularity"
        )
        targets.append(Target(name, shown, times >= COVERAGE_TIMES and keeps_ndcg))
    return targets


def check_carts(bench: Bench) -> list[Target]:
    """Check cart completion against every baseline: the last item of orders of at least five."""
    targets = []
    for window, evaluation in bench.evaluations.items():
        comparison = evaluation.first.comparison(CARTS)
        mean = float(evaluation.carts.mean())
        strongest = comparison.strongest
        name = f"{window}, {CARTS} (orders of five items or more) above item-kNN and popularity"
        measured = (
            f"{mean:.4f} (mean of {len(evaluation.carts)} seeds, from "
            f"{evaluation.carts.min():.4f} to {evaluation.carts.max():.4f}) against {strongest} "
            f"{comparison.baselines[strongest]:.4f}"
        )
        targets.append(Target(name, measured, mean > max(comparison.baselines.values())))
    return targets


def check_repeats(bench: Bench) -> list[Target]:
    """Check that refit, and save and load, give the same metrics and slates (small shop)."""
    with tempfile.TemporaryDirectory() as folder:
        first = _train_small_shop(Path(folder) / "first")
        second = _train_small_shop(Path(folder) / "second")
        return _compare_repeats(first, second)


def _compare_repeats(first: _SmallShop, second: _SmallShop) -> list[Target]:
    same = (
        first.trained.evaluation.comparisons == second.trained.evaluation.comparisons
        and first.trained.evaluation.metrics == second.trained.evaluation.metrics
        and first.trained.evaluation.slates == second.trained.evaluation.slates
        and first.slates(first.trained.served) == second.slates(second.trained.served)
    )
    n = len(TASKS) * len(first.queries)
    with tempfile.TemporaryDirectory() as folder:
        first.trained.served.save(Path(folder))
        loaded = RecommendationModel.load(Path(folder))
    same_loaded = first.slates(first.trained.served) == first.slates(loaded)
    return [
        Target(
            "refit gives the same figures and slates (small shop)", f"{n} slates compared", same
        ),
        Target(
            "save and load gives the same answers (small shop)", f"{n} slates compared", same_loaded
        ),
    ]


@dataclass(frozen=True)
class _SmallShop:
    trained: Trained[RecommendationModel]
    facts: Facts

    @property
    def queries(self) -> list[str]:
        return sorted(compute_offline_histories(self.facts, small_shop.NOW))

    def slates(self, model: RecommendationModel) -> list[object]:
        """Return the answers of the served object to every user, with scores and reasons."""
        histories, items = (
            compute_offline_histories(self.facts, small_shop.NOW),
            compute_offline_items(self.facts, small_shop.NOW),
        )
        recommender = Recommender(model, items, {task: Placement(task) for task in TASKS})
        queries = [
            RecommendationQuery(histories[user], task, 20)
            for task in TASKS
            for user in sorted(histories)
        ]
        return list(recommender.recommend(queries))


def _train_small_shop(home: Path) -> _SmallShop:
    small_shop.write_small_shop(home / "tables-given")
    zones = json.loads(small_shop.SETTINGS["SHOPWRIGHT_ZONES"])
    settings = Settings(
        home=home, database_url=None, timezone=small_shop.TIMEZONE, currency="EUR", zones=zones
    )
    facts = Facts(settings)
    import_folder(home / "tables-given", facts, settings, now=small_shop.NOW, progress=_quiet)
    config = load_config(RecommendationsTask(), settings)
    return _SmallShop(train(facts, settings, config, until=None, progress=_quiet), facts)


PARTS: list[Callable[[Bench], list[Target]]] = [
    check_accuracy,
    check_coverage,
    check_carts,
    check_repeats,
]


def run() -> list[Target]:
    """Evaluate both windows, print their tables, and check the targets of every part."""
    shop = Shop()
    demo = not shop.facts.is_empty("events") and shop.settings.timezone == TIMEZONE
    demo = demo and (shop.facts.latest_event_at() or DEMO_CLOCK_START) < DEMO_CLOCK_START
    with open_data(None, None if demo else "complete-journey", _quiet) as data:
        config = load_config(RecommendationsTask(), data.settings)
        context = TrainingContext(data.facts, data.settings, config, _quiet)
        first_seed = data.settings.seed
        evaluations: dict[str, SeedEvaluation] = {}
        long_tails: dict[str, dict[str, LongTailMetrics]] = {}
        both = windows(DEMO_CLOCK_START, 2, config.window_weeks, data.settings.timezone)
        for name, window in zip((LAST, BEFORE), both, strict=True):
            started = time.monotonic()
            seeds = range(first_seed, first_seed + N_SEEDS)
            evaluations[name] = evaluate_seeds(context, window, seeds)
            long_tails[name] = _measure_long_tail(evaluations[name])
            print(f"\n{name}, {time.monotonic() - started:.0f} s\n", flush=True)
            _print_window(evaluations[name], long_tails[name])
        started = time.monotonic()
        cold_start = evaluate_cold_start(context, both[0])
        print(f"\n{LAST}, hidden users and items, {time.monotonic() - started:.0f} s\n")
        print("\n".join(cold_start.format_table()), flush=True)
        bench = Bench(data, evaluations, long_tails)
        return [target for part in PARTS for target in part(bench)]


def _measure_long_tail(evaluation: SeedEvaluation) -> dict[str, LongTailMetrics]:
    baselines = {BUY_AGAIN: evaluation.baselines["all"][BUY_AGAIN]}
    return measure_long_tail(evaluation.data, evaluation.model, LONG_TAIL, baselines)


def _print_window(evaluation: SeedEvaluation, long_tail: Mapping[str, LongTailMetrics]) -> None:
    print_evaluation(evaluation.first, in_full=True)
    for task, seeds in evaluation.tasks.items():
        print("\n" + "\n".join(seeds.format_table(task)))
    print("\n" + "\n".join(format_long_tail(long_tail)), flush=True)


def _quiet(_: str) -> None:
    pass


def main() -> None:
    """Print a line per target; exit with 1 when one is missed."""
    warnings.simplefilter("ignore")
    targets = run()
    print()
    for target in targets:
        print(target)
    if not all(target.met for target in targets):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
