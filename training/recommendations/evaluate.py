"""Evaluation of a recommendation model: the served object's slates beside every baseline's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from features.contracts.arrays import Float64Array
from features.contracts.recommendations import RecommendationQuery
from features.contracts.seeds import generator
from models.ranking.model import TASKS, Policy, RankingTask, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.policy_metrics import name_policy_metric, name_policy_p_value
from models.ranking.recommender import Recommender
from training.recommendations.baselines import (
    BUY_AGAIN,
    BUY_AGAIN_RULE,
    EASE,
    BaselineSlates,
    make_baseline_slates,
)
from training.recommendations.evaluation_input import EvaluationInput
from training.recommendations.method_metrics import SLATE_LENGTH, MethodMetrics
from training.recommendations.metrics import ndcg
from training.recommendations.plots import (
    plot_coverage_and_accuracy,
    plot_metric_by_depth,
    plot_metric_by_part,
)
from training.recommendations.slate_metrics import SlateMetrics
from training.results import OURS, Comparison, Evaluation, MetricTable
from training.significance import compute_paired_p_value, correct_p_values

K = 10
DEPTHS = (1, 2, 3, 5, 10, 20)
SIGNIFICANCE_LEVEL = 0.05
PRIMARY = "NDCG@10 all items"
UserSlates = dict[str, list[str]]  # item ids by user, best first
_NO_POLICIES: Mapping[RankingTask, Policy] = {}


@dataclass(frozen=True)
class _TaskResult:
    """One task, evaluated.

    curves       metric -> method -> its mean at each of DEPTHS
    policy       the one that serves
    failed_bar   why that policy may not serve; None where it may
    """

    comparison: Comparison
    metrics: dict[str, float]
    tables: tuple[MetricTable, ...]
    curves: Mapping[str, Mapping[str, Float64Array]]
    policy: Policy
    failed_bar: str | None


def evaluate_model(
    data: EvaluationInput,
    progress: Callable[[str], None],
    baselines: BaselineSlates | None = None,
    chosen: Mapping[RankingTask, Policy] = _NO_POLICIES,
) -> tuple[RecommendationModel, Evaluation]:
    """Return the model with the policies that won, and the evaluation.

    baselines   their slates of SLATE_LENGTH, where they are already made
    chosen      the policies of tasks for which they are chosen before
    """
    return _ModelEvaluator(data, progress, baselines, chosen).evaluate()


class _ModelEvaluator:
    """Evaluates one model at one cut."""

    def __init__(
        self,
        data: EvaluationInput,
        progress: Callable[[str], None],
        baselines: BaselineSlates | None,
        chosen: Mapping[RankingTask, Policy],
    ) -> None:
        self._data, self._progress, self._chosen = data, progress, chosen
        # Two placements of its own, so that a shop's placements do not change what is measured.
        placements = {"all": Placement("all"), "new": Placement("new", exclude_purchased=True)}
        self._recommender = Recommender(data.model, data.items, placements)
        self._users = sorted(data.histories)
        self._baselines: BaselineSlates = baselines or {}

    def evaluate(self) -> tuple[RecommendationModel, Evaluation]:
        """Return the model with the policies that won, and the evaluation."""
        data = self._data
        tasks: list[RankingTask] = [task for task in TASKS if data.relevant[task]]
        if not self._baselines:
            self._progress("slates of every user, the baselines'")
            self._baselines = make_baseline_slates(data, tasks, SLATE_LENGTH)
        results: dict[RankingTask, _TaskResult] = {}
        slates: dict[str, UserSlates] = {}
        policies: dict[RankingTask, Policy] = data.model.policies | dict.fromkeys(TASKS, "ranker")
        notes: list[str] = []
        for task in tasks:
            self._progress(f"slates of every user, ours of {task} items")
            learnt, ours = self._choose_learnt(task)
            results[task] = self._compare(task, ours, learnt)
            policies[task] = results[task].policy
            if policies[task] != learnt:
                ours = self._make_slates(task, policies[task])
            slates[task] = {user: ours[user] for user in sorted(data.relevant[task])}
            notes += self._make_notes(task, results[task])
        metrics: dict[str, float] = {}
        for result in results.values():
            metrics |= result.metrics
        evaluation = Evaluation(
            task="recommendations",
            cut=data.cut,
            primary=PRIMARY,
            comparisons=tuple(result.comparison for result in results.values()),
            failed_bars=tuple(
                result.failed_bar for result in results.values() if result.failed_bar is not None
            ),
            metrics=metrics,
            notes=tuple(notes),
            figures=_plot_results(results),
            slates=slates,
            tables=tuple(table for result in results.values() for table in result.tables),
        )
        return data.model.with_policies(policies), evaluation

    def _choose_learnt(self, task: RankingTask) -> tuple[Policy, UserSlates]:
        """Return the policy of the highest NDCG of those that learn, or the one that is chosen,
        and its slates."""
        if task in self._chosen:
            return self._chosen[task], self._make_slates(task, self._chosen[task])
        learnt: tuple[Policy, ...] = ("ranker", "ease")
        slates = {policy: self._make_slates(task, policy) for policy in learnt}
        if self._data.model.sequence_sources is not None:
            slates["sequence"] = self._make_slates(task, "sequence")
        relevant = self._data.relevant[task]
        means = {
            policy: np.mean([ndcg(by_user[user], items, K) for user, items in relevant.items()])
            for policy, by_user in slates.items()
        }
        best = max(slates, key=lambda policy: float(means[policy]))
        return best, slates[best]

    def _compare(self, task: RankingTask, ours: UserSlates, learnt: Policy) -> _TaskResult:
        """Compare what learns with every baseline; the simple rule serves where it wins."""
        data = self._data
        slates = {OURS: ours, **self._baselines[task]}
        slate_metrics = SlateMetrics(data, data.relevant[task])
        methods = MethodMetrics(slate_metrics, slates, generator(data.seed, f"bootstrap {task}"))
        tables = self._make_tables(task, methods)
        scores = methods.ndcg_by_user(K)
        means = {name: float(scores[name].mean()) for name in self._baselines[task]}
        may_win = task == "all" and task not in self._chosen
        simple_wins = may_win and scores[OURS].mean() < means[BUY_AGAIN_RULE]
        policy: Policy = "buy_again" if simple_wins else learnt
        comparison = _make_comparison(task, scores, means, tables[0])
        metrics = _collect_metrics(task, methods, comparison.intervals[OURS])
        if task == "all":
            metrics |= _measure_policies(scores, policy)
        return _TaskResult(
            comparison=comparison,
            metrics=metrics,
            tables=tables,
            curves={
                metric: methods.means_by_depth(metric, DEPTHS) for metric in ("NDCG", "recall")
            },
            policy=policy,
            failed_bar=_find_failed_bar(task, policy, scores, comparison.strongest),
        )

    def _make_tables(self, task: RankingTask, methods: MethodMetrics) -> tuple[MetricTable, ...]:
        """Return accuracy at two depths, metrics beyond accuracy, and parts of users and items."""
        parts = tuple(methods.metrics.item_parts)
        if task == "new":
            parts = tuple(name for name in parts if name.endswith(" items"))
        return (
            methods.make_accuracy_table(f"{task} items: accuracy at {K}", K),
            methods.make_accuracy_table(f"{task} items: accuracy at {SLATE_LENGTH}", SLATE_LENGTH),
            methods.make_beyond_accuracy_table(f"{task} items: beyond accuracy at {SLATE_LENGTH}"),
            methods.make_activity_table(f"{task} items: NDCG@{K} by activity of the user", K),
            methods.make_item_table(f"{task} items: recall@{SLATE_LENGTH} by relevant item", parts),
        )

    def _make_notes(self, task: RankingTask, result: _TaskResult) -> list[str]:
        notes = []
        if result.policy == "sequence":
            notes.append(f"the order of purchases ranks {task} items: it beat the ranker here")
        if result.policy == "ease":
            notes.append(f"EASE alone ranks {task} items: it beat the ranker here")
        if result.policy == "buy_again":
            notes.append(
                f"the ranker of {task} items did not beat the simple rule here; the simple rule "
                "serves, and the figure above is the ranker's"
            )
        ours = result.metrics[f"coverage@20 {task}"]
        simple = result.metrics[f"coverage@20 {task} {BUY_AGAIN}"]
        if task == "all" and simple:
            notes.append(
                f"coverage@20 of the slates of all {len(self._users):,} users, all items: "
                f"{ours:.4f} against {simple:.4f} of {BUY_AGAIN} + popularity, "
                f"{ours / simple:.2f} times"
            )
        return notes

    def _make_slates(self, task: RankingTask, policy: Policy) -> UserSlates:
        """Return the slates of every known user, by user."""

        def recommend(user: str) -> list[str]:
            query = RecommendationQuery(self._data.histories[user], task, SLATE_LENGTH)
            (slate,) = self._recommender.recommend([query], policy=policy)
            return [item.item_id for item in slate.items]

        # LightGBM and numpy release the interpreter, and each query is scored by itself.
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(self._users, pool.map(recommend, self._users), strict=True))


def _make_comparison(
    task: RankingTask,
    scores: Mapping[str, Float64Array],
    means: Mapping[str, float],
    accuracy: MetricTable,
) -> Comparison:
    """Compare ours with the baselines, whose `means` are given, by NDCG at K."""
    strongest = max(means, key=lambda name: means[name])
    p_values = correct_p_values(
        {name: compute_paired_p_value(scores[OURS], scores[name]) for name in means}
    )
    column = accuracy.columns.index(f"NDCG@{K}")
    intervals = {}
    for name, cells in accuracy.rows.items():
        if name == OURS or name in means:
            intervals[name] = (cells[column].low or 0.0, cells[column].high or 0.0)
    return Comparison(
        metric=f"NDCG@10 {task} items",
        ours=float(scores[OURS].mean()),
        baselines=means,
        better="higher",
        strongest=strongest,
        p_value=p_values[strongest],
        p_values=p_values,
        intervals=intervals,
    )


def _measure_policies(scores: Mapping[str, Float64Array], policy: Policy) -> dict[str, float]:
    """Return the metrics by which an experiment knows an arm that is clearly worse."""
    rule, champion = scores[BUY_AGAIN_RULE], scores[OURS]
    if policy == "buy_again":
        champion = rule
    return {
        name_policy_metric("champion"): float(champion.mean()),
        name_policy_metric("buy_again"): float(rule.mean()),
        name_policy_p_value("buy_again"): compute_paired_p_value(champion, rule),
    }


def _find_failed_bar(
    task: RankingTask, policy: Policy, scores: Mapping[str, Float64Array], strongest: str
) -> str | None:
    """Return that what serves is significantly behind its rival (paired test); None where not.

    The rival is the strongest baseline in the task "all", EASE in the task "new". The strongest of
    several is ahead of an equal method by chance, so that being behind it alone says nothing.
    """
    name = strongest if task == "all" else EASE
    served, rival = scores[BUY_AGAIN_RULE if policy == "buy_again" else OURS], scores[name]
    if served.mean() >= rival.mean():
        return None
    p_value = compute_paired_p_value(served, rival)
    if p_value > SIGNIFICANCE_LEVEL:
        return None
    return (
        f"measurably behind its baseline: NDCG@10 {task} items {served.mean():.4f} against "
        f"{rival.mean():.4f} of {name} (p = {p_value:.2g})"
    )


def _collect_metrics(
    task: RankingTask, methods: MethodMetrics, interval: tuple[float, float]
) -> dict[str, float]:
    """Return the single values of a task that are tracked beside its comparison."""
    coverage = {
        name: methods.metrics.measure_all_slates(methods.slates[name], SLATE_LENGTH)["coverage"]
        for name in (OURS, BUY_AGAIN)
    }
    recall = methods.metrics.measure_accuracy(methods.slates[OURS], SLATE_LENGTH)["recall"]
    return {
        f"NDCG@10 {task} low": interval[0],
        f"NDCG@10 {task} high": interval[1],
        f"recall@20 {task}": float(recall.mean()),
        f"coverage@20 {task}": coverage[OURS],
        f"coverage@20 {task} {BUY_AGAIN}": coverage[BUY_AGAIN],
        f"users {task}": float(len(methods.metrics.users)),
    }


def _plot_results(results: Mapping[RankingTask, _TaskResult]) -> dict[str, Figure]:
    if not results:
        return {}
    tables = {table.title: table for result in results.values() for table in result.tables}

    def tables_of(title: str) -> list[MetricTable]:
        return [tables[f"{task} items: {title}"] for task in results]

    def curves_of(metric: str) -> dict[str, Mapping[str, Float64Array]]:
        return {task: result.curves[metric] for task, result in results.items()}

    pairs = zip(
        tables_of(f"beyond accuracy at {SLATE_LENGTH}"),
        tables_of(f"accuracy at {K}"),
        strict=True,
    )
    return {
        "ndcg_by_depth": plot_metric_by_depth(curves_of("NDCG"), DEPTHS),
        "recall_by_depth": plot_metric_by_depth(curves_of("recall"), DEPTHS, metric="recall"),
        "by_activity": plot_metric_by_part(tables_of(f"NDCG@{K} by activity of the user")),
        "by_items": plot_metric_by_part(tables_of(f"recall@{SLATE_LENGTH} by relevant item")),
        "coverage_and_ndcg": plot_coverage_and_accuracy(dict(zip(results, pairs, strict=True))),
    }
