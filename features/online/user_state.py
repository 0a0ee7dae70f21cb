"""The materialized state of one user: order lines packed into bytes, and the features from them.

Feast needs milliseconds to turn lists of Python values into protobuf and back, and nothing for
bytes; so a row is one JSON header followed by raw little-endian arrays. The features are computed
from the lines when the row is read, with the same definitions as features/pipelines (a parity test
compares both). So refunds, later lines of an order and late events merge exactly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import repeat
from typing import NamedTuple, Protocol, Self

import numpy as np

from features.contracts.arrays import AnyArray, Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.categories import prefix
from features.contracts.histories import UserHistory
from features.contracts.tables import DEFAULT_ZONE, VIEW_TYPES, EventType
from features.contracts.visits import (
    MAX_ACTIONS,
    Action,
    Visit,
    find_latest_visit,
    read_look_details,
)
from features.online.line_features import compute_user_values, decay
from features.online.past_visits import ACTION_KINDS, count_milliseconds
from features.pipelines.feature_constants import (
    AFFINITY,
    MAX_VIEWED,
    SECONDS_PER_DAY,
    VIEWED_DAYS,
)

_FORMAT = 1
_LINES = {
    "item": "<i4",
    "zone": "<i4",
    "order": "<u8",
    "at": "<i8",
    "bought": "<f8",
    "refunded": "<f8",
    "paid": "<f8",
    "listed": "<f8",
}
NEVER = -1  # `at` and `zone` of a line of which only a refund is known
_VIEWS = frozenset(VIEW_TYPES)


def order_digest(order_key: str) -> int:
    """Return the 64-bit digest of an order."""
    return int.from_bytes(hashlib.blake2b(order_key.encode(), digest_size=8).digest(), "little")


class EventRecord(Protocol):
    """The columns of EVENTS that a state is merged from, as attributes."""

    @property
    def event_id(self) -> str: ...
    @property
    def event_type(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def session_id(self) -> str | None: ...
    @property
    def item_id(self) -> str: ...
    @property
    def zone(self) -> str | None: ...
    @property
    def quantity(self) -> float | None: ...
    @property
    def line_amount_minor(self) -> int | None: ...
    @property
    def unit_price_minor(self) -> float | None: ...
    @property
    def list_price_minor(self) -> float | None: ...
    @property
    def order_id(self) -> str | None: ...
    @property
    def attributes(self) -> str | None: ...


class _LineRow(NamedTuple):
    """One line as it is packed, see `UserState`."""

    item: int
    zone: int
    order: int
    at: int
    bought: float
    refunded: float
    paid: float
    listed: float


@dataclass(frozen=True)
class Categories:
    """The first level of each item's category: item -> code, and the affinity feature of each code
    (0 is none)."""

    codes: Mapping[str, int]
    features: tuple[str, ...]

    @classmethod
    def from_items(cls, item_ids: Iterable[str], categories: Iterable[str]) -> Self:
        """Return the categories of items from their whole paths."""
        firsts = [prefix(category, 1) for category in categories]
        names = sorted(set(firsts) - {""})
        code_of = {name: code for code, name in enumerate(["", *names])}
        codes = dict(zip(item_ids, (code_of[first] for first in firsts), strict=True))
        return cls(codes, ("", *(AFFINITY + name for name in names)))


class _Purchases(NamedTuple):
    """The lines that were not refunded, and the items in them, aligned arrays by item.

    lines      as in `UserState`
    item       int64 (lines,), the item of each
    item_ids   sorted; read-only
    category   int64, the code of the first level
    """

    lines: Mapping[str, AnyArray]
    item: Int64Array
    item_ids: ObjectArray
    n_orders: Float32Array
    quantity: Float32Array
    first_at: Int64Array
    last_at: Int64Array
    category: Int64Array


@dataclass(frozen=True)
class UserState:
    """The order lines of one user (one per item × order), refunded or not, and recent views.

    items, zones    names that `lines["item"]` and `lines["zone"]` index
    lines           aligned arrays: item, zone, order (digest), at (epoch seconds, NEVER when not
                    bought), bought and refunded (units), paid (minor units, for all bought),
                    listed (at list price, NaN when unknown)
    viewed          item -> epoch seconds of the latest view
    actions         the latest looks at items, of which the latest visit is made; in no order
    allowed         whether the user allows personalization, as imported
    purchases       what follows from the lines at any time, where it was prepared
    """

    items: tuple[str, ...]
    zones: tuple[str, ...]
    lines: Mapping[str, AnyArray]
    viewed: Mapping[str, int]
    allowed: bool = True
    actions: tuple[Action, ...] = ()
    purchases: _Purchases | None = None

    @classmethod
    def empty(cls) -> Self:
        """Return the state of a user of whom nothing is known."""
        return cls((), (), {name: np.zeros(0, kind) for name, kind in _LINES.items()}, {})

    @property
    def n_lines(self) -> int:
        """The number of order lines."""
        return len(self.lines["item"])

    def pack(self) -> bytes:
        """Return the row that is stored online."""
        header = {
            "format": _FORMAT,
            "n": self.n_lines,
            "items": self.items,
            "zones": self.zones,
            "viewed": dict(self.viewed),
            "allowed": self.allowed,
            "actions": self.actions,
        }
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        arrays = [
            np.ascontiguousarray(self.lines[name], kind).tobytes() for name, kind in _LINES.items()
        ]
        return b"".join([len(text).to_bytes(4, "little"), text, *arrays])

    @classmethod
    def unpack(cls, row: bytes) -> Self:
        """Return the state that `pack` wrote."""
        length = int.from_bytes(row[:4], "little")
        header = json.loads(row[4 : 4 + length])
        if header["format"] != _FORMAT:
            raise ValueError(
                f"state of format {header['format']}, not {_FORMAT}: materialize the features again"
            )
        lines, offset = {}, 4 + length
        for name, kind in _LINES.items():
            lines[name] = np.frombuffer(row, kind, header["n"], offset)
            offset += lines[name].nbytes
        return cls(
            tuple(header["items"]),
            tuple(header["zones"]),
            lines,
            header["viewed"],
            header["allowed"],
            tuple(Action(*values) for values in header.get("actions", ())),  # none in older rows
        )

    def merge(self, events: Iterable[EventRecord]) -> Self:
        """Return the state with later events, each of which comes once."""
        viewed, actions = dict(self.viewed), list(self.actions)
        changes: dict[tuple[str, int], _Line] = {}
        looks: list[EventRecord] = []
        for event in events:
            second = int(event.occurred_at.timestamp() // 1)
            if event.event_type in _VIEWS:
                viewed[event.item_id] = max(second, viewed.get(event.item_id, second))
                looks.append(event)
            elif event.event_type in (EventType.PURCHASE, EventType.REFUND):
                key = event.item_id, order_digest(event.order_id or event.event_id)
                changes.setdefault(key, _Line()).add(event, second)
        looks.sort(key=lambda look: (look.occurred_at, look.item_id))
        for look in looks[-MAX_ACTIONS:]:  # a visit has no more
            at_ms, kind = count_milliseconds(look.occurred_at), ACTION_KINDS[look.event_type]
            details = read_look_details(look.attributes)
            actions.append(Action(at_ms, look.item_id, kind, look.session_id, *details))
        state = self._merge_lines(changes) if changes else self
        return replace(state, viewed=viewed, actions=tuple(actions))

    def _merge_lines(self, changes: Mapping[tuple[str, int], _Line]) -> Self:
        items, zones = dict.fromkeys(self.items), dict.fromkeys(self.zones)
        items.update(dict.fromkeys(item_id for item_id, _ in changes))
        zones.update(dict.fromkeys(line.zone for line in changes.values() if line.zone is not None))
        item_index = {name: index for index, name in enumerate(items)}
        zone_index = {name: index for index, name in enumerate(zones)}
        lines = {
            name: np.append(array, np.zeros(0, array.dtype)) for name, array in self.lines.items()
        }
        new: list[_LineRow] = []
        for (item_id, order), change in changes.items():
            rows = np.flatnonzero(
                (lines["order"] == order) & (lines["item"] == item_index[item_id])
            )
            if len(rows):
                change.update_row(lines, int(rows[0]), tuple(zones), zone_index)
            else:
                new.append(change.build_row(item_index[item_id], order, zone_index))
        if new:
            lines = {
                name: np.append(array, np.array([getattr(row, name) for row in new], array.dtype))
                for name, array in lines.items()
            }
        return replace(self, items=tuple(items), zones=tuple(zones), lines=lines, purchases=None)

    def build_history(
        self, user_id: str | None, as_of: datetime, categories: Categories
    ) -> UserHistory:
        """Return the history of this state as of `as_of`."""
        viewed_ids, viewed_at = _select_recent_views(self.viewed, as_of)
        purchases = self.purchases or self._collect_purchases(categories)
        history = replace(
            UserHistory.unknown(as_of),
            user_id=user_id,
            viewed_item_ids=viewed_ids,
            viewed_at=viewed_at,
            visit=self._find_visit(as_of),
        )
        if not len(purchases.item_ids):
            return history
        lines, n = purchases.lines, len(purchases.item_ids)
        weight = decay(lines["at"], as_of)
        decayed: Float64Array = np.bincount(purchases.item, weight, n).astype(np.float64)
        return replace(
            history,
            item_ids=purchases.item_ids,
            n_orders=purchases.n_orders,
            quantity=purchases.quantity,
            decayed_frequency=decayed.astype(np.float32),
            first_at=purchases.first_at,
            last_at=purchases.last_at,
            features={
                **compute_user_values(lines, self.zones, as_of),
                **_compute_affinity(purchases.category, decayed, categories),
            },
        )

    def prepare(self, categories: Categories) -> Self:
        """Return the same state with all that histories of any time have in common."""
        return replace(self, purchases=self._collect_purchases(categories))

    def _collect_purchases(self, categories: Categories) -> _Purchases:
        is_kept = self.lines["bought"] > self.lines["refunded"]
        lines = self.lines
        if not is_kept.all():
            lines = {name: array[is_kept] for name, array in lines.items()}
        used, item = np.unique(lines["item"], return_inverse=True)
        names = np.array([self.items[index] for index in used], object)
        order = np.argsort(names, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        item, names = rank[item], names[order]
        n = len(names)
        first, last = np.full(n, np.iinfo(np.int64).max), np.full(n, np.iinfo(np.int64).min)
        np.minimum.at(first, item, lines["at"])
        np.maximum.at(last, item, lines["at"])
        units = np.bincount(item, lines["bought"] - lines["refunded"], n)
        names.flags.writeable = False
        return _Purchases(
            lines=lines,
            item=item,
            item_ids=names,
            n_orders=np.bincount(item, minlength=n).astype(np.float32),
            quantity=units.astype(np.float32),
            first_at=first,
            last_at=last,
            category=np.fromiter(map(categories.codes.get, names, repeat(0)), np.int64, n),
        )

    def _find_visit(self, as_of: datetime) -> Visit:
        first = count_milliseconds(as_of) - VIEWED_DAYS * SECONDS_PER_DAY * 1000
        return find_latest_visit([action for action in self.actions if action.at_ms >= first])


@dataclass
class _Line:
    """The changes of one item × order by later events."""

    zone: str | None = None
    at: int = NEVER
    bought: float = 0.0
    refunded: float = 0.0
    paid: float = 0.0
    listed: float = 0.0

    def add(self, event: EventRecord, second: int) -> None:
        """Add one purchase or refund."""
        units = 1.0 if event.quantity is None else event.quantity
        if event.event_type == EventType.REFUND:
            self.refunded += units
            return
        zone = event.zone or DEFAULT_ZONE
        self.zone = zone if self.zone is None else min(self.zone, zone)
        self.at = second if self.at == NEVER else min(self.at, second)
        self.bought += units
        if event.line_amount_minor is not None:
            self.paid += event.line_amount_minor
        elif event.unit_price_minor is not None:
            self.paid += event.unit_price_minor * units
        self.listed += np.nan if event.list_price_minor is None else event.list_price_minor * units

    def build_row(self, item: int, order: int, zones: Mapping[str, int]) -> _LineRow:
        """Return the changes as a new line."""
        zone = NEVER if self.zone is None else zones[self.zone]
        return _LineRow(
            item=item,
            zone=zone,
            order=order,
            at=self.at,
            bought=self.bought,
            refunded=self.refunded,
            paid=self.paid,
            listed=self.listed,
        )

    def update_row(
        self,
        lines: Mapping[str, AnyArray],
        row: int,
        names: tuple[str, ...],
        zones: Mapping[str, int],
    ) -> None:
        """Add the changes to the line in `row`."""
        lines["refunded"][row] += self.refunded
        if self.at == NEVER:
            return
        known = lines["at"][row] != NEVER
        lines["at"][row] = min(self.at, lines["at"][row]) if known else self.at
        zone = str(self.zone)
        lines["zone"][row] = zones[min(zone, names[lines["zone"][row]]) if known else zone]
        lines["bought"][row] += self.bought
        lines["paid"][row] += self.paid
        lines["listed"][row] = self.listed + (lines["listed"][row] if known else 0.0)


def _compute_affinity(
    codes: Int64Array, decayed: Float64Array, categories: Categories
) -> dict[str, float]:
    shares = np.bincount(codes, decayed, len(categories.features)) / decayed.sum()
    present = np.unique(codes[codes > 0]).tolist()
    return {categories.features[code]: float(shares[code]) for code in present}


def _select_recent_views(
    viewed: Mapping[str, int], as_of: datetime
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    first = int(as_of.timestamp()) - VIEWED_DAYS * SECONDS_PER_DAY
    latest = sorted((-at, item_id) for item_id, at in viewed.items() if at >= first)[:MAX_VIEWED]
    return tuple(item_id for _, item_id in latest), tuple(-at for at, _ in latest)
