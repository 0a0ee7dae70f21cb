import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from features.contracts.errors import BadInput, Conflict, Forbidden, NotFound, PreconditionFailed
from features.database import reading, transaction
from features.prices.ledger import Ledger, PriceSource
from features.prices.reduction_rule import PLAIN_RULES
from serving.audit.repository import AuditFilter, AuditRecords
from serving.database.audit_log import AuditLog
from serving.price_desk import decisions
from serving.price_desk.activation import settle_due
from serving.price_desk.decisions import PriceEdit
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import roll_back
from serving.price_desk.service import PriceDeskService
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.price_desk import (
    NOW,
    act_as_system,
    make_decider,
    make_opening_price,
    make_suggestion,
    read_offer_prices,
    read_statuses,
    store_suggestions,
)


def deeds(engine):
    with reading(engine) as connection:
        assert AuditRecords(connection).verify().intact
        return [
            (each.actor, each.action, each.subject_id) for each in AuditRecords(connection).page()
        ]


def test_approving_serves_the_price_at_once_and_says_who_did_it(engine):
    (key,) = store_suggestions(engine, make_suggestion("milk", 110))
    with transaction(engine) as connection:
        approved = decisions.approve(connection, make_decider(reason="fine"), key, version=1)
    assert (approved.status, approved.decided_by, approved.reason) == ("live", "key_anna", "fine")
    assert approved.version > 1
    with reading(engine) as connection:
        price = Ledger(connection).find_by_id(approved.price_id)
    assert (price.offer_price_minor, price.list_price_minor, price.source) == (
        110,
        110,
        PriceSource.DESK,
    )
    assert (price.suggestion_id, price.valid_from) == (key, NOW)
    assert read_offer_prices(engine, "milk") == [110]
    assert deeds(engine) == [("key_anna", "approve", key)]


def test_a_later_beginning_is_scheduled_and_goes_live_with_time(engine):
    first, later = store_suggestions(
        engine,
        make_suggestion("milk", 110),
        make_suggestion("tea", 90, effective_from=NOW + timedelta(days=7)),
    )
    with transaction(engine) as connection:
        assert decisions.approve(connection, make_decider(), later).status == "scheduled"
        assert decisions.approve(connection, make_decider(), first).status == "live"
    assert read_offer_prices(engine, "tea", at=NOW + timedelta(days=6)) == [100]
    assert read_offer_prices(engine, "tea", at=NOW + timedelta(days=7)) == [90]
    with transaction(engine) as connection:
        assert settle_due(connection, act_as_system(NOW + timedelta(days=8))) == 1
        assert settle_due(connection, act_as_system(NOW + timedelta(days=8))) == 0
    assert read_statuses(engine, [later]) == ["live"]


def test_a_promotion_lowers_the_offer_until_its_end(engine):
    ends = NOW + timedelta(days=7)
    (key,) = store_suggestions(
        engine, make_suggestion("milk", 80, kind="promotion", starts_at=NOW, ends_at=ends)
    )
    with transaction(engine) as connection:
        approved = decisions.approve(connection, make_decider(), key)
        price = Ledger(connection).find_by_id(approved.price_id)
    assert (price.list_price_minor, price.offer_price_minor, price.valid_to) == (100, 80, ends)
    assert read_offer_prices(engine, "milk", at=NOW) + read_offer_prices(
        engine, "milk", at=ends
    ) == [80, 100]
    with transaction(engine) as connection:
        settle_due(connection, act_as_system(ends))
    assert read_statuses(engine, [key]) == ["expired"]


def test_an_edit_that_slipped_by_a_digit_must_be_confirmed(engine):
    (key,) = store_suggestions(engine, make_suggestion("milk"))
    for slipped in ("0.01", "11.00"):
        with (
            pytest.raises(BadInput, match="changes the current price"),
            transaction(engine) as connection,
        ):
            decisions.edit(connection, make_decider("key_anna"), key, PriceEdit(slipped))
    with transaction(engine) as connection:
        assert (
            decisions.edit(
                connection, make_decider("key_anna"), key, PriceEdit("11.00", confirmed=True)
            ).suggested_price_minor
            == 1100
        )


