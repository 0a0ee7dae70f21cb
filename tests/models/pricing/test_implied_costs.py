"""Costs that nobody knows, and how far they are off where other costs are known."""

from dataclasses import replace

import pytest

from models.pricing.implied_costs import imply_costs
from models.pricing.optimise.confidence import UNCERTAIN, drop_uncertain_prices
from models.pricing.optimise.item_choices import find_item_choices
from models.pricing.rules import PricingRules
from tests.shops.priced_items import make_item

# At a response of -2 a margin of half the price is right: 250 of 500.
ASSUMED = make_item("assumed", cost=1.0, source="assumed")


def know(n: int, off: float) -> list:
    """Return items whose costs lie `off` above and below the implied one by turns."""
    return [make_item(f"k{k}", cost=250.0 + (-1) ** k * off) for k in range(n)]


def test_known_costs_show_how_far_implied_ones_are_off() -> None:
    (implied,) = imply_costs([*know(20, 100.0), ASSUMED])[20:]
    assert implied.unit_cost_minor == pytest.approx(250.0)
    assert implied.unit_cost_error_minor == pytest.approx(148.26)  # 1.4826 times the median
    # One cost in another unit changes little.
    (implied,) = imply_costs([*know(20, 100.0), make_item("slip", cost=25_000.0), ASSUMED])[21:]
    assert implied.unit_cost_error_minor == pytest.approx(148.26)
    assert {item.unit_cost_error_minor for item in imply_costs(know(20, 100.0))} == {0.0}


def test_few_known_costs_show_nothing() -> None:
    (implied,) = imply_costs([*know(4, 100.0), ASSUMED])[4:]
    assert implied.unit_cost_error_minor == 0.0


def test_a_price_that_gains_at_some_costs_only_is_not_sure() -> None:
    rules = PricingRules(
        max_change=0.1, tried_margin=1.0, max_over_list=1.0, endings=(), max_losing_share=0.1
    )
    # A tenth less sells 45 % more: a gain at a cost of 200, a loss from 250 on.
    sure = make_item(cost=200.0, source="assumed", elasticity=-3.5, error=0.1)
    assert len(drop_uncertain_prices([find_item_choices(sure, rules)])[0].prices) > 1
    doubtful = replace(sure, unit_cost_error_minor=150.0)
    (kept,) = drop_uncertain_prices([find_item_choices(doubtful, rules)])
    assert (list(kept.prices), kept.kept_reason) == ([500], UNCERTAIN)
