"""Units that met the variants of an experiment, and what they bought, written into a shop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa

from features.contracts.clock import SystemClock
from features.database import transaction
from features.facts import exposures
from features.facts.events import EventLog
from features.facts.exposures import Exposure
from tests.shops.event_tables import make_event


@dataclass(frozen=True)
class Arm:
    """A variant with the number of its units, and the probability that one of them buys."""

    name: str
    n: int
    rate: float


def add_units(
    engine: sa.Engine, experiment: str, arms: Sequence[Arm], last: datetime, n_days: int = 4
) -> None:
    """Expose units over the days until `last`, and let some buy within the hour."""
    rng = np.random.default_rng(7)
    now = SystemClock().now()
    met, bought = [], []
    for arm in arms:
        for number in range(arm.n):
            unit = f"{experiment}-{arm.name}-{number}"
            at = last - timedelta(days=float(n_days * rng.random()), hours=2)
            met.append(Exposure(unit, experiment, arm.name, unit, at, now))
            if rng.random() < arm.rate:
                bought.append(make_purchase(unit, at + timedelta(minutes=30), rng))
    with transaction(engine) as connection:
        exposures.append(connection, met)
        EventLog(connection).append(bought, now)


def make_purchase(unit: str, at: datetime, rng: np.random.Generator) -> Mapping[str, object]:
    amount = int(rng.integers(200, 3_000))
    values = {"order_id": unit, "line_amount_minor": amount, "quantity": 1.0}
    return make_event(None, "milk", at, "purchase", visitor_id=unit, **values)
