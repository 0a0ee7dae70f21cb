"""The fitted price response: regular price, depth, announcement, lifts and cross elasticities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import AnyArray, Float64Array, Int64Array, ObjectArray
from features.contracts.errors import BadInput
from features.contracts.pricing import EvidenceGrade
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.pricing.response.choice_form import sum_attraction, sum_regular_utility
from models.pricing.response.controls import (
    AFTER_SUFFIX,
    BEFORE_SUFFIX,
    FAMILY_PREFIX,
    FAMILY_PRICE,
    REDUCTION_BEFORE,
    build_controls,
)
from models.pricing.response.group_regression import apply_coefficients
from models.pricing.response.log_linear_form import sum_treatments_over_nest
from models.pricing.response.nests import build_nests
from models.pricing.response.panel import PricePanel
from models.pricing.response.treatments import (
    DEPTH,
    N_TREATMENTS,
    REGULAR,
    centre_treatments,
    combine_treatments,
)

KIND = "pricing"
ALONE, LOG_LINEAR, CHOICE = "alone", "log-linear", "choice"  # forms of the nests
_GRADES = tuple(EvidenceGrade)
_NUMBERS = (
    *("elasticity", "error", "depth", "depth_error", "announced", "announced_error", "own"),
    *("share", "inside", "inside_regular", "pull", "cross_received", "cross_sent", "cross_error"),
    "cross_correlation",
    *("lowest", "highest", "shop_error", "category_error"),
)


@dataclass(frozen=True)
class PriceResponse:
    """Response of n items in a zone to a regular price; unknown items have grade D and NaN prices.

    n_changes   moves of the item's own regular price that were seen
    """

    elasticity: Float64Array
    error: Float64Array
    grade: list[EvidenceGrade]
    n_changes: Int64Array
    lowest_minor: Float64Array
    highest_minor: Float64Array


@dataclass(frozen=True)
class ReductionResponse:
    """Response of n items to an announced reduction; NaN for unknown items.

    depth       d ln units / d ln (offer price / list price), beside the announcement
    announced   what being announced as reduced adds to log units, whatever the depth
    """

    depth: Float64Array
    depth_error: Float64Array
    announced: Float64Array
    announced_error: Float64Array


@dataclass(frozen=True)
class CrossElasticities:
    """d ln units of item `units_of` / d ln price of item `price_of`, for P pairs of items.

    Items are numbered by their index in a list. All arrays (P,).

    error         standard error of an elasticity, a share of it
    correlation   of that error with the error of the elasticity of `price_of`; None for none
    usual_ratio   usual units of `units_of` over those of `price_of`, which the elasticity belongs
                  to; None where it belongs to whatever units
    """

    units_of: Int64Array
    price_of: Int64Array
    elasticity: Float64Array
    error: Float64Array
    correlation: Float64Array | None = None
    usual_ratio: Float64Array | None = None

    def move_units(self, units: Float64Array) -> Float64Array:
        """Return by how many units (P,) `units_of` grows per unit of the log of the price.

        At units (n,) of the items, as forecast. What an item loses goes to the others as it usually
        does: a ratio of two forecasts would make a slow item lose far more than it sells.
        """
        if self.usual_ratio is None:
            return self.elasticity * units[self.units_of]
        return self.elasticity * self.usual_ratio * units[self.price_of]


class ElasticityModel:
    """Fitted responses, aligned by series (S).

    Columns:
    responses           (S, 3) as in `treatments`, of log units or, in the choice form, of utility
    elasticity, error   posterior mean and standard error of the response to a regular price
    depth, announced    the same of a reduction, with `depth_error`, `announced_error`
    own, own_responses  the series' own estimates before shrinkage: (S,), (S, 3)
    n_changes           number of moves of the regular price; n_reductions: weeks with a reduction
    lowest, highest     range of prices, minor units
    grade               index into EvidenceGrade
    effects             (S, F) effect of each of `controls` on log units or utility
    family, share       nest, share of its sales
    inside, inside_regular   choice form: share of shoppers who buy, as promotions show it and as
                        regular prices do
    pull, pulls         log-linear form: cross weight, and (S, 3) coefficients of the others'
                        treatments
    cross_received, cross_sent, cross_error   the cross elasticity of i to the price of j is
                        received (i) × sent (j), with a standard error that is a share of it (j)
    cross_correlation   (j) of that error with the error of the elasticity
    shop_error, category_error   parts of `error` that are common to all series, and to those of a
                        category
    """

    def __init__(
        self,
        item_ids: ObjectArray,
        zones: ObjectArray,
        *,
        controls: Sequence[str] = (),
        form: str = "",
        **columns: AnyArray,
    ) -> None:
        self.item_ids = item_ids
        self.zones = zones
        self.controls = tuple(controls)
        self.form = form
        self.columns = columns
        keys = zip(item_ids, zones, strict=True)
        self._series_of = {key: series for series, key in enumerate(keys)}

    @classmethod
    def without_series(cls) -> Self:
        """Return a model that knows no response: every item is unknown to it."""
        numbers, codes = np.zeros(0), np.zeros(0, np.int64)
        columns: dict[str, AnyArray] = dict.fromkeys(_NUMBERS, numbers)
        columns |= dict.fromkeys(("n_changes", "n_reductions", "grade"), codes)
        columns |= dict.fromkeys(("responses", "own_responses", "pulls"), np.zeros((0, 3)))
        columns |= {"effects": np.zeros((0, 0)), "family": np.zeros(0, object)}
        none = np.zeros(0, object)
        return cls(none, none, controls=(), form=ALONE, **columns)

    def find_series(self, keys: Iterable[tuple[str, str]]) -> Int64Array:
        """Return the index (n,) of each (item id, zone) among the series; -1 where unknown."""
        return np.array([self._series_of.get(key, -1) for key in keys], np.int64)

    def find_response(self, item_ids: Sequence[str], zone: str) -> PriceResponse:
        """Return what is known about `item_ids` in `zone`, in that order."""
        series = self._find_items(item_ids, zone)
        known = series >= 0
        grades = np.full(len(series), _GRADES.index(EvidenceGrade.D))
        grades[known] = self.columns["grade"][series[known]]
        n_changes = np.zeros(len(series), np.int64)
        n_changes[known] = self.columns["n_changes"][series[known]]
        return PriceResponse(
            elasticity=self._select("elasticity", series),
            error=self._select("error", series),
            grade=[_GRADES[code] for code in grades],
            n_changes=n_changes,
            lowest_minor=self._select("lowest", series),
            highest_minor=self._select("highest", series),
        )

    def find_shared_errors(
        self, item_ids: Sequence[str], zone: str
    ) -> tuple[Float64Array, Float64Array]:
        """Return the parts (n,) of the elasticities' errors that are common to the shop, and to a
        category; NaN for unknown items."""
        series = self._find_items(item_ids, zone)
        return self._select("shop_error", series), self._select("category_error", series)

    def find_reduction_response(self, item_ids: Sequence[str], zone: str) -> ReductionResponse:
        """Return what an announced reduction does to the units of `item_ids` in `zone`."""
        series = self._find_items(item_ids, zone)
        return ReductionResponse(
            depth=self._select("depth", series),
            depth_error=self._select("depth_error", series),
            announced=self._select("announced", series),
            announced_error=self._select("announced_error", series),
        )

    def _select(self, name: str, series: Int64Array) -> Float64Array:
        """Return a column at the series (n,); NaN where the series is -1."""
        known = series >= 0
        values = np.full(len(series), np.nan)
        values[known] = self.columns[name][series[known]]
        return values

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
        """Return the cross elasticities between items of one nest among `item_ids`."""
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
        received = self.columns["cross_received"][series[units_of]]
        sent = self.columns["cross_sent"][series[price_of]]
        error = self.columns["cross_error"][series[price_of]]
        usual_ratio = None
        if "share" in self.columns:  # not in the oldest artifacts
            share = self.columns["share"]
            usual_ratio = share[series[units_of]] / np.maximum(share[series[price_of]], 1e-9)
        return CrossElasticities(
            units_of=units_of,
            price_of=price_of,
            elasticity=received * sent,
            error=error,
            correlation=self._select("cross_correlation", series[price_of])
            if "cross_correlation" in self.columns
            else None,
            usual_ratio=usual_ratio,
        )

    def save(self, folder: Path) -> None:
        """Write `model.json` and `elasticities.npz`."""
        meta = {
            "n_series": len(self.item_ids),
            "controls": list(self.controls),
            "form": self.form,
        }
        write_meta(folder, KIND, meta)
        write_arrays(
            folder / "elasticities.npz", item_ids=self.item_ids, zones=self.zones, **self.columns
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; BadInput when the folder holds something else."""
        meta = read_meta(folder, KIND)
        arrays = read_arrays(folder / "elasticities.npz")
        controls = meta.get("controls", ())
        if "responses" not in arrays:
            arrays |= _complete_older_columns(arrays, controls)
        if "pulls" not in arrays:
            controls, arrays["effects"], arrays["pulls"] = _split_off_pulls(
                controls, arrays["effects"]
            )
        if "inside_regular" not in arrays:
            arrays["inside_regular"] = arrays["inside"]
            arrays["cross_correlation"] = np.zeros(len(arrays["error"]))
        if "shop_error" not in arrays:
            arrays |= dict.fromkeys(
                ("shop_error", "category_error"), np.zeros(len(arrays["error"]))
            )
        return cls(controls=controls, form=meta.get("form", ""), **arrays)

    def _find_items(self, item_ids: Sequence[str], zone: str) -> Int64Array:
        return self.find_series((item_id, zone) for item_id in item_ids)


