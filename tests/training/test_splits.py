"""What lies between the last sale and the present: sold nothing, missing, or too long ago."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from configs.settings import Settings
from features.contracts.errors import TooLittleData
from tests.shops.steady_sales import open_shop, sell, week
from training.splits import SalesSpan, describe_gap, span_of_sales


def span(home: Path, present: datetime | None, *, until: datetime | None = None) -> SalesSpan:
    """Ten weeks of sales, read at `present`."""
    settings = Settings(home=home, data_until=until)
    return span_of_sales(open_shop(settings, sell(range(10))), present, settings)


def test_weeks_without_a_sale_up_to_the_present_are_known(tmp_path: Path) -> None:
    stopped = span(tmp_path, week(16) + timedelta(days=2))
    assert (stopped.sold_until, stopped.end, stopped.present) == (week(10), week(16), week(16))
    (note,) = describe_gap(stopped)
    assert note.startswith("data end 2024-03-10, 6 weeks before now (2024-04-22)")
    assert "--data-until 2024-03-11T00:00Z" in note


def test_they_are_missing_where_the_settings_say_so(tmp_path: Path) -> None:
    missing = span(tmp_path, week(16), until=week(10))
    assert (missing.end, missing.present, missing.n_missing) == (week(10), week(16), 6)
    (note,) = describe_gap(missing)
    assert "6 weeks before now" in note
    assert "complete until 2024-03-11, later weeks count as missing" in note


def test_data_that_come_a_week_late_are_no_week_without_sales(tmp_path: Path) -> None:
    late = span(tmp_path, week(11))
    assert (late.end, late.present) == (week(10), week(11))
    assert "1 week before now" in describe_gap(late)[0]


def sell_on_workdays(settings: Settings, last: datetime) -> SalesSpan:
    """Ten weeks of sales from Monday to Friday, until `last`, read three days after week 10."""
    events = [
        event
        for event in sell(range(10))
        if event["occurred_at"].weekday() < 5 and event["occurred_at"] < last
    ]
    return span_of_sales(open_shop(settings, events), week(10) + timedelta(days=3), settings)


def test_a_shop_that_is_closed_at_weekends_knows_its_last_week(tmp_path: Path) -> None:
    whole = sell_on_workdays(Settings(home=tmp_path / "whole"), week(10))
    assert (whole.end, describe_gap(whole)) == (week(10), ())
    # Sales of Monday to Wednesday only: the week is still being filled.
    part = sell_on_workdays(Settings(home=tmp_path / "part"), week(9) + timedelta(days=3))
    assert part.end == week(9)


def test_a_young_shop_counts_a_week_without_a_sale_at_its_end(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    events = [event for event in sell(range(1)) if event["occurred_at"].weekday() < 3]
    young = span_of_sales(open_shop(settings, events), week(1), settings)
    assert (young.sold_until, young.end, young.present) == (week(1), week(1), week(1))


def test_without_a_present_the_data_end_with_their_last_week(tmp_path: Path) -> None:
    whole = span(tmp_path, None)
    assert (whole.end, whole.present, describe_gap(whole)) == (week(10), week(10), ())


def test_a_present_years_after_the_data_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        TooLittleData, match=r"90 weeks before the present .* SHOPWRIGHT_CLOCK_START"
    ):
        span(tmp_path, week(100))
    with pytest.raises(TooLittleData, match="a forecast bridges 26"):
        span(tmp_path / "missing", week(40), until=week(10))
