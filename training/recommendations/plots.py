"""Plots of a recommendation evaluation, logged with its tracking run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from features.contracts.arrays import Float64Array
from training.results import OURS, MetricTable


def plot_metric_by_depth(
    curves: Mapping[str, Mapping[str, Float64Array]], depths: Sequence[int], *, metric: str = "NDCG"
) -> Figure:
    """Plot the mean of a metric at each depth of the slate by method, one panel a task."""
    figure = Figure(figsize=(5.5 * max(len(curves), 1), 4), layout="constrained")
    for number, (task, methods) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), number)
        for name, values in methods.items():
            ours = name == OURS
            axes.plot(
                depths,
                values,
                label=name,
                linewidth=2.5 if ours else 1.2,
                marker="o" if ours else None,
            )
        axes.set_title(f"{task} items")
        axes.set_xlabel("places of the slate")
        axes.set_ylabel(metric)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def plot_metric_by_part(tables: Sequence[MetricTable]) -> Figure:
    """Plot each method in each part of the users or items with its interval, one panel a table."""
    figure = Figure(figsize=(9, 4 * max(len(tables), 1)), layout="constrained")
    for number, table in enumerate(tables, start=1):
        axes = figure.add_subplot(len(tables), 1, number)
        width = 0.8 / len(table.rows)
        for row, (name, cells) in enumerate(table.rows.items()):
            values = np.array([cell.value for cell in cells])
            ends = np.array([[cell.low, cell.high] for cell in cells], float).T
            center = np.arange(len(cells)) + (row - (len(table.rows) - 1) / 2) * width
            errors = np.nan_to_num(np.abs(ends - values))
            axes.bar(
                center,
                np.nan_to_num(values),
                width,
                yerr=errors,
                label=name,
                error_kw={"linewidth": 0.8},
            )
        axes.set_xticks(
            range(len(table.columns)),
            [
                f"{column}\n{n:,} users"
                for column, n in zip(table.columns, table.n_users, strict=True)
            ],
        )
        axes.set_title(table.title)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(
            fontsize=8, loc="upper left", bbox_to_anchor=(1, 1)
        )  # beside the bars, not on them
    return figure


def plot_coverage_and_accuracy(tables: Mapping[str, tuple[MetricTable, MetricTable]]) -> Figure:
    """Plot the coverage of every method against its accuracy, one panel a task.

    tables   by task: "beyond accuracy", whose first column is coverage, and "accuracy", whose first
             column is NDCG
    """
    figure = Figure(figsize=(5.5 * max(len(tables), 1), 4), layout="constrained")
    for number, (task, (beyond, accuracy)) in enumerate(tables.items(), start=1):
        axes = figure.add_subplot(1, len(tables), number)
        for name in accuracy.rows:
            axes.plot(beyond.rows[name][0].value, accuracy.rows[name][0].value, "o", label=name)
        axes.legend(fontsize=8)
        axes.set(title=f"{task} items", xlabel=beyond.columns[0], ylabel=accuracy.columns[0])
        axes.grid(alpha=0.3)
    return figure
