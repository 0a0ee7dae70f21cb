"""What sales can say of a response at most, where the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments.simulator.parameters import ShopParameters
from experiments.simulator.shop import SimulatedShop, simulate_shop
from experiments.simulator.worlds import build_real_world
from features.contracts.seeds import generator
from tests.benchmarks.knowable_response import _average_by_group, _draw_regular_slopes

SMALL = ShopParameters(n_families=2, family_size=3, n_weeks=60)


def draw(shop: SimulatedShop, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return _draw_regular_slopes(shop, generator(seed, "knowable response"))


def simulate(**changes: object) -> SimulatedShop:
    return simulate_shop(replace(SMALL, **changes), generator(3, "simulated shop"))


def test_with_endless_sales_and_calm_demand_all_is_known() -> None:
    shop = simulate(units=1e7, noise=1e-3, drift=1e-3)
    slope, error = draw(shop)
    assert error.max() < 0.05
    assert slope == pytest.approx(shop.demand.slopes, abs=0.2)


def test_without_a_price_change_only_the_category_is_known() -> None:
    shop = simulate(never_repriced=1.0, promoted=0.0)
    slope, error = draw(shop)
    assert slope == pytest.approx(
        _average_by_group(shop.demand.slopes, shop.catalogue.category), abs=0.01
    )
    assert error == pytest.approx(SMALL.slope_spread / np.sqrt(2), rel=1e-3)


@pytest.mark.parametrize("form", ["loglinear", "choice"])
def test_the_errors_are_as_large_as_stated(form: str) -> None:
    """Of 3 shops of 96 items the 90 % intervals hold 90 %, within 5 points: three standard errors
    of 288 items."""
    held = []
    for seed in range(3):
        shop = simulate_shop(build_real_world(form), generator(seed, "simulated shop"))  # type: ignore[arg-type]
        slope, error = draw(shop, seed)
        held += (np.abs(slope - shop.demand.slopes) <= 1.645 * error).tolist()
    assert np.mean(held) == pytest.approx(0.9, abs=0.053)
