"""The judgement of a recommendation model: the served object's slates beside every baseline's, at
one cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from features.contracts.arrays import Float64Array
from features.contracts.recommendations import RecommendationQuery
from features.contracts.seeds import generator
from models.ranking.model import TASKS, Policy, RankingTask, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from training.recommendations.baselines import baseline_slates
from training.recommendations.evaluation_input import Slates, Subject
from training.recommendations.plots import by_depth, by_part, reach
from training.recommendations.slate_metrics import Ranked, Ruler
from training.results import OURS, Cell, Comparison, Evaluation, MetricTable
from training.significance import Bootstrap, correct_p_values, paired_p_value

K = 10
SLATE_LENGTH = 20
NDCG_DEPTHS = (1, 2, 3, 5, 10, 20)
LEVEL = 0.05  # below this p-value a difference between two methods is more than chance
PRIMARY = "NDCG@10 all items"
# The baseline that each task must beat: what is bought again, and what is new to the user.
RIVALS: dict[RankingTask, str] = {"all": "buy again", "new": "EASE"}
SIMPLE = "buy again"
_TESTED = (
    "p-values are of two-sided paired t-tests of ours against each method over users, corrected for the number of "
    "methods in the column (Holm); intervals are 95 % bootstrap intervals over users."
)
_OF_ALL = "Coverage and Gini are of everyone's slates together, without interval."


@dataclass(frozen=True)
class _Judged:
    """One task measured: the comparison, its figures and tables, and which policy serves."""

    comparison: Comparison
    figures: dict[str, float]
    tables: tuple[MetricTable, ...]
    curves: Mapping[
        str, Mapping[str, Float64Array]
    ]  # by metric: the mean of every method at each of NDCG_DEPTHS
    policy: Policy
    passed: bool


class _Methods:
    """Every method's slates of one task, measured by one ruler over the same draws of users."""

    def __init__(
        self, ruler: Ruler, slates: Mapping[str, Slates], rng: np.random.Generator
    ) -> None:
        self.ruler = ruler
        self.ranked = {name: ruler.ranked(each, SLATE_LENGTH) for name, each in slates.items()}
        self._bootstrap = Bootstrap(len(ruler.users), rng)

    def scores(self, k: int) -> dict[str, Float64Array]:
        """NDCG at k by method and user."""
        return {
            name: self.ruler.accuracy(ranked, k)["NDCG"] for name, ranked in self.ranked.items()
        }

    def table(
        self,
        title: str,
        measure: Callable[[Ranked], Mapping[str, Float64Array]],
        *,
        note: str = _TESTED,
    ) -> MetricTable:
        """A table of what `measure` gives of each method: columns by name, values by user, NaN
        where there is none."""
        found = {name: measure(ranked) for name, ranked in self.ranked.items()}
        columns = tuple(found[OURS])
        values = {
            name: np.column_stack([each[column] for column in columns])
            for name, each in found.items()
        }
        p_values = [
            correct_p_values(
                {
                    n: paired_p_value(values[OURS][:, at], each[:, at])
                    for n, each in values.items()
                    if n != OURS
                }
            )
            for at in range(len(columns))
        ]
        rows = {}
        for name, each in values.items():
            low, high = self._bootstrap.intervals(each)
            rows[name] = tuple(
                Cell(_mean(each[:, at]), float(low[at]), float(high[at]), p_values[at].get(name))
                for at in range(len(columns))
            )
        n_users = tuple(int((~np.isnan(values[OURS][:, at])).sum()) for at in range(len(columns)))
        return MetricTable(title, columns, rows, n_users, note)


def judged(
    subject: Subject, progress: Callable[[str], None]
) -> tuple[RecommendationModel, Evaluation]:
    """The evaluation, and the model with the policies that won."""
    return _Judgement(subject, progress).evaluation()