def test_nobody_approves_what_they_proposed_or_edited(engine):
    own, edited = store_suggestions(
        engine, make_suggestion("milk", proposed_by="key_anna"), make_suggestion("tea")
    )
    with pytest.raises(Forbidden), transaction(engine) as connection:
        decisions.approve(connection, make_decider("key_anna"), own)
    with transaction(engine) as connection:
        changed = decisions.edit(
            connection,
            make_decider("key_anna", reason="round"),
            edited,
            PriceEdit("1.20"),
            version=1,
        )
    assert (changed.suggested_price_minor, changed.status, changed.expected) == (
        120,
        "submitted",
        None,
    )
    step = {"rule": "edit", "before_minor": 110, "after_minor": 120, "hard": False, "note": "round"}
    assert changed.waterfall[-1] == step
    with pytest.raises(Forbidden), transaction(engine) as connection:
        decisions.approve(connection, make_decider("key_anna"), edited)
    with transaction(engine) as connection:
        decisions.approve(connection, make_decider("key_ben"), edited)
        decisions.approve(connection, make_decider("key_ben"), own)
    assert read_offer_prices(engine, "milk", "tea") == [110, 120]


@pytest.mark.parametrize("price", ["0", "-1", "abc", "NaN", "Infinity", "1e400", "1e11", "1.999"])
def test_an_edit_needs_a_price_that_can_be_charged(engine, price):
    (key,) = store_suggestions(engine, make_suggestion("milk"))
    with pytest.raises(BadInput), transaction(engine) as connection:
        decisions.edit(connection, make_decider(), key, PriceEdit(price))


def test_a_decision_names_what_it_has_seen(engine):
    (key,) = store_suggestions(engine, make_suggestion("milk"))
    with transaction(engine) as connection:
        decisions.edit(connection, make_decider("key_ben"), key, PriceEdit("1.20"), version=1)
    for verb in (decisions.approve, decisions.reject):
        with pytest.raises(PreconditionFailed), transaction(engine) as connection:
            verb(connection, make_decider(), key, 1)
    with pytest.raises(NotFound), transaction(engine) as connection:
        decisions.approve(connection, make_decider(), "sug_none")


def test_a_decision_is_taken_once(engine):
    (key,) = store_suggestions(engine, make_suggestion("milk"))
    with transaction(engine) as connection:
        assert (
            decisions.reject(connection, make_decider(reason="too dear"), key).reason == "too dear"
        )
    for again in (decisions.approve, decisions.reject):
        with pytest.raises(Conflict, match="rejected"), transaction(engine) as connection:
            again(connection, make_decider(), key)
    with pytest.raises(Conflict), transaction(engine) as connection:
        decisions.edit(connection, make_decider(), key, PriceEdit("1.20"))
    assert read_offer_prices(engine, "milk") == [100]


def test_a_suggestion_against_a_price_that_changed_meanwhile_is_refused(engine):
    first, second = store_suggestions(
        engine, make_suggestion("milk", 110), make_suggestion("milk", 120)
    )
    with transaction(engine) as connection:
        decisions.approve(connection, make_decider(), first)
    with pytest.raises(Conflict, match="another price"), transaction(engine) as connection:
        decisions.approve(connection, make_decider(), second)


def test_a_newer_approval_supersedes_older_suggestions_of_the_item(engine):
    old, chosen, other = store_suggestions(
        engine,
        make_suggestion("milk", 105),
        make_suggestion("milk", 110),
        make_suggestion("tea", 105),
    )
    with transaction(engine) as connection:
        approved = decisions.approve(connection, make_decider(), chosen)
    assert read_statuses(engine, [old, chosen, other]) == ["superseded", "live", "submitted"]
    (newest,) = store_suggestions(engine, make_suggestion("milk", 115, base=approved.price_id))
    with transaction(engine) as connection:
        decisions.approve(connection, make_decider(), newest)
    assert read_statuses(engine, [chosen, newest]) == ["superseded", "live"]


def test_open_suggestions_expire(engine):
    (key,) = store_suggestions(engine, make_suggestion("milk", expires_at=NOW + timedelta(days=1)))
    with pytest.raises(Conflict, match="expired"), transaction(engine) as connection:
        decisions.approve(connection, make_decider(days=1), key)


