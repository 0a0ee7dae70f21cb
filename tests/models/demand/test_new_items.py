"""Rates of items without a sale."""

from dataclasses import replace

import numpy as np
import pytest

from models.demand.new_items import find_waiting, fit_item_rates
from models.demand.panel import DemandPanel
from tests.shops.demand_panels import make_panel

N_SOLD, N_LATE, N_NEVER = 200, 10, 90


def shop() -> tuple[DemandPanel, DemandPanel]:
    """200 items that sell 4 a week, 10 that sold 3 in their only weeks, the last two; 90 that never
    sold."""
    n = N_SOLD + N_LATE + N_NEVER
    plain = make_panel(n_series=n, n_known=20)
    units = np.zeros((n, 20), np.float32)
    units[:N_SOLD] = 4
    units[N_SOLD : N_SOLD + N_LATE, -2:] = 3
    panel = replace(
        plain,
        units=units,
        zones=np.full(n, "z", object),
        categories=np.full(n, "Tea", object),
        brands=np.full(n, ""),
    )
    return panel.take(np.arange(N_SOLD + N_LATE)), panel.take(np.arange(N_SOLD + N_LATE, n))


def test_an_item_that_waits_sells_as_those_that_had_waited_did() -> None:
    rates = fit_item_rates(*shop())
    coming = (200 * 4 + 10 * (2 * 3 / 13)) / 300
    waited = 10 * (2 * 3 / 6) / 100  # of the 100 that had not sold six weeks ago
    trust = 100 / (100 + 100)
    assert rates.look_up("z", "Tea") == pytest.approx(coming)
    assert rates.look_up("z", "Tea", waits=True) == pytest.approx(
        trust * waited + (1 - trust) * coming
    )
    assert rates.look_up("elsewhere", "Tea", waits=True) == pytest.approx(
        rates.look_up("z", "", waits=True)
    )


def test_an_item_that_the_catalogue_lists_lately_does_not_wait() -> None:
    panel, unsold = shop()
    listed = np.full(N_NEVER, -np.inf)
    listed[:5] = [
        -1,
        13,
        14,
        19,
        25,
    ]  # 20 weeks are known: from week 14 on it is six weeks or fewer ago, or planned
    unsold = replace(unsold, listed_week=listed)
    assert find_waiting(unsold)[:6].tolist() == [True, True, False, False, False, True]
    rates = fit_item_rates(panel, unsold)
    # Nor had the one of week 13 waited for six weeks when the last six began.
    waited, trust = 10 * (2 * 3 / 6) / 96, 96 / (96 + 100)
    coming = rates.look_up("z", "Tea")
    assert rates.look_up("z", "Tea", waits=True) == pytest.approx(
        trust * waited + (1 - trust) * coming
    )


def test_without_items_that_waited_the_rate_is_that_of_all_items() -> None:
    panel, unsold = shop()
    rates = fit_item_rates(panel.take(np.arange(N_SOLD)), unsold.take(np.arange(0)))
    assert rates.look_up("z", "Tea", waits=True) == rates.look_up("z", "Tea") == pytest.approx(4)