def _is_promotion_kind(control: str) -> bool:
    """Whether a control is a kind of promotion of the item itself in its own week."""
    if control.startswith(FAMILY_PREFIX) or control.endswith((BEFORE_SUFFIX, AFTER_SUFFIX)):
        return False
    return control != REDUCTION_BEFORE


def _complete_older_columns(
    columns: Mapping[str, AnyArray], controls: Sequence[str]
) -> dict[str, AnyArray]:
    """Return the columns that artifacts lack which knew one response to every price."""
    elasticity, error = columns["elasticity"], columns["error"]
    zero = np.zeros(len(elasticity))
    received = zero
    if FAMILY_PRICE in controls:
        received = columns["effects"][:, list(controls).index(FAMILY_PRICE)]
    return {
        "responses": np.stack([elasticity, elasticity, zero], axis=1),
        "depth": elasticity,
        "depth_error": error,
        "announced": zero,
        "announced_error": zero,
        "cross_received": received,
        "cross_sent": columns.get("pull", zero),
        "cross_error": zero,
        "inside": zero,
    }


def _split_off_pulls(
    controls: Sequence[str], effects: Float64Array
) -> tuple[Sequence[str], Float64Array, Float64Array]:
    """Return controls, effects and pulls (S, 3) of artifacts in which neighbours were a control.

    It was their price paid: list price and depth alike.
    """
    pulls = np.zeros((len(effects), N_TREATMENTS))
    if FAMILY_PRICE not in controls:
        return controls, effects, pulls
    column = list(controls).index(FAMILY_PRICE)
    pulls[:, [REGULAR, DEPTH]] = effects[:, [column]]
    others = [name for name in controls if name != FAMILY_PRICE]
    return others, np.delete(effects, column, axis=1), pulls


