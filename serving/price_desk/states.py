"""The moves of a suggestion from one status to another: the one table that every door follows.

The database holds the same table in a trigger (migration r0017) and refuses any other move.

suggested -> submitted -> scheduled -> live, with approved for what waits while activations are
stopped; rejected, superseded, expired and rolled_back are ends that little comes back from.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple


class Move(NamedTuple):
    """What an action does to a status, and the scope that it needs; None: time or the system."""

    action: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    scope: str | None


# The statuses of suggestions that nobody has decided on.
OPEN = ("suggested", "submitted")
# A suggestion is filed with one of these.
FILED = OPEN
MOVES = (
    Move("submit", ("suggested",), ("submitted",), "pricing.propose"),
    Move("edit", OPEN, ("submitted",), "pricing.propose"),
    Move("approve", ("submitted",), ("approved", "scheduled", "live"), "pricing.approve"),
    Move("reject", (*OPEN, "approved"), ("rejected",), "pricing.approve"),
    Move("roll_back", ("scheduled", "live"), ("rolled_back",), "pricing.rollback"),
    # A rollback that restores an earlier price of the desk.
    Move("restore", ("superseded", "rolled_back"), ("scheduled", "live"), "pricing.rollback"),
    # Activations are stopped, and go on.
    Move("hold", ("scheduled",), ("approved",), "pricing.manage"),
    Move("release", ("approved",), ("scheduled", "live"), "pricing.manage"),
    Move("go_live", ("scheduled",), ("live",), None),
    # What no longer holds when it would begin.
    Move("return", ("approved", "scheduled"), ("submitted",), None),
    Move("supersede", (*OPEN, "live"), ("superseded",), None),
    Move("expire", (*OPEN, "approved", "scheduled", "live"), ("expired",), None),
    # A clock was ahead.
    Move("reopen", ("expired",), (*OPEN, "approved", "scheduled", "live"), None),
)
_BY_ACTION = {move.action: move for move in MOVES}
ALLOWED = frozenset(pair for move in MOVES for pair in product(move.before, move.after))


def find_sources(action: str) -> tuple[str, ...]:
    """Return the statuses in which a suggestion may be when the action is taken."""
    return _BY_ACTION[action].before


def find_scope(action: str) -> str | None:
    """Return the scope that the action needs; None where time or the system takes it."""
    return _BY_ACTION[action].scope
