"""Rollback of a selection, a batch or a day, and what it says under its suggestions."""

from datetime import timedelta

import pytest

from features.contracts.errors import BadInput, Conflict
from features.database import reading, transaction
from serving.audit.repository import AuditRecords
from serving.price_desk import decisions
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import (
    RollbackSelection,
    list_changes,
    roll_back,
    roll_back_many,
)
from tests.shops.price_desk import (
    NOW,
    make_decider,
    make_suggestion,
    read_offer_prices,
    read_statuses,
    store_suggestions,
)


@pytest.fixture
def batch(engine):
    """Ids of three live suggestions, two of one run; the third begins a day later."""
    ids = store_suggestions(
        engine,
        make_suggestion("milk", 110),
        make_suggestion("tea", 90),
        make_suggestion("jam", 120, run_id="other", effective_from=NOW + timedelta(days=1)),
    )
    with transaction(engine) as connection:
        decisions.decide_many(connection, make_decider(), "approve", criteria=SuggestionFilter())
    return ids


def undo(engine, selection, days=2.0, **values):
    with transaction(engine) as connection:
        return roll_back_many(connection, make_decider("ben", days, "bad"), selection, **values)


@pytest.mark.parametrize(
    ("selection", "prices"),
    [
        (RollbackSelection(run_id="run"), [100, 100, 120]),
        (RollbackSelection(run_id="other"), [110, 90, 100]),
        (RollbackSelection(since=NOW, until=NOW + timedelta(hours=12)), [100, 100, 120]),
        (RollbackSelection(since=NOW, until=NOW + timedelta(days=2)), [100, 100, 100]),
    ],
)
def test_a_batch_or_a_day_is_undone_in_one_transaction(engine, batch, selection, prices):
    with reading(engine) as connection:
        n_shown_before = len(list_changes(connection, selection))
    result = undo(engine, selection)
    assert (len(result.restored), result.refused) == (prices.count(100), ())
    assert n_shown_before == len(result.restored)
    later = NOW + timedelta(days=2)
    assert read_offer_prices(engine, "milk", "tea", "jam", at=later) == prices
    rolled_back = [status == "rolled_back" for status in read_statuses(engine, batch)]
    assert rolled_back == [price == 100 for price in prices]


def test_what_cannot_be_undone_is_named_and_the_rest_is_undone(engine, batch):
    with reading(engine) as connection:
        ids = tuple(Suggestions(connection).get(key).price_id for key in batch)
    undo(engine, RollbackSelection(price_ids=ids[:1]))
    result = undo(engine, RollbackSelection(price_ids=(*ids, "no such change")), days=3)
    assert {refusal.suggestion_id for refusal in result.refused} == {ids[0], "no such change"}
    assert read_statuses(engine, batch) == ["rolled_back"] * 3
    with pytest.raises(Conflict, match="0 price changes match, not 3"):
        undo(engine, RollbackSelection(run_id="run"), expected_matched=3)
    with pytest.raises(BadInput):
        undo(engine, RollbackSelection())


def test_a_rollback_stands_under_its_suggestion(engine, batch):
    undo(engine, RollbackSelection(run_id="run"))
    with reading(engine) as connection:
        entries = [e for e in AuditRecords(connection).page() if e.subject_id == batch[0]]
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("key_anna", "approve"),
        ("ben", "roll_back"),
    ]
    assert entries[-1].details["reason"] == "bad"


def test_the_suggestion_whose_price_is_valid_again_is_live_again(engine):
    (first,) = store_suggestions(engine, make_suggestion("milk", 110))
    with transaction(engine) as connection:
        price_id = decisions.approve(connection, make_decider(), first).price_id
        second = make_suggestion("milk", 120, base=price_id, current_price_minor=110)
        (later,) = Suggestions(connection).add([second])
        change = decisions.approve(connection, make_decider(days=1), later).price_id
    assert read_statuses(engine, [first, later]) == ["superseded", "live"]
    with transaction(engine) as connection:
        undone = roll_back(connection, make_decider("ben", 2), change)
    assert read_statuses(engine, [first, later]) == ["live", "rolled_back"]
    with transaction(engine) as connection:
        roll_back(connection, make_decider("ben", 3), undone.price_id)
    assert read_statuses(engine, [first, later]) == ["superseded", "live"]
    assert read_offer_prices(engine, "milk", at=NOW + timedelta(days=3)) == [120]