class _Judgement:
    """Measures one model at one cut."""

    def __init__(self, subject: Subject, progress: Callable[[str], None]) -> None:
        self._subject, self._progress = subject, progress
        # Two placements of its own, so that a shop's placements do not change what is measured.
        placements = {"all": Placement("all"), "new": Placement("new", exclude_purchased=True)}
        self._recommender = Recommender(subject.model, subject.items, placements)
        self._everyone = sorted(subject.histories)
        self._baselines: dict[RankingTask, dict[str, dict[str, list[str]]]] = {}

    def evaluation(self) -> tuple[RecommendationModel, Evaluation]:
        """The evaluation, and the model with the policies that won."""
        subject = self._subject
        tasks: list[RankingTask] = [task for task in TASKS if subject.relevant[task]]
        self._progress("slates of every user, the baselines'")
        self._baselines = baseline_slates(
            dict.fromkeys(tasks, self._everyone),
            subject.histories,
            subject.items,
            subject.interactions,
            subject.model.retrieval,
            ease=subject.ease,
            k=SLATE_LENGTH,
            seed=subject.seed,
        )
        results: dict[RankingTask, _Judged] = {}
        slates: dict[str, dict[str, list[str]]] = {}
        policies: dict[RankingTask, Policy] = subject.model.policies | dict.fromkeys(
            TASKS, "ranker"
        )
        notes: list[str] = []
        for task in tasks:
            self._progress(f"slates of every user, ours of {task} items")
            ours = self._slates(task, self._everyone, "ranker")
            results[task] = self._compared(task, ours)
            policies[task] = results[task].policy
            served = (
                ours
                if policies[task] == "ranker"
                else self._slates(task, self._everyone, policies[task])
            )
            slates[task] = {user: served[user] for user in sorted(subject.relevant[task])}
            notes += self._notes(task, results[task])
        evaluation = Evaluation(
            "recommendations",
            subject.cut,
            PRIMARY,
            tuple(each.comparison for each in results.values()),
            all(each.passed for each in results.values()),
            {name: value for each in results.values() for name, value in each.figures.items()},
            tuple(notes),
            figures=_figures(results),
            slates=slates,
            tables=tuple(table for each in results.values() for table in each.tables),
        )
        return subject.model.with_policies(policies), evaluation

    def _compared(self, task: RankingTask, ours: dict[str, list[str]]) -> _Judged:
        """The ranker beside every baseline. Where it loses to the simple rule, the rule serves in
        its place."""
        subject = self._subject
        slates = {OURS: ours, **self._baselines[task]}
        ruler = Ruler(subject, subject.relevant[task])
        methods = _Methods(ruler, slates, generator(subject.seed, f"bootstrap {task}"))
        tables = self._tables(task, methods)
        scores = methods.scores(K)
        mine = scores[OURS]
        means = {name: float(scores[name].mean()) for name in self._baselines[task]}
        policy: Policy = "buy_again" if task == "all" and mine.mean() < means[SIMPLE] else "ranker"
        strongest = max(means, key=lambda name: means[name])
        passed = _passed(task, policy, scores, means, strongest)
        column = tables[0].columns.index(f"NDCG@{K}")
        cells = {
            name: cells[column]
            for name, cells in tables[0].rows.items()
            if name == OURS or name in means
        }
        p_values = correct_p_values({name: paired_p_value(mine, scores[name]) for name in means})
        intervals = {name: (cell.low or 0.0, cell.high or 0.0) for name, cell in cells.items()}
        comparison = Comparison(
            f"NDCG@10 {task} items",
            float(mine.mean()),
            means,
            "higher",
            strongest,
            p_values[strongest],
            p_values,
            intervals,
        )
        curves = {
            metric: {
                name: np.array(
                    [ruler.accuracy(each, depth)[metric].mean() for depth in NDCG_DEPTHS]
                )
                for name, each in methods.ranked.items()
            }
            for metric in ("NDCG", "recall")
        }
        return _Judged(
            comparison, _numbers(task, methods, intervals[OURS]), tables, curves, policy, passed
        )

    def _tables(self, task: RankingTask, methods: _Methods) -> tuple[MetricTable, ...]:
        """Accuracy at two depths, what accuracy does not tell, and the parts: of users and of
        items."""
        ruler = methods.ruler
        activity, parts = ruler.by_activity(), ruler.item_parts
        if task == "new":
            parts = {name: part for name, part in parts.items() if name.endswith(" items")}

        def accuracy(depth: int) -> Callable[[Ranked], dict[str, Float64Array]]:
            return lambda ranked: {
                f"{name}@{depth}": each for name, each in ruler.accuracy(ranked, depth).items()
            }

        def of_activity(ranked: Ranked) -> dict[str, Float64Array]:
            scores = ruler.accuracy(ranked, K)["NDCG"]
            return {name: np.where(members, scores, np.nan) for name, members in activity.items()}

        def of_items(ranked: Ranked) -> dict[str, Float64Array]:
            return {
                name: ruler.of_part(ranked, part, "recall", SLATE_LENGTH)
                for name, part in parts.items()
            }

        return (
            methods.table(f"{task} items: accuracy at {K}", accuracy(K)),
            methods.table(f"{task} items: accuracy at {SLATE_LENGTH}", accuracy(SLATE_LENGTH)),
            self._beyond(task, methods),
            methods.table(f"{task} items: NDCG@{K} by activity of the user", of_activity),
            methods.table(f"{task} items: recall@{SLATE_LENGTH} by relevant item", of_items),
        )

    def _beyond(self, task: RankingTask, methods: _Methods) -> MetricTable:
        """Novelty, diversity and popularity with intervals; coverage and Gini of everyone's slates
        before them."""
        k = SLATE_LENGTH
        title = f"{task} items: beyond accuracy at {k}"
        by_user = methods.table(
            title,
            lambda ranked: {
                f"{n}@{k}": each for n, each in methods.ruler.beyond(ranked, k).items()
            },
        )
        of_all = {name: methods.ruler.of_all(ranked, k) for name, ranked in methods.ranked.items()}
        rows = {
            name: (*map(Cell, of_all[name].values()), *cells)
            for name, cells in by_user.rows.items()
        }
        columns = (*(f"{name}@{k}" for name in of_all[OURS]), *by_user.columns)
        n_users = (len(self._everyone),) * len(of_all[OURS]) + by_user.n_users
        return MetricTable(title, columns, rows, n_users, f"{_OF_ALL} {_TESTED}")

    def _notes(self, task: RankingTask, result: _Judged) -> list[str]:
        notes = []
        if result.policy != "ranker":
            notes.append(
                f"the ranker of {task} items did not beat the simple rule here; the simple rule serves, and the "
                "figure above is the ranker's"
            )
        ours, simple = (
            result.figures[f"coverage@20 {task}"],
            result.figures[f"coverage@20 {task} {SIMPLE}"],
        )
        if task == "all" and simple:
            notes.append(
                f"coverage@20 of the slates of all {len(self._everyone):,} users, all items: {ours:.4f} against "
                f"{simple:.4f} of {SIMPLE} + popularity, {ours / simple:.2f} times"
            )
        return notes

    def _slates(
        self, task: RankingTask, users: Sequence[str], policy: Policy
    ) -> dict[str, list[str]]:
        queries = [
            RecommendationQuery(self._subject.histories[user], task, SLATE_LENGTH) for user in users
        ]
        # LightGBM and numpy let go of the interpreter, and each query is scored by itself.
        with ThreadPoolExecutor(2) as pool:
            slates = [
                slate
                for (slate,) in pool.map(
                    lambda q: self._recommender.recommend([q], policy=policy), queries
                )
            ]
        return {
            user: [item.item_id for item in slate.items]
            for user, slate in zip(users, slates, strict=True)
        }


