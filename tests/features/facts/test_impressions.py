from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from features.database import reading, transaction
from features.facts import impressions
from features.facts.impressions import Impression

NOON = datetime(2018, 1, 1, 12, tzinfo=UTC)


def impression(slate, rank, propensity=0.5, unit="u"):
    return Impression(
        f"{slate}:{rank}",
        slate,
        "home",
        rank,
        f"i{rank}",
        propensity,
        propensity < 1,
        unit,
        NOON,
        NOON,
    )


def test_impressions_are_kept_once_and_read_place_by_place(engine):
    rows = [impression("b", 1, 1.0), impression("b", 2), impression("a", 1, unit="w")]
    with transaction(engine) as connection:
        assert impressions.append(connection, rows) == 3
        assert impressions.append(connection, rows[:1]) == 0
    with reading(engine) as connection:
        table = impressions.read_placement(connection, "home")
        assert table.schema == impressions.SCHEMA
        columns = table.select(["recommendation_id", "rank", "propensity"]).to_pylist()
        assert [tuple(row.values()) for row in columns] == [
            ("a", 1, 0.5),
            ("b", 1, 1.0),
            ("b", 2, 0.5),
        ]
        assert impressions.read_placement(connection, "home", after=NOON).num_rows == 0
        assert (
            impressions.read_placement(connection, "home", until=NOON - timedelta(1)).num_rows == 0
        )
        assert impressions.read_placement(connection, "cart").num_rows == 0


def test_erasing_a_unit_leaves_what_was_shown(engine):
    with transaction(engine) as connection:
        impressions.append(connection, [impression("b", 1), impression("a", 1, unit="w")])
        assert impressions.erase(connection, "u") == 1
    with reading(engine) as connection:
        units = (
            connection.execute(sa.text("SELECT unit_id FROM impressions ORDER BY impression_id"))
            .scalars()
            .all()
        )
        assert units == ["w", None]
        assert impressions.read_placement(connection, "home").num_rows == 2


@pytest.mark.parametrize("propensity", [0.0, 1.5])
def test_a_propensity_is_a_share(engine, propensity):
    with pytest.raises(sa.exc.IntegrityError), transaction(engine) as connection:
        impressions.append(connection, [impression("b", 1, propensity)])
