"""Price response: slopes of log units on log price, and effects of promotions and other prices.

One slope per item and zone. What else explains prices and units is taken out first, predicted from
other weeks (`double_ml`); each slope is then shrunk towards its category's and department's
(`shrinkage`). Units are fitted as counts where prices are listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    AFTER_SUFFIX,
    BEFORE_SUFFIX,
    FAMILY_PREFIX,
    FAMILY_PRICE,
    REDUCTION_BEFORE,
    build_controls,
)
from models.pricing.response.cross_weights import choose_cross_weights, compute_cross_weights
from models.pricing.response.double_ml import (
    Residuals,
    build_log_response,
    build_poisson_response,
    fit_control_effects,
    residualise,
)
from models.pricing.response.group_regression import Levels, apply_coefficients, centre_series
from models.pricing.response.instruments import correct_with_costs
from models.pricing.response.panel import PricePanel
from models.pricing.response.shrinkage import shrink_slopes

KIND = "pricing"
_NO_EVIDENCE = 1e4  # the variance of a slope about which nothing is known
_SCORING_STEPS = 4  # the first on log units, the others on counts
_GRADES = tuple(EvidenceGrade)


@dataclass(frozen=True)
class ElasticityConfig:
    """`noise`: variance of log units beyond the Poisson part 1 / units. `min_weeks`: selling weeks
    that a slope needs.

    A change is a move of more than `min_change` in log price from one week to the next. `n_folds`
    blocks of weeks are predicted by models fitted on the others.
    """

    noise: float = 0.1
    min_weeks: int = 8
    min_change: float = 0.05
    category_depths: tuple[int, ...] = (2, 1)
    n_folds: int = 4


@dataclass(frozen=True)
class PriceResponse:
    """Price response of n items in one zone; unknown items have grade D and NaN prices."""

    elasticity: Float64Array
    error: Float64Array
    grade: list[EvidenceGrade]
    lowest_minor: Float64Array
    highest_minor: Float64Array


@dataclass(frozen=True)
class CrossElasticities:
    """d ln units of item `units_of` / d ln price of item `price_of`, for P pairs of items.

    Items are numbered by their index in a list. All arrays (P,).
    """

    units_of: Int64Array
    price_of: Int64Array
    elasticity: Float64Array


class ElasticityModel:
    """Fitted slopes, aligned by series (S).

    Columns:
    elasticity, error   posterior mean and standard error
    own, own_error      the item's own slope before shrinkage
    n_changes           number of price changes; lowest, highest: range of prices, minor units
    grade               index into EvidenceGrade
    effects             (S, F) effect of each of `controls` on log units
    family, pull        which items replace each other, and the cross weight of each
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
        keys = zip(item_ids, zones, strict=True)
        self._series_of = {key: series for series, key in enumerate(keys)}

    def find_series(self, keys: Iterable[tuple[str, str]]) -> Int64Array:
        """Return the index (n,) of each (item id, zone) among the series; -1 where unknown."""
        return np.array([self._series_of.get(key, -1) for key in keys], np.int64)

    def find_response(self, item_ids: Sequence[str], zone: str) -> PriceResponse:
        """Return what is known about `item_ids` in `zone`, in that order."""
        series = self._find_items(item_ids, zone)
        known = series >= 0

        def select_column(name: str) -> Float64Array:
            values = np.full(len(series), np.nan)
            values[known] = self.columns[name][series[known]]
            return values

        grades = np.where(known, self.columns["grade"][series], _GRADES.index(EvidenceGrade.D))
        return PriceResponse(
            elasticity=select_column("elasticity"),
            error=select_column("error"),
            grade=[_GRADES[code] for code in grades],
            lowest_minor=select_column("lowest"),
            highest_minor=select_column("highest"),
        )

    def find_lifts(self, item_ids: Sequence[str], zone: str) -> dict[str, Float64Array]:
        """Return what each kind of promotion adds to log units (n,) at full reach, price apart.

        NaN for unknown items.
        """
        series = self._find_items(item_ids, zone)
        kinds = [name for name in self.controls if _is_promotion_kind(name)]
        return {
            kind: np.where(
                series >= 0, self.columns["effects"][series, self.controls.index(kind)], np.nan
            )
            for kind in kinds
        }

    def find_cross_elasticities(self, item_ids: Sequence[str], zone: str) -> CrossElasticities:
        """Return the cross elasticities between items of one family among `item_ids`.

        The effect of the family's prices on an item, times the cross weight of the item whose price
        it is.
        """
        if FAMILY_PRICE not in self.controls:
            empty = np.zeros(0, np.int64)
            return CrossElasticities(empty, empty, np.zeros(0))
        series = self._find_items(item_ids, zone)
        family = self.columns["family"]
        members_of: dict[str, list[int]] = {}
        for item, series_index in enumerate(series.tolist()):
            if series_index >= 0 and family[series_index]:
                members_of.setdefault(family[series_index], []).append(item)
        pairs = []
        for members in members_of.values():
            pairs += [(i, j) for i in members for j in members if i != j]
        units_of, price_of = np.array(pairs, np.int64).reshape(-1, 2).T
        effect = self.columns["effects"][series[units_of], self.controls.index(FAMILY_PRICE)]
        return CrossElasticities(
            units_of, price_of, effect * self.columns["pull"][series[price_of]]
        )

    def save(self, folder: Path) -> None:
        """Write `model.json` and `elasticities.npz`."""
        write_meta(folder, KIND, {"n_series": len(self.item_ids), "controls": list(self.controls)})
        write_arrays(
            folder / "elasticities.npz", item_ids=self.item_ids, zones=self.zones, **self.columns
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; BadInput when the folder holds something else."""
        meta = read_meta(folder, KIND)
        return cls(controls=meta.get("controls", ()), **read_arrays(folder / "elasticities.npz"))

    def _find_items(self, item_ids: Sequence[str], zone: str) -> Int64Array:
        return self.find_series((item_id, zone) for item_id in item_ids)


def _is_promotion_kind(control: str) -> bool:
    """Whether a control is a kind of promotion of the item itself in its own week."""
    if control.startswith(FAMILY_PREFIX) or control.endswith((BEFORE_SUFFIX, AFTER_SUFFIX)):
        return False
    return control != REDUCTION_BEFORE


@dataclass(frozen=True)
class FittedElasticities:
    """A model, and the panel and residuals that its slopes were last fitted on."""

    model: ElasticityModel
    panel: PricePanel
    residuals: Residuals


def fit_elasticities(panel: PricePanel, config: ElasticityConfig) -> ElasticityModel:
    """Fit all series that sold in at least `min_weeks` weeks. BadInput when there is none."""
    return fit_with_residuals(panel, config).model


def fit_with_residuals(panel: PricePanel, config: ElasticityConfig) -> FittedElasticities:
    """Fit as `fit_elasticities` does, and return what the slopes were fitted on as well."""
    sells_enough = panel.sold.sum(1) >= config.min_weeks
    if not sells_enough.any():
        raise BadInput(
            f"no item sold in {config.min_weeks} weeks or more, so no price response can be fitted",
            hint="Import more history, or lower min_weeks with --set",
        )
    panel = panel.select_series(sells_enough)
    levels = Levels.from_panel(panel, config.category_depths)
    fit = _fit_cross_weights_and_slopes(panel, levels, config)
    residuals, slopes = fit.residuals, fit.slopes
    mean, variance = correct_with_costs(panel, residuals, levels, slopes.mean, slopes.variance)
    error = np.sqrt(variance)
    price_range = _measure_price_range(panel, config.min_change)
    model = ElasticityModel(
        panel.item_ids,
        panel.zones,
        controls=residuals.controls.names,
        elasticity=mean,
        error=error,
        own=slopes.own,
        own_error=np.sqrt(slopes.own_variance),
        n_changes=price_range.n_changes,
        lowest=price_range.lowest,
        highest=price_range.highest,
        grade=_grade_evidence(mean, error, price_range),
        effects=slopes.effects,
        family=panel.family,
        pull=fit.cross_weights,
    )
    return FittedElasticities(model, panel, residuals)


@dataclass(frozen=True)
class _Slopes:
    """Price slopes with their variances (S,), and effects of the controls (S, F).

    own    of each series alone; mean: shrunk towards its category's
    """

    own: Float64Array
    own_variance: Float64Array
    mean: Float64Array
    variance: Float64Array
    effects: Float64Array


@dataclass(frozen=True)
class _SlopeFit:
    """Cross weights, the slopes fitted with them, their data, and unexplained log units (S, W)."""

    cross_weights: Float64Array
    residuals: Residuals
    slopes: _Slopes
    unexplained: Float64Array


def _fit_cross_weights_and_slopes(
    panel: PricePanel, levels: Levels, config: ElasticityConfig
) -> _SlopeFit:
    """Fit as if no item had a family, choose cross weights by what that leaves, and fit again."""
    equal_weights = compute_cross_weights(panel, levels, "equal")
    alone = _fit_with_cross_weights(panel, replace(levels, family=None), equal_weights, config)
    if levels.family is None:
        return alone
    cross_weights = choose_cross_weights(panel, levels, alone.unexplained, alone.residuals.weights)
    return _fit_with_cross_weights(panel, levels, cross_weights, config)


def _fit_with_cross_weights(
    panel: PricePanel, levels: Levels, cross_weights: Float64Array, config: ElasticityConfig
) -> _SlopeFit:
    log_response = response = build_log_response(panel, config.noise)
    for _ in range(_SCORING_STEPS):
        residuals = residualise(panel, response, levels, cross_weights, config.n_folds)
        slopes = _fit_slopes(residuals, levels, panel, config)
        explained = slopes.mean[:, None] * residuals.price + apply_coefficients(
            slopes.effects, residuals.controls.residual
        )
        response = build_poisson_response(
            panel, log_response, residuals.level + explained, config.noise
        )
    return _SlopeFit(cross_weights, residuals, slopes, residuals.units - explained)


def _fit_slopes(
    residuals: Residuals, levels: Levels, panel: PricePanel, config: ElasticityConfig
) -> _Slopes:
    """Fit the slopes in two steps.

    First on the residuals of units and price: right on average, whatever the controls do to both.
    From it follow the effects of the controls, which many series share and which are known well.
    With these taken from the units, each series' slope is fitted on all changes of its price, also
    those that come with a promotion: more precise, and as unbiased.
    """
    tree = [codes(panel.category, depth) for depth in config.category_depths]
    first_slopes, first_variances = fit_own_slopes(
        residuals.weights, residuals.price_residual, residuals.units_residual
    )
    first_mean, _ = shrink_slopes(first_slopes, first_variances, tree, relative=True)
    first_effects = fit_control_effects(residuals, first_mean, levels)
    net_units = residuals.units - apply_coefficients(first_effects, residuals.controls.residual)
    own, own_variance = fit_own_slopes(residuals.weights, residuals.price, net_units)
    mean, variance = shrink_slopes(own, own_variance, tree, relative=True)
    return _Slopes(
        own=own,
        own_variance=own_variance,
        mean=mean,
        variance=variance,
        effects=fit_control_effects(residuals, mean, levels),
    )


def fit_own_slopes(
    weights: Float64Array, price: Float64Array, units: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return each series' weighted least-squares slope of units on price (S,), and its variance.

    All arguments (S, W).
    """
    spread = (weights * price**2).sum(1)
    slopes = (weights * price * units).sum(1) / np.maximum(spread, 1e-9)
    n_weeks = (weights > 0).sum(1)
    noise = (weights * (units - slopes[:, None] * price) ** 2).sum(1) / np.maximum(n_weeks - 2, 1)
    pooled = float((noise * n_weeks).sum() / max(n_weeks.sum(), 1))
    # The noise of a short series is itself uncertain: it borrows ten weeks of the pooled one.
    noise = (noise * n_weeks + pooled * 10) / (n_weeks + 10)
    price_moved = spread > 1e-4
    variances = np.where(price_moved, noise / np.maximum(spread, 1e-9), _NO_EVIDENCE)
    return np.where(price_moved, slopes, 0.0), np.maximum(variances, 1e-9)


def predict_log_units(
    model: ElasticityModel, panel: PricePanel, depths: Sequence[int]
) -> tuple[Float64Array, Float64Array]:
    """Return predicted log units, without their level, by price alone and by all effects; (S, W).

    All effects are the price's, those of promotions and those of the family. Both arrays are NaN
    for series that the model does not know. `panel` may hold weeks after those of the training.
    """
    series = model.find_series(zip(panel.item_ids, panel.zones, strict=True))
    price = centre_series(
        np.where(np.isfinite(panel.log_price), panel.log_price, 0.0),
        panel.observed.astype(np.float64),
    )
    cross_weights = np.where(series >= 0, model.columns["pull"][series], 0.0)
    levels = Levels.from_panel(panel, depths)
    names, controls = build_controls(panel, price, levels, cross_weights)
    if names != model.controls:
        raise BadInput(
            "the model knows other kinds of promotion",
            hint="Train it anew: shopwright train pricing",
        )
    by_price = model.columns["elasticity"][series][:, None] * price
    by_all = by_price + apply_coefficients(model.columns["effects"][series], controls)
    unknown = series[:, None] < 0
    return np.where(unknown, np.nan, by_price), np.where(unknown, np.nan, by_all)


@dataclass(frozen=True)
class _PriceRange:
    """(S,) number of price changes, and the 5 % and 95 % quantile of the prices, minor units."""

    n_changes: Int64Array
    lowest: Float64Array
    highest: Float64Array


def _measure_price_range(panel: PricePanel, min_change: float) -> _PriceRange:
    """Count and measure over the observed weeks; a change is larger than `min_change` in logs."""
    price = np.where(panel.observed, panel.log_price, np.nan)
    changed = np.abs(np.diff(price, axis=1)) > min_change
    ascending = np.sort(price, axis=1)  # NaN comes last
    counts = panel.observed.sum(1)
    series = np.arange(len(counts))
    lowest = ascending[series, (0.05 * (counts - 1)).astype(np.int64)]
    highest = ascending[series, np.ceil(0.95 * (counts - 1)).astype(np.int64)]
    return _PriceRange(changed.sum(1).astype(np.int64), np.exp(lowest), np.exp(highest))


def _grade_evidence(
    mean: Float64Array, error: Float64Array, price_range: _PriceRange
) -> Int64Array:
    """Return the index of each series' grade (S,).

    A to D by how often the price changed, how far, and how narrow the interval is; a slope not
    below 0 is D.
    """
    n_changes = price_range.n_changes
    width = np.log(price_range.highest / price_range.lowest)
    grade = np.full(len(mean), 3, np.int64)
    grade[n_changes >= 3] = 2
    grade[(n_changes >= 6) & (width >= 0.08) & (error <= 0.6)] = 1
    grade[(n_changes >= 12) & (width >= 0.15) & (error <= 0.35)] = 0
    grade[mean + error >= 0] = 3
    return grade
