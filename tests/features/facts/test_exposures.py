from dataclasses import replace
from datetime import UTC, datetime, timedelta

from features.database import reading, transaction
from features.facts import exposures
from features.facts.exposures import Exposure

NOON = datetime(2018, 1, 1, 12, tzinfo=UTC)


def exposure(name, unit, variant, minutes):
    at = NOON + timedelta(minutes=minutes)
    return Exposure(name, "ranker", variant, unit, at, at, propensity=0.5)


def test_exposures_are_kept_once_and_read_by_unit(engine):
    rows = [
        exposure("1", "u", "ranker", 2),
        exposure("2", "u", "ranker", 1),
        exposure("3", "w", "control", 3),
    ]
    with transaction(engine) as connection:
        assert exposures.append(connection, rows) == 3
        assert exposures.append(connection, rows[:1]) == 0
        assert exposures.append(connection, []) == 0
    with reading(engine) as connection:
        table = exposures.read_first_exposures(connection, "ranker")
        assert table.schema == exposures.SCHEMA
        assert table.to_pylist() == [
            {
                "unit_id": "u",
                "variant": "ranker",
                "exposed_at": NOON + timedelta(minutes=1),
                "n_exposures": 2,
            },
            {
                "unit_id": "w",
                "variant": "control",
                "exposed_at": NOON + timedelta(minutes=3),
                "n_exposures": 1,
            },
        ]
        late = exposures.read_first_exposures(
            connection, "ranker", after=NOON + timedelta(minutes=2)
        )
        assert late.column("unit_id").to_pylist() == ["w"]
        assert exposures.read_first_exposures(connection, "ranker", until=NOON).num_rows == 0
    with transaction(engine) as connection:
        assert exposures.erase(connection, ["u"]) == 2


def test_the_variant_met_first_and_the_user_whom_a_visitor_became(engine):
    visitor = exposure("1", "v", "ranker", 1)
    user = replace(exposure("2", "u", "ranker", 2), visitor_id="v")
    again = replace(exposure("3", "u", "control", 3), visitor_id="v")
    other = replace(exposure("4", "w", "control", 4), visitor_id="v")  # a shared browser
    with transaction(engine) as connection:
        exposures.append(connection, [again, other, user, visitor])
    with reading(engine) as connection:
        assert exposures.find_first_variant(connection, "ranker", "v") == "ranker"
        assert exposures.find_first_variant(connection, "ranker", "u") == "ranker"
        assert exposures.find_first_variant(connection, "another", "u") is None
        links = exposures.read_links(connection, "ranker", until=NOON + timedelta(hours=1))
        assert links.to_pylist() == [
            {"visitor_id": "v", "user_id": "u", "linked_at": NOON + timedelta(minutes=2)}
        ]
        assert exposures.read_links(connection, "ranker", until=NOON).num_rows == 0
