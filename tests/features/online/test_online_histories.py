import json
import os
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import feature_time
from features.contracts.errors import BadInput, UnknownName
from features.database import engine as open_engine
from features.database import reading, transaction
from features.database_tables import BOUGHT, events, user_consent
from features.facts.facts import Facts
from features.online.erasure import forget_user
from features.online.feast_definitions import project_name, redis_connection
from features.online.histories import compute_offline_histories, compute_offline_items
from features.online.materialize import load_items, materialize
from features.online.online_store import OnlineHistories
from features.online.parity_check import check_parity
from features.online.snapshots import current_version, features_folder, locate_store
from features.online.stored_rows import encode_user
from tests.shops.event_tables import AS_OF, make_event, make_table
from tests.shops.user_histories import (
    T,
    assert_same_history,
    draw_events,
    import_events,
    receive_events,
)

LATER = AS_OF + timedelta(days=15)
REDIS_URL = os.environ.get("SHOPWRIGHT_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


def test_rows_materialized_then_merged_with_later_events_equal_the_offline_history(
    engine, settings
):
    past, later = draw_events(1, -40, 0, 200), draw_events(2, 0, 15, 100)
    received_before, late = draw_events(3, -20, 0, 30), draw_events(4, -20, 0, 30)
    facts = import_events(settings, past)
    receive_events(engine, received_before)
    materialize(facts, settings, T)
    online = OnlineHistories(settings, engine)
    offline = compute_offline_histories(facts, T)
    for user_id in offline:
        assert_same_history(online.read(user_id, None, None, T), offline[user_id])
    receive_events(engine, late + later)
    offline = compute_offline_histories(facts, LATER)
    assert len(offline) == 4
    for user_id in offline:
        assert_same_history(online.read(user_id, "v", "s", LATER), offline[user_id])


@pytest.fixture(scope="module")
def built(tmp_path_factory, migrated_sqlite):
    """The state folder of a shop that was materialized a day before T and at T."""
    settings = Settings(home=tmp_path_factory.mktemp("built"))
    shutil.copy(migrated_sqlite, settings.home / "shopwright.db")
    rows = [
        make_event("u", "i1", T - timedelta(days=7), order_id="1", quantity=2.0),
        make_event("u", "i2", T - timedelta(days=1), "view_item"),
        make_event("w", "i1", T - timedelta(hours=3), zone="jp"),
        make_event("x", "i4", T - timedelta(days=3)),
    ]
    facts = import_events(settings, rows)
    facts.write(
        {"users": make_table("users", [{"user_id": "x", "personalization_allowed": False}])}
    )
    materialize(facts, settings, T - timedelta(days=1))
    materialize(facts, settings, T)
    return settings.home


@pytest.fixture
def shop(built, tmp_path):
    """Settings, engine and facts of such a shop, moved to a folder of its own."""
    settings = Settings(home=tmp_path / "home")
    shutil.copytree(built, settings.home)
    opened = open_engine(settings)
    yield settings, opened, Facts(settings)
    opened.dispose()


def test_an_event_is_seen_by_the_very_next_read(shop):
    settings, engine, _ = shop
    online, now = OnlineHistories(settings, engine), T + timedelta(minutes=90)
    assert online.read("u", None, None, now).viewed_item_ids == ("i2",)
    receive_events(
        engine, [make_event("u", "i5", now, "view_item"), make_event("u", "i9", now, order_id="2")]
    )
    history = online.read("u", None, None, now)
    assert history.viewed_item_ids == ("i5", "i2")
    assert history.item_ids.tolist() == ["i1", "i9"]
    assert history.as_of == feature_time(now)
    assert (
        history.decayed_frequency[1] == 1.0
    )  # bought after the whole hour that ages are counted from
    receive_events(engine, [make_event("u", "i1", now, "refund", order_id="1", quantity=2.0)])
    assert online.read("u", None, None, now).item_ids.tolist() == ["i9"]


def test_visitors_and_sessions_have_histories_of_their_own(shop):
    settings, engine, _ = shop
    now = T + timedelta(hours=2)
    receive_events(
        engine,
        [
            make_event(
                None, "i3", T + timedelta(minutes=1), "view_item", visitor_id="v", session_id="s"
            ),
            make_event(None, "i4", T + timedelta(minutes=2), "view_item", session_id="s"),
            make_event(
                "w", "i5", T + timedelta(minutes=3), "view_item", visitor_id="v", session_id="s"
            ),
            make_event(None, "i6", now + timedelta(microseconds=1), "view_item", visitor_id="v"),
        ],
    )
    online = OnlineHistories(settings, engine)
    visitor = online.read(None, "v", None, now)
    assert (visitor.user_id, visitor.viewed_item_ids) == (None, ("i3",))
    assert online.read(None, None, "s", now).viewed_item_ids == ("i5", "i4", "i3")
    assert online.read("u", "v", "s", now).viewed_item_ids == ("i4", "i3", "i2")
    for unknown in ((None, None, None), ("nobody", None, None), (None, "nobody", "none")):
        history = online.read(*unknown, now)
        assert (history.user_id, history.item_ids.tolist(), history.features) == (None, [], {})


def test_what_a_visitor_looked_at_long_ago_is_not_read(shop):
    settings, engine, _ = shop
    online, now = OnlineHistories(settings, engine), T + timedelta(hours=1)
    old, lately = now - timedelta(days=28, minutes=1), now - timedelta(hours=1)
    who = {"visitor_id": "v", "session_id": "s"}
    views = [
        make_event(None, f"i{n % 12}", old - timedelta(seconds=n), "view_item", **who)
        for n in range(20_000)
    ]
    views += [
        make_event(None, f"i{n % 12}", lately - timedelta(seconds=n), "view_item", **who)
        for n in range(3_000)
    ]
    receive_events(
        engine, [*views, make_event(None, "i9", old, **who), make_event(None, "i8", lately, **who)]
    )
    read = []
    with monitored(engine, read):
        visitor = online.read(None, "v", None, now)
        session = online.read(None, None, "s", now)
        both = online.read("u", "v", "s", now)
    assert max(read) <= 2 * 1_000 + 10
    assert visitor.viewed_item_ids == session.viewed_item_ids == tuple(f"i{n}" for n in range(12))
    assert visitor.viewed_at[0] == int(lately.timestamp())
    assert visitor.item_ids.tolist() == ["i8", "i9"]  # a visitor's purchases count for good ...
    assert session.item_ids.tolist() == ["i8"]  # ... a session's as long as views do
    assert both.item_ids.tolist() == ["i1", "i8", "i9"]


@contextmanager
def monitored(engine, read):
    """Notes how many rows each query on events gives."""
    fetch = sa.CursorResult.all

    def counting(result):
        rows = fetch(result)
        read.append(len(rows))
        return rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sa.CursorResult, "all", counting)
        yield


