"""A retraining stops where the data are not like those of the champion."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.facts.closed_days import Closure
from features.facts.facts import Facts
from models.registry import Registry
from tests.shops.event_tables import make_event, make_table
from training.data_checks import (
    DataLimits,
    DataProfile,
    find_data_problems,
    read_data_profile,
)
from training.run import TrainingRun

FIRST = date(2024, 1, 1)  # a Monday
N_DAYS = 26 * 7
NOW = datetime(2024, 7, 1, tzinfo=UTC)  # the day after the last one
LIMITS = DataLimits()


def a_profile(rows: np.ndarray | None = None, **faults: np.ndarray) -> DataProfile:
    """100 sales a day, none on Sundays, none of them at fault."""
    usual = np.where(np.arange(N_DAYS) % 7 == 6, 0.0, 100.0)
    none = dict.fromkeys(("no_user", "no_amount", "unknown"), np.zeros(N_DAYS))
    rows = usual if rows is None else rows
    return DataProfile(FIRST, rows, {**none, **faults}, NOW - timedelta(hours=30))


def problems(profile: DataProfile, former: dict[str, int] | None = None) -> str:
    return "; ".join(find_data_problems(profile, former or {}, NOW, LIMITS))


def test_data_as_usual_have_no_problem() -> None:
    usual = a_profile()
    assert problems(usual, usual.count_weeks()) == ""


def test_a_shop_that_is_closed_on_sundays_misses_no_days_and_one_that_loses_days_does() -> None:
    rows = a_profile().rows.copy()
    rows[-28:][::2] = 0  # 12 of the 24 open days of four weeks are left
    text = problems(a_profile(rows))
    assert "12 of the last 28 days have sales, 24 are usual" in text


def test_an_import_with_half_of_the_days_everywhere_is_seen_by_the_champion_s_counts() -> None:
    usual = a_profile()
    rows = usual.rows.copy()
    rows[::2] = 0
    halved = a_profile(rows)
    assert "days have sales" not in problems(halved)  # alike before and after
    # 25 whole weeks of 600 rows; every second day of 14 open 12 is gone
    assert "7,500 of 15,000 rows of 25 weeks are gone" in problems(halved, usual.count_weeks())


def test_a_history_that_only_starts_later_is_lost_too() -> None:
    usual = a_profile()
    late = replace(usual, first=FIRST + timedelta(days=91), rows=usual.rows[91:])
    assert "rows of 25 weeks are gone" in problems(late, usual.count_weeks())


def test_a_training_until_an_earlier_instant_is_compared_on_the_weeks_that_it_sees() -> None:
    usual = a_profile()
    earlier = replace(usual, rows=usual.rows[:-28], last=NOW)
    assert problems(earlier, usual.count_weeks()) == ""


def test_a_volume_far_below_the_usual_one_stops() -> None:
    rows = a_profile().rows.copy()
    rows[-28:] *= 0.4
    assert "240 sales a week in the last four, 600 are usual" in problems(a_profile(rows))


def test_old_events_stop_only_where_the_time_is_known() -> None:
    old = replace(a_profile(), last=NOW - timedelta(days=9))
    assert "the last event is 9 days old" in problems(old)
    assert find_data_problems(old, {}, None, LIMITS) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no_user", "no user_id"),
        ("no_amount", "no amount"),
        ("unknown", "an item_id that the catalogue does not have"),
    ],
)
def test_columns_that_go_missing_stop(fault: str, words: str) -> None:
    rows = np.zeros(N_DAYS)
    rows[-28:] = np.where(np.arange(28) % 7 == 6, 0.0, 20.0)
    text = problems(a_profile(**{fault: rows}))
    assert f"20% of the sales of the last four weeks have {words}, 0% are usual" in text


def test_faults_that_were_always_there_do_not_stop() -> None:
    rows = np.where(np.arange(N_DAYS) % 7 == 6, 0.0, 60.0)
    assert problems(a_profile(no_user=rows)) == ""


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Settings, Facts]:
    settings = Settings(home=tmp_path)
    facts = Facts(settings)
    events = [
        make_event("u1", "tea", datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(days=day))
        for day in range(70)
    ]
    events.append(make_event(None, "no such item", datetime(2024, 1, 3, 12, tzinfo=UTC)))
    facts.write({"events": make_table("events", events)})
    facts.write({"items": make_table("items", [{"item_id": "tea"}])})
    return settings, facts


def test_the_profile_counts_sales_and_their_faults_by_day(shop: tuple[Settings, Facts]) -> None:
    profile = read_data_profile(shop[1], datetime(2024, 1, 15, tzinfo=UTC))
    assert profile is not None
    assert profile.first == FIRST
    assert profile.rows.tolist() == [1, 1, 2, *[1] * 11]
    assert profile.faults["unknown"].tolist() == [0, 0, 1, *[0] * 11]
    assert profile.faults["no_user"].sum() == 1
    assert profile.count_weeks() == {"2024-01-01": 8}  # the newest week may still fill up


def test_a_champion_s_training_stops_before_anything_is_fitted(
    shop: tuple[Settings, Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, facts = shop
    registry = Registry(settings.mlflow_url, settings.home)
    run = TrainingRun(
        facts, settings, registry, None, lambda _: None, now=datetime(2024, 6, 1, tzinfo=UTC)
    )

    class Fitted(Exception):
        """The training began."""

    class Task:
        name = "demand"

    def fit(*_: object, **__: object) -> None:
        raise Fitted

    monkeypatch.setattr(TrainingRun, "_fit", fit)
    monkeypatch.setattr("training.run._describe_config", lambda *_: None)
    monkeypatch.setattr(TrainingRun, "_parameters", lambda *_: {})
    with pytest.raises(Fitted):  # the first training has nothing to compare with
        run.train(Task(), None)  # type: ignore[arg-type]
    version = registry.register("demand", run_id="", source=str(settings.home), tags={})
    registry.promote("demand", version.version)
    with pytest.raises(BadInput, match="the last event is 82 days old") as refused:
        run.train(Task(), None)  # type: ignore[arg-type]
    assert "--accept-data" in str(refused.value.hint)
    with pytest.raises(Fitted):
        replace(run, accept_data=True).train(Task(), None)  # type: ignore[arg-type]


def close(first: date, n_days: int, zone: str = "default") -> Closure:
    start = datetime.combine(first, time(), UTC)
    return Closure(zone, start, start + timedelta(days=n_days))


def closed_profile(n_weeks: int, n_open_days: int, *closures: Closure) -> DataProfile:
    """Sales as usual, then a closure of whole weeks, then some open days; the last is yesterday."""
    rows = a_profile().rows.copy()
    rows[-n_open_days - 7 * n_weeks : -n_open_days] = 0
    return replace(a_profile(rows), zone_shares={"default": 1.0}, closures=closures)


def test_a_declared_closure_explains_the_silence_and_another_does_not() -> None:
    reopened = FIRST + timedelta(days=N_DAYS - 3)
    closure = close(reopened - timedelta(weeks=8), 8 * 7)
    silent = closed_profile(8, 3)
    assert "of the last 28 days have sales" in problems(silent)
    assert problems(replace(silent, closures=(closure,))) == ""
    # Of sixteen zones with a twentieth of the sales one may be closed for good.
    small = replace(silent, zone_shares={"default": 0.95, "north": 0.05})
    gone = close(FIRST, N_DAYS, "north")
    assert problems(replace(small, closures=(closure, gone))) == ""
    assert "of the last 28 days have sales" in problems(replace(small, closures=(gone,)))
    # What was lost before the closure is still seen.
    rows = silent.rows.copy()
    rows[-14 * 7 : -9 * 7] *= 0.3
    lost = replace(silent, rows=rows, closures=(closure,))
    assert "180 sales a week in the last four" in problems(lost)


def test_closed_days_do_not_age_the_last_event() -> None:
    last = NOW - timedelta(days=60)
    stopped = replace(a_profile(), last=last, zone_shares={"default": 1.0})
    assert "the last event is 60 days old" in problems(stopped)
    assert "shopwright closures" in problems(stopped)
    shut = close(last.date() + timedelta(days=1), 57)
    assert problems(replace(stopped, closures=(shut,))) == ""
    half = close(last.date() + timedelta(days=1), 30)
    assert "60 days old, 30 of them not closed" in problems(replace(stopped, closures=(half,)))
    two = replace(stopped, zone_shares={"default": 0.5, "north": 0.5}, closures=(shut,))
    assert "60 days old" in problems(two)  # the other zone was open


def test_the_profile_reads_closures_and_the_shares_of_zones(
    shop: tuple[Settings, Facts],
) -> None:
    _, facts = shop
    rows = [{"zone": "default", "starts_at": NOW, "ends_at": NOW + timedelta(days=9)}]
    facts.write({"closures": make_table("closures", rows)})
    profile = read_data_profile(facts, None)
    assert profile is not None
    assert list(profile.closures) == [Closure("default", NOW, NOW + timedelta(days=9))]
    assert profile.zone_shares == {"default": 1.0}
