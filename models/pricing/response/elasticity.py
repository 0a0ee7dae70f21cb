"""Price response: a slope of log units on log price per item and zone, and what promotions and
neighbours' prices do.

What else explains prices and units is taken out first, foretold from other weeks (`residuals`);
each slope is then drawn towards its category's and department's (`shrinkage`). Counts are fitted as
counts where prices are listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import AnyArray, Float64Array, Int64Array, ObjectArray
from features.contracts.categories import codes
from features.contracts.errors import BadInput
from features.contracts.pricing import EvidenceGrade
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.pricing.response.controls import (
    AFTER,
    BEFORE,
    NEIGHBOURS,
    OF_NEIGHBOURS,
    STOCKED_UP,
    raw_controls,
)
from models.pricing.response.cross_weights import pulls, told_by_sales
from models.pricing.response.double_ml import (
    Residuals,
    counted_response,
    effects,
    first_response,
    residualise,
)
from models.pricing.response.group_regression import Levels, centred, explained
from models.pricing.response.instruments import corrected
from models.pricing.response.panel import PricePanel
from models.pricing.response.shrinkage import shrink

KIND = "pricing"
_NO_EVIDENCE = 1e4  # the variance of a slope that nothing is known about
_STEPS = 4  # of scoring: the first on log units, the others on counts
_GRADES = tuple(EvidenceGrade)


@dataclass(frozen=True)
class ElasticityConfig:
    """`noise`: variance of log units beyond the Poisson part 1 / units. `min_weeks`: selling weeks
    a slope needs.

    A change is a move of more than `min_change` in log price from one week to the next. `n_folds`
    blocks of weeks are explained by models fitted on the others.
    """

    noise: float = 0.1
    min_weeks: int = 8
    min_change: float = 0.05
    category_depths: tuple[int, ...] = (2, 1)
    n_folds: int = 4


@dataclass(frozen=True)
class Response:
    """Price response of some items in one zone; unknown ones have grade D and NaN prices."""

    elasticity: Float64Array
    error: Float64Array
    grade: list[EvidenceGrade]
    lowest_minor: Float64Array
    highest_minor: Float64Array


@dataclass(frozen=True)
class Cross:
    """d ln units of item `of` / d ln price of item `by`, for pairs of places in a list of items."""

    of: Int64Array
    by: Int64Array
    effect: Float64Array


class ElasticityModel:
    """Fitted slopes, aligned by series.

    elasticity, error   posterior mean and standard error
    own                 the item's own slope before shrinkage
    n_changes           price moves seen; lowest, highest: prices tried, minor units
    effects             (S, F) effect of each of `controls` on log units; family and pull: who
                        replaces whom, and
                        how strongly its price moves the others
    """

    def __init__(
        self,
        item_ids: ObjectArray,
        zones: ObjectArray,
        *,
        controls: Sequence[str] = (),
        **columns: AnyArray,
    ) -> None:
        self.item_ids = item_ids
        self.zones = zones
        self.controls = tuple(controls)
        self.columns = columns
        self._index = {key: place for place, key in enumerate(zip(item_ids, zones, strict=True))}

    def response(self, item_ids: Sequence[str], zone: str) -> Response:
        """What is known about `item_ids` in `zone`, in that order."""
        places = self._places(item_ids, zone)
        known = places >= 0

        def column(name: str) -> Float64Array:
            values = np.full(len(places), np.nan)
            values[known] = self.columns[name][places[known]]
            return values

        grade = np.where(known, self.columns["grade"][places], _GRADES.index(EvidenceGrade.D))
        grades = [_GRADES[code] for code in grade]
        return Response(
            column("elasticity"), column("error"), grades, column("lowest"), column("highest")
        )

    def lifts(self, item_ids: Sequence[str], zone: str) -> dict[str, Float64Array]:
        """By kind of promotion, what it adds to log units at full reach beside its price; NaN for
        unknown items."""
        places = self._places(item_ids, zone)
        kinds = [name for name in self.controls if not name.startswith(OF_NEIGHBOURS)]
        kinds = [
            name for name in kinds if not name.endswith((BEFORE, AFTER)) and name != STOCKED_UP
        ]
        return {
            kind: np.where(
                places >= 0, self.columns["effects"][places, self.controls.index(kind)], np.nan
            )
            for kind in kinds
        }

    def cross(self, item_ids: Sequence[str], zone: str) -> Cross:
        """What a price does to the units of the family's other items: the group's effect times the
        item's pull."""
        empty = np.zeros(0, np.int64)
        if NEIGHBOURS not in self.controls:
            return Cross(empty, empty, np.zeros(0))
        places = self._places(item_ids, zone)
        family = self.columns["family"]
        members: dict[str, list[int]] = {}
        for n, place in enumerate(places.tolist()):
            if place >= 0 and family[place]:
                members.setdefault(family[place], []).append(n)
        pairs = [(i, j) for each in members.values() for i in each for j in each if i != j]
        of, by = np.array(pairs, np.int64).reshape(-1, 2).T
        effect = self.columns["effects"][places[of], self.controls.index(NEIGHBOURS)]
        return Cross(of, by, effect * self.columns["pull"][places[by]])

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `elasticities.npz`."""
        write_meta(folder, KIND, {"n_series": len(self.item_ids), "controls": list(self.controls)})
        write_arrays(
            folder / "elasticities.npz", item_ids=self.item_ids, zones=self.zones, **self.columns
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; BadInput when the folder holds something else."""
        meta = read_meta(folder, KIND)
        return cls(controls=meta.get("controls", ()), **read_arrays(folder / "elasticities.npz"))

    def _places(self, item_ids: Sequence[str], zone: str) -> Int64Array:
        return np.array([self._index.get((item_id, zone), -1) for item_id in item_ids], np.int64)


