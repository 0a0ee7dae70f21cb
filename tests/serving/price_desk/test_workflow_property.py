"""Random moves by random people at random times: no forbidden status, no price without an approval.

The invariant of serving: every price of the desk that is valid was approved by somebody else than
its proposer and editor, and the status of its suggestion says so.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.contracts.errors import ShopwrightError
from features.contracts.pricing import EvidenceGrade
from features.database import reading, transaction
from features.database_tables import price_ledger
from features.prices.ledger import Ledger, PriceSource
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import Area, Caller, Grant, compute_areas
from serving.audit.repository import AuditRecords
from serving.database.audit_log import Decider
from serving.database.desk_tables import price_suggestions
from serving.database.price_locks import EVERY_ZONE, PriceLocks
from serving.database.tables import audit_log
from serving.price_desk import decisions
from serving.price_desk.activation import resume_activations, settle_due, stop_activations
from serving.price_desk.auto_approval import apply_rules, save_rule
from serving.price_desk.controls import DeskControls
from serving.price_desk.controls_repository import ApprovalRule
from serving.price_desk.decisions import PriceEdit
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import roll_back
from serving.price_desk.service import PriceDeskService
from serving.price_desk.states import ALLOWED
from serving.promotions.lifecycle import hold_scheduled
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import NOW, SYSTEM_NOW, make_suggestion, store_suggestions

CATEGORIES = {"milk": "Food > Dairy", "tea": "Food > Tea", "jam": "Food > Dairy"}
ITEMS = tuple(CATEGORIES)
DAIRY = Area("Food > Dairy")
PEOPLE = {
    "ada": [Grant("analyst")],
    "abe": [Grant("approver")],
    "amy": [Grant("approver", DAIRY)],
    "max": [Grant("manager")],
    "zoe": [Grant("manager", Area(zone="north"))],
}
KINDS = [
    "file",
    "file",
    "promote",
    "submit",
    "edit",
    "approve",
    "approve_many",
    "reject",
    "roll_back",
    "stop",
    "resume",
    "rule",
    "lock",
    "wait",
    "wait",
]
moves = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(sorted(PEOPLE)),
    st.integers(0, 5),
    st.sampled_from([0, 1, 7, 20]),
)
_SCOPES = {
    "submit": "pricing.propose",
    "edit": "pricing.propose",
    "reject": "pricing.approve",
    "roll_back": "pricing.rollback",
}
# Who decides nothing at all here: an analyst, and a manager of another zone.
POWERLESS = {"ada", "zoe"}
DECISIONS = {"approve", "reject", "roll_back", "restore", "hold", "release", "go_live"}


def make_decider_of(settings, engine, name, kind, now):
    """Return the decider of a request of this person, as the doors make it. Raises Forbidden."""
    system = FixedClock(SYSTEM_NOW + (now - NOW))
    desk = PriceDeskService(settings, engine, FixedClock(now), system, PLAIN_RULES)
    areas = compute_areas(PEOPLE[name])
    caller = Caller(name, name, frozenset(areas), is_person=True, areas=areas)
    if kind in ("stop", "resume", "rule"):
        return DeskControls(desk, hold_scheduled).decider(caller, "because")
    return desk.decider(caller, _SCOPES.get(kind, "pricing.approve"), "because")


def file_draft(connection, kind, name, number, days, now):
    """File a price of an item, computed against the one that is valid; or a promotion of it."""
    item = ITEMS[number % 3]
    base = Ledger(connection).find_current([item], "default", now)[item]
    draft = make_suggestion(item, 95 + 5 * number, base=base.price_id, category=CATEGORIES[item])
    begins = now + timedelta(days=days)
    draft = replace(
        draft,
        status=("suggested", "submitted")[days % 2],
        created_at=now,
        effective_from=begins,
        expires_at=now + timedelta(days=14),
        proposed_by=("system", name)[number % 2],
        current_price_minor=base.offer_price_minor,
        list_price_minor=base.list_price_minor,
        expected={"profit": {"against_keeping": {"p10": 5.0, "p50": 9.0, "p90": 12.0}}},
        evidence_grade="A",
    )
    if kind == "promote":
        ends = begins + timedelta(days=5)
        cheaper = base.list_price_minor - 10 - number
        draft = replace(
            draft,
            kind="promotion",
            suggested_price_minor=cheaper,
            starts_at=begins,
            ends_at=ends,
        )
    Suggestions(connection).add([draft])


def make_move(connection, kind, decider, number, days):
    """Try one move. Raises whatever a door raises."""
    now, name = decider.now, decider.actor
    rows = Suggestions(connection).matching(SuggestionFilter())
    chosen = rows[number % len(rows)] if rows else None
    begins = (lambda _zone: now + timedelta(days=days)) if days else None
    if kind == "stop":
        stop_activations(connection, decider)
    elif kind == "resume":
        resume_activations(connection, decider)
    elif kind == "rule":
        rule = ApprovalRule("small", days > 0, 0.1, EvidenceGrade.B, 0.0, (), name, decider.at)
        save_rule(connection, decider, rule)
    elif kind == "approve_many":
        decisions.decide_many(
            connection, decider, "approve", criteria=SuggestionFilter(), begins=begins
        )
    elif kind == "lock":
        ends = now + timedelta(days=days + 1)
        PriceLocks(connection).add(ITEMS[number % 3], EVERY_ZONE, "contract", name, now, ends)
    elif chosen is None:
        return
    elif kind == "approve":
        decisions.approve(connection, decider, chosen.id, begins=begins)
    elif kind == "edit":
        decisions.edit(connection, decider, chosen.id, PriceEdit(f"1.{number}0"))
    elif kind == "roll_back":
        roll_back(connection, decider, chosen.price_id or "none")
    else:
        getattr(decisions, kind)(connection, decider, chosen.id)


def make_request(settings, engine, move, now):
    """Make one move in a transaction of its own, as a door does."""
    kind, name, number, days = move
    if kind in ("file", "promote"):
        with transaction(engine) as connection:
            file_draft(connection, kind, name, number, days, now)
        return
    decider = make_decider_of(settings, engine, name, kind, now)
    with transaction(engine) as connection:
        make_move(connection, kind, decider, number, days)


def check_served(engine, now):
    """Check who approved what is served, and that statuses and ledger agree."""
    with reading(engine) as connection:
        repository = Suggestions(connection)
        deeds = [
            (entry.actor, entry.subject_id)
            for entry in AuditRecords(connection).page(limit=10_000)
            if entry.action == "approve"
        ]
        for price in Ledger(connection).find_current(ITEMS, "default", now).values():
            if price.source is not PriceSource.DESK:
                continue
            suggestion = repository.get(price.suggestion_id)
            assert suggestion.status == "live"
            assert price.offer_price_minor == suggestion.suggested_price_minor
            approvers = {actor for actor, subject in deeds if subject == suggestion.id}
            assert suggestion.decided_by in approvers
            assert suggestion.decided_by not in (suggestion.proposed_by, suggestion.edited_by)
        live = [s for s in repository.of_status("live") if s.kind == "regular"]
        assert len({s.item_id for s in live}) == len(live)
        check_deciders(connection)


def check_deciders(connection):
    """Check that nobody decided on what their roles do not cover."""
    for entry in AuditRecords(connection).page(limit=10_000):
        if entry.subject_type == "price_suggestion" and entry.action in DECISIONS:
            assert entry.actor not in POWERLESS
            if entry.actor == "amy":
                assert entry.details["item_id"] != "tea"


def read_all_statuses(engine):
    with reading(engine) as connection:
        query = sa.select(price_suggestions.c.id, price_suggestions.c.status)
        return {row.id: row.status for row in connection.execute(query)}


@hypothesis_settings(
    max_examples=6,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(st.lists(moves, min_size=15, max_size=25))
def test_the_same_moves_of_every_run_reach_no_forbidden_status(engine, settings, chosen):
    play(engine, settings, chosen)


@pytest.mark.slow
@hypothesis_settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(st.lists(moves, min_size=5, max_size=40))
def test_no_move_reaches_a_forbidden_status_and_nothing_is_served_unapproved(
    engine, settings, chosen
):
    play(engine, settings, chosen)


def play(engine, settings, chosen):
    """Make the moves one after the other, and check every status and every price on the way."""
    start_anew(engine)
    now, before = NOW, {}
    for kind, name, number, days in chosen:
        now += timedelta(days=days if kind == "wait" else 0, hours=1)
        settled = Decider("system", now, SYSTEM_NOW + (now - NOW))
        with transaction(engine) as connection:
            settle_due(connection, settled)
            apply_rules(connection, settled, None)
        after = read_all_statuses(engine)
        check_moves(before, after)
        if kind != "wait":
            try:
                make_request(settings, engine, (kind, name, number, days), now)
            except ShopwrightError:
                assert read_all_statuses(engine) == after
        before = read_all_statuses(engine)
        check_moves(after, before)
        check_served(engine, now)
    with reading(engine) as connection:
        assert AuditRecords(connection).verify().intact


def check_moves(before, after):
    """Check that each status follows from the one before by one move, or by two at one time."""
    two = {(a, d) for a, b in ALLOWED for c, d in ALLOWED if b == c}
    for key, status in after.items():
        if before.get(key, status) != status:
            assert (before[key], status) in ALLOWED | two


def start_anew(engine):
    """Empty the tables of the desk, and open the ledger at 1.00."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        else:
            for table in ("price_ledger", "audit_log"):
                connection.execute(sa.text(f"DROP TRIGGER IF EXISTS {table}_no_delete"))
        for table in ("activation_stops", "approval_rules", "price_locks"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
        for rows in (price_suggestions, price_ledger, audit_log):
            connection.execute(rows.delete())
    opened = store_suggestions(
        engine, *(make_suggestion(item, category=CATEGORIES[item]) for item in ITEMS)
    )
    assert len(opened) == 3
