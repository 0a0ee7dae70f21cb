"""Simulated weeks with a known price response."""

import numpy as np

from models.pricing.response.panel import PricePanel, infer_list_prices


def make_price_panel(
    price,
    units,
    *,
    category=None,
    family=None,
    zones=None,
    kinds=(),
    reach=None,
    listed=False,
    cost=None,
    list_price=None,
):
    """Return a panel of prices and units (S, W); by default of items i000... in one zone.

    Without a `list_price` (S, W) it is inferred from the prices.
    """
    n, n_weeks = price.shape
    log_price = np.log(price)
    log_list = infer_list_prices(log_price) if list_price is None else np.log(list_price)
    return PricePanel(
        item_ids=np.array([f"i{k:03}" for k in range(n)], object),
        zones=np.array(["default"] * n if zones is None else zones, object),
        category=np.array([""] * n if category is None else category, object),
        family=np.array([""] * n if family is None else family, object),
        units=np.asarray(units, float),
        log_price=log_price,
        log_list=log_list,
        log_ratio=np.minimum(log_price - log_list, 0.0),
        announced=(log_price < log_list - 0.005) * 1.0,
        listed=np.full(n, listed),
        kinds=tuple(kinds),
        reach=np.zeros((0, n, n_weeks)) if reach is None else np.asarray(reach, float),
        log_cost=None if cost is None else np.log(cost),
    )


def draw_price_panel(
    elasticities: np.ndarray,
    *,
    n_weeks: int = 52,
    noise: float = 0.1,
    zones: tuple[str, ...] = ("default",),
    shock: float = 0.0,
    regular_moves: int = 0,
    lift: float = 0.0,
    seed: int = 1,
) -> PricePanel:
    """Return items i000... in two categories, reduced in a quarter of the weeks by 10 to 40 %.

    `shock` is the standard deviation of a common change of all log units of a week. Every item's
    list price moves `regular_moves` times, up and down by turns. An announced reduction adds
    `lift` to log units beside its price.
    """
    rng = np.random.default_rng(seed)
    n = len(elasticities) * len(zones)
    reduced = rng.random((n, n_weeks)) < 0.25
    regular = np.log(rng.uniform(150, 900, n))[:, None] + np.zeros((n, n_weeks))
    price = regular + reduced * np.log(1 - rng.uniform(0.1, 0.4, (n, n_weeks)))
    slopes = np.repeat(elasticities, len(zones))[:, None]
    common = shock * rng.normal(size=n_weeks)
    level = rng.uniform(3, 5, n)[:, None]
    errors = rng.normal(0, noise, (n, n_weeks))
    moves = draw_regular_moves(n, n_weeks, regular_moves, rng)
    regular, price = regular + moves, price + moves
    units = level + slopes * (price - price.mean(1, keepdims=True)) + common + errors
    simulated = make_price_panel(
        np.exp(price),
        np.exp(units + lift * reduced),
        category=[f"Food > {'Tea' if k < n / 2 else 'Milk'} > Any" for k in range(n)],
        zones=[zone for _ in elasticities for zone in zones],
        list_price=np.exp(regular),
    )
    simulated.item_ids[:] = [f"i{k:03}" for k in range(len(elasticities)) for _ in zones]
    return simulated


def draw_regular_moves(n: int, n_weeks: int, n_moves: int, rng: np.random.Generator) -> np.ndarray:
    """Return log list prices (n, n_weeks) that move `n_moves` times, up and down by turns.

    They lie 5 to 12 % above or below 0.
    """
    moves = np.zeros((n, n_weeks))
    if n_moves:
        # One move within each of so many equal parts of the weeks, near the middle of it.
        part = n_weeks // n_moves
        sign = rng.choice([-1, 1], n)
        for first in range(0, part * n_moves, part):
            week = first + part // 2 + rng.integers(-(part // 4), part // 4 + 1, n)
            level, sign = sign * rng.uniform(0.05, 0.12, n), -sign
            moves = np.where(np.arange(n_weeks) >= week[:, None], level[:, None], moves)
    return moves