@pytest.mark.parametrize("who", ["visitor", "session"])
def test_purchases_are_found_without_reading_the_views(engine, who):
    query = sa.select(events).where(events.c[f"{who}_id"] == "v", events.c.occurred_at <= T, BOUGHT)
    text = query.compile(engine, compile_kwargs={"literal_binds": True})
    # On an empty table every index costs the same.
    rows = [
        make_event(None, "i1", T - timedelta(hours=n), visitor_id=f"v{n}", session_id=f"s{n}")
        for n in range(1_000)
    ]
    receive_events(engine, rows)
    with transaction(engine) as connection:
        connection.execute(sa.text("ANALYZE events"))
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with reading(engine) as connection:
        if explain == "EXPLAIN":
            connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = str(connection.execute(sa.text(f"{explain} {text}")).all())
    assert f"ix_events_{who}_bought" in plan


def test_who_refuses_personalization_is_unknown(shop):
    settings, engine, _ = shop
    online, now = OnlineHistories(settings, engine), T + timedelta(minutes=5)
    receive_events(
        engine, [make_event(user, "i3", T, "view_item", session_id="s") for user in ("u", "x")]
    )
    assert online.read("x", None, None, now).user_id is None
    assert online.read("x", None, None, now).viewed_item_ids == ()
    assert online.read(None, None, "s", now).viewed_item_ids == ("i3",)

    def consent(user_id, allowed):
        with transaction(engine) as connection:
            connection.execute(
                user_consent.insert().values(
                    user_id=user_id, personalization_allowed=allowed, updated_at=T
                )
            )

    consent("u", False)
    assert online.read("u", None, None, now).item_ids.tolist() == []
    assert online.read(None, None, "s", now).viewed_item_ids == ()
    consent("x", True)
    assert online.read("x", None, None, now).viewed_item_ids == ("i3",)


def test_without_a_materialization_the_received_events_are_all_there_is(shop):
    settings, engine, _ = shop
    shutil.rmtree(features_folder(settings))
    online = OnlineHistories(settings, engine)
    online.warm()
    receive_events(engine, [make_event("u", "i3", T)])
    assert online.read("u", None, None, T).item_ids.tolist() == ["i3"]
    assert online.as_of is None


def test_forgetting_a_user_leaves_nothing_and_nobody_else_loses_anything(shop):
    settings, engine, _ = shop
    online, worker = OnlineHistories(settings, engine), OnlineHistories(settings, engine)
    others = online.read("w", None, None, T)
    assert worker.read("u", None, None, T).user_id == "u"
    forget_user(settings, "u")
    assert online.read("u", None, None, T).user_id is None
    assert worker.read("u", None, None, T).user_id is None
    assert_same_history(online.read("w", None, None, T), others)
    marks = [
        path
        for path in features_folder(settings).rglob("*")
        if path.is_file() and b'"i2"' in path.read_bytes()
    ]
    assert marks == []


