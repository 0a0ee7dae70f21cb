"""The decoded rows of the visitors who were read last: most visitors ask several times in a row."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

from features.online.user_state import UserState

_MAX_LINES = 500_000  # about 100 MB
_MAX_STATES = 20_000

_Stamp = tuple[int, int]


class StateCache:
    """States of one version, by user. Safe to share between threads.

    A row never changes within a version but by erasure, which writes the file of the version's
    users anew: then all states are dropped. Without such a file none is kept.
    """

    def __init__(self, users: Path) -> None:
        self._users = users
        self._lock = threading.Lock()
        self._states: OrderedDict[str, UserState] = OrderedDict()
        self._n_lines = 0
        self._stamp: _Stamp | None = None

    def read_stamp(self) -> _Stamp | None:
        """Return what `find` and `keep` take; None: keep nothing."""
        try:
            stat = os.stat(self._users)  # noqa: PTH116 (read before every answer)
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def find(self, user_id: str, stamp: _Stamp | None) -> UserState | None:
        """Return the state that was kept of a user; None where it has to be read."""
        with self._lock:
            if stamp != self._stamp:
                self._states.clear()
                self._n_lines, self._stamp = 0, stamp
            state = self._states.get(user_id)
            if state is not None:
                self._states.move_to_end(user_id)
            return state

    def keep(self, user_id: str, state: UserState, stamp: _Stamp | None) -> None:
        """Keep a state that was read after `stamp`."""
        with self._lock:
            if stamp is None or stamp != self._stamp or user_id in self._states:
                return
            if not state.n_lines and not state.viewed:  # nobody who has a row
                return
            self._states[user_id] = state
            self._n_lines += state.n_lines
            while self._n_lines > _MAX_LINES or len(self._states) > _MAX_STATES:
                _, oldest = self._states.popitem(last=False)
                self._n_lines -= oldest.n_lines
