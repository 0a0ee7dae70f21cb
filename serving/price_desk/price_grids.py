"""The endings and the step of a zone's prices, and rules that take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from models.pricing.optimise.endings import PriceGrid, learn_grid
from models.pricing.rules import PricingRules

if TYPE_CHECKING:
    from serving.pricing_inputs.items import PricingInputs


def find_grid(inputs: PricingInputs, zone: str, list_prices_minor: Sequence[int]) -> PriceGrid:
    """Return the endings and the step of a zone's settings, else those of its list prices."""
    settings = inputs.settings.zone(zone)
    if settings.price_endings is not None:
        return PriceGrid(settings.price_endings, settings.price_step)
    grid = learn_grid(list_prices_minor, settings.currency, inputs.rules.max_change)
    return grid if settings.price_step is None else replace(grid, step=settings.price_step)


def use_grid(rules: PricingRules, grid: PriceGrid) -> PricingRules:
    """Return the rules with the endings and the step that they leave open."""
    return replace(
        rules,
        endings=grid.endings if rules.endings is None else rules.endings,
        price_step=grid.step
        if rules.price_step is None and rules.endings is None
        else rules.price_step,
    )