def test_readers_see_the_old_version_or_the_new_one(shop, monkeypatch):
    settings, engine, facts = shop
    online, first = OnlineHistories(settings, engine), current_version(settings)
    facts.write({"events": make_table("events", [make_event("w", "i7", T - timedelta(hours=1))])})
    assert online.read("w", None, None, T).item_ids.tolist() == [
        "i1"
    ]  # imports wait for the materialization
    folders = sorted((features_folder(settings) / "versions").iterdir())

    def broken(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr("features.online.materialize._write_online", broken)
        materialize(facts, settings, T)
    assert current_version(settings) == first
    assert sorted((features_folder(settings) / "versions").iterdir()) == folders
    materialize(facts, settings, T)
    assert online.read("w", None, None, T).item_ids.tolist() == ["i1", "i7"]
    assert current_version(settings).name != first.name
    assert len(list((features_folder(settings) / "versions").iterdir())) == 2


def test_rows_of_an_older_version_serve_where_the_newest_is_damaged(shop):
    settings, engine, facts = shop
    older = current_version(settings)
    materialize(facts, settings, T)
    newest = current_version(settings)
    locate_store(settings, newest.name).online.write_bytes(b"garbage")
    online = OnlineHistories(settings, engine)
    assert online.read("w", None, None, T).item_ids.tolist() == ["i1"]
    assert online.is_older_served
    assert f"version {newest.name} are damaged" in online.problem
    assert f"those of version {older.name} serve" in online.problem


def test_the_item_snapshot_equals_the_offline_items_by_zone(shop):
    settings, _, facts = shop
    for zone in ("*", "default", "jp"):
        stored, direct = load_items(settings, zone), compute_offline_items(facts, T, zone)
        assert stored.as_of == direct.as_of
        assert stored.item_ids.tolist() == direct.item_ids.tolist()
        assert stored.category.tolist() == direct.category.tolist()
        np.testing.assert_equal(dict(stored.columns), dict(direct.columns))
        assert not stored.columns["units_1w"].flags.writeable  # mapped from the file
    with pytest.raises(UnknownName, match="eu"):
        load_items(settings, "eu")


def test_joins_direct_values_and_online_rows_agree(shop, capfd):
    settings, _, facts = shop
    report = check_parity(facts, settings, T)
    assert report.passed
    assert [each.n_different for each in report.comparisons] == [0, 0, 0, 0]
    assert all(each.n_values for each in report.comparisons)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_wrong_online_row_is_found(shop):
    settings, _, facts = shop
    forget_user(settings, "u")
    report = check_parity(facts, settings, T)
    assert not report.passed
    assert report.comparisons[-1].example.startswith("u ")


def test_online_rows_may_live_in_redis(shop):
    import redis

    settings, engine, facts = shop
    client = redis.Redis.from_url(REDIS_URL, socket_connect_timeout=2)
    try:
        client.ping()
    except redis.exceptions.ConnectionError:
        said = f"no Redis answers at {REDIS_URL}; set SHOPWRIGHT_TEST_REDIS_URL"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        warnings.warn(said, stacklevel=1)
        pytest.skip(said)
    settings = settings.model_copy(update={"redis_url": REDIS_URL})
    names: list[str] = []
    try:
        names.extend(
            materialize(facts, settings, T - timedelta(days=days)).version for days in (2, 1, 0)
        )
        online = OnlineHistories(settings, engine)
        offline = compute_offline_histories(facts, T)
        for user_id in offline:
            assert_same_history(online.read(user_id, None, None, T), offline[user_id])
        assert not list((features_folder(settings) / "versions").glob("*/online.db"))
        assert list(client.scan_iter(f"*{names[0]}")) == []  # swept up once nobody reads it
        keys = [encode_user("u") + project_name(name).encode() for name in names[1:]]
        assert client.exists(*keys) == 2
        forget_user(settings, "u")
        assert client.exists(*keys) == 0
        assert online.read("u", None, None, T).user_id is None
    finally:
        for name in names:
            for key in client.scan_iter(f"*{name}"):
                client.delete(key)


@pytest.mark.parametrize(
    ("url", "connection"),
    [
        ("redis://cache", "cache:6379,db=0"),
        ("rediss://me:p%40ss@cache:6380/2", "cache:6380,db=2,ssl=true,username=me,password=p@ss"),
    ],
)
def test_a_redis_address_is_said_in_the_feature_store_s_words(url, connection):
    assert redis_connection(url) == connection


@pytest.mark.parametrize("url", ["http://cache", "redis://", "redis://:a%2Cb@cache"])
def test_a_redis_address_that_cannot_be_used_is_refused(url):
    with pytest.raises(BadInput, match="SHOPWRIGHT_REDIS_URL"):
        redis_connection(url)


READER = """
import json, sys, time
from datetime import datetime
from pathlib import Path
import features.online.online_store as online
from configs.settings import Settings
from features.database import engine
settings = Settings(home=Path(sys.argv[1]))
histories = online.OnlineHistories(settings, engine(settings))
history = histories.read("u", None, None, datetime.fromisoformat(sys.argv[2]))
heavy = sorted(set(sys.modules) & {"ibis", "duckdb", "feast", "torch"})
print(json.dumps({"heavy": heavy, "items": history.item_ids.tolist()}))
"""


def test_a_server_reads_without_loading_the_feature_store(shop):
    settings, _, _ = shop
    command = [sys.executable, "-c", READER, str(settings.home), T.isoformat()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"heavy": [], "items": ["i1"]}
