"""One row of `events`, as text of a file and as JSON of a request: one verdict, one row, one id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from configs.settings import Settings
from features.contracts.event_ids import derive_event_ids
from features.contracts.money import minor_digits
from features.contracts.row_checks import EventRules, ZoneRules, check_event
from features.contracts.tables import ATTRIBUTES, EVENTS, EventType
from features.sources.validation import validate

LATEST = datetime(2024, 6, 1, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {"zones": {"jp": {"currency": "JPY"}, "kw": {"currency": "KWD"}}, "currency": "EUR"}
)
ZONES = ZoneRules(frozenset({"default", "jp", "kw"}))
RULES = EventRules(lambda zone: 10 ** minor_digits(SETTINGS.zone(zone).currency), LATEST, ZONES)
GOOD = {"event_type": "purchase", "occurred_at": "2024-05-01T10:00:00Z", "item_id": "a"}
COLUMNS = [column.name for column in EVENTS.columns if column.name != "event_id"]
EXTRAS = ["store", "channel"]


def read_as_file(rows: list[dict[str, str]]) -> tuple[dict[int, str], list[dict[str, Any]]]:
    """The reasons of the bad rows by their index, and the good rows."""
    schema = pa.schema(
        [(name, pa.string()) for name in [*COLUMNS, *EXTRAS, "__file"]] + [("__row", pa.int64())]
    )
    raw = pa.Table.from_pylist(
        [row | {"__file": "events.csv", "__row": index} for index, row in enumerate(rows)], schema
    )
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.register("raw", raw)
        validated = validate(
            duck, EVENTS, [*COLUMNS, *EXTRAS], SETTINGS, latest=LATEST, zones=ZONES
        )
    bad = dict(
        zip(validated.bad["row"].to_pylist(), validated.bad["reasons"].to_pylist(), strict=True)
    )
    return bad, validated.good.to_pylist()


def read_as_request(rows: list[dict[str, Any]]) -> tuple[dict[int, str], list[dict[str, Any]]]:
    checked = [check_event(row, RULES) for row in rows]
    bad = {
        index: "; ".join(fault.reason for fault in event.faults)
        for index, event in enumerate(checked)
        if event.faults
    }
    good = [event for event in checked if not event.faults]
    event_ids = derive_event_ids([event.content for event in good])
    return bad, [
        dict(event.row) | {"event_id": event_id}
        for event, event_id in zip(good, event_ids, strict=True)
    ]


def without_attributes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without the text that keeps a number a number in requests only."""
    return [{name: row[name] for name in row if name != ATTRIBUTES} for row in rows]


numbers = st.one_of(
    st.decimals(-10, 10_000, places=3).map(str),
    st.decimals(0, 10**12, places=7).map(str),
    st.floats(0, 1e6).map(repr),
    st.sampled_from(["0.29", "1.015", "0.335", "-0", "1e3", "1E-7", ".5", "5.", "+5", "007"]),
    st.sampled_from(["999999999999.995", "1e12", "1_000", "1e400", "nan", "inf", "ten", "1,5"]),
    st.sampled_from(["0x10", "٣", "$5", "1 000", "true", "\t5"]),
)
texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from([" a ", "\u00a0b\u3000", "a\tb", "\ta\n", "x" * 1_000, "x" * 1_001, "\x00"])
    | st.sampled_from(['{"k": "v"}', "\\u0000", 'quote"', "back\\slash", "\x1f", "\x7f", "1e5"]),
)
times = st.one_of(
    st.integers(-(10**16), 10**12).map(lambda n: (LATEST + timedelta(microseconds=n)).isoformat()),
    st.builds(
        lambda second, offset: f"{LATEST + timedelta(seconds=second):%Y-%m-%d %H:%M:%S}{offset}",
        st.integers(-60 * 86_400, 86_400),
        st.sampled_from(["+00:00", "-05:00", "+05:30", "+0200", "+14:00"]),
    ),
    st.sampled_from(["2024-05-01T10:00:00.1234567Z", "yesterday", "2024-02-30T00:00:00Z"])
    | st.sampled_from(["1850-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1714557600"]),
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "event_type": st.sampled_from([*EventType, *EventType, "bought", " purchase "]),
    "occurred_at": times,
    "zone": st.sampled_from(["default", "jp", "kw", " jp", "other"]),
    **dict.fromkeys(["quantity", "line_amount", "unit_price", "list_price", "rank"], numbers),
    "rank": numbers | st.integers(0, 30).map(str),
}
rows = st.lists(
    st.fixed_dictionaries(
        {
            name: st.just(GOOD.get(name, "")) | st.just("") | VALUES.get(name, texts)
            for name in [*COLUMNS, *EXTRAS]
        }
    ),
    min_size=1,
    max_size=30,
)