def _passed(
    task: RankingTask,
    policy: Policy,
    scores: Mapping[str, Float64Array],
    means: Mapping[str, float],
    strongest: str,
) -> bool:
    """Whether what serves may serve: the ranker beats what it must, or the rule is not measurably
    behind."""
    mine = scores[OURS]
    if policy != "ranker":
        # The rule is a baseline itself: where it serves it need not be ahead, only not measurably
        # behind.
        return strongest == SIMPLE or paired_p_value(scores[SIMPLE], scores[strongest]) > LEVEL
    rival = scores[RIVALS[task]]
    passed = bool(mine.mean() >= rival.mean()) or paired_p_value(mine, rival) > LEVEL
    return passed and (task != "all" or bool(mine.mean() >= means[strongest]))


def _numbers(
    task: RankingTask, methods: _Methods, interval: tuple[float, float]
) -> dict[str, float]:
    """The figures of a task that stand by themselves."""
    coverage = {
        name: methods.ruler.of_all(methods.ranked[name], SLATE_LENGTH)["coverage"]
        for name in (OURS, SIMPLE)
    }
    recall = methods.ruler.accuracy(methods.ranked[OURS], SLATE_LENGTH)["recall"]
    return {
        f"NDCG@10 {task} low": interval[0],
        f"NDCG@10 {task} high": interval[1],
        f"recall@20 {task}": float(recall.mean()),
        f"coverage@20 {task}": coverage[OURS],
        f"coverage@20 {task} {SIMPLE}": coverage[SIMPLE],
        f"users {task}": float(len(methods.ruler.users)),
    }


def _figures(results: Mapping[RankingTask, _Judged]) -> dict[str, Figure]:
    if not results:
        return {}
    tables = {table.title: table for each in results.values() for table in each.tables}
    figures = {
        "ndcg_by_depth": by_depth(
            {task: each.curves["NDCG"] for task, each in results.items()}, NDCG_DEPTHS
        ),
        "recall_by_depth": by_depth(
            {task: each.curves["recall"] for task, each in results.items()},
            NDCG_DEPTHS,
            metric="recall",
        ),
    }
    for name, title in (
        ("activity", f"NDCG@{K} by activity of the user"),
        ("items", f"recall@{SLATE_LENGTH} by relevant item"),
    ):
        figures[f"by_{name}"] = by_part([tables[f"{task} items: {title}"] for task in results])
    figures["coverage_and_ndcg"] = reach(
        {
            task: (
                tables[f"{task} items: beyond accuracy at {SLATE_LENGTH}"],
                tables[f"{task} items: accuracy at {K}"],
            )
            for task in results
        }
    )
    return figures


def _mean(values: Float64Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
