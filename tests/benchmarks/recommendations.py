"""`make bench-recs`: recommendations beside every baseline on two windows, and what they must show.

    python -m tests.benchmarks.recommendations

The last 28 days of the Complete Journey and the 28 days before them; intervals and paired p-values
in the tables, one line a target at the end. It works on the state folder when that holds the
Complete Journey, else on a temporary one. Exits 1 when a target is missed. `PARTS` is a list: what
else recommendations must show is one function more.
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
from features.online.histories import offline_histories, offline_items
from features.sources.complete_journey import DEMO_CLOCK_START, DEMO_CUT, TIMEZONE
from features.sources.folder import import_folder
from models.ranking.model import TASKS, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from serving.cli.evaluate import print_evaluation
from serving.cli.evaluated_data import EvaluatedData, opened_data
from serving.cli.shop import Shop
from tests.benchmarks.targets import Target
from tests.shops import small_shop
from training.recommendations import neural
from training.recommendations.task import RecommendationsTask, train
from training.results import OURS, Evaluation, Trained
from training.run import TrainingRun, load_config

LAST, BEFORE = "last 28 days", "28 days before them"
ALL, NEW = "NDCG@10 all items", "NDCG@10 new items"
CARTS = "recall@10 last of cart"
COVERAGE_TIMES = 3.0  # ours against buy again + popularity


@dataclass(frozen=True)
class Bench:
    """What the parts look at: the data, and the evaluation of each window."""

    data: EvaluatedData
    evaluations: Mapping[str, Evaluation]


def accuracy(bench: Bench) -> list[Target]:
    """Above every baseline in both windows; the figures aimed at in the last one."""
    targets = []
    for window, evaluation in bench.evaluations.items():
        targets.append(_above_all(evaluation, ALL, 0.01, window))
        targets.append(_above_all(evaluation, NEW, 0.05, window))
    last = bench.evaluations[LAST]
    for metric, aim in ((ALL, 0.42), (NEW, 0.052)):
        comparison = last.comparison(metric)
        low, high = comparison.intervals[OURS]
        found = f"{comparison.ours:.4f} ({low:.4f} to {high:.4f})"
        targets.append(Target(f"{LAST}, {metric} at least {aim}", found, comparison.ours >= aim))
    return targets


def _above_all(evaluation: Evaluation, metric: str, level: float, window: str) -> Target:
    comparison = evaluation.comparison(metric)
    behind = [
        f"{name} {value:.4f} (p = {comparison.p_values[name]:.2g})"
        for name, value in comparison.baselines.items()
        if comparison.ours <= value or comparison.p_values[name] >= level
    ]
    strongest = f"{comparison.strongest} {comparison.baselines[comparison.strongest]:.4f}, p = {comparison.p_value:.2g}"
    found = f"{comparison.ours:.4f} against {strongest}" + (
        f"; not above {', '.join(behind)}" if behind else ""
    )
    return Target(
        f"{window}, {metric} above every baseline, corrected p < {level}", found, not behind
    )


def coverage(bench: Bench) -> list[Target]:
    """How much of the catalogue the slates of all users show, against the simple rule, at no loss
    of NDCG."""
    targets = []
    for window, evaluation in bench.evaluations.items():
        ours, simple = (evaluation.metrics[f"coverage@20 all{name}"] for name in ("", " buy again"))
        comparison = evaluation.comparison(ALL)
        times, ahead = ours / simple, comparison.ours >= comparison.baselines["buy again"]
        found = f"{ours:.4f} against {simple:.4f}, {times:.2f} times, NDCG {'not ' * (not ahead)}as good"
        name = f"{window}, coverage@20 of all users at least {COVERAGE_TIMES:g} times buy again + popularity"
        targets.append(Target(name, found, times >= COVERAGE_TIMES and ahead))
    return targets


def carts(bench: Bench) -> list[Target]:
    """What completes a cart, against every baseline: the last item of orders of five items or
    more."""
    targets = []
    for window, evaluation in bench.evaluations.items():
        comparison = evaluation.comparison(CARTS)
        strongest = f"{comparison.strongest} {comparison.baselines[comparison.strongest]:.4f}, p = {comparison.p_value:.2g}"
        above = comparison.ours > max(comparison.baselines.values())
        name = f"{window}, {CARTS} (orders of five items or more) above item-kNN and popularity"
        targets.append(Target(name, f"{comparison.ours:.4f} against {strongest}", above))
    return targets


def repeatable(bench: Bench) -> list[Target]:
    """The small shop, trained twice and once through disk: the same figures, the same slates."""
    with tempfile.TemporaryDirectory() as folder:
        return _repeated(_small_shop(Path(folder) / "first"), _small_shop(Path(folder) / "second"))


def _repeated(first: _SmallShop, second: _SmallShop) -> list[Target]:
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
    kept = first.slates(first.trained.served) == first.slates(loaded)
    return [
        Target(
            "refit gives the same figures and slates (small shop)", f"{n} slates compared", same
        ),
        Target("save and load gives the same answers (small shop)", f"{n} slates compared", kept),
    ]


@dataclass(frozen=True)
class _SmallShop:
    trained: Trained[RecommendationModel]
    facts: Facts

    @property
    def queries(self) -> list[str]:
        return sorted(offline_histories(self.facts, small_shop.NOW))

    def slates(self, model: RecommendationModel) -> list[object]:
        """What the served object answers to every user, with scores and reasons."""
        histories, items = (
            offline_histories(self.facts, small_shop.NOW),
            offline_items(self.facts, small_shop.NOW),
        )
        recommender = Recommender(model, items, {task: Placement(task) for task in TASKS})
        queries = [
            RecommendationQuery(histories[user], task, 20)
            for task in TASKS
            for user in sorted(histories)
        ]
        return list(recommender.recommend(queries))


def _small_shop(home: Path) -> _SmallShop:
    small_shop.write_small_shop(home / "tables-given")
    zones = json.loads(small_shop.SETTINGS["SHOPWRIGHT_ZONES"])
    settings = Settings(
        home=home, database_url=None, timezone=small_shop.TIMEZONE, currency="EUR", zones=zones
    )
    facts = Facts(settings)
    import_folder(home / "tables-given", facts, settings, now=small_shop.NOW, progress=_quiet)
    config = load_config(RecommendationsTask(), settings)
    return _SmallShop(train(facts, settings, config, until=None, progress=_quiet), facts)


def networks(bench: Bench) -> list[Target]:
    """The sequence model and the two towers on their own, beside EASE, on the last window."""
    config = load("models/neural", neural.NeuralConfig)
    _, figures = neural.evaluate(
        bench.data.facts, bench.data.settings, config, until=DEMO_CLOCK_START, progress=_quiet
    )
    found = {(each.question, each.method): each for each in figures}
    targets = []
    for question in dict.fromkeys(each.question for each in figures):
        ease = found[question, "EASE"].value
        for method in ("sequence", "two tower"):
            figure = found[question, method]
            said = f"{figure.value:.4f} against {ease:.4f}, p = {figure.p_value:.2g}"
            targets.append(
                Target(
                    f"{LAST}, {method} on its own above EASE, {question}", said, figure.value > ease
                )
            )
    return targets


PARTS: list[Callable[[Bench], list[Target]]] = [accuracy, coverage, carts, repeatable, networks]


def run() -> list[Target]:
    """Evaluates both windows, prints their tables, and asks every part."""
    shop = Shop()
    demo = not shop.facts.is_empty("events") and shop.settings.timezone == TIMEZONE
    demo = demo and (shop.facts.latest_event_at() or DEMO_CLOCK_START) < DEMO_CLOCK_START
    with opened_data(None, None if demo else "complete-journey", _quiet) as data:
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
    """Prints one line a target; exits 1 when one is missed."""
    warnings.simplefilter("ignore")
    targets = run()
    print()
    for target in targets:
        print(target)
    if not all(target.met for target in targets):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
