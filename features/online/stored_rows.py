"""Reads one row of the online store as Feast has written it, without loading Feast.

To import Feast takes seconds and hundreds of megabytes, and to ask it for one row longer than
everything else that an answer waits for. How it lays rows out is part of its specification; a test
reads every row both ways.
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from typing import Any, Protocol
from urllib.parse import quote

from features.online.feast_definitions import STATE, USER_STATE, StoreLocation, connect_redis

_STRING = 2  # the number of the type in Feast's protocol
_BYTES_FIELD = 0x0A  # of a value in protocol buffers: bytes, the first field
# The first bytes of the murmur3 hash of "user_state:state", by which a hash of Redis holds it.
_REDIS_FIELD = bytes.fromhex("5c455715")


class StoredRows(Protocol):
    """The packed states of one version, by user."""

    def read(self, user_id: str) -> bytes | None:
        """Return the row of a user; None without one. Raises ValueError for an unreadable one."""


class SqliteRows:
    """Rows in an SQLite file, which an erasure may lock for up to `answer_seconds`. One thread may
    read at a time."""

    def __init__(self, location: StoreLocation, answer_seconds: float) -> None:
        address = f"file:{quote(str(location.online.absolute()))}?mode=ro"
        self._connection = sqlite3.connect(
            address, uri=True, check_same_thread=False, timeout=answer_seconds
        )
        table = f"{location.project}_{USER_STATE}".replace('"', '""')
        self._query = f'SELECT value FROM "{table}" WHERE entity_key = ? AND feature_name = ?'

    def read(self, user_id: str) -> bytes | None:
        """Return the row of a user; None without one. Raises sqlite3.DatabaseError for a damaged
        file."""
        with closing(self._connection.execute(self._query, (encode_user(user_id), STATE))) as rows:
            row = rows.fetchone()
        return None if row is None else _decode_value(row[0])


class RedisRows:
    """Rows in Redis, which has `answer_seconds` for each of them."""

    def __init__(self, location: StoreLocation, url: str, answer_seconds: float) -> None:
        self._client: Any = connect_redis(url, answer_seconds)  # its types take texts only
        self._project = location.project.encode()

    def read(self, user_id: str) -> bytes | None:
        """Return the row of a user; None without one. Raises RedisError where Redis fails."""
        value: bytes | None = self._client.hget(encode_user(user_id) + self._project, _REDIS_FIELD)
        return None if value is None else _decode_value(value)


def open_rows(location: StoreLocation, answer_seconds: float) -> StoredRows:
    """Return the rows at a location. Raises sqlite3.DatabaseError for a damaged file."""
    if location.redis_url is not None:
        return RedisRows(location, location.redis_url, answer_seconds)
    rows = SqliteRows(location, answer_seconds)
    rows.read("")  # SQLite looks at a file only when it is read
    return rows


def encode_user(user_id: str) -> bytes:
    """Return the key of a user in the store: name and value of the only entity."""
    name, value = b"user_id", user_id.encode()
    key = struct.pack("<III", 1, _STRING, len(name)) + name
    return key + struct.pack("<II", _STRING, len(value)) + value


def _decode_value(value: bytes) -> bytes | None:
    """Return the bytes of a stored value: a field of protocol buffers behind its length, which is
    written in groups of seven bits, the lowest first."""
    if not value:
        return None
    end = next((at for at in range(1, len(value)) if value[at] < 0x80), 0)
    length = sum((byte & 0x7F) << 7 * at for at, byte in enumerate(value[1 : end + 1]))
    content = value[end + 1 :]
    if value[0] != _BYTES_FIELD or not end or len(content) != length:
        raise ValueError("it is not what the feature store writes")
    return content
