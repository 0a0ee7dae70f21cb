"""What earlier pages of a slate showed, for the next page: a ring in a file that all workers share.

The file has a place for each of the last N_SLATES slates of the machine, of which each worker
claims a few at a time; the number of the place is a part of the recommendation_id. So memory and
disk are bounded, an answer writes half a kilobyte, and no worker waits for another. A place that is
being written while it is read fails its checksum, as one that holds a later slate fails its id.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from features.contracts.arrays import AnyArray, ObjectArray
from features.contracts.errors import BadInput

log = logging.getLogger(__name__)

N_SLATES = 131_072
KEPT_SECONDS = 3_600.0
MAX_PAGES = 20
MAX_ITEMS = 100
_CLAIMED = 32
_HEADER = struct.Struct("<Q")  # the number of the next place
_FIRST = 4_096  # where the places begin
_SLATE = struct.Struct("<I16s16sdIH")  # checksum, id, id of the page before, time, placement, items
_ITEM = struct.Struct("<I")
_PLACE_BYTES = 512
_NO_PAGE = bytes(16)
_MAX_NUMBER = 2**32


class ShownSlates:
    """Remembers what slates showed. Safe to share between threads and processes.

    Items are kept as digests of 32 bits: of a catalogue of 100,000 items one in some hundred pages
    lacks an item that it might have shown.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._memory: mmap.mmap | None = None
        self._claimed = range(0)
        self._digests: tuple[ObjectArray, AnyArray] | None = None

    def make_id(self) -> str:
        """Return a new recommendation_id, which names a place."""
        number = self._claim()
        return f"{uuid.uuid4().hex[:24]}{number % _MAX_NUMBER:08x}"

    def remember(
        self, recommendation_id: str, placement: str, item_ids: Sequence[str], after: str | None
    ) -> None:
        """Keep what a slate shows; `after` is the page before."""
        memory = self._memory
        if memory is None:
            return
        digests = [zlib.crc32(item_id.encode()) for item_id in item_ids[:MAX_ITEMS]]
        before = _NO_PAGE if after is None else bytes.fromhex(after)
        own = bytes.fromhex(recommendation_id)
        kind = zlib.crc32(placement.encode())
        body = _SLATE.pack(0, own, before, time.time(), kind, len(digests))
        body += struct.pack(f"<{len(digests)}I", *digests)
        start = _find_place(own)
        memory[start : start + len(body)] = struct.pack("<I", zlib.crc32(body[4:])) + body[4:]

    def find_shown(
        self, recommendation_id: str, placement: str, item_ids: ObjectArray
    ) -> frozenset[str]:
        """Return which of these items a slate and the pages before it showed.

        Raises BadInput where the slate is not known, or not any more, or is of another placement.
        """
        digests: list[int] = []
        page = _parse_id(recommendation_id)
        for _ in range(MAX_PAGES):
            before, shown = self._read(page, placement, recommendation_id)
            digests += shown
            if before == _NO_PAGE:
                known = self._digest_items(item_ids)
                return frozenset(item_ids[np.isin(known, np.array(digests, np.uint32))].tolist())
            page = before
        raise BadInput(
            f"a slate has at most {MAX_PAGES} further pages",
            where="after",
            hint="Ask for the first page again, without after",
        )

    def _read(self, page: bytes, placement: str, given: str) -> tuple[bytes, list[int]]:
        """Return the page before one page, and the digests of its items."""
        self._open()
        unknown = BadInput(
            f"no slate {given!r} is known here, or it is older than an hour",
            where="after",
            hint="Send the recommendation_id of an answer; without after the first page comes",
        )
        if self._memory is None:
            raise unknown
        start = _find_place(page)
        body = self._memory[start : start + _PLACE_BYTES]
        checksum, own, before, at, kind, n = _SLATE.unpack_from(body)
        end = _SLATE.size + n * _ITEM.size
        is_whole = own == page and n <= MAX_ITEMS and zlib.crc32(body[4:end]) == checksum
        if not is_whole or not 0 <= time.time() - at < KEPT_SECONDS:
            raise unknown
        if kind != zlib.crc32(placement.encode()):
            raise BadInput(
                f"the slate {given!r} is of another placement",
                where="after",
                hint="Send after with the placement of the page before",
            )
        return before, [value for (value,) in _ITEM.iter_unpack(body[_SLATE.size : end])]

    def _digest_items(self, item_ids: ObjectArray) -> AnyArray:
        """Return the digest of each item, kept for the same array."""
        known = self._digests
        if known is None or known[0] is not item_ids:
            values = np.fromiter((zlib.crc32(item_id.encode()) for item_id in item_ids), np.uint32)
            known = self._digests = item_ids, values
        return known[1]

    def _claim(self) -> int:
        """Return the number of a place that nobody else has."""
        with self._lock:
            if not self._claimed:
                self._open()
                self._claimed = self._claim_block()
            number, self._claimed = self._claimed[0], self._claimed[1:]
            return number

    def _claim_block(self) -> range:
        if self._memory is None:
            return range(_CLAIMED)
        with self._path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            (first,) = _HEADER.unpack_from(self._memory)
            _HEADER.pack_into(self._memory, 0, first + _CLAIMED)
        return range(first, first + _CLAIMED)

    def _open(self) -> None:
        """Map the file, and make it where it is not there; without one nothing is remembered."""
        if self._memory is not None:
            return
        size = _FIRST + N_SLATES * _PLACE_BYTES
        try:
            with self._path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if file.tell() < size:
                    file.truncate(size)  # takes place on the disk as it is written
            with self._path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), size)
        except OSError as error:
            log.warning("slates have no further pages: %s", error)


def _find_place(recommendation_id: bytes) -> int:
    number = int.from_bytes(recommendation_id[12:], "big")
    return _FIRST + number % N_SLATES * _PLACE_BYTES


def _parse_id(text: str) -> bytes:
    try:
        page = bytes.fromhex(text)
    except ValueError:
        page = b""
    if len(page) != 16:
        raise BadInput(f"{text!r} is no recommendation_id", where="after")
    return page
