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
    REDUCTION_BEFORE,
)
from models.pricing.response.elasticity import CHOICE, ElasticityModel
from models.pricing.response.treatments import ANNOUNCED, DEPTH


@dataclass(frozen=True)
class FamilyEffects:
    """Effects on log units of item `units_of` of a promotion of item `price_of`; arrays (P,).

    price       per log price of the promoted item
    announced   of its being announced as reduced
    kinds       per reach of a kind of promotion of it
    """

    units_of: Int64Array
    price_of: Int64Array
    price: Float64Array
    announced: Float64Array
    kinds: Mapping[str, Float64Array] = field(default_factory=dict)

    def select(self, items: Int64Array) -> FamilyEffects:
        """Return the effects among some of the items, numbered by their new order."""
        number_of = {item: number for number, item in enumerate(items.tolist())}
        inside = np.isin(self.units_of, items) & np.isin(self.price_of, items)
        units_of, price_of = self.units_of[inside].tolist(), self.price_of[inside].tolist()
        return FamilyEffects(
            units_of=np.array([number_of[item] for item in units_of], np.int64),
            price_of=np.array([number_of[item] for item in price_of], np.int64),
            price=self.price[inside],
            announced=self.announced[inside],
            kinds={kind: effect[inside] for kind, effect in self.kinds.items()},
        )


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

    def select(self, items: Int64Array) -> PromotionResponse:
        """Return the response of some of the items, in a new order."""
        family = None if self.family is None else self.family.select(items)
        return PromotionResponse(
            slope=self.slope[items],
            slope_error=self.slope_error[items],
            step=self.step[items],
            step_error=self.step_error[items],
            dip=self.dip[items],
            kind_dips={kind: effect[items] for kind, effect in self.kind_dips.items()},
            family=family,
        )


def read_promotion_response(
    model: ElasticityModel, item_ids: Sequence[str], zone: str
) -> PromotionResponse:
    """Return the response to promotions of `item_ids` in a zone, in that order."""
    response = model.find_reduction_response(item_ids, zone)
    kinds = list(model.find_lifts(item_ids, zone))
    return PromotionResponse(
        slope=response.depth,
        slope_error=response.depth_error,
        step=response.announced,
        step_error=response.announced_error,
        dip=_read_effect(model, REDUCTION_BEFORE, item_ids, zone),
        kind_dips={
            kind: _read_effect(model, kind + BEFORE_SUFFIX, item_ids, zone) for kind in kinds
        },
        family=_read_family_effects(model, item_ids, zone),
    )


def _read_family_effects(
    model: ElasticityModel, item_ids: Sequence[str], zone: str
) -> FamilyEffects | None:
    """Return what promotions of items do to their families; None where nothing was learnt.

    In the choice form whatever raises an item's utility takes from the others; in the log-linear
    form only prices were learnt.
    """
    cross = model.find_cross_elasticities(item_ids, zone)
    if not len(cross.elasticity):
        return None
    none = np.zeros(len(cross.elasticity))
    if model.form != CHOICE:
        return FamilyEffects(cross.units_of, cross.price_of, cross.elasticity, none)
    taken = _read_column(model, "inside", item_ids, zone) * _read_column(
        model, "share", item_ids, zone
    )
    responses = _read_column(model, "responses", item_ids, zone)

    def take(utility: Float64Array) -> Float64Array:
        return np.nan_to_num(-utility * taken)[cross.price_of]

    return FamilyEffects(
        units_of=cross.units_of,
        price_of=cross.price_of,
        price=take(responses[:, DEPTH]),
        announced=take(responses[:, ANNOUNCED]),
        kinds={kind: take(lift) for kind, lift in model.find_lifts(item_ids, zone).items()},
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
