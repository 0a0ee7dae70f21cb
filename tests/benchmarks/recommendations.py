"""`make bench-recs`: recommendations beside every baseline on two windows, and their targets.

    python -m tests.benchmarks.recommendations

The last 28 days of the Complete Journey and the 28 days before them; intervals and paired p-values
in the tables, one line per target at the end. It works on the state folder when that holds the
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

from configs.loading import load
from configs.settings import Settings
from features.contracts.recommendations import RecommendationQuery
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories, compute_offline_items
from features.sources.complete_journey import DEMO_CLOCK_START, DEMO_CUT, TIMEZONE
from features.sources.folder import import_folder
from models.ranking.model import TASKS, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from serving.cli.evaluate import print_evaluation
from serving.cli.evaluation_data import EvaluationData, open_data
from serving.cli.shop import Shop
from tests.benchmarks.targets import Target
from tests.shops import small_shop
from training.recommendations import neural
from training.recommendations.task import RecommendationsTask, train
from training.results import OURS, Comparison, Evaluation, Trained
from training.run import TrainingRun, load_config

LAST, BEFORE = "last 28 days", "28 days before them"
ALL, NEW = "NDCG@10 all items", "NDCG@10 new items"
CARTS = "recall@10 last of cart"
COVERAGE_TIMES = 3.0  # ours against buy again + popularity


@dataclass(frozen=True)
class Bench:
    """The data, and the evaluation of each window."""

    data: EvaluationData
    evaluations: Mapping[str, Evaluation]


def check_accuracy(bench: Bench) -> list[Target]:
    """Check NDCG: above every baseline in both windows, and its target values in the last one."""
    targets = []
    for window, evaluation in bench.evaluations.items():
        targets.append(_check_baselines(evaluation, ALL, 0.01, window))
        targets.append(_check_baselines(evaluation, NEW, 0.05, window))
    last = bench.evaluations[LAST]
    for metric, minimum in ((ALL, 0.42), (NEW, 0.052)):
        comparison = last.comparison(metric)
        low, high = comparison.intervals[OURS]
        measured = f"{comparison.ours:.4f} ({low:.4f} to {high:.4f})"
        name = f"{LAST}, {metric} at least {minimum}"
        targets.append(Target(name, measured, comparison.ours >= minimum))
    return targets


def _check_baselines(evaluation: Evaluation, metric: str, level: float, window: str) -> Target:
    comparison = evaluation.comparison(metric)
    behind = [
        f"{name} {value:.4f} (p = {comparison.p_values[name]:.2g})"
        for name, value in comparison.baselines.items()
        if comparison.ours <= value or comparison.p_values[name] >= level
    ]
    measured = f"{comparison.ours:.4f} against {_format_strongest(comparison)}"
    if behind:
        measured += f"; not above {', '.join(behind)}"
    name = f"{window}, {metric} above every baseline, corrected p < {level}"
    return Target(name, measured, not behind)


def _format_strongest(comparison: Comparison) -> str:
    value = comparison.baselines[comparison.strongest]
    return f"{comparison.strongest} {value:.4f}, p = {comparison.p_value:.2g}"


def check_coverage(bench: Bench) -> list[Target]:
    """Check coverage: the share of the catalogue in all slates, against the simple rule."""
    targets = []
    for window, evaluation in bench.evaluations.items():
        ours = evaluation.metrics["coverage@20 all"]
        simple = evaluation.metrics["coverage@20 all buy again"]
        comparison = evaluation.comparison(ALL)
        times = ours / simple
        keeps_ndcg = comparison.ours >= comparison.baselines["buy again"]
        measured = (
            f"{ours:.4f} against {simple:.4f}, {times:.2f} times, "
            f"NDCG {'' if keeps_ndcg else 'not '}as good"
        )
        name = (
            f"{window}, coverage@20 of all users at least {COVERAGE_TIMES:g} times "
            "buy again + popularity"
        )
        targets.append(Target(name, measured, times >= COVERAGE_TIMES and keeps_ndcg))
    return targets


def check_carts(bench: Bench) -> list[Target]:
    """Check cart completion against every baseline: the last item of orders of at least five."""
    targets = []
    for window, evaluation in bench.evaluations.items():
        comparison = evaluation.comparison(CARTS)
        above = comparison.ours > max(comparison.baselines.values())
        name = f"{window}, {CARTS} (orders of five items or more) above item-kNN and popularity"
        measured = f"{comparison.ours:.4f} against {_format_strongest(comparison)}"
        targets.append(Target(name, measured, above))
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


def check_networks(bench: Bench) -> list[Target]:
    """Check the sequence model and the two towers alone against EASE, on the last window."""
    config = load("models/neural", neural.NeuralConfig)
    _, metrics = neural.evaluate(
        bench.data.facts, bench.data.settings, config, until=DEMO_CLOCK_START, progress=_quiet
    )
    by_question = {(metric.question, metric.method): metric for metric in metrics}
    targets = []
    for question in dict.fromkeys(metric.question for metric in metrics):
        ease = by_question[question, "EASE"].value
        for method in ("sequence", "two tower"):
            metric = by_question[question, method]
            measured = f"{metric.value:.4f} against {ease:.4f}, p = {metric.p_value:.2g}"
            name = f"{LAST}, {method} on its own above EASE, {question}"
            targets.append(Target(name, measured, metric.value > ease))
    return targets


PARTS: list[Callable[[Bench], list[Target]]] = [
    check_accuracy,
    check_coverage,
    check_carts,
    check_repeats,
    check_networks,
]


def run() -> list[Target]:
    """Evaluate both windows, print their tables, and check the targets of every part."""
    shop = Shop()
    demo = not shop.facts.is_empty("events") and shop.settings.timezone == TIMEZONE
    demo = demo and (shop.facts.latest_event_at() or DEMO_CLOCK_START) < DEMO_CLOCK_START
    with open_data(None, None if demo else "complete-journey", _quiet) as data:
        task = RecommendationsTask()
        config = load_config(task, data.settings)
        evaluations = {}
        for window, until in ((LAST, DEMO_CLOCK_START), (BEFORE, DEMO_CUT)):
            started = time.monotonic()
            run = TrainingRun(data.facts, data.settings, data.registry, until, _quiet)
            evaluations[window] = run.evaluate(task, config)
            print(f"\n{window}, {time.monotonic() - started:.0f} s\n", flush=True)
            print_evaluation(evaluations[window], in_full=True)
        bench = Bench(data, evaluations)
        return [target for part in PARTS for target in part(bench)]


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
