"""Closed days: read, proposed where a zone is silent, left out of learning, forecast as 0."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from configs.loading import load
from configs.settings import Settings
from features.facts.closed_days import Closure, mark_open_days
from tests.shops.steady_sales import open_shop, sell, week
from training.demand.closures import (
    describe_closures,
    measure_open_shares,
    propose_closures,
)
from training.demand.config import DemandConfig
from training.demand.data import load_demand_data
from training.demand.task import train
from training.splits import span_of_sales

CONFIG = load(
    "models/demand", DemandConfig, overrides={"fit.trees.n_trees": 5, "fit.max_rows": 5_000}
)
SHUT = {"zone": "default", "starts_at": week(12), "ends_at": week(16)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def propose(settings: Settings, weeks: list[int], present: int, **tables: object) -> list[Closure]:
    facts = open_shop(settings, sell(weeks), **tables)  # type: ignore[arg-type]
    return propose_closures(facts, settings, span_of_sales(facts, week(present), settings))


def test_silent_weeks_of_a_zone_are_proposed_and_those_of_the_table_are_not(
    settings: Settings, tmp_path: Path
) -> None:
    weeks = [*range(12), *range(16, 24)]
    (proposed,) = propose(settings, weeks, 24)
    assert proposed == Closure("default", week(12), week(16))
    facts = open_shop(settings, sell(weeks))
    span = span_of_sales(facts, week(24), settings)
    (sentence,) = describe_closures([proposed], span)
    assert "sold nothing on 28 days, 2024-03-25 to 2024-04-21" in sentence
    assert "shopwright closures --out" in sentence
    assert propose(Settings(home=tmp_path / "told"), weeks, 24, closures=[SHUT]) == []


def test_a_silence_that_goes_on_ends_when_that_of_last_year_did(settings: Settings) -> None:
    facts = open_shop(settings, [*sell([*range(20), *range(40, 71)])])
    span = span_of_sales(facts, week(75), settings)
    before, now = propose_closures(facts, settings, span)
    assert (before.ends_at, now) == (week(40), Closure("default", week(71), week(92)))
    sentence = describe_closures([before, now], span)[1]
    assert "sold nothing on 28 days, since 2025-05-12. Is it closed?" in sentence
    assert "with the day on which it opens as ends_at (2025-10-06 is proposed)" in sentence


def test_a_silence_of_last_year_counts_once_it_is_confirmed_too(settings: Settings) -> None:
    closures = [{"zone": "default", "starts_at": week(20), "ends_at": week(40)}]
    weeks = [*range(20), *range(40, 71)]
    assert propose(settings, weeks, 75, closures=closures) == [
        Closure("default", week(71), week(92))
    ]


def test_of_two_silences_of_last_year_the_nearest_says_when_this_one_ends(
    settings: Settings,
) -> None:
    weeks = [*range(20), *range(22, 24), *range(40, 72)]
    assert propose(settings, weeks, 74)[-1] == Closure("default", week(72), week(74))


def test_a_closure_is_described_in_the_days_of_its_shop(tmp_path: Path) -> None:
    berlin = Settings(home=tmp_path, timezone="Europe/Berlin")
    facts = open_shop(berlin, sell([*range(20), *range(40, 71)]))
    span = span_of_sales(facts, week(75), berlin)
    last = propose_closures(facts, berlin, span)[-1]
    assert (last.ends_at.hour, last.ends_at.weekday()) == (0, 0)
    assert "2025-10-06 is proposed" in describe_closures([last], span)[0]


def test_a_silence_without_an_earlier_one_may_end_now(settings: Settings) -> None:
    assert propose(settings, [*range(12)], 16) == [Closure("default", week(12), week(16))]


def test_a_shop_that_never_sells_on_sundays_is_not_closed_on_them(settings: Settings) -> None:
    events = [event for event in sell(range(10)) if event["occurred_at"].weekday() < 6]
    facts = open_shop(settings, events)
    assert propose_closures(facts, settings, span_of_sales(facts, week(10), settings)) == []


def test_a_day_counts_by_what_its_weekday_sells() -> None:
    days = [week(0) + timedelta(days=day) for day in range(21)]
    sunday, monday = days[13], days[14]
    closed = [
        Closure("default", sunday, sunday + timedelta(days=1)),
        Closure("default", monday - timedelta(hours=3), monday + timedelta(hours=20)),
    ]
    is_open = mark_open_days(closed, ["north"], days).reshape(1, 3, 7)
    assert np.argwhere(~is_open).tolist() == [[0, 1, 6], [0, 2, 0]]
    units = np.ones((1, 2, 7))
    units[:, :, 6] = 0  # nothing sells on Sundays
    shares = measure_open_shares(is_open, units)
    assert shares[0].tolist() == pytest.approx([1, 1, 5 / 6])


def test_closed_weeks_teach_nothing_and_planned_ones_sell_nothing(settings: Settings) -> None:
    planned = {"zone": "default", "starts_at": week(25), "ends_at": week(26)}
    part = {"zone": "default", "starts_at": week(26), "ends_at": week(26) + timedelta(days=2)}
    weeks = [*range(12), *range(16, 24)]
    facts = open_shop(settings, sell(weeks), closures=[SHUT, planned, part])
    data = load_demand_data(facts, settings, until=week(24), ahead=13)
    assert not any("sold nothing" in note for note in data.notes)
    trained = train(facts, settings, CONFIG, until=week(24), progress=lambda _: None)
    of_item = trained.served.forecasts.filter(
        [row == "a" for row in trained.served.forecasts["unique_id"].to_pylist()]
    )
    means, highest = of_item["mean"].to_pylist(), of_item["p90"].to_pylist()
    assert of_item["ds"].to_pylist()[0] == week(24)
    assert means[0] == pytest.approx(14, abs=1)  # two a day
    assert (means[1], highest[1]) == (0, 0)
    assert means[2] == pytest.approx(10, abs=1)  # five of seven days
    days = trained.served.daily.filter(
        [row == "a" for row in trained.served.daily["unique_id"].to_pylist()]
    )["mean"].to_pylist()
    assert days[7:16] == [0] * 9
    assert sum(days[14:21]) == pytest.approx(means[2])
