"""Metric tables of one task: every method's slates, measured alike and tested against ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from features.contracts.arrays import Float64Array
from training.recommendations.evaluation_input import Slates
from training.recommendations.slate_metrics import SlateArrays, SlateMetrics
from training.results import OURS, Cell, MetricTable
from training.significance import Bootstrap, compute_paired_p_value, correct_p_values

SLATE_LENGTH = 20
TESTS_NOTE = (
    "p-values are of two-sided paired t-tests of ours against each method over users, corrected "
    "for the number of methods in the column (Holm); intervals are 95 % bootstrap intervals over "
    "users."
)
_ALL_SLATES_NOTE = "Coverage and Gini are of everyone's slates together, without interval."

# Values by user of one method's slates, by the name of the column; NaN where there is none.
Measure = Callable[[SlateArrays], Mapping[str, Float64Array]]


class MethodMetrics:
    """Every method's slates of one task, with the same bootstrap draws of users for all of them."""

    def __init__(
        self, metrics: SlateMetrics, slates: Mapping[str, Slates], rng: np.random.Generator
    ) -> None:
        self.metrics = metrics
        self.slates = {
            name: metrics.to_arrays(by_user, SLATE_LENGTH) for name, by_user in slates.items()
        }
        self._bootstrap = Bootstrap(len(metrics.users), rng)

    def ndcg_by_user(self, k: int) -> dict[str, Float64Array]:
        """Return NDCG at k by method and user."""
        return {
            name: self.metrics.measure_accuracy(slates, k)["NDCG"]
            for name, slates in self.slates.items()
        }

    def means_by_depth(self, metric: str, depths: tuple[int, ...]) -> dict[str, Float64Array]:
        """Return the mean of an accuracy metric at each depth (depths,) by method."""
        return {
            name: np.array(
                [self.metrics.measure_accuracy(slates, depth)[metric].mean() for depth in depths]
            )
            for name, slates in self.slates.items()
        }

    def make_accuracy_table(self, title: str, k: int) -> MetricTable:
        """Return the table of the accuracy metrics at k."""

        def measure(slates: SlateArrays) -> dict[str, Float64Array]:
            accuracy = self.metrics.measure_accuracy(slates, k)
            return {f"{name}@{k}": values for name, values in accuracy.items()}

        return self._make_table(title, measure)

    def make_activity_table(self, title: str, k: int) -> MetricTable:
        """Return the table of NDCG at k by groups of users of similar activity."""
        groups = self.metrics.group_by_activity()

        def measure(slates: SlateArrays) -> dict[str, Float64Array]:
            scores = self.metrics.measure_accuracy(slates, k)["NDCG"]
            return {name: np.where(members, scores, np.nan) for name, members in groups.items()}

        return self._make_table(title, measure)

    def make_item_table(self, title: str, part_names: tuple[str, ...]) -> MetricTable:
        """Return the table of recall at SLATE_LENGTH by part of the relevant items."""
        parts = {name: self.metrics.item_parts[name] for name in part_names}

        def measure(slates: SlateArrays) -> dict[str, Float64Array]:
            return {
                name: self.metrics.measure_part(slates, part, "recall", SLATE_LENGTH)
                for name, part in parts.items()
            }

        return self._make_table(title, measure)

    def make_beyond_accuracy_table(self, title: str) -> MetricTable:
        """Return the table of novelty, diversity and popularity at SLATE_LENGTH.

        Coverage and Gini of everyone's slates come first.
        """
        k = SLATE_LENGTH

        def measure(slates: SlateArrays) -> dict[str, Float64Array]:
            beyond = self.metrics.measure_beyond_accuracy(slates, k)
            return {f"{name}@{k}": values for name, values in beyond.items()}

        by_user = self._make_table(title, measure)
        of_all = {
            name: self.metrics.measure_all_slates(slates, k) for name, slates in self.slates.items()
        }
        rows = {
            name: (*map(Cell, of_all[name].values()), *cells)
            for name, cells in by_user.rows.items()
        }
        n_everyone = len(self.slates[OURS].everyone)
        return MetricTable(
            title=title,
            columns=(*(f"{name}@{k}" for name in of_all[OURS]), *by_user.columns),
            rows=rows,
            n_users=(n_everyone,) * len(of_all[OURS]) + by_user.n_users,
            note=f"{_ALL_SLATES_NOTE} {TESTS_NOTE}",
        )

    def _make_table(self, title: str, measure: Measure) -> MetricTable:
        by_method = {name: measure(slates) for name, slates in self.slates.items()}
        columns = tuple(by_method[OURS])
        values = {
            name: np.column_stack([by_column[column] for column in columns])
            for name, by_column in by_method.items()
        }
        p_values = [_test_column(values, column) for column in range(len(columns))]
        rows = {}
        for name, matrix in values.items():
            low, high = self._bootstrap.intervals(matrix)
            rows[name] = tuple(
                Cell(
                    _mean(matrix[:, column]),
                    float(low[column]),
                    float(high[column]),
                    p_values[column].get(name),
                )
                for column in range(len(columns))
            )
        n_users = tuple((~np.isnan(values[OURS])).sum(0).tolist())
        return MetricTable(title, columns, rows, n_users, TESTS_NOTE)


def _test_column(values: Mapping[str, Float64Array], column: int) -> dict[str, float]:
    """Return the corrected p-values of ours against every other method in one column."""
    ours = values[OURS][:, column]
    p_values = {
        name: compute_paired_p_value(ours, matrix[:, column])
        for name, matrix in values.items()
        if name != OURS
    }
    return correct_p_values(p_values)


def _mean(values: Float64Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
