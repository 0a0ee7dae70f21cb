"""Panels of weekly demand drawn at random."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from models.demand.panel import DemandPanel

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def make_panel(
    n_series: int = 120, n_known: int = 30, ahead: int = 13, seed: int = 3
) -> DemandPanel:
    """Return series of Poisson units around a level; a mailer doubles the units of a week."""
    rng = np.random.default_rng(seed)
    n_weeks = n_known + ahead
    level = rng.gamma(1.0, 3.0, n_series)
    reach = (rng.random((n_series, n_weeks)) < 0.2).astype(np.float32)
    units = rng.poisson(level[:, None] * (1 + reach)).astype(np.float32)
    return DemandPanel(
        item_ids=np.array([f"i{n:03}" for n in range(n_series)], object),
        zones=np.array(["north" if n % 2 else "south" for n in range(n_series)], object),
        categories=np.array(
            [f"Food > {'Tea' if n % 3 else 'Milk'}" for n in range(n_series)], object
        ),
        week_starts=tuple(MONDAY + timedelta(weeks=n) for n in range(n_weeks)),
        n_known=n_known,
        units=units[:, :n_known],
        kinds=("mailer",),
        reach=reach[None],
        depth=None,
        list_price=None,
        offer_price=None,
    )