@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[*HealthCheck], derandomize=True
)
@given(rows)
def test_files_and_requests_give_one_verdict_one_row_and_one_id(rows: list[dict[str, str]]) -> None:
    file_bad, file_good = read_as_file(rows)
    bad, good = read_as_request(rows)
    assert bad == file_bad
    assert without_attributes(good) == without_attributes(file_good)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("event_type", "bought", "event_type is unknown"),
        ("event_type", " ", "event_type is missing"),
        ("item_id", "", "item_id is missing"),
        ("item_id", "a\x00", "item_id holds a character that cannot be kept"),
        ("user_id", "u" * 1_001, "user_id is longer than 1000 characters"),
        ("occurred_at", "yesterday", "occurred_at is no time"),
        ("occurred_at", "1969-12-31T23:59:59Z", "occurred_at lies before 1970"),
        ("occurred_at", "2024-06-01T00:00:00.000001Z", "occurred_at lies in the future"),
        ("quantity", "-1", "quantity is below 0; quantity is not above 0"),
        ("quantity", "0", "quantity is not above 0"),
        ("quantity", "1e12", "quantity is no number"),
        ("rank", "1.5", "rank is no whole number"),
        ("rank", "0", "rank is below 1"),
        ("line_amount", "free", "line_amount is no amount of money"),
        ("line_amount", "1e12", "line_amount is no amount of money"),
        ("unit_price", "-0.01", "unit_price is below 0"),
        ("zone", "other", "zone is unknown"),
        ("user_id", "满" * 401, "user_id is longer than 1200 bytes"),
        ("store", "s" * 10_000, "attributes are longer than 10000 characters"),
        ("store", "a\x00", "attributes hold a character that cannot be kept"),
    ],
)
def test_each_fault_has_one_name(column: str, value: str, reason: str) -> None:
    row = GOOD | {column: value}
    assert read_as_file([row])[0] == read_as_request([row])[0] == {0: reason}


def test_a_line_amount_beyond_what_is_kept_is_refused() -> None:
    row = GOOD | {"unit_price": "900000000000", "quantity": "900000"}
    reason = "unit_price times quantity is too large"
    assert read_as_file([row])[0] == read_as_request([row])[0] == {0: reason}
    # A line amount that is given is taken as it is.
    assert read_as_file([row | {"line_amount": "1"}])[0] == {}
    assert read_as_request([row | {"line_amount": "1"}])[0] == {}


def test_what_differs_between_the_doors() -> None:
    assert read_as_request([GOOD | {"item_id": 9}])[0] == {0: "item_id is no text"}
    assert read_as_request([GOOD | {"Quantity": 2}])[1][0]["quantity"] == 1.0
    assert read_as_request([GOOD | {"store": float("nan")}])[0] == {
        0: "attributes hold a number that is none"
    }


def test_the_id_is_that_of_earlier_versions() -> None:
    """Written down, since a state folder holds ids that an earlier version derived."""
    line = {
        "event_type": "purchase",
        "occurred_at": "2024-05-01T10:00:00+02:00",
        "user_id": "7",
        "item_id": "a",
        "quantity": "1.5",
        "unit_price": "1.29",
        "order_id": "o1",
        "rank": "2",
        "channel": "web",
        "store": "",
    }
    expected = [
        "1cf719d8b8fcbf91beafb1ffe40c4a9fb5cf087aadf05f7fa18c52c362b294d0",
        "cbc52240b51f3526a765eae24b8efa6c664db5fb7604a1f1c3fc7d6273e360e9",
    ]
    for read in (read_as_file, read_as_request):
        assert [row["event_id"] for row in read([line, line])[1]] == expected


def test_ids_do_not_depend_on_how_json_writes_the_values() -> None:
    as_text = GOOD | {"quantity": "2", "unit_price": "1.50", "rank": "1", "store": "9"}
    as_json = {"store": 9, "rank": 1, "unit_price": 1.5, "quantity": 2, **GOOD}
    as_json["occurred_at"] = "2024-05-01T12:00:00.000+02:00"
    ids = [read_as_request([row])[1][0]["event_id"] for row in (as_text, as_json)]
    assert ids == [read_as_file([as_text])[1][0]["event_id"]] * 2
