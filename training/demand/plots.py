"""Figures of a demand evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from models.demand.panel import DemandPanel
from training.demand.folds import Fold


def plot_total(panel: DemandPanel, folds: Sequence[Fold]) -> Figure:
    """Plot the weekly units of all evaluated series, and the forecasts of each origin."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    last = folds[-1]
    sold = np.concatenate([last.past.sum(axis=0), last.actual.sum(axis=0)])
    axes.plot(np.array(panel.week_starts[: len(sold)]), sold, color="black", label="sold")
    for fold in folds:
        weeks = panel.week_starts[fold.origin : fold.origin + fold.means.shape[1]]
        axes.plot(
            np.array(weeks),
            fold.means.sum(axis=0),
            marker="o",
            label=f"forecast after {fold.origin} weeks",
        )
    axes.set(xlabel="week", ylabel="units of all evaluated series", ylim=(0, None))
    axes.legend()
    return figure


def plot_calibration(folds: Sequence[Fold]) -> Figure:
    """Plot the randomised PIT (flat when calibrated), and mean units sold by size of forecast."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    pit = np.concatenate([fold.pit.ravel() for fold in folds])
    left.hist(pit[np.isfinite(pit)], bins=20, density=True, color="grey")
    left.axhline(1.0, color="black")
    left.set(xlabel="randomised PIT", ylabel="density")
    means = np.concatenate([fold.means.ravel() for fold in folds])
    actual = np.concatenate([fold.actual.ravel() for fold in folds])
    groups = [group for group in np.array_split(np.argsort(means), 30) if len(group)]
    forecast = np.array([means[group].mean() for group in groups])
    sold = np.maximum([actual[group].mean() for group in groups], 1e-3)
    right.loglog(forecast, sold, "o", color="black")
    right.loglog(forecast, forecast, color="grey")
    right.set(xlabel="mean forecast", ylabel="mean sold")
    return figure
