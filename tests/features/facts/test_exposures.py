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
        assert exposures.erase(connection, "u") == 2
