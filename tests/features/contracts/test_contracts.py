"""The nouns everyone agrees on keep their promises."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.calendar import add_weeks, find_week_start, week_starts
from features.contracts.clock import BusinessClock, feature_time, parse_time
from features.contracts.errors import BadInput, UnknownName
from features.contracts.money import to_major, to_minor
from features.contracts.seeds import generator
from features.contracts.tables import TABLES


@given(st.integers(-(10**12), 10**12), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_money_survives_the_way_out_and_in(minor: int, currency: str) -> None:
    assert to_minor(to_major(minor, currency), currency) == minor


def test_money_that_is_none_is_refused() -> None:
    for text in ("", "1,99", "NaN", "Infinity"):
        with pytest.raises(BadInput):
            to_minor(text, "EUR")
    with pytest.raises(BadInput):
        to_minor(Decimal("1"), "euro")


def test_a_week_across_daylight_saving_is_an_hour_longer_or_shorter() -> None:
    start = datetime(2017, 10, 30, 4, tzinfo=UTC)  # Monday 00:00 in New York, summer time
    following = add_weeks(start, 1, "America/New_York")
    assert following - start == timedelta(days=7, hours=1)  # clocks went back on 5 November
    assert find_week_start(following - timedelta(seconds=1), "America/New_York") == start


@given(st.integers(0, 40 * 365 * 24), st.integers(0, 60))
def test_weeks_follow_each_other_without_a_gap(hours: int, n: int) -> None:
    first = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    starts = week_starts(first, first + timedelta(weeks=n), "Europe/Berlin")
    assert starts[0] <= first < add_weeks(starts[0], 1, "Europe/Berlin")
    assert starts[-1] <= first + timedelta(weeks=n) < add_weeks(starts[-1], 1, "Europe/Berlin")
    assert all(add_weeks(a, 1, "Europe/Berlin") == b for a, b in pairwise(starts))


def test_features_stand_still_within_an_hour() -> None:
    at = datetime(2017, 12, 4, 5, 59, 59, 999, tzinfo=UTC)
    assert feature_time(at) == datetime(2017, 12, 4, 5, tzinfo=UTC)


def test_the_business_clock_starts_where_it_is_told() -> None:
    start = datetime(2018, 1, 1, 5, tzinfo=UTC)
    anchored = datetime.now(UTC) - timedelta(hours=3)
    assert (
        timedelta(0)
        <= BusinessClock(start, anchored).now() - start - timedelta(hours=3)
        < timedelta(seconds=60)
    )


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(BadInput, match="Z"):
        parse_time("2017-12-04T05:00:00")


def test_streams_of_randomness_do_not_move_each_other() -> None:
    first = generator(1, "ranker").random(3)
    assert np.array_equal(first, generator(1, "ranker").random(3))
    assert not np.array_equal(first, generator(1, "als").random(3))


def test_an_unknown_name_suggests_the_nearest() -> None:
    assert "purchase" in str(UnknownName("purchas", ["purchase", "refund"], kind="event type"))
    many = str(UnknownName("?", [f"item {n:03}" for n in range(60)], kind="item"))
    assert many.endswith("item 048, item 049 ...")


def test_every_key_is_a_stored_column() -> None:
    for schema in TABLES.values():
        assert set(schema.key) <= set(schema.arrow.names)


def test_contracts_are_light() -> None:
    code = (
        "import sys, features.contracts.tables, features.contracts.histories\n"
        "import features.contracts.recommendations\n"
        "heavy = ('torch', 'duckdb', 'ibis', 'sqlalchemy', 'mlflow', 'feast', 'pandas')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
