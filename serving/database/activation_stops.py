"""The stop of activations: while it stands no approved price or promotion begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from serving.database.desk_tables import activation_stops


@dataclass(frozen=True)
class ActivationStop:
    """Why no approved price becomes valid at present, who said so, and when (system time)."""

    reason: str
    stopped_by: str
    stopped_at: datetime


def find_stop(connection: sa.Connection) -> ActivationStop | None:
    """Return the stop that stands; None while activations go on."""
    table = activation_stops.c
    query = sa.select(table.reason, table.stopped_by, table.stopped_at)
    row = connection.execute(query).one_or_none()
    return None if row is None else ActivationStop(*row)
