"""What a promotion what-if takes from a fitted price response, read in one place.

n   items: first the promoted ones, then the others of their families
P   pairs of items of one family
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.pricing import PricingItem
from models.pricing.response.controls import (
    BEFORE_SUFFIX,
    FAMILY_DEEP_REDUCTION,
    FAMILY_PREFIX,
    FAMILY_PRICE,
    REDUCTION_BEFORE,
)
from models.pricing.response.elasticity import ElasticityModel


@dataclass(frozen=True)
class FamilyEffects:
    """Effects on log units of item `units_of` of a promotion of item `price_of`; arrays (P,).

    price       per log price of the promoted item
    deep        per squared log reduction of it
    kinds       per reach of a kind of promotion of it
    """

    units_of: Int64Array
    price_of: Int64Array
    price: Float64Array
    deep: Float64Array
    kinds: Mapping[str, Float64Array] = field(default_factory=dict)


@dataclass(frozen=True)
class PromotionResponse:
    """How n items respond to a promotion; NaN where that is not known.

    slope, slope_error   log units per log price paid under a promotion
    step, step_error     log units that being announced as reduced adds, whatever the depth
    dip                  log units in the week after, per log reduction: buyers stocked up
    kind_dips            the same per reach of a kind of promotion
    family               None where the model has no effects within families
    """

    slope: Float64Array
    slope_error: Float64Array
    step: Float64Array
    step_error: Float64Array
    dip: Float64Array
    kind_dips: Mapping[str, Float64Array] = field(default_factory=dict)
    family: FamilyEffects | None = None

    @classmethod
    def from_items(cls, items: Sequence[PricingItem]) -> PromotionResponse:
        """Return a response that is the elasticity of each item, and nothing else."""
        n = len(items)
        return cls(
            slope=np.array([item.elasticity for item in items], np.float64),
            slope_error=np.array([item.elasticity_error for item in items], np.float64),
            step=np.zeros(n),
            step_error=np.zeros(n),
            dip=np.full(n, np.nan),
        )


def read_promotion_response(
    model: ElasticityModel, item_ids: Sequence[str], zone: str
) -> PromotionResponse:
    """Return the response to promotions of `item_ids` in a zone, in that order."""
    response = model.find_response(item_ids, zone)
    n = len(item_ids)
    kinds = list(model.find_lifts(item_ids, zone))
    return PromotionResponse(
        slope=response.elasticity,
        slope_error=response.error,
        step=np.zeros(n),
        step_error=np.zeros(n),
        dip=_read_effect(model, REDUCTION_BEFORE, item_ids, zone),
        kind_dips={
            kind: _read_effect(model, kind + BEFORE_SUFFIX, item_ids, zone) for kind in kinds
        },
        family=_read_family_effects(model, item_ids, zone),
    )


def _read_family_effects(
    model: ElasticityModel, item_ids: Sequence[str], zone: str
) -> FamilyEffects | None:
    if FAMILY_PRICE not in model.controls:
        return None
    cross = model.find_cross_elasticities(item_ids, zone)
    pull = _read_column(model, "pull", item_ids, zone)[cross.price_of]

    def read_pairs(control: str) -> Float64Array:
        effect = _read_effect(model, control, item_ids, zone)
        return np.nan_to_num(effect[cross.units_of] * pull)

    kinds = [
        name for name in model.find_lifts(item_ids, zone) if FAMILY_PREFIX + name in model.controls
    ]
    return FamilyEffects(
        units_of=cross.units_of,
        price_of=cross.price_of,
        price=cross.elasticity,
        deep=read_pairs(FAMILY_DEEP_REDUCTION),
        kinds={kind: read_pairs(FAMILY_PREFIX + kind) for kind in kinds},
    )


def _read_effect(
    model: ElasticityModel, control: str, item_ids: Sequence[str], zone: str
) -> Float64Array:
    """Return the effect of a control on each item (n,); NaN where there is none."""
    if control not in model.controls:
        return np.full(len(item_ids), np.nan)
    effects = _read_column(model, "effects", item_ids, zone)
    return np.asarray(effects[:, model.controls.index(control)])


def _read_column(
    model: ElasticityModel, column: str, item_ids: Sequence[str], zone: str
) -> Float64Array:
    """Return the rows of a fitted column for each item (n, ...); NaN for unknown items."""
    series = model.find_series((item_id, zone) for item_id in item_ids)
    values = np.array(model.columns[column], np.float64)[series]
    values[series < 0] = np.nan
    return values