@pytest.mark.parametrize("status", ["suggested", "submitted"])
def test_what_expired_by_a_clock_that_was_ahead_is_open_again(engine, settings, status):
    milk, replaced = store_suggestions(
        engine,
        make_suggestion("milk", status=status, expires_at=NOW + timedelta(days=14)),
        make_suggestion("rice", status=status, expires_at=NOW + timedelta(days=14)),
    )

    def read_queue(now):
        clock = FixedClock(now)
        desk = PriceDeskService(settings, engine, clock, SYSTEM_CLOCK, PLAIN_RULES)
        rows = desk.list_suggestions(SuggestionFilter(), after=0, limit=10)
        return {row.id: row.status for row in rows}

    assert read_queue(NOW) == {milk: status, replaced: status}
    assert read_queue(NOW + timedelta(days=400)) == {milk: "expired", replaced: "expired"}
    (newer,) = store_suggestions(engine, make_suggestion("rice", 105))
    # Of one item only the last suggestion waits.
    assert read_queue(NOW) == {milk: status, replaced: "expired", newer: "submitted"}
    with reading(engine) as connection:
        records = AuditRecords(connection).page(AuditFilter(subject_id=milk))
    assert [record.action for record in records] == ["expire", "reopen"]
    assert read_queue(NOW + timedelta(days=14))[milk] == "expired"


def test_bulk_decides_what_it_can_and_names_what_it_refused(engine):
    milk, own, tea, low = store_suggestions(
        engine,
        make_suggestion("milk", 110),
        make_suggestion("rice", 110, proposed_by="key_anna"),
        make_suggestion("tea", 105, category="Drinks > Tea"),
        make_suggestion("salt", 102),
    )
    with (
        pytest.raises(Conflict, match="2 suggestions match, not 3"),
        transaction(engine) as connection,
    ):
        food = SuggestionFilter(status=("submitted",), category="Food", min_change=0.05)
        decisions.decide_many(
            connection, make_decider(), "approve", criteria=food, expected_matched=3
        )
    with transaction(engine) as connection:
        result = decisions.decide_many(
            connection, make_decider(), "approve", criteria=food, expected_matched=2
        )
    assert (result.matched, result.changed) == (2, (milk,))
    assert [(each.suggestion_id, type(each.error)) for each in result.refused] == [(own, Forbidden)]
    with transaction(engine) as connection:
        result = decisions.decide_many(
            connection, make_decider(reason="no"), "reject", ids=[tea, low, tea, milk, "sug_x"]
        )
    assert (result.matched, result.changed) == (3, (tea, low))
    assert {each.suggestion_id: type(each.error) for each in result.refused} == {
        "sug_x": NotFound,
        milk: Conflict,
    }
    assert read_statuses(engine, [milk, own, tea, low]) == [
        "live",
        "submitted",
        "rejected",
        "rejected",
    ]
    assert len(deeds(engine)) == 3


def test_bulk_approves_one_price_per_item(engine):
    first, second = store_suggestions(
        engine, make_suggestion("milk", 110), make_suggestion("milk", 120)
    )
    with transaction(engine) as connection:
        result = decisions.decide_many(connection, make_decider(), "approve", ids=[first, second])
    assert (result.changed, len(result.refused)) == ((first,), 1)
    assert read_offer_prices(engine, "milk") == [110]


def test_bulk_needs_a_known_action_and_one_choice(engine):
    for arguments in ({"ids": []}, {"ids": [], "criteria": SuggestionFilter()}, {}):
        action = "approve" if len(arguments) != 1 else "publish"
        with pytest.raises(BadInput), transaction(engine) as connection:
            decisions.decide_many(connection, make_decider(), action, **arguments)


def test_a_failure_in_the_middle_changes_nothing(engine, monkeypatch):
    (key,) = store_suggestions(engine, make_suggestion("milk"))

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(AuditLog, "append", fail)
    with pytest.raises(ZeroDivisionError), transaction(engine) as connection:
        decisions.approve(connection, make_decider(), key)
    monkeypatch.undo()
    assert read_offer_prices(engine, "milk") == [100]
    assert read_statuses(engine, [key]) == ["submitted"]
    assert deeds(engine) == []


def approve_change(engine, item, price, base=None, days=0.0, **values):
    (key,) = store_suggestions(engine, make_suggestion(item, price, base=base, **values))
    with transaction(engine) as connection:
        return decisions.approve(connection, make_decider(days=days), key)


def undo(engine, price_id, days=1.0):
    with transaction(engine) as connection:
        return roll_back(connection, make_decider(days=days), price_id)


