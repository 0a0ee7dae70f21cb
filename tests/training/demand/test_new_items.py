"""Evaluation of items that are new at an origin."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.demand.panel import DemandPanel
from tests.shops.demand_panels import make_panel
from training.demand.new_items import (
    LAUNCHES,
    NewItems,
    compute_new_item_metrics,
    evaluate_new_items,
    tabulate_new_items,
)
from training.results import OURS

ORIGIN, HORIZON = 20, 2
N_OLD = 30


class FakeBacktest:
    """A backtest whose model forecasts 1 of items that sold and .5 of those that did not."""

    def __init__(self, panel: DemandPanel, unsold: DemandPanel) -> None:
        self._panel, self._unsold = panel, unsold

    def panel_at(self, origin: int) -> DemandPanel:
        return self._panel.truncate(origin)

    def forecast_means(self, origin: int) -> np.ndarray:
        return np.ones((self._panel.n_series, HORIZON))

    def find_counted_weeks(self, origin: int, horizon: int) -> np.ndarray:
        return np.ones((self._panel.n_series, horizon))

    def unsold_at(self, origin: int) -> DemandPanel:
        return self._unsold.truncate(origin)

    def model_at(self, origin: int) -> Any:
        return self

    def predict_methods(self, panel: DemandPanel, horizon: int) -> None:
        return None

    def blend_means(self, panel: DemandPanel, means_by_method: None) -> np.ndarray:
        return np.full((panel.n_series, HORIZON), 0.5)


@pytest.fixture
def panel() -> DemandPanel:
    """Thirty launches in week 10 that sold 9 at first, then 3 a week; four items that are 1, 3, 5
    and 0 weeks old."""
    plain = make_panel(n_series=N_OLD + 4, n_known=24)
    units = np.zeros((N_OLD + 4, 24), np.float32)
    units[:N_OLD, 10], units[:N_OLD, 11:] = 9, 3
    units[N_OLD, 19:], units[N_OLD + 1, 17:], units[N_OLD + 2, 15:], units[N_OLD + 3, 20:] = (
        2,
        4,
        8,
        6,
    )
    same = {
        "zones": np.full(N_OLD + 4, "z", object),
        "categories": np.full(N_OLD + 4, "Tea", object),
    }
    return replace(plain, units=units, **same)


def evaluate(panel: DemandPanel) -> NewItems:
    return evaluate_new_items(
        FakeBacktest(panel, panel.take(np.array([N_OLD + 3]))), panel, ORIGIN, HORIZON
    )  # type: ignore[arg-type]


def test_items_of_one_to_four_weeks_and_those_without_a_sale_are_evaluated(
    panel: DemandPanel,
) -> None:
    new = evaluate(panel)
    assert new.age.tolist() == [1, 3, 0]
    assert new.actual.tolist() == [[2, 2], [4, 4], [6, 6]]
    assert new.forecasts[OURS].tolist() == [[1, 1], [1, 1], [0.5, 0.5]]


def test_the_baseline_is_what_launches_sold_at_the_same_age(panel: DemandPanel) -> None:
    new = evaluate(panel)
    # Launches known at an age of one week: the thirty at 3, one of week 17 at 4, one of 15 at 8. At
    # two weeks the same.
    assert new.forecasts[LAUNCHES][0] == pytest.approx([(30 * 3 + 4 + 8) / 32] * 2)
    # Three and four weeks: the one of week 17 has not been that old.
    assert new.forecasts[LAUNCHES][1] == pytest.approx([(30 * 3 + 8) / 31] * 2)
    # Without a sale two weeks before the origin: the one of week 19 (0 and 2) and the one that has
    # none yet.
    assert new.forecasts[LAUNCHES][2] == pytest.approx([(0 + (0 + 2) / 2) / 2] * 2)


def test_nothing_after_the_origin_is_known(panel: DemandPanel) -> None:
    units = panel.units.copy()
    units[:, ORIGIN:] += 100
    original, changed = evaluate(panel), evaluate(replace(panel, units=units))
    for method, means in original.forecasts.items():
        assert np.array_equal(means, changed.forecasts[method])
    assert not np.array_equal(original.actual, changed.actual)


def test_table_and_metrics_are_sums_over_the_origins(panel: DemandPanel) -> None:
    both = [evaluate(panel)] * 2
    table, figures = tabulate_new_items(both), compute_new_item_metrics(both)
    cells = dict(zip(table.columns, table.rows[OURS], strict=True))
    assert (
        cells["1 to 4 weeks"].value
        == figures["new items WMAPE"]
        == pytest.approx((2 * 1 + 2 * 3) / (4 + 8))
    )
    assert cells["no sale yet"].value == pytest.approx(5.5 / 6)
    assert np.isnan(cells["2 weeks"].value)
    assert figures["new items bias"] == pytest.approx((4 * 1) / 12 - 1)
    assert figures["no sale yet bias"] == pytest.approx(0.5 / 6 - 1)
    assert figures["n_new_items"] == 4
    assert dict(zip(table.columns, table.n_users, strict=True))["1 to 4 weeks"] == 2


def test_a_shop_whose_items_are_all_old_has_no_metrics(panel: DemandPanel) -> None:
    old = panel.take(np.arange(N_OLD))
    new = evaluate_new_items(FakeBacktest(old, old.take(np.arange(0))), old, ORIGIN, HORIZON)  # type: ignore[arg-type]
    assert compute_new_item_metrics([new]) == {}
    assert np.isnan(tabulate_new_items([new]).rows[OURS][0].value)
