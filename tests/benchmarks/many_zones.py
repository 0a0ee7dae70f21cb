"""Processor time of a materialization with sixty zones beside one zone, on the same events."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from configs.settings import Settings
from features.contracts.tables import TABLES, TIMESTAMP
from features.facts.facts import Facts
from features.online.materialize import materialize
from tests.benchmarks.targets import Target

N_ZONES = 60
N_ITEMS = 3_000
N_EVENTS = 200_000
N_USERS = 5_000
MOST_TIMES = 6.0
NOW = datetime(2024, 6, 3, tzinfo=UTC)


def build_shop(settings: Settings, n_zones: int) -> Facts:
    """Write a catalogue, a price list of every zone, and events that are the same but for zones."""
    rng = np.random.default_rng(7)
    item_ids = np.array([f"item{number}" for number in range(N_ITEMS)])
    zones = np.array([f"zone{number}" for number in range(n_zones)])
    ages = rng.integers(60, 180 * 86_400, N_EVENTS)
    columns: dict[str, object] = {
        "event_id": [f"e{number}" for number in range(N_EVENTS)],
        "event_type": rng.choice(["purchase", "view_item"], N_EVENTS),
        "occurred_at": [NOW - timedelta(seconds=int(age)) for age in ages],
        "user_id": [f"u{number}" for number in rng.integers(0, N_USERS, N_EVENTS)],
        "item_id": rng.choice(item_ids, N_EVENTS),
        "zone": zones[rng.integers(0, N_ZONES, N_EVENTS) % n_zones],
        "quantity": np.ones(N_EVENTS),
        "line_amount_minor": rng.integers(100, 5_000, N_EVENTS),
    }
    prices = {
        "item_id": np.tile(item_ids, n_zones),
        "zone": np.repeat(zones, N_ITEMS),
        "valid_from": pa.array([NOW - timedelta(days=300)] * N_ITEMS * n_zones, TIMESTAMP),
        "list_price_minor": np.full(N_ITEMS * n_zones, 1_000),
        "offer_price_minor": np.full(N_ITEMS * n_zones, 1_000),
    }
    facts = Facts(settings)
    facts.write(
        {
            "items": _make_table("items", {"item_id": item_ids}),
            "events": _make_table("events", columns),
            "price_history": _make_table("price_history", prices),
        }
    )
    return facts


def measure_seconds(n_zones: int) -> float:
    """Return the processor time of one materialization."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.model_validate({"home": Path(home), "clock_start": NOW})
        facts = build_shop(settings, n_zones)
        started = time.process_time()
        materialize(facts, settings, NOW)
        return time.process_time() - started


def main() -> None:
    """Print the times and whether sixty zones stay within their bound."""
    one, many = measure_seconds(1), measure_seconds(N_ZONES)
    print(
        Target(
            f"materialization of {N_ZONES} zones within {MOST_TIMES:g} times that of one",
            f"{many:.1f} s against {one:.1f} s of processor time, {many / one:.1f} times",
            many <= MOST_TIMES * one,
        )
    )


def _make_table(name: str, columns: dict[str, object]) -> pa.Table:
    schema = TABLES[name].arrow
    n_rows = len(next(iter(columns.values())))  # type: ignore[arg-type]
    return pa.table(
        {
            field.name: pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(n_rows, field.type)
            for field in schema
        },
        schema=schema,
    )


if __name__ == "__main__":
    main()
