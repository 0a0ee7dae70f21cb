"""Forecasts that no sales of a shop can lead to are refused, and those of a shop that grows fast,
closes or has a season are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.contracts.arrays import Float32Array
from features.contracts.errors import Damaged
from models.demand.lookup import load_forecasts
from models.demand.panel import DemandPanel
from models.demand.sold_history import MAX_RATIO, SoldHistory
from models.demand.uncertainty.counts import QUANTILE_NAMES
from tests.shops.demand_panels import MONDAY, make_panel
from tests.shops.served_shop import make_aggregate_distributions

HORIZON = 13


def forecast(panel: DemandPanel, means: Float32Array) -> pa.Table:
    """Return the same mean of each series in each of the weeks ahead."""
    series = range(panel.n_series)
    rows = [
        {
            "unique_id": panel.item_ids[n],
            "zone": panel.zones[n],
            "ds": start,
            "mean": float(means[n]),
            **dict.fromkeys(QUANTILE_NAMES, float(means[n])),
        }
        for n in series
        for start in panel.week_starts[panel.n_known :]
    ]
    return pa.Table.from_pylist(rows)


def check(panel: DemandPanel, means: Float32Array) -> None:
    SoldHistory.from_panel(panel, HORIZON).check(forecast(panel, means))


def sell(totals: list[float]) -> DemandPanel:
    """Return a panel of four items that sell the same in each week."""
    panel = make_panel(n_series=4, n_known=len(totals))
    units = np.tile(np.array(totals, np.float32), (4, 1))
    return replace(panel, units=units, zones=np.full(4, "north", object))


def test_most_items_far_above_their_highest_week_are_refused():
    panel = make_panel()
    highest = np.maximum(panel.units.max(axis=1), 1)
    check(panel, highest * 0.4 * MAX_RATIO)
    few = np.where(np.arange(panel.n_series) < 30, highest * (MAX_RATIO + 1), highest)
    check(panel, few)
    with pytest.raises(Damaged, match=r"(\d+) of \1 items are forecast at more than 50 times"):
        check(panel, highest * (MAX_RATIO + 1))


def test_one_item_beyond_what_a_zone_can_sell_is_refused():
    panel = make_panel()
    means = panel.units.mean(axis=1)
    means[7] = 1e6
    with pytest.raises(Damaged, match=r"zone 'north' is forecast at 1e\+06 units a week in all"):
        check(panel, means)


def test_nothing_is_refused_where_the_zone_sells_without_a_pause():
    panel = make_panel()
    means = panel.units.mean(axis=1)
    means[panel.zones == "south"] = 0
    with pytest.raises(Damaged, match=r"zone 'south' is forecast at 0 units a week in all"):
        check(panel, means)


@pytest.mark.parametrize(
    ("totals", "ahead"),
    [
        ([2.0**week for week in range(12)], 2.0**16),  # doubles every week, and goes on so
        ([1.0], 30.0),  # a shop of one week
        ([100.0] * 12 + [0.0] * 4, 0.0),  # stopped
        (([0.0] * 48 + [500.0] * 4) * 2, 0.0),  # sells Christmas trees
        ([100.0 * 0.7**week for week in range(20)], 0.01),  # dies away
        ([0.0] * 9 + [0.1], 4.0),  # a gram, and then a kilogram
    ],
)
def test_shops_that_grow_close_or_have_a_season_are_none(totals: list[float], ahead: float):
    check(sell(totals), np.full(4, ahead, np.float32))


def test_a_pause_of_long_ago_does_not_excuse_a_forecast_of_nothing():
    panel = sell([100.0] * 10 + [0.0] * 8 + [100.0] * 60)
    with pytest.raises(Damaged, match=r"0 units a week in all, and sold 400 a week in its weakest"):
        check(panel, np.zeros(4, np.float32))


def test_a_zone_that_is_closed_ahead_may_sell_nothing():
    panel = sell([100.0] * 20)
    open_share = np.ones((4, len(panel.week_starts)), np.float32)
    open_share[:, 20:] = 0
    check(replace(panel, open_share=open_share), np.zeros(4, np.float32))


def test_items_that_never_sold_have_nothing_to_be_compared_with():
    panel = sell([10.0] * 20)
    unsold = replace(panel, item_ids=np.array([f"new {n}" for n in range(4)], object))
    history = SoldHistory.from_panel(panel, HORIZON)
    rows = [forecast(panel, np.full(4, 10.0)), forecast(unsold, np.full(4, 5_000.0))]
    history.check(pa.concat_tables(rows))
    nothing = SoldHistory.from_panel(replace(panel, units=panel.units * 0), HORIZON)
    nothing.check(forecast(panel, np.full(4, 5_000.0)))


def test_a_version_with_absurd_forecasts_is_not_loaded(tmp_path: Path):
    panel = sell([10.0] * 20)
    make_aggregate_distributions().save(tmp_path)
    pq.write_table(forecast(panel, np.full(4, 600.0)), tmp_path / "forecasts.parquet")
    table = load_forecasts(tmp_path)  # of an earlier release, without a history
    assert table.look_up("i001", "north", 1, MONDAY.replace(year=2025)) == []
    SoldHistory.from_panel(panel, HORIZON).save(tmp_path)
    with pytest.raises(Damaged, match=r"'i000', zone 'north': 600 units, at most 10 were sold"):
        load_forecasts(tmp_path)
