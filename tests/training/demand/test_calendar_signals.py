"""Signals of whole weeks: month begins, public holidays by country, regressors as they were
known."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from configs.settings import Settings
from features.contracts.calendar import add_weeks
from features.contracts.errors import BadInput
from features.contracts.tables import TABLES
from features.facts.facts import Facts
from training.demand.calendar_signals import read_zone_signals

FIRST = datetime(2017, 6, 26, 4, tzinfo=UTC)  # a Monday, New York
STARTS = [add_weeks(FIRST, n, "America/New_York") for n in range(3)]


def signals(
    settings: Settings, zones: tuple[str, ...] = ("default",), known_at: datetime | None = None
) -> Any:
    names, values = read_zone_signals(Facts(settings), settings, STARTS, zones, known_at)
    return {name: values[n].tolist() for n, name in enumerate(names)}


def shop(home: Path, **more: Any) -> Settings:
    return Settings(home=home, timezone="America/New_York", **more)


def write(settings: Settings, rows: list[dict[str, Any]]) -> None:
    schema = TABLES["regressors"].arrow
    filled = [{field.name: row.get(field.name) for field in schema} for row in rows]
    Facts(settings).write({"regressors": pa.Table.from_pylist(filled, schema=schema)})


def test_the_first_seven_days_of_a_month_are_shared_among_weeks(tmp_path: Path) -> None:
    begins = signals(shop(tmp_path))["month_begins"][0]
    assert begins == pytest.approx([2 / 7, 5 / 7, 0])  # 1 and 2 July; 3 to 7 July; none


def test_holidays_are_those_of_each_zones_country(tmp_path: Path) -> None:
    settings = shop(tmp_path, country="US", zones={"bavaria": {"country": "DE-BY"}, "home": {}})
    holidays = signals(settings, ("bavaria", "home"))["holidays"]
    assert holidays == [[0, 0, 0], [0, 1, 0]]  # 4 July
    assert "holidays" not in signals(shop(tmp_path))


def test_an_unknown_country_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ATLANTIS"):
        signals(shop(tmp_path, country="ATLANTIS"))


def test_a_regressor_is_known_from_its_time_on(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    later = STARTS[2] + timedelta(days=1)
    write(
        settings,
        [
            {"name": "heat", "zone": "default", "at": STARTS[0], "value": 10.0},
            {"name": "heat", "zone": "default", "at": STARTS[1], "value": 30.0},
            {"name": "heat", "zone": "default", "at": later, "value": 99.0, "known_at": STARTS[2]},
        ],
    )
    before = signals(settings, ("north",), STARTS[2])["heat"][0]
    assert before == pytest.approx(
        [-0.5, 0.5, 0]
    )  # 20 ± 10, over twice the deviation; the third week is not known
    assert signals(settings, ("north",), STARTS[2] + timedelta(hours=1))["heat"][0][2] > 0.5
    assert signals(settings, ("north",))["heat"][0][2] > 0.5
