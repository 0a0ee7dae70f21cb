from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from features.contracts.tables import EVENTS
from features.database import reading, transaction
from features.database_tables import events
from features.facts.events import Appended, EventLog, read_received_events
from features.facts.exclusions import RowFilter

NOON = datetime(2018, 1, 1, 12, tzinfo=UTC)


def row(event_id, minutes=0, **values):
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "occurred_at": NOON + timedelta(minutes=minutes),
        "item_id": "milk",
        **values,
    }


def test_an_event_counts_once_however_often_it_is_sent(engine):
    with transaction(engine) as connection:
        assert EventLog(connection).append([row("a"), row("b"), row("a")], NOON) == Appended(2, 1)
    with transaction(engine) as connection:
        assert EventLog(connection).append([row("c"), row("b", item_id="other")], NOON) == Appended(
            1, 1
        )
        assert EventLog(connection).append([], NOON) == Appended(0, 0)
    with reading(engine) as connection:
        table = EventLog(connection).as_arrow()
    assert table.column("event_id").to_pylist() == ["a", "b", "c"]
    assert table.column("item_id").to_pylist() == ["milk", "milk", "milk"]


@pytest.mark.parametrize("who", ["user_id", "visitor_id", "session_id"])
def test_later_events_are_found_through_an_index(engine, who):
    query = (
        f"SELECT * FROM events WHERE {who} = 'u' "
        "AND occurred_at > '2018-01-01' AND occurred_at <= '2018-01-02'"
    )
    with reading(engine) as connection:
        if engine.dialect.name == "sqlite":
            plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {query}")).all()
        else:
            connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
            plan = connection.execute(sa.text(f"EXPLAIN {query}")).all()
    assert f"ix_events_{who}_occurred_at" in str(plan)


def test_the_log_reads_as_the_stored_schema_and_forgets_on_request(engine, settings):
    with transaction(engine) as connection:
        EventLog(connection).append(
            [
                row("a", user_id="u", quantity=2.0, line_amount_minor=398, rank=1),
                row("b", user_id="w", zone="north"),
            ],
            NOON,
        )
    table = read_received_events(settings)
    assert table.schema == EVENTS.arrow
    assert table.column("zone").to_pylist() == ["default", "north"]
    assert table.column("line_amount_minor").to_pylist() == [398, None]
    with transaction(engine) as connection:
        assert EventLog(connection).erase(events.c.user_id == "u") == 1
    assert read_received_events(settings).column("event_id").to_pylist() == ["b"]


def test_a_rolled_back_write_leaves_nothing(engine):
    with pytest.raises(ZeroDivisionError), transaction(engine) as connection:
        EventLog(connection).append([row("a")], NOON)
        raise ZeroDivisionError
    with reading(engine) as connection:
        assert EventLog(connection).as_arrow().num_rows == 0


def test_marks_and_removal_find_their_rows(engine):
    chosen = RowFilter((("user_id", "w"),), since=NOON)
    with transaction(engine) as connection:
        log = EventLog(connection)
        rows = [row("a", user_id="w"), row("b", user_id="w"), row("c", user_id="u"), row("d")]
        rows[1]["occurred_at"] = NOON - timedelta(days=1)
        log.append([{"occurred_at": NOON} | each for each in rows], NOON)
        assert [log.mark(chosen, exclude=True), log.mark(chosen, exclude=True)] == [1, 0]
        assert log.as_arrow().column("exclude").to_pylist() == [True, None, None, None]
        assert log.mark(chosen, exclude=False) == 1
        assert log.remove_matching(chosen) == 1
        assert log.as_arrow().column("event_id").to_pylist() == ["b", "c", "d"]
