"""One item to price, with plain defaults, and the effects of one price."""

import numpy as np

from features.contracts.pricing import Effect, EvidenceGrade, PricingItem
from models.pricing.optimise.objective import ItemColumns, compare_with_current, predict_effects


def make_item(
    item_id: str = "milk",
    *,
    current: int = 500,
    list_price: int | None = None,
    cost: float = 300.0,
    source: str = "known",
    tax: float = 1.0,
    units: float = 40.0,
    spread: float = 2.0,
    elasticity: float = -2.0,
    error: float = 0.2,
    grade: str = "A",
    lowest: int | None = 350,
    highest: int | None = 600,
) -> PricingItem:
    """Return an item with `units` over the horizon; p10 and p90 are a factor `spread` away."""
    return PricingItem(
        item_id=item_id,
        zone="default",
        currency="USD",
        list_price_minor=current if list_price is None else list_price,
        current_price_minor=current,
        unit_cost_minor=cost,
        cost_source=source,
        tax_divisor=tax,
        units_p10=units / spread,
        units_p50=units,
        units_p90=units * spread,
        units_mean=units,
        elasticity=elasticity,
        elasticity_error=error,
        evidence_grade=EvidenceGrade(grade),
        lowest_tried_minor=lowest,
        highest_tried_minor=highest,
    )


def predict_effect(one: PricingItem, price_minor: int) -> Effect:
    """Return `predict_effects` of one item at one price."""
    columns = ItemColumns.from_items([one])
    return predict_effects(columns, np.zeros(1, np.int64), np.array([float(price_minor)]))[0]


def compare_price(one: PricingItem, price_minor: int) -> Effect:
    """Return `compare_with_current` of one item at one price."""
    columns = ItemColumns.from_items([one])
    return compare_with_current(columns, np.zeros(1, np.int64), np.array([float(price_minor)]))[0]