def test_a_rollback_appends_the_price_before(engine):
    change = approve_change(engine, "milk", 110)
    restored = undo(engine, change.price_id, days=2)
    assert (restored.offer_price_minor, restored.source) == (100, PriceSource.ROLLBACK)
    assert restored.valid_from == NOW + timedelta(days=2)
    assert read_offer_prices(engine, "milk", at=NOW + timedelta(days=1)) + read_offer_prices(
        engine, "milk", at=restored.valid_from
    ) == [
        110,
        100,
    ]
    assert read_statuses(engine, [change.id]) == ["rolled_back"]
    with pytest.raises(Conflict, match="before"):
        undo(engine, change.price_id, days=3)
    with pytest.raises(NotFound):
        undo(engine, "price_none")


def test_a_rollback_announces_no_reduction_that_the_law_forbids(engine):
    opening = make_opening_price("milk")
    reduced = replace(opening, offer_price_minor=80, valid_from=NOW - timedelta(days=5))
    with transaction(engine) as connection:
        Ledger(connection).append([opening, reduced])
    change = approve_change(engine, "milk", 100, base=reduced.content_id(), current_price_minor=80)
    # The 80 was asked within the 30 days before: announced anew, it is no reduction.
    with pytest.raises(Conflict, match="no reduction: the lowest price of the 30 days"):
        undo(engine, change.price_id, days=2)
    assert read_offer_prices(engine, "milk", at=NOW + timedelta(days=3)) == [100]
    assert undo(engine, change.price_id, days=40).offer_price_minor == 80


def test_changes_are_undone_from_the_last_to_the_first_and_redone(engine):
    first = approve_change(engine, "milk", 110)
    second = approve_change(engine, "milk", 120, base=first.price_id, days=1)
    with pytest.raises(Conflict, match="later price"):
        undo(engine, first.price_id, days=2)
    back = undo(engine, second.price_id, days=2)
    assert back.offer_price_minor == 110
    redone = undo(engine, back.price_id, days=3)
    assert redone.offer_price_minor == 120
    assert undo(engine, redone.price_id, days=4).offer_price_minor == 110
    assert undo(engine, first.price_id, days=5).offer_price_minor == 100
    with reading(engine) as connection:
        opening = Ledger(connection).read_history("milk", "default")[0]
    with pytest.raises(Conflict, match="no price came before"):
        undo(engine, opening.price_id, days=6)


def test_a_scheduled_change_is_undone_from_its_beginning(engine):
    begins = NOW + timedelta(days=7)
    change = approve_change(engine, "milk", 110, effective_from=begins)
    assert undo(engine, change.price_id).valid_from == begins
    assert read_offer_prices(engine, "milk", at=begins) == [100]
    assert read_statuses(engine, [change.id]) == ["rolled_back"]


def test_a_promotion_is_undone_until_its_end(engine):
    ends = NOW + timedelta(days=7)
    change = approve_change(engine, "milk", 80, kind="promotion", starts_at=NOW, ends_at=ends)
    assert undo(engine, change.price_id).valid_to == ends
    assert read_offer_prices(engine, "milk", at=NOW + timedelta(days=2)) == [100]
    later = approve_change(engine, "tea", 80, kind="promotion", starts_at=NOW, ends_at=ends)
    with pytest.raises(Conflict, match="ended"):
        undo(engine, later.price_id, days=8)


@pytest.mark.parametrize("verbs", [("approve", "approve"), ("approve", "reject")])
def test_of_concurrent_decisions_exactly_one_wins(engine, verbs):
    ids = store_suggestions(engine, *(make_suggestion(f"item{n}") for n in range(5)))
    won: list[str] = []
    lost: list[Exception] = []

    def work(number, verb):
        for key in ids:
            try:
                with transaction(engine) as connection:
                    getattr(decisions, verb)(connection, make_decider(f"key_{number}"), key, 1)
                won.append(key)
            except (Conflict, PreconditionFailed) as error:
                lost.append(error)

    threads = [threading.Thread(target=work, args=(n, verbs[n % 2])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(ids)
    assert len(lost) == 3 * 5
    with reading(engine) as connection:
        live = [s.id for s in Suggestions(connection).by_ids(ids) if s.status == "live"]
        desk = [
            row for row in Ledger(connection).list_after(0, 100) if row.source is PriceSource.DESK
        ]
        assert sorted(live) == sorted(row.suggestion_id for row in desk)
        assert AuditRecords(connection).verify().rows == 5


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"])
def test_the_database_refuses_to_rewrite_the_audit_log(engine, statement):
    approve_change(engine, "milk", 110)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), transaction(engine) as connection:
        connection.execute(sa.text(statement))
