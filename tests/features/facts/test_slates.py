from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from features.contracts.errors import BadInput
from features.contracts.recommendations import Reason, ScoredItem, Slate
from features.database import reading, transaction
from features.facts import slates
from features.facts.slates import LoggedSlate, ShownItems

NOON = datetime(2018, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
EXPLORING = ShownItems(("tea", "milk"), ("popular", "exploration"), (1.0, 0.25))
INTERLEAVED = ShownItems(("milk", "tea"), ("popular", "popular"), None, ("champion", "challenger"))


def make_slate(name, items=EXPLORING, at=NOON, unit="u", placement="home"):
    return LoggedSlate(
        name, placement, "default", unit, at, NOON, items, model_version="3", latency_ms=1.5
    )


def test_a_slate_is_stored_once_and_read_with_its_lists(engine):
    rows = [make_slate("b", at=NOON + SECOND), make_slate("a", INTERLEAVED, unit=None)]
    with transaction(engine) as connection:
        assert slates.append(connection, rows) == 2
        assert slates.append(connection, [replace(rows[0], unit_id="other")]) == 0
        assert slates.append(connection, [make_slate("c", placement="cart")]) == 1
    with reading(engine) as connection:
        table = slates.read_slates(connection, "home")
        later = slates.read_slates(connection, "home", after=NOON)
        earlier = slates.read_slates(connection, "home", until=NOON)
    assert table.schema == slates.SLATES
    first, second = table.to_pylist()
    assert (first["recommendation_id"], second["recommendation_id"]) == ("a", "b")
    assert (first["team"], first["propensity"]) == (["champion", "challenger"], None)
    assert (second["item_id"], second["propensity"]) == (["tea", "milk"], [1.0, 0.25])
    assert (second["unit_id"], second["shown_at"]) == ("u", NOON + SECOND)
    assert (second["model_version"], second["latency_ms"]) == ("3", 1.5)
    assert later["recommendation_id"].to_pylist() == ["b"]
    assert earlier["recommendation_id"].to_pylist() == ["a"]


def test_impressions_are_the_ranks_of_slates(engine):
    with transaction(engine) as connection:
        slates.append(connection, [make_slate("a"), make_slate("b", INTERLEAVED)])
        rows = slates.list_impressions(slates.read_slates(connection, "home"))
    assert rows.schema == slates.IMPRESSIONS
    columns = ("recommendation_id", "rank", "item_id", "propensity", "explored", "team")
    assert [tuple(row[name] for name in columns) for row in rows.to_pylist()] == [
        ("a", 1, "tea", 1.0, False, None),
        ("a", 2, "milk", 0.25, True, None),
        ("b", 1, "milk", 1.0, False, "champion"),
        ("b", 2, "tea", 1.0, False, "challenger"),
    ]


def test_a_slate_without_items_is_logged_too(engine):
    with transaction(engine) as connection:
        slates.append(connection, [make_slate("a", ShownItems((), ()))])
        table = slates.read_slates(connection, "home")
    assert table["item_id"].to_pylist() == [[]]
    assert slates.list_impressions(table).num_rows == 0


def test_erasing_a_unit_leaves_what_was_shown(engine):
    with transaction(engine) as connection:
        slates.append(connection, [make_slate("b"), make_slate("a", unit="w")])
        assert slates.erase(connection, ["u"]) == 1
    with reading(engine) as connection:
        table = slates.read_slates(connection, "home")
    assert table["unit_id"].to_pylist() == ["w", None]
    assert table["item_id"].to_pylist() == [["tea", "milk"]] * 2


def test_the_oldest_slates_are_deleted_a_few_at_a_time(engine):
    rows = [make_slate(f"s{second}", at=NOON + second * SECOND) for second in range(5)]
    limit = NOON + 3 * SECOND
    with transaction(engine) as connection:
        slates.append(connection, rows)
        assert slates.delete_old(connection, limit, limit=2) == 2
        left = slates.read_slates(connection, "home")["recommendation_id"].to_pylist()
        assert left == ["s2", "s3", "s4"]
        assert slates.delete_old(connection, limit, limit=2) == 1
        assert slates.delete_old(connection, limit, limit=2) == 0
    with reading(engine) as connection:
        assert slates.read_slates(connection, "home").num_rows == 2


@pytest.mark.parametrize("propensity", [0.0, 1.5, float("nan")])
def test_a_propensity_is_a_probability(propensity):
    with pytest.raises(BadInput, match="propensity"):
        ShownItems(("tea",), ("popular",), (propensity,))


def test_the_lists_of_a_slate_have_one_length():
    with pytest.raises(BadInput, match="1 values for 2 items"):
        ShownItems(("tea", "milk"), ("popular", "popular"), (1.0,))


def test_an_item_without_a_propensity_was_certain():
    items = (
        ScoredItem("tea", 1, 2.0, Reason.BUY_AGAIN),
        ScoredItem("milk", 2, 1.0, Reason.EXPLORATION, propensity=0.5),
    )
    assert ShownItems.of(Slate(items)).propensities == (1.0, 0.5)
    assert ShownItems.of(Slate(items[:1])).propensities is None
    assert ShownItems.of(Slate(items)).reasons == ("buy_again", "exploration")


def test_a_slate_of_twenty_items_takes_less_than_a_kilobyte(engine):
    items = ShownItems(
        tuple(f"item-{number:06d}" for number in range(20)), ("because_you_viewed",) * 20
    )
    with transaction(engine) as connection:
        slates.append(connection, [make_slate("a", items)])
        size = connection.execute(sa.text("SELECT length(items) FROM slates")).scalar_one()
    assert size < 1_000