def predict_log_units(
    model: ElasticityModel, panel: PricePanel
) -> tuple[Float64Array, Float64Array]:
    """Return predicted log units, without their level, by own prices alone and by all effects.

    (S, W) each. All effects are those of prices, promotions and the nest. Both arrays are NaN for
    series that the model does not know. `panel` may hold weeks after those of the training.
    """
    series = model.find_series(zip(panel.item_ids, panel.zones, strict=True))
    columns = {name: values[series] for name, values in model.columns.items()}
    nests = build_nests(panel)
    names, controls = build_controls(panel)
    if names != model.controls:
        raise BadInput(
            "the model knows other kinds of promotion",
            hint="Train it anew: shopwright train pricing",
        )
    treatments = centre_treatments(panel)
    lost = np.stack([columns[name] for name in ("inside_regular", "inside", "inside")], axis=1)
    kept = 1 - lost * nests.share[:, None]
    by_price = combine_treatments(columns["responses"] * kept, treatments)
    utility = combine_treatments(columns["responses"], treatments)
    utility += apply_coefficients(columns["effects"], controls)
    attraction = sum_attraction(nests, utility)
    inside = np.where(series >= 0, columns["inside"], 0.0)
    by_all = utility - np.log1p(inside[:, None] * attraction)
    more_inside = np.where(series >= 0, columns["inside_regular"] - columns["inside"], 0.0)
    by_regular = sum_regular_utility(nests, columns["responses"][:, REGULAR], treatments[REGULAR])
    by_all -= more_inside[:, None] * by_regular
    cross_weights = np.where(series >= 0, columns["pull"], 0.0)
    pulls = sum_treatments_over_nest(treatments, cross_weights, nests)
    by_all += combine_treatments(columns["pulls"], pulls)
    unknown = series[:, None] < 0
    return np.where(unknown, np.nan, by_price), np.where(unknown, np.nan, by_all)
