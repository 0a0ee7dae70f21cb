"""Endings and steps of prices: as a shop writes them, and as its price list shows them."""

from __future__ import annotations

import pytest

from features.contracts.errors import BadInput
from models.pricing.optimise.bounds import build_ladder, find_allowed_prices
from models.pricing.optimise.endings import learn_grid
from models.pricing.rules import PricingRules
from tests.shops.priced_items import make_item

KRONOR = [19_900, 24_900, 34_900, 49_900, 79_900, 107_900, 129_900, 149_900, 199_900, 249_900]


@pytest.mark.parametrize(
    ("endings", "digits", "step", "expected"),
    [
        (("9.00",), 2, 1, [100_900, 101_900]),
        (("9",), 2, 100, [100_900, 101_900]),  # in whole kronor the last digit is that of kronor
        ((".00",), 2, 1, [*range(100_100, 102_001, 100)]),
        (("99.00", "49.00"), 2, 100, []),
        ((), 2, 1_000, [101_000, 102_000]),
        (("80",), 0, 1, [100_080, 100_180, 100_280, 100_380, 100_480, 100_580, 100_680]),
    ],
)
def test_endings_are_the_end_of_the_price_as_it_is_written(endings, digits, step, expected):
    ladder = list(build_ladder(100_050, 102_000, endings, digits, step))
    assert ladder[: len(expected)] == expected
    assert bool(ladder) == bool(expected)


def test_an_ending_that_no_price_of_the_currency_has_is_refused():
    with pytest.raises(BadInput, match=r"no price ends in '\.99'"):
        build_ladder(100, 300, (".99",), 0)
    with pytest.raises(BadInput, match=r"no price ends in '\.9'"):
        build_ladder(100, 300, (".9",), 2)
    with pytest.raises(BadInput, match="endings are text"):
        PricingRules(endings=("nine",))


def test_swiss_prices_move_in_steps_of_five():
    rules = PricingRules(endings=(), price_step="0.05", max_change=0.1, min_margin=0.0)
    prices = find_allowed_prices(make_item(current=200, cost=10.0), rules).prices
    assert prices
    assert all(price % 5 == 0 for price in prices)


@pytest.mark.parametrize(
    ("prices", "currency", "endings", "step"),
    [
        (KRONOR, "SEK", ("49.00", "79.00", "99.00"), "1.00"),
        ([19_900, 24_900, 107_900], "SEK", ("9.00",), "1.00"),
        ([1_980, 2_980, 4_980, 980, 12_800], "JPY", ("00", "80"), "10"),
        ([100 * n + 95 for n in range(3, 40)], "EUR", (".95",), "0.05"),
        ([199, 249, 299, 189, 329, 119, 159, 279, 309, 219, 149], "EUR", ("9",), None),
        # Four in five as the shop writes them, the others as they came.
        ([*range(109, 509, 10), *range(113, 513, 41)], "EUR", ("9",), None),
        ([205, 310, 995, 1_250, 740, 415], "CHF", ("0", "5"), "0.05"),
        ([101, 217, 333, 458, 574, 699], "EUR", (), None),
        ([1_200, 2_500, 3_100, 4_700, 1_800, 900], "EUR", (), "1.00"),
        ([100, 100, 100], "EUR", (), "0.10"),
        # Sixteen items, three prices: nothing returns in another price.
        ([500] * 7 + [480] * 6 + [560] * 3, "EUR", (), "0.10"),
        # Sixteen items, three prices: 4.80 and 5.00 are prices, not endings.
        ([500] * 7 + [480] * 6 + [560] * 3, "EUR", (), "0.10"),
    ],
)
def test_the_endings_that_a_shop_uses_are_learnt_from_its_list(prices, currency, endings, step):
    grid = learn_grid(prices, currency, max_change=0.1)
    assert (grid.endings, grid.step) == (endings, step)
    assert f"learnt from {len(prices)} list prices" in grid.describe(currency)
