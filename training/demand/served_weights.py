"""What serves: the weights of the methods in the blend, as a table and in words."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float64Array
from models.demand.blend import METHODS, SEGMENTS, TREES, segment_series
from models.demand.learner import MIN_LEARNT_WEEKS
from models.demand.model import DemandModel
from models.demand.panel import DemandPanel
from training.results import Cell, MetricTable

WEIGHTS = "Weights of the blend by segment"
_LEARNER = "learner"
_MENTIONED = 0.1  # share from which a method is named
_NOTE = (
    "shares of the served mean at the last origin; they start from the simple methods and move as "
    "far as backtests of this shop show another one better"
)


def tabulate_weights(model: DemandModel, panel: DemandPanel) -> MetricTable:
    """Return the weight of each method in the segments that the panel's series are in."""
    counts = np.bincount(segment_series(panel).codes, minlength=len(SEGMENTS))
    segments = np.flatnonzero(counts).tolist()
    weights = _share_weights(model)
    rows = {
        _name_method(method): tuple(Cell(float(weights[code, method])) for code in segments)
        for method in range(len(METHODS))
    }
    columns = tuple(SEGMENTS[code].name for code in segments)
    return MetricTable(
        WEIGHTS, columns, rows, tuple(counts[segments].tolist()), _NOTE, counted="series"
    )


def describe_weights(model: DemandModel, panel: DemandPanel) -> tuple[str, ...]:
    """Return sentences on what serves: over all units, and by segment."""
    weights = _share_weights(model)
    codes = segment_series(panel).codes
    units = np.bincount(
        codes, weights=panel.units[:, -52:].sum(axis=1, dtype=np.float64), minlength=len(SEGMENTS)
    )
    overall = units @ weights / units.sum()
    sentences = [f"what serves, by units sold: {_list_shares(overall)}"]
    sentences += [
        f"what serves at {SEGMENTS[code].name}: {_list_shares(weights[code])}"
        for code in np.unique(codes).tolist()
    ]
    if model.trees.booster is None:
        sentences.append(
            f"the learner needs {MIN_LEARNT_WEEKS} weeks of sales and knows {panel.n_known}: "
            "simple methods serve alone"
        )
    elif overall[TREES] < _MENTIONED:
        sentences.append(
            "backtests of this shop do not show the learner better than simple methods"
        )
    return tuple(sentences)


def _share_weights(model: DemandModel) -> Float64Array:
    """Return SEGMENTS × METHODS weights of sum 1, without the factor that takes out the bias."""
    weights = np.array(model.calibration.blend.weights)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def _list_shares(weights: Float64Array) -> str:
    """Return the largest shares first, the small ones together."""
    order = np.argsort(-weights, kind="stable")
    named = [method for method in order.tolist() if weights[method] >= _MENTIONED]
    parts = [f"{_name_method(method)} {weights[method]:.0%}" for method in named]
    rest = 1 - weights[named].sum()
    return ", ".join([*parts, f"others {rest:.0%}"] if rest >= 0.005 else parts)


def _name_method(method: int) -> str:
    return _LEARNER if method == TREES else METHODS[method]
