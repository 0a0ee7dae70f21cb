"""One row read as Feast has written it, and rows that are kept from one answer to the next."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from configs.settings import Settings
from features.facts.facts import Facts
from features.online.feast_definitions import import_feast, open_store
from features.online.materialize import materialize
from features.online.snapshots import current_version, locate_store
from features.online.state_cache import StateCache
from features.online.stored_rows import encode_user, open_rows
from features.online.user_state import UserState
from tests.shops.event_tables import make_event
from tests.shops.user_histories import T, import_events

USERS = ("u", "Ünï", "買い手", "with space", "x" * 200, "'; DROP TABLE")


def make_shop(home: Path) -> Settings:
    settings = Settings(home=home)
    rows = [make_event(user, f"i{n}", T) for user in USERS for n in range(len(user))]
    import_events(settings, [row | {"occurred_at": T.replace(year=T.year - 1)} for row in rows])
    return settings


def assert_read_as_by_feast(settings: Settings) -> None:
    materialize(Facts(settings), settings, T)
    version = current_version(settings)
    assert version is not None
    location = locate_store(settings, version.name)
    rows, store = open_rows(location, 2.0), open_store(location)
    for user in (*USERS, "nobody", ""):
        answer = store.get_online_features(["user_state:state"], [{"user_id": user}]).to_dict()
        assert rows.read(user) == answer["state"][0]
        assert (rows.read(user) is not None) == (user in USERS)


def test_a_row_of_sqlite_is_what_feast_reads(tmp_path: Path) -> None:
    settings = make_shop(tmp_path / "shop?")
    assert_read_as_by_feast(settings)


def test_a_row_of_redis_is_what_feast_reads(tmp_path: Path) -> None:
    url = os.environ.get("SHOPWRIGHT_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
    client = redis.Redis.from_url(url, socket_connect_timeout=2)
    try:
        client.ping()
    except redis.exceptions.ConnectionError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no Redis answers at {url}; set SHOPWRIGHT_TEST_REDIS_URL")
    settings = make_shop(tmp_path).model_copy(update={"redis_url": url})
    try:
        assert_read_as_by_feast(settings)
    finally:
        version = current_version(settings)
        for key in client.scan_iter(f"*{version.name}") if version is not None else ():
            client.delete(key)


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_a_key_is_that_of_feast(user_id: str) -> None:
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    entity = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_id)])
    assert encode_user(user_id) == serialize_entity_key(entity, entity_key_serialization_version=3)


@pytest.mark.parametrize("value", [b"\x12\x01x", b"\x0a\x05x", b"\x0a\x80\x80", b"\x0a"], ids=repr)
def test_what_feast_does_not_write_is_refused(tmp_path: Path, value: bytes) -> None:
    settings = make_shop(tmp_path)
    assert_read_as_by_feast(settings)
    version = current_version(settings)
    assert version is not None
    location = locate_store(settings, version.name)
    with sqlite3.connect(location.online) as connection:
        connection.execute(f'UPDATE "{location.project}_user_state" SET value = ?', (value,))
    with pytest.raises(ValueError, match="not what the feature store writes"):
        open_rows(location, 1.0).read("u")


def make_state(n_lines: int) -> UserState:
    empty = UserState.empty()
    lines = {name: np.zeros(n_lines, column.dtype) for name, column in empty.lines.items()}
    return replace(empty, lines=lines)


def test_states_are_kept_until_a_user_is_erased_and_the_oldest_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tmp_path / "users.npy"
    kept, state = StateCache(users), make_state(4)
    kept.keep("u", state, kept.read_stamp())
    assert kept.find("u", kept.read_stamp()) is None  # nobody could say that somebody was erased
    users.touch()
    stamp = kept.read_stamp()
    kept.find("u", stamp)
    kept.keep("u", state, stamp)
    assert kept.find("u", stamp) is state
    shutil.copy(users, tmp_path / "new")
    (tmp_path / "new").replace(users)
    assert kept.find("u", kept.read_stamp()) is None
    kept.keep("u", state, stamp)  # read before the erasure
    assert kept.find("u", kept.read_stamp()) is None

    monkeypatch.setattr("features.online.state_cache._MAX_LINES", 10)
    stamp = kept.read_stamp()
    for user in ("a", "b", "a", "c"):
        if kept.find(user, stamp) is None:
            kept.keep(user, state, stamp)
    assert [kept.find(user, stamp) is not None for user in ("a", "b", "c")] == [True, False, True]


def test_feast_is_imported_without_checks_of_types() -> None:
    import_feast()
    from feast import Entity

    assert "typeguard" not in Entity.__init__.__code__.co_names