@dataclass(frozen=True)
class Fitted:
    """A model, and the residuals that its slopes were last fitted on, for placebo tests."""

    model: ElasticityModel
    panel: PricePanel
    residuals: Residuals


def fit_elasticities(panel: PricePanel, config: ElasticityConfig) -> ElasticityModel:
    """Fits all series that sold in at least `min_weeks` weeks. BadInput when there is none."""
    return fit(panel, config).model


def fit(panel: PricePanel, config: ElasticityConfig) -> Fitted:
    """`fit_elasticities`, with what the slopes were fitted on."""
    kept = panel.sold.sum(1) >= config.min_weeks
    if not kept.any():
        raise BadInput(
            f"no item sold in {config.min_weeks} weeks or more, so no price response can be told",
            hint="Import more history, or lower min_weeks with --set",
        )
    panel = panel.series(kept)
    levels = Levels.of(panel, config.category_depths)
    learnt = _learnt(panel, levels, config)
    residuals, slopes = learnt.residuals, learnt.slopes
    mean, variance = corrected(panel, residuals, levels, slopes.mean, slopes.variance)
    n_changes, lowest, highest = _tried(panel, config.min_change)
    error = np.sqrt(variance)
    model = ElasticityModel(
        panel.item_ids,
        panel.zones,
        controls=residuals.controls.names,
        elasticity=mean,
        error=error,
        own=slopes.own,
        own_error=np.sqrt(slopes.own_variance),
        n_changes=n_changes,
        lowest=lowest,
        highest=highest,
        grade=_grade(mean, error, n_changes, lowest, highest),
        effects=slopes.effects,
        family=panel.family,
        pull=learnt.pull,
    )
    return Fitted(model, panel, residuals)


@dataclass(frozen=True)
class _Slopes:
    """(S,) slopes of each series alone and drawn to its category's, with variances; (S, F) effects
    of controls."""

    own: Float64Array
    own_variance: Float64Array
    mean: Float64Array
    variance: Float64Array
    effects: Float64Array


@dataclass(frozen=True)
class _Learnt:
    """Slopes, what they were fitted on, and what is left of the log units (S, W)."""

    pull: Float64Array
    residuals: Residuals
    slopes: _Slopes
    left: Float64Array


def _learnt(panel: PricePanel, levels: Levels, config: ElasticityConfig) -> _Learnt:
    """First as if no item had a family: what that leaves tells how strongly each item's price moves
    the others."""
    alone = _learnt_by(panel, replace(levels, family=None), pulls(panel, levels, "equal"), config)
    if levels.family is None:
        return alone
    return _learnt_by(
        panel, levels, told_by_sales(panel, levels, alone.left, alone.residuals.weights), config
    )


def _learnt_by(
    panel: PricePanel, levels: Levels, pull: Float64Array, config: ElasticityConfig
) -> _Learnt:
    first = response = first_response(panel, config.noise)
    for _ in range(_STEPS):
        residuals = residualise(panel, response, levels, pull, config.n_folds)
        slopes = _slopes(residuals, levels, panel, config)
        told = slopes.mean[:, None] * residuals.price + explained(
            slopes.effects, residuals.controls.residual
        )
        response = counted_response(panel, first, residuals.level + told, config.noise)
    return _Learnt(pull, residuals, slopes, residuals.units - told)


