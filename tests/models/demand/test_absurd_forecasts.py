"""A forecast that is no number of units is not loaded, and names the item."""

import math

import pyarrow as pa
import pytest

from features.contracts.errors import Damaged
from models.demand.lookup import check_forecasts

FORECAST = {"unique_id": "milk", "zone": "north", "mean": 3.0, "p10": 1.0, "p50": 3.0, "p90": 6.0}


@pytest.mark.parametrize(
    "fault",
    [
        {"mean": math.nan},
        {"mean": math.inf},
        {"mean": None},
        {"mean": -1.0},
        {"p90": 1e12},
        {"p10": 4.0},
    ],
)
def test_an_absurd_forecast_is_refused(fault):
    rows = pa.Table.from_pylist([FORECAST, FORECAST | {"unique_id": "tea"} | fault])
    with pytest.raises(Damaged, match=r"1 of 2 forecasts are absurd.*item 'tea', zone 'north'"):
        check_forecasts(rows)


def test_forecasts_of_nothing_and_of_a_lot_are_none():
    nothing = FORECAST | {"mean": 0.0, "p10": 0.0, "p50": 0.0, "p90": 0.0}
    check_forecasts(pa.Table.from_pylist([nothing, FORECAST | {"p90": 1e9}]))
