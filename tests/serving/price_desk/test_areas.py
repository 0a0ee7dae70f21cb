"""A person whose role is limited to categories and zones decides there, and nowhere else."""

from dataclasses import replace

import pytest

from features.contracts.errors import Forbidden
from features.database import transaction
from serving.access import Area
from serving.price_desk import decisions
from serving.price_desk.decisions import PriceEdit
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.rollback import roll_back
from tests.shops.price_desk import make_decider, make_suggestion, read_statuses, store_suggestions

DAIRY_IN_NORTH = replace(make_decider("ben"), areas=(Area("Food > Dairy", "north"),))
OUTSIDE = "your role covers Food > Dairy in north, not"


def store_three(engine, status="submitted"):
    """Return the ids of a suggestion inside, one in another zone, one of another category."""
    return store_suggestions(
        engine,
        make_suggestion("milk", zone="north", status=status),
        make_suggestion("milk", zone="south", status=status),
        make_suggestion("wine", zone="north", category="Drinks > Wine", status=status),
    )


@pytest.mark.parametrize("action", ["approve", "reject", "edit", "submit"])
def test_no_single_decision_reaches_beyond_the_area(engine, action):
    status = "suggested" if action == "submit" else "submitted"
    _, south, wine = store_three(engine, status)
    before = read_statuses(engine, [south, wine])
    more = (PriceEdit("1.05"),) if action == "edit" else ()
    for key, what in ((south, "Food > Dairy in south"), (wine, "Drinks > Wine in north")):
        with (
            pytest.raises(Forbidden, match=f"{OUTSIDE} {what}"),
            transaction(engine) as connection,
        ):
            getattr(decisions, action)(connection, DAIRY_IN_NORTH, key, *more)
    assert read_statuses(engine, [south, wine]) == before


def test_a_bulk_decision_takes_what_lies_inside_and_names_the_rest(engine):
    milk, south, wine = store_three(engine)
    with transaction(engine) as connection:
        result = decisions.decide_many(
            connection, DAIRY_IN_NORTH, "approve", criteria=SuggestionFilter()
        )
    assert (result.matched, result.changed) == (3, (milk,))
    assert {refusal.suggestion_id for refusal in result.refused} == {south, wine}
    assert all(OUTSIDE in str(refusal.error) for refusal in result.refused)
    assert read_statuses(engine, [milk, south, wine]) == ["live", "submitted", "submitted"]


def test_a_rollback_stays_inside_too(engine):
    milk, south, _ = store_three(engine)
    with transaction(engine) as connection:
        changes = [
            decisions.approve(connection, make_decider(), key).price_id for key in (milk, south)
        ]
    with transaction(engine) as connection:
        assert roll_back(connection, DAIRY_IN_NORTH, changes[0]).offer_price_minor == 100
    with pytest.raises(Forbidden, match=OUTSIDE), transaction(engine) as connection:
        roll_back(connection, DAIRY_IN_NORTH, changes[1])
