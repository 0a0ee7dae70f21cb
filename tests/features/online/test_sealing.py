"""Old received events move into segments: nothing is lost, nothing counts twice, and nobody sees a
difference."""

import contextlib
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.manifest import read_segments
from features.database import reading
from features.database_tables import events
from features.facts import facts as facts_module
from features.facts.events import EventLog
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories
from features.online.materialize import materialize
from features.online.online_store import OnlineHistories
from features.online.sealing import SEALED_AFTER, seal_events
from tests.shops.event_tables import make_event
from tests.shops.user_histories import (
    T,
    assert_same_history,
    draw_events,
    import_events,
    receive_events,
)

OLD = T - SEALED_AFTER - timedelta(days=1)
ANONYMOUS = {"visitor_id": "anonymous", "session_id": "s"}
USERS = ("u0", "u1", "u2", "u3", None)


def kept(engine):
    with reading(engine) as connection:
        return set(connection.execute(sa.select(events.c.event_id)).scalars())


def known(facts):
    found = facts.read("events").event_id.to_pyarrow().to_pylist()
    assert len(found) == len(set(found))
    return set(found)


def histories(settings, engine):
    online = OnlineHistories(settings, engine)
    return {user: online.read(user, "anonymous", "s", T) for user in USERS}


@pytest.fixture
def shop(settings, engine):
    """With received events of every age, materialized; one that came since, and one of each kind
    without a user."""
    facts = import_events(settings, draw_events(1, -80, 0, 60))
    receive_events(engine, draw_events(2, -80, 0, 120))
    bought = make_event(None, "i1", OLD, **ANONYMOUS)
    seen = make_event(None, "i2", OLD, "view_item", **ANONYMOUS)
    receive_events(engine, [bought, seen])
    materialize(facts, settings, T)
    late = make_event("u0", "i3", OLD, order_id="late")
    receive_events(engine, [late])
    return settings, engine, facts, (bought["event_id"], seen["event_id"], late["event_id"])


def test_what_is_sealed_is_read_as_before(shop):
    settings, engine, facts, (bought, seen, late) = shop
    before, everything, in_sql = histories(settings, engine), known(facts), kept(engine)
    n_sealed = seal_events(facts, settings, T)
    left = kept(engine)
    assert n_sealed == len(in_sql) - len(left) > 20
    assert {bought, late} <= left  # what a visitor is known by, and what no row holds yet
    assert seen not in left
    assert known(facts) == known(Facts(settings)) == everything
    for user, history in histories(settings, engine).items():
        assert_same_history(history, before[user])
    assert seal_events(facts, settings, T) == 0
    report = materialize(facts, settings, T)
    assert report.n_sealed == 0
    for user, history in histories(settings, engine).items():
        assert_same_history(history, before[user])
    assert seal_events(facts, settings, T) == 1
    assert late not in kept(engine)
    offline = compute_offline_histories(facts, T)
    online = OnlineHistories(settings, engine)
    for user in offline:
        assert_same_history(online.read(user, None, None, T), offline[user])


def test_a_sealed_event_that_is_sent_again_counts_once(shop):
    settings, engine, facts, _ = shop
    with reading(engine) as connection:
        rows = [
            dict(row)
            for row in EventLog(connection).read_sealable(T - SEALED_AFTER, "").to_pylist()
        ]
    before, everything = histories(settings, engine), known(facts)
    seal_events(facts, settings, T)
    receive_events(engine, rows)
    assert known(facts) == everything
    for user, history in histories(settings, engine).items():
        assert_same_history(history, before[user])


def test_an_imported_row_stays_when_the_received_one_is_sealed(shop):
    settings, engine, facts, _ = shop
    with reading(engine) as connection:
        rows = EventLog(connection).read_sealable(T - SEALED_AFTER, "")
    first = rows.slice(0, 1).to_pylist()[0]
    facts.write({"events": rows.slice(0, 1).from_pylist([first | {"quantity": 77.0}], rows.schema)})
    seal_events(facts, settings, T)
    assert first["event_id"] not in kept(engine)
    found = (
        facts.read("events")
        .filter(lambda row: row.event_id == first["event_id"])
        .quantity.to_pyarrow()
    )
    assert found.to_pylist() == [77.0]


def test_a_reader_between_the_manifest_and_the_deletion_loses_nothing(shop, monkeypatch):
    settings, _, facts, _ = shop
    everything = known(facts)
    reader, received = Facts(settings), Facts._read_received

    def sealed_meanwhile(self):
        rows = received(self)
        if self is reader:
            seal_events(facts, settings, T)
        return rows

    monkeypatch.setattr(Facts, "_read_received", sealed_meanwhile)
    assert known(reader) == everything


def test_many_small_segments_become_one(shop, monkeypatch):
    settings, _, facts, _ = shop
    monkeypatch.setattr(facts_module, "_MAX_SEGMENTS", 1)
    everything = known(facts)
    seal_events(facts, settings, T)
    assert len(read_segments(settings.home / "tables")["events"]) == 1
    assert known(facts) == everything


class Killed(BaseException):
    pass


def test_a_crash_at_any_step_loses_nothing_and_counts_nothing_twice(
    tmp_path, migrated_sqlite, monkeypatch
):
    import shutil

    from features.database import engine as open_engine

    built = Settings(home=tmp_path / "built")
    built.home.mkdir()
    shutil.copy(migrated_sqlite, built.home / "shopwright.db")
    opened = open_engine(built)
    facts = import_events(built, draw_events(1, -80, 0, 30))
    receive_events(opened, draw_events(2, -80, 0, 60))
    materialize(facts, built, T)
    everything, before = known(facts), histories(built, opened)
    opened.dispose()
    finished = False
    for limit in range(20):
        settings = Settings(home=tmp_path / str(limit))
        shutil.copytree(built.home, settings.home)
        with monkeypatch.context() as patch:
            calls = iter(range(limit))

            def dying(call, calls=calls):
                def wrapped(*arguments, **named):
                    if next(calls, None) is None:
                        raise Killed
                    return call(*arguments, **named)

                return wrapped

            patch.setattr(os, "fsync", dying(os.fsync))
            patch.setattr(Path, "replace", dying(Path.replace))
            patch.setattr(Path, "touch", dying(Path.touch))
            patch.setattr(EventLog, "read_sealable", dying(EventLog.read_sealable))
            patch.setattr(EventLog, "remove", dying(EventLog.remove))
            with contextlib.suppress(Killed):
                finished = seal_events(Facts(settings), settings, T) > 0
        opened = open_engine(settings)
        for _ in range(2):
            assert known(Facts(settings)) == everything
            for user, history in histories(settings, opened).items():
                assert_same_history(history, before[user])
            seal_events(Facts(settings), settings, T)  # the next one goes on from there
        assert not np.any([each < T - SEALED_AFTER for each in occurred(opened)])
        opened.dispose()
        if finished:
            break
    assert finished
    assert limit > 6


def occurred(engine):
    with reading(engine) as connection:
        return list(connection.execute(sa.select(events.c.occurred_at)).scalars())
