"""Plots of a price response evaluation, logged with its tracking run."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from features.contracts.arrays import Float64Array

_N_BINS = 20


def plot_predicted_changes(predicted: Float64Array, actual: Float64Array) -> Figure:
    """Plot predicted against actual changes in log units (n,), means of bins of equal size."""
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    bins = np.array_split(np.argsort(predicted, kind="stable"), min(_N_BINS, len(predicted)))
    points = np.array([[predicted[rows].mean(), actual[rows].mean()] for rows in bins])
    axes.plot(points[:, 0], points[:, 1], marker="o", label="mean of a bin")
    ends = [float(points.min()), float(points.max())]
    axes.plot(ends, ends, color="black", linewidth=1, label="as predicted")
    axes.set(xlabel="predicted change in log units", ylabel="actual change in log units")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
