"""Approvals that are taken back: rolled back where they are in the ledger, each refusal named."""

from datetime import timedelta

import pytest

from configs.settings import Settings
from features.contracts.errors import Conflict, Forbidden, NotFound
from features.database import transaction
from serving.access import Caller
from serving.price_desk import decisions
from serving.price_desk.actions import DeskActions
from serving.price_desk.activation import stop_activations
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.rollback import RollbackSelection, roll_back_many
from serving.price_desk.service import PriceDeskService
from serving.price_desk.states import MOVES
from serving.price_desk.undo import UNDOABLE, undo_approvals
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import (
    NOW,
    make_decider,
    make_suggestion,
    read_offer_prices,
    read_statuses,
    store_suggestions,
)


@pytest.fixture
def approved(engine):
    """Ids of a live, a scheduled and an undecided suggestion."""
    tomorrow = NOW + timedelta(days=1)
    ids = store_suggestions(
        engine,
        make_suggestion("milk", 110),
        make_suggestion("tea", 90, effective_from=tomorrow),
        make_suggestion("jam", 120),
    )
    with transaction(engine) as connection:
        decisions.decide_many(connection, make_decider(), "approve", ids=ids[:2])
    return ids


def undo(engine, ids, days=0.01):
    with transaction(engine) as connection:
        decider = make_decider("ben", days, "undone")
        return undo_approvals(connection, decider, decider, ids)


def test_live_and_scheduled_prices_are_rolled_back_and_the_rest_is_refused(engine, approved):
    result = undo(engine, [*approved, "ps_nobody"])
    assert set(result.undone) == set(approved[:2])
    refused = {refusal.suggestion_id: refusal.error for refusal in result.refused}
    assert isinstance(refused["ps_nobody"], NotFound)
    assert "that is submitted" in str(refused[approved[2]])
    assert read_statuses(engine, approved) == ["rolled_back", "rolled_back", "submitted"]
    assert read_offer_prices(engine, "milk", "tea", at=NOW + timedelta(days=2)) == [100, 100]


def test_what_was_rolled_back_meanwhile_is_refused_with_the_reason(engine, approved):
    with transaction(engine) as connection:
        roll_back_many(connection, make_decider("mia", 0.01), RollbackSelection(run_id="run"))
    result = undo(engine, approved[:2])
    assert result.undone == ()
    assert [type(refusal.error) for refusal in result.refused] == [Conflict, Conflict]


def test_what_waits_for_activations_is_rejected(engine):
    ids = store_suggestions(engine, make_suggestion("milk", 110))
    with transaction(engine) as connection:
        stop_activations(connection, make_decider(reason="wrong costs"))
        decisions.decide_many(connection, make_decider(), "approve", criteria=SuggestionFilter())
    assert read_statuses(engine, ids) == ["approved"]
    assert undo(engine, ids).undone == tuple(ids)
    assert read_statuses(engine, ids) == ["rejected"]


def test_only_who_may_roll_back_undoes(engine, approved, tmp_path):
    clock = FixedClock(NOW)
    desk = PriceDeskService(Settings(home=tmp_path), engine, clock, clock, lambda _zone: None)
    approver = Caller("ben", "Ben", frozenset({"pricing.read", "pricing.approve"}), is_person=True)
    with pytest.raises(Forbidden):
        DeskActions(desk).undo_approvals(approver, approved, "undone")


def test_no_move_leads_back_from_a_rejection_or_a_submission():
    """What the console says before such a decision: it cannot be undone."""
    sources = {before for move in MOVES for before in move.before}
    assert "rejected" not in sources
    assert not [move for move in MOVES if "suggested" in move.after and "submitted" in move.before]
    assert UNDOABLE == ("approve",)


def test_a_cut_whose_way_back_moves_by_more_than_half_is_undone_too(engine):
    (milk,) = store_suggestions(engine, make_suggestion("milk", 65))
    with transaction(engine) as connection:
        decisions.decide_many(connection, make_decider(), "approve", ids=[milk])
    assert undo(engine, [milk]).undone == (milk,)
    assert read_offer_prices(engine, "milk", at=NOW + timedelta(days=1)) == [100]


def test_one_price_that_jumps_is_approved_by_itself_and_not_among_many(engine):
    ids = store_suggestions(engine, make_suggestion("milk", 40), make_suggestion("tea", 40))
    with transaction(engine) as connection:
        both = decisions.decide_many(connection, make_decider(), "approve", ids=ids)
        assert both.changed == ()
        assert "approve it by itself" in str(both.refused[0].error)
        one = decisions.decide_many(connection, make_decider(), "approve", ids=ids[:1])
    assert one.changed == (ids[0],)