def _slopes(
    residuals: Residuals, levels: Levels, panel: PricePanel, config: ElasticityConfig
) -> _Slopes:
    """First what is left of units on what is left of the price: right on average, whatever the
    controls do to both.

    From it follow the effects of the controls, which many series share and which are known well.
    With these taken from the units, each series' slope is fitted on all of its price's moves, also
    those that come with a promotion: surer, and as right.
    """
    tree = [codes(panel.category, depth) for depth in config.category_depths]
    mean, _ = shrink(
        *own_slopes(residuals.weights, residuals.price_left, residuals.units_left),
        tree,
        relative=True,
    )
    net = residuals.units - explained(effects(residuals, mean, levels), residuals.controls.residual)
    own, own_variance = own_slopes(residuals.weights, residuals.price, net)
    mean, variance = shrink(own, own_variance, tree, relative=True)
    return _Slopes(own, own_variance, mean, variance, effects(residuals, mean, levels))


def own_slopes(
    weights: Float64Array, price: Float64Array, units: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Each series' own weighted least-squares slope (S,) of what is left of units on price, and its
    variance."""
    spread = (weights * price**2).sum(1)
    slopes = (weights * price * units).sum(1) / np.maximum(spread, 1e-9)
    n_rows = (weights > 0).sum(1)
    noise = (weights * (units - slopes[:, None] * price) ** 2).sum(1) / np.maximum(n_rows - 2, 1)
    pooled = float((noise * n_rows).sum() / max(n_rows.sum(), 1))
    # The noise of a short series is itself uncertain: it borrows ten weeks of the pooled one.
    noise = (noise * n_rows + pooled * 10) / (n_rows + 10)
    moved = spread > 1e-4
    variances = np.where(moved, noise / np.maximum(spread, 1e-9), _NO_EVIDENCE)
    return np.where(moved, slopes, 0.0), np.maximum(variances, 1e-9)


def foretold(
    model: ElasticityModel, panel: PricePanel, depths: Sequence[int]
) -> tuple[Float64Array, Float64Array]:
    """(S, W) log units as prices alone move them, and as promotions and neighbours do as well; no
    levels.

    Both are NaN for series that the model does not know. `panel` may hold weeks that the model has
    not seen.
    """
    places = np.array(
        [model._index.get(key, -1) for key in zip(panel.item_ids, panel.zones, strict=True)],
        np.int64,
    )
    price = centred(
        np.where(np.isfinite(panel.log_price), panel.log_price, 0.0), panel.seen.astype(np.float64)
    )
    pull = np.where(places >= 0, model.columns["pull"][places], 0.0)
    names, raw = raw_controls(panel, price, Levels.of(panel, depths), pull)
    if names != model.controls:
        raise BadInput(
            "the model knows other kinds of promotion",
            hint="Train it anew: shopwright train pricing",
        )
    alone = model.columns["elasticity"][places][:, None] * price
    whole = alone + explained(model.columns["effects"][places], raw)
    unknown = places[:, None] < 0
    return np.where(unknown, np.nan, alone), np.where(unknown, np.nan, whole)


def _tried(panel: PricePanel, min_change: float) -> tuple[Int64Array, Float64Array, Float64Array]:
    """Per series: moves of the price, and its 5 % and 95 % quantile over the weeks that say
    something, minor units."""
    price = np.where(panel.seen, panel.log_price, np.nan)
    moves = np.abs(np.diff(price, axis=1)) > min_change
    ordered = np.sort(price, axis=1)  # what is unknown comes last
    counts = panel.seen.sum(1)
    rows = np.arange(len(counts))
    low = ordered[rows, (0.05 * (counts - 1)).astype(np.int64)]
    high = ordered[rows, np.ceil(0.95 * (counts - 1)).astype(np.int64)]
    return moves.sum(1).astype(np.int64), np.exp(low), np.exp(high)


def _grade(
    mean: Float64Array,
    error: Float64Array,
    n_changes: Int64Array,
    lowest: Float64Array,
    highest: Float64Array,
) -> Int64Array:
    """A to D by how often the price moved, how far, and how narrow the interval is; a slope not
    below 0 is D."""
    tried = np.log(highest / lowest)
    grade = np.full(len(mean), 3, np.int64)
    grade[n_changes >= 3] = 2
    grade[(n_changes >= 6) & (tried >= 0.08) & (error <= 0.6)] = 1
    grade[(n_changes >= 12) & (tried >= 0.15) & (error <= 0.35)] = 0
    grade[mean + error >= 0] = 3
    return grade
