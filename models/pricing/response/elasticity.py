"""The fitted price response: slopes of log units on log price, lifts and cross elasticities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import AnyArray, Float64Array, Int64Array, ObjectArray
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
from models.pricing.response.group_regression import Levels, apply_coefficients, centre_series
from models.pricing.response.panel import PricePanel

KIND = "pricing"
_GRADES = tuple(EvidenceGrade)


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
