"""Actors whose events are kept and count for nothing: machines, wholesalers, staff. The marks are
those of features.facts.exclusions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import sqlalchemy as sa

from features.contracts.person_ids import SESSION, USER, VISITOR
from features.contracts.tables import EVENTS, EXCLUSIONS
from features.facts.events import EventLog
from features.facts.exclusions import EXCLUDE, RowFilter, match_rows
from features.facts.facts import Facts


@dataclass(frozen=True, order=True)
class Actor:
    """Who acted: the user of an event, else its visitor, else its session."""

    kind: str
    id: str


@dataclass(frozen=True)
class FlagReason:
    """Why events of an actor count for nothing: by a rule, as JSON, with what was said about it;
    without a rule the file or the sender marked them."""

    rule: str | None
    reason: str | None
    n_events: int


@dataclass(frozen=True)
class FlaggedActor:
    """An actor with events that count for nothing."""

    actor: Actor
    n_events: int
    first_at: datetime
    last_at: datetime
    reasons: tuple[FlagReason, ...]


def list_flagged_actors(
    facts: Facts, connection: sa.Connection, *, after: Actor | None, limit: int
) -> list[FlaggedActor]:
    """Return at most `limit` actors behind `after`, ordered by kind and id."""
    events = _read_marked_events(facts, connection)
    grouped = events.group_by("kind", "id").aggregate(
        n_events=events.count(),
        first_at=events.occurred_at.min(),
        last_at=events.occurred_at.max(),
    )
    if after is not None:
        is_same_kind = (grouped.kind == after.kind) & (grouped.id > after.id)
        grouped = grouped.filter((grouped.kind > after.kind) | is_same_kind)
    page = grouped.order_by(["kind", "id"]).limit(limit).to_pyarrow()
    keys = ibis.memtable(page.select(["kind", "id"]))
    rows = events.semi_join(keys, ["kind", "id"]).to_pyarrow() if page.num_rows else page
    reasons = _find_reasons(rows, _read_rules(facts)) if page.num_rows else {}
    return [
        FlaggedActor(
            actor=(actor := Actor(row["kind"], row["id"])),
            n_events=row["n_events"],
            first_at=row["first_at"].astimezone(UTC),
            last_at=row["last_at"].astimezone(UTC),
            reasons=reasons[actor],
        )
        for row in page.to_pylist()
    ]


def _read_marked_events(facts: Facts, connection: sa.Connection) -> ir.Table:
    """Return the events of somebody that are marked, each once, with kind and id of the actor."""
    imported = facts.read_imported(EVENTS.name)
    marked = imported.filter(imported[EXCLUDE].fill_null(False))
    received = EventLog(connection).read_marked()
    if received.num_rows:
        table = ibis.memtable(received)
        marked = marked.union(table.anti_join(imported, EVENTS.key))
    kind = ibis.cases(
        (marked.user_id.notnull(), USER),
        (marked.visitor_id.notnull(), VISITOR),
        else_=SESSION,
    )
    actor_id = ibis.coalesce(marked.user_id, marked.visitor_id, marked.session_id)
    named = marked.mutate(kind=kind, id=actor_id)
    return named.filter(named.id.notnull())


def _read_rules(facts: Facts) -> list[tuple[str, str | None]]:
    """Return the rules that are valid, in the order in which they were decided, with reasons."""
    rules = facts.read_imported(EXCLUSIONS.name).order_by("decided_at").to_pyarrow().to_pylist()
    return [(row["rule"], row["reason"]) for row in rules if row["excluded"]]


def _find_reasons(
    events: pa.Table, rules: Sequence[tuple[str, str | None]]
) -> Mapping[Actor, tuple[FlagReason, ...]]:
    """Return by actor the rules that their events match, each event counted for the first one."""
    rule_of: list[int | None] = [None] * events.num_rows
    for number, (text, _) in reversed(list(enumerate(rules))):
        matching = match_rows(events, RowFilter.from_text(text)).to_pylist()
        rule_of = [number if hit else before for hit, before in zip(matching, rule_of, strict=True)]
    counts: defaultdict[Actor, Counter[int | None]] = defaultdict(Counter)
    names = zip(events["kind"].to_pylist(), events["id"].to_pylist(), rule_of, strict=True)
    for kind, actor_id, rule in names:
        counts[Actor(kind, actor_id)][rule] += 1
    return {
        actor: tuple(
            _describe_reason(rule, rules, n_events) for rule, n_events in of_actor.most_common()
        )
        for actor, of_actor in counts.items()
    }


def _describe_reason(
    number: int | None, rules: Sequence[tuple[str, str | None]], n_events: int
) -> FlagReason:
    rule, reason = (None, None) if number is None else rules[number]
    return FlagReason(rule, reason, n_events)
