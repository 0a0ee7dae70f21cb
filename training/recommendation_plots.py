"""Plots of a recommendation evaluation, logged with its tracking run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from training.metrics import Floats


def by_depth(curves: Mapping[str, Mapping[str, Floats]], depths: Sequence[int]) -> Figure:
    """Mean NDCG at each depth of the slate, ours beside every baseline, one panel a task."""
    figure = Figure(figsize=(5.5 * max(len(curves), 1), 4), layout="constrained")
    for number, (task, methods) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), number)
        for name, values in methods.items():
            ours = name == "Shopwright"
            axes.plot(depths, values, label=name, linewidth=2.5 if ours else 1.2, marker="o" if ours else None)
        axes.set_title(f"{task} items")
        axes.set_xlabel("places of the slate")
        axes.set_ylabel("NDCG")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure
