"""The table of moves, and the same table in the database."""

from itertools import product

import pytest
import sqlalchemy as sa

from features.database import transaction
from features.prices.ledger import Ledger
from serving.access import SCOPES
from serving.database.desk_tables import SUGGESTION_STATUSES, price_suggestions
from serving.price_desk.states import ALLOWED, FILED, MOVES
from tests.shops.price_desk import make_opening_price, make_suggestion, store_suggestions


def test_every_status_and_scope_of_the_table_exists():
    assert {status for pair in ALLOWED for status in pair} == set(SUGGESTION_STATUSES)
    assert {move.scope for move in MOVES} <= {*SCOPES, None}


def test_the_database_allows_the_moves_of_the_table_and_no_other(engine):
    store_suggestions(engine, make_suggestion("milk"))
    with transaction(engine) as connection:  # what is live has a price
        price_id = make_opening_price("milk").content_id()
        connection.execute(price_suggestions.update().values(price_id=price_id))
        assert Ledger(connection).find_by_id(price_id)
    for before in SUGGESTION_STATUSES:
        bring_to(engine, before)
        for after in SUGGESTION_STATUSES:
            if after == before:
                continue
            with engine.connect() as connection, connection.begin() as attempt:
                statement = price_suggestions.update().values(status=after)
                if (before, after) in ALLOWED:
                    connection.execute(statement)
                else:
                    with pytest.raises(sa.exc.DBAPIError, match="suggestion cannot"):
                        connection.execute(statement)
                attempt.rollback()


def bring_to(engine, status):
    """Set the status where no rule forbids it: of a row that is filed anew."""
    with transaction(engine) as connection:
        row = connection.execute(sa.select(price_suggestions)).mappings().one()
        connection.execute(price_suggestions.delete())
        connection.execute(price_suggestions.insert().values({**row, "status": "submitted"}))
        if status != "submitted":
            for step in find_way("submitted", status):
                connection.execute(price_suggestions.update().values(status=step))


def find_way(start, goal):
    ways = [[start]]
    while True:
        for way in ways:
            if way[-1] == goal:
                return way[1:]
        ways = [
            [*way, after]
            for way, (before, after) in product(ways, sorted(ALLOWED))
            if before == way[-1] and after not in way
        ]


@pytest.mark.parametrize("status", sorted(set(SUGGESTION_STATUSES) - set(FILED)))
def test_nothing_is_filed_as_decided(engine, status):
    with pytest.raises(sa.exc.DBAPIError):
        store_suggestions(engine, make_suggestion("milk", status=status))
