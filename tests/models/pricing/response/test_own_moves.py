"""Prices that whole brands move, in shops whose competitors follow and in others."""

from dataclasses import replace

import numpy as np
import pytest

from models.pricing.response.fit import ElasticityConfig, fit_elasticities
from models.pricing.response.own_moves import _learn_difference
from models.pricing.response.panel import PricePanel
from tests.shops.price_panels import draw_regular_moves, make_price_panel

ELASTICITY = -2.5
N_BRANDS, N_ITEMS, N_WEEKS = 12, 72, 104


def draw_brands(followed: float, *, seed: int = 3) -> PricePanel:
    """Return items of brands that move six times each, and twice apart from their brand;
    competitors follow the moves of a brand by a share."""
    rng = np.random.default_rng(seed)
    brand = np.arange(N_ITEMS) % N_BRANDS
    of_brand = draw_regular_moves(N_BRANDS, N_WEEKS, 6, rng)[brand]
    own = draw_regular_moves(N_ITEMS, N_WEEKS, 2, rng)
    level = rng.uniform(3, 5, N_ITEMS)[:, None]
    log_units = level + ELASTICITY * (own + (1 - followed) * of_brand)
    log_units += rng.normal(0, 0.1, log_units.shape)
    price = np.exp(np.log(500) + own + of_brand)
    panel = make_price_panel(
        price, rng.poisson(np.exp(log_units)), listed=True, list_price=price, cost=price * 0.6
    )
    return replace(panel, brand=np.array([f"b{number}" for number in brand], object))


def fit_mean(panel: PricePanel) -> tuple[float, float]:
    columns = fit_elasticities(panel, ElasticityConfig()).columns
    return float(columns["elasticity"].mean()), float(columns["error"].mean())


def test_moves_that_competitors_follow_do_not_flatten_the_response() -> None:
    panel = draw_brands(0.5)
    flat, stated = fit_mean(replace(panel, brand=None, log_cost=None))
    assert flat > ELASTICITY + 0.5
    assert flat - ELASTICITY > 1.645 * stated  # and it is sure of it
    assert fit_mean(panel)[0] == pytest.approx(ELASTICITY, abs=0.25)


def test_without_followers_little_changes() -> None:
    panel = draw_brands(0.0)
    alone = fit_mean(replace(panel, brand=None))[0]
    assert fit_mean(panel)[0] == pytest.approx(alone, abs=0.1)


def test_items_without_a_brand_are_not_taken_for_one() -> None:
    panel = draw_brands(0.5)
    nameless = replace(panel, brand=np.full(N_ITEMS, "", object))
    assert fit_mean(nameless) == fit_mean(replace(panel, brand=None))


def test_items_whose_own_prices_move_keep_what_these_show() -> None:
    branded, others = draw_brands(0.5), draw_brands(0.0, seed=4)
    n_branded = 18
    panel = branded.select_series(np.arange(N_ITEMS) < n_branded)
    alone = others.select_series(np.arange(N_ITEMS) >= n_branded)
    both = PricePanel(
        **{
            name: np.concatenate([value, getattr(alone, name)])
            if isinstance(value, np.ndarray) and len(value) == n_branded
            else value
            for name, value in vars(panel).items()
            if name != "reach"
        },
        reach=np.zeros((0, N_ITEMS, N_WEEKS)),
    )
    both = replace(
        both,
        item_ids=np.array([f"i{number:03}" for number in range(N_ITEMS)], object),
        brand=np.array([*panel.brand, *[""] * (N_ITEMS - n_branded)], object),
    )
    with_brands = fit_elasticities(both, ElasticityConfig()).columns["elasticity"][n_branded:]
    without = fit_elasticities(replace(both, brand=None), ElasticityConfig())
    assert with_brands.mean() == pytest.approx(
        without.columns["elasticity"][n_branded:].mean(), abs=0.15
    )


def test_a_difference_is_believed_as_far_as_it_is_beyond_chance() -> None:
    mean, deviation, evidence = _learn_difference(1.0, 0.05**2)
    assert (mean, deviation, evidence) == pytest.approx((1.0, 0.05, 1.0), abs=0.01)
    mean, _, evidence = _learn_difference(0.0, 0.05**2)
    assert mean < 0.02
    assert evidence == 0.0
    # What was believed before is none: half of 0.6 times the mean of a half normal.
    mean, _, evidence = _learn_difference(0.5, 100.0**2)
    assert mean == pytest.approx(0.5 * 0.6 * np.sqrt(2 / np.pi), abs=0.01)
    assert evidence == pytest.approx(0.0, abs=0.01)


def test_nothing_is_learnt_where_too_few_brands_move() -> None:
    assert _learn_difference(1.0, np.inf) == (0.0, 0.0, 0.0)
