"""Simulated selling weeks with a price response that is known."""

import numpy as np

from models.pricing.elasticity import PricePanel


def panel(
    elasticities: np.ndarray,
    *,
    n_weeks: int = 52,
    noise: float = 0.1,
    zones: tuple[str, ...] = ("default",),
    shock: float = 0.0,
    seed: int = 1,
) -> PricePanel:
    """Items i000... in two categories, each promoted in a quarter of the weeks by 10 to 40 %.

    `shock` moves all units of a week together, the more the more items are promoted in it.
    """
    rng = np.random.default_rng(seed)
    n = len(elasticities) * len(zones)
    item_ids = np.array([f"i{k:03}" for k in range(len(elasticities)) for _ in zones], object)
    promoted = rng.random((n, n_weeks)) < 0.25
    price = np.log(rng.uniform(150, 900, n))[:, None] + promoted * np.log(1 - rng.uniform(0.1, 0.4, (n, n_weeks)))
    slopes = np.repeat(elasticities, len(zones))[:, None]
    common = shock * rng.normal(size=n_weeks)
    units = rng.uniform(3, 5, n)[:, None] + slopes * (price - price.mean(1, keepdims=True)) + common
    units += rng.normal(0, noise, (n, n_weeks))
    category = np.array([f"Food > {'Tea' if k < n / 2 else 'Milk'} > Any" for k in range(n)], object)
    return PricePanel(
        item_ids,
        np.array([zone for _ in elasticities for zone in zones], object),
        category,
        np.repeat(np.arange(n), n_weeks),
        np.tile(np.arange(n_weeks), n),
        price.ravel(),
        units.ravel(),
    )
