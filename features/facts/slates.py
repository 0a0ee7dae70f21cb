"""Logged slates: one row for each answered slate, with its items, and the readers of these rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
import pyarrow as pa
import sqlalchemy as sa

from features.contracts.errors import BadInput
from features.contracts.recommendations import QueryMatch, Reason, Slate
from features.contracts.tables import TIMESTAMP
from features.database import insert_new
from features.database_tables import exposures, slates
from features.one_of import one_of

# One row per slate; the lists have an element per rank.
SLATES = pa.schema(
    [
        ("recommendation_id", pa.string()),
        ("placement", pa.string()),
        ("zone", pa.string()),
        ("unit_id", pa.string()),
        ("shown_at", TIMESTAMP),
        ("model_name", pa.string()),
        ("model_version", pa.string()),
        ("experiment", pa.string()),
        ("variant", pa.string()),
        ("fallback", pa.string()),
        ("degraded", pa.bool_()),
        ("latency_ms", pa.float64()),
        ("item_id", pa.list_(pa.string())),
        ("reason", pa.list_(pa.string())),
        ("propensity", pa.list_(pa.float64())),
        ("team", pa.list_(pa.string())),
    ]
)
# One row per rank of a slate: an impression.
IMPRESSIONS = pa.schema(
    [
        ("recommendation_id", pa.string()),
        ("unit_id", pa.string()),
        ("shown_at", TIMESTAMP),
        ("rank", pa.int64()),
        ("item_id", pa.string()),
        ("propensity", pa.float64()),
        ("explored", pa.bool_()),
        ("team", pa.string()),
    ]
)
# The answers of an experiment, with the unit of the exposure and numbers in place of flags.
ANSWERS = pa.schema(
    [
        ("recommendation_id", pa.string()),
        ("unit_id", pa.string()),
        ("placement", pa.string()),
        ("zone", pa.string()),
        ("latency_ms", pa.float64()),
        ("degraded", pa.int64()),
        ("fallback", pa.int64()),
        ("n_items", pa.int64()),
        ("item_id", pa.list_(pa.string())),
        ("team", pa.list_(pa.string())),
    ]
)
# Of a search: for each item how far it matches, and the score that it has without that.
_MATCH, _MATCH_DIGITS = "match", 4
_LISTS = ("item_id", "reason", "propensity", "team")
_COLUMNS = tuple(name for name in SLATES.names if name not in _LISTS)


@dataclass(frozen=True)
class ShownItems:
    """The items of a slate by rank, the first at rank 1.

    reasons        why the item is there (Reason); None where an older release did not store it
    propensities   probability of the item at this rank given the ranks before it, 0 < p <= 1; the
                   product is the probability of the slate. None where nothing was drawn
    teams          the ranker that gave the item, where two are interleaved
    matches        how far the item matches what was searched for, None for an item that the ranker
                   of purchases did not score; None where nothing was, or two rankers were mixed

    Raises BadInput when the lengths differ or a propensity is no probability.
    """

    item_ids: tuple[str, ...]
    reasons: tuple[str | None, ...]
    propensities: tuple[float, ...] | None = None
    teams: tuple[str | None, ...] | None = None
    matches: tuple[QueryMatch | None, ...] | None = None

    @classmethod
    def of(cls, slate: Slate, teams: tuple[str | None, ...] | None = None) -> ShownItems:
        """Return the items of an answered slate; an item without a propensity was certain."""
        drawn = [item.propensity for item in slate.items]
        propensities = None
        if any(propensity is not None for propensity in drawn):
            propensities = tuple([1.0 if value is None else value for value in drawn])
        matches = [item.query_match for item in slate.items]
        return cls(
            item_ids=tuple([item.item_id for item in slate.items]),
            reasons=tuple([item.reason.value for item in slate.items]),
            propensities=propensities,
            teams=teams,
            # The scores of two rankers that are mixed have no unit in common.
            matches=tuple(matches) if teams is None and any(matches) else None,
        )

    def __post_init__(self) -> None:
        n = len(self.item_ids)
        for values in (self.reasons, self.propensities, self.teams, self.matches):
            if values is not None and len(values) != n:
                raise BadInput(f"{len(values)} values for {n} items", where="slate")
        if self.propensities and not (min(self.propensities) > 0 and max(self.propensities) <= 1):
            raise BadInput("a propensity lies in (0, 1]", where="slate")


@dataclass(frozen=True)
class LoggedSlate:
    """One answered slate.

    unit_id      the user, else visitor, else session; None when none was given, and for people who
                 do not allow personalization
    shown_at     business time; recorded_at is system time
    experiment, variant   of the answer. The probability of the variant is in its exposure
    fallback     the source in place of personal items
    degraded     whether the visitor's history could not be read
    latency_ms   from the begin of the answer until the slate was complete
    """

    recommendation_id: str
    placement: str
    zone: str
    unit_id: str | None
    shown_at: datetime
    recorded_at: datetime
    items: ShownItems
    model_name: str | None = None
    model_version: str | None = None
    experiment: str | None = None
    variant: str | None = None
    fallback: str | None = None
    degraded: bool = False
    latency_ms: float | None = None


def append(connection: sa.Connection, rows: Sequence[LoggedSlate]) -> int:
    """Store each slate once and return how many were new."""
    values = [vars(row) | {"items": encode_items(row.items)} for row in rows]
    return insert_new(connection, slates, "recommendation_id", values)


def encode_items(items: ShownItems) -> str:
    """Return the items as they are stored: JSON lists by name, those without values left out."""
    lists: dict[str, Sequence[object]] = {"item_id": items.item_ids, "reason": items.reasons}
    if items.propensities is not None:
        lists["propensity"] = items.propensities
    if items.teams is not None:
        lists["team"] = items.teams
    if items.matches is not None:
        lists[_MATCH] = [
            match and [round(number, _MATCH_DIGITS) for number in match] for match in items.matches
        ]
    return orjson.dumps(lists).decode()


def decode_item_ids(text: str) -> list[str]:
    """Return the ids of stored items, by rank."""
    item_ids: list[str] = orjson.loads(text)["item_id"]
    return item_ids


def read_slates(
    connection: sa.Connection,
    placement: str,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
) -> pa.Table:
    """Return the slates of a placement in the order in which they were shown.

    `after` < shown_at <= `until`. Columns of SLATES.
    """
    table = slates.c
    query = (
        sa.select(*(table[name] for name in _COLUMNS), table["items"])
        .where(table.placement == placement)
        .order_by(table.shown_at, table.recommendation_id)
    )
    if after is not None:
        query = query.where(table.shown_at > after)
    if until is not None:
        query = query.where(table.shown_at <= until)
    return _read_table(connection, query)


def _read_table(connection: sa.Connection, query: sa.Select) -> pa.Table:
    """Return the slates that a query selects, with the lists of their items."""
    rows = []
    for row in connection.execute(query).mappings():
        values = dict(row)
        lists = orjson.loads(values.pop("items"))
        rows.append(values | lists)
    return pa.Table.from_pylist(rows, SLATES)


@dataclass(frozen=True)
class LoggedSearch:
    """The items of a given list that was ranked by a query, by rank; a None as in ShownItems."""

    recommendation_id: str
    item_ids: tuple[str, ...]
    matches: tuple[QueryMatch | None, ...]


def read_searches(
    connection: sa.Connection, *, after: datetime, until: datetime, limit: int
) -> list[LoggedSearch]:
    """Return the logged lists that a query ranked, after < shown_at <= until, oldest first.

    Of more than `limit` the latest.
    """
    table = slates.c
    query = (
        sa.select(table.recommendation_id, table["items"])
        .where(table.shown_at > after, table.shown_at <= until)
        .where(table["items"].contains(f'"{_MATCH}":', autoescape=True))
        .order_by(table.shown_at.desc(), table.recommendation_id.desc())
        .limit(limit)
    )
    searches = []
    for recommendation_id, text in reversed(connection.execute(query).all()):
        lists = orjson.loads(text)
        if _MATCH in lists:
            matches = [None if match is None else QueryMatch(*match) for match in lists[_MATCH]]
            item_ids = tuple(lists["item_id"])
            searches.append(LoggedSearch(recommendation_id, item_ids, tuple(matches)))
    return searches


def read_answers(
    connection: sa.Connection, experiment: str, *, until: datetime, with_items: bool
) -> pa.Table:
    """Return the logged slates of the answers of an experiment, in the order of their exposures.

    exposed_at <= `until`. Columns of ANSWERS; without `with_items` n_items, item_id and team are
    null.
    """
    table, met = slates.c, exposures.c
    query = (
        sa.select(
            table.recommendation_id,
            met.unit_id,
            table.placement,
            table.zone,
            table.latency_ms,
            table.degraded,
            table.fallback,
            table["items"] if with_items else sa.null().label("items"),
        )
        .join(exposures, met.recommendation_id == table.recommendation_id)
        .where(met.experiment == experiment, met.exposed_at <= until)
        .order_by(met.exposed_at, table.recommendation_id)
    )
    columns: dict[str, list[object]] = {name: [] for name in ANSWERS.names}
    for row in connection.execute(query):
        lists = {} if row.items is None else orjson.loads(row.items)
        for name in ("recommendation_id", "unit_id", "placement", "zone", "latency_ms"):
            columns[name].append(getattr(row, name))
        columns["degraded"].append(int(row.degraded))
        columns["fallback"].append(int(row.fallback is not None))
        columns["n_items"].append(len(lists["item_id"]) if lists else None)
        columns["item_id"].append(lists.get("item_id"))
        columns["team"].append(lists.get("team"))
    return pa.table(columns, ANSWERS)


def list_impressions(table: pa.Table) -> pa.Table:
    """Return the impressions of slates as `read_slates` returns them, slate by slate, by rank.

    Columns of IMPRESSIONS. Without a stored propensity an item was certain: it has 1.
    """
    columns: dict[str, list[object]] = {name: [] for name in IMPRESSIONS.names}
    for row in table.to_pylist():
        n = len(row["item_id"])
        for name in ("recommendation_id", "unit_id", "shown_at"):
            columns[name] += [row[name]] * n
        columns["rank"] += range(1, n + 1)
        columns["item_id"] += row["item_id"]
        columns["propensity"] += row["propensity"] or [1.0] * n
        columns["explored"] += [reason == Reason.EXPLORATION for reason in row["reason"]]
        columns["team"] += row["team"] or [None] * n
    return pa.table(columns, IMPRESSIONS)


def read_of_units(connection: sa.Connection, unit_ids: Collection[str]) -> pa.Table:
    """Return the slates of units in the order in which they were shown. Columns of SLATES."""
    table = slates.c
    query = sa.select(*(table[name] for name in _COLUMNS), table["items"])
    chosen = query.where(one_of(table.unit_id, unit_ids))
    return _read_table(connection, chosen.order_by(table.shown_at, table.recommendation_id))


def erase(connection: sa.Connection, unit_ids: Collection[str]) -> int:
    """Erase the units of their slates and return of how many; the items and propensities stay."""
    query = slates.update().where(one_of(slates.c.unit_id, unit_ids)).values(unit_id=None)
    return connection.execute(query).rowcount


def delete_old(
    connection: sa.Connection, before: datetime, *, limit: int, keep: Collection[str] = ()
) -> int:
    """Delete the oldest slates shown before an instant, at most `limit`; return how many.

    keep   experiments whose slates stay: those that nobody has decided
    """
    table = slates.c
    oldest = (
        sa.select(table.recommendation_id)
        .where(table.shown_at < before)
        .where(sa.or_(table.experiment.is_(None), table.experiment.not_in(list(keep))))
        .order_by(table.shown_at)
        .limit(limit)
    )
    query = slates.delete().where(table.recommendation_id.in_(oldest))
    return connection.execute(query).rowcount
