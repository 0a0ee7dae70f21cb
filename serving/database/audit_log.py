"""Writes the audit log: who did what, as a chain in which each row hashes the one before.

Changing, removing or reordering a row breaks the chain from there on. Cutting off its end does not,
so whoever verifies should keep a `Head` elsewhere (every answer of `GET /v1/audit` carries it).
`serving.audit` reads and verifies the log.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from features.database import lock
from features.many_rows import insert_rows
from features.prices.reduction_rule import PLAIN_RULES, FindRules
from serving.access import EVERYWHERE, Area
from serving.database.tables import api_keys, audit_log, people

if TYPE_CHECKING:
    from features.contracts.pricing import PresentItem
    from models.pricing.price_floors import ItemFloors
    from models.pricing.rules import CompetitorRule, PricingRules

    FindPresentItems = Callable[
        [str, Sequence[str], CompetitorRule | None], Mapping[str, PresentItem]
    ]
    FindPriceFloors = Callable[
        [sa.Connection, str, Sequence[str], datetime], Mapping[str, ItemFloors]
    ]

# The hash before the first row.
ORIGIN = "0" * 64
# The actor when no person acts.
SYSTEM = "system"
# The actor on the command line.
OPERATOR = "operator"
# The actor that looks at batches of price changes every week, and proposes to take some back.
WATCH = "watch"
# Actors that are no people.
PROGRAMS = (SYSTEM, OPERATOR, WATCH)
# Before the name of a rule that approves by itself.
RULE_PREFIX = "rule:"
# The key of details that holds business time: the log itself counts by system time.
BUSINESS_TIME = "business_time"
_HASHED = ("seq", "actor", "action", "subject_type", "subject_id", "details", "previous_hash")


@dataclass(frozen=True)
class AuditEntry:
    """One action: `actor` is a person's sign-in name, a key's id, "operator" or "system",
    `details` are plain JSON values."""

    actor: str
    action: str
    subject_type: str
    subject_id: str
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Decider:
    """Who decides and when: `now` is business time (prices), `at` system time (audit).

    `find_rules` returns from which earlier prices the reductions of items are counted, `areas` is
    where the actor may decide. `find_pricing_rules` returns the rules of today by their name and by
    the stage of an item; without it suggestions are not held against them. `off_sale` are items
    that get no new price. `find_present_items` returns what is known of the items of a zone now, by
    id, with the prices of competitors as a rule counts them; without it suggestions are held
    against what was known at their run. `find_price_floors` returns the lowest prices that the
    rules allow items of a zone at a time; without it promotions are not held against them.
    `freeze_forecasts` keeps the served forecasts of a zone and returns their id, None where none
    are served.
    """

    actor: str
    now: datetime
    at: datetime
    reason: str | None = None
    find_rules: FindRules = field(default=PLAIN_RULES, compare=False)
    areas: tuple[Area, ...] = EVERYWHERE
    off_sale: frozenset[str] = frozenset()
    find_pricing_rules: Callable[[str, str | None], PricingRules | None] | None = field(
        default=None, compare=False
    )
    find_present_items: FindPresentItems | None = field(default=None, compare=False)
    find_price_floors: FindPriceFloors | None = field(default=None, compare=False)
    freeze_forecasts: Callable[[sa.Connection, str], str | None] | None = field(
        default=None, compare=False
    )


@dataclass(frozen=True)
class Head:
    """The newest row's number and hash; number 0 when the log is empty."""

    seq: int
    hash: str


class AuditLog:
    """Appends to the log, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(self, entries: Sequence[AuditEntry], at: datetime) -> None:
        """Append the entries in the given order, in the transaction of what they describe."""
        if not entries:
            return
        lock(self._connection, "audit_log")
        head = self.head()
        seq, previous = head.seq, head.hash
        rows = []
        for entry in entries:
            seq += 1
            row: dict[str, object] = {
                "seq": seq,
                "at": at,
                "actor": entry.actor,
                "action": entry.action,
                "subject_type": entry.subject_type,
                "subject_id": entry.subject_id,
                "details": json.dumps(entry.details, sort_keys=True, ensure_ascii=False),
                "previous_hash": previous,
            }
            row["hash"] = previous = hash_row(row, at)
            rows.append(row)
        insert_rows(self._connection, audit_log, rows)

    def head(self) -> Head:
        """Return the end of the chain."""
        query = (
            sa.select(audit_log.c.seq, audit_log.c.hash).order_by(audit_log.c.seq.desc()).limit(1)
        )
        row = self._connection.execute(query).one_or_none()
        return Head(0, ORIGIN) if row is None else Head(row.seq, row.hash)


def read_actor_names(connection: sa.Connection) -> dict[str, str]:
    """Return the names of people and keys today, by the ids that the log and the desk hold."""
    names: dict[str, str] = {}
    for query in (
        sa.select(api_keys.c.id, api_keys.c.name),
        sa.select(people.c.name, people.c.full_name),
    ):
        names.update((actor, name) for actor, name in connection.execute(query))
    return names


def hash_row(row: Mapping[str, object], at: datetime) -> str:
    """Return the SHA-256 of a row's values, the hash of the row before among them."""
    values = [*(row[name] for name in _HASHED), at.isoformat(timespec="microseconds")]
    return hashlib.sha256(json.dumps(values, ensure_ascii=False).encode()).hexdigest()
