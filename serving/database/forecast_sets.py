"""Forecasts that were frozen at an approval, so that a later training does not change them.

One set holds all items of a zone as one pair of models forecast them; all approvals under these
models share it. No retention deletes a set: the effect of a change is measured against it for ever.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from serving.database.desk_tables import forecast_sets

_ABOUT = [column for column in forecast_sets.c if column.name != "content"]


class ModelKey(NamedTuple):
    """A version of a model, and the run of its training: a registry that was lost counts its
    versions from 1 again."""

    version: str
    run_id: str


NO_MODEL = ModelKey("", "")


@dataclass(frozen=True, kw_only=True)
class ForecastSet:
    """What a set is from; times in business time.

    pricing_version   "" where no price response was served; pricing_run_id: likewise
    tax_divisor       by which prices of the zone were divided for their net then
    """

    id: str
    zone: str
    demand_version: str
    demand_run_id: str
    pricing_version: str
    pricing_run_id: str
    made_at: datetime
    tax_divisor: float


class ForecastSets:
    """The repository of frozen forecasts, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, zone: str, demand: ModelKey, pricing: ModelKey) -> str | None:
        """Return the id of the set of a zone and two models; None where none was frozen."""
        table = forecast_sets.c
        query = sa.select(table.id).where(
            table.zone == zone,
            table.demand_version == demand.version,
            table.demand_run_id == demand.run_id,
            table.pricing_version == pricing.version,
            table.pricing_run_id == pricing.run_id,
        )
        return self._connection.execute(query).scalar_one_or_none()

    def add(self, about: ForecastSet, content: bytes) -> None:
        """Keep a set."""
        self._connection.execute(forecast_sets.insert().values(**vars(about), content=content))

    def get(self, set_id: str) -> ForecastSet | None:
        """Return what a set is from."""
        query = sa.select(*_ABOUT).where(forecast_sets.c.id == set_id)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else ForecastSet(**row)

    def read_content(self, set_id: str) -> bytes:
        """Return the forecasts of a set as they were stored."""
        query = sa.select(forecast_sets.c.content).where(forecast_sets.c.id == set_id)
        return bytes(self._connection.execute(query).scalar_one())


def make_set_id() -> str:
    """Return a new id."""
    return f"forecasts_{secrets.token_hex(8)}"
