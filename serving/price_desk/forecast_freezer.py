"""Keeps what the served models forecast when prices are approved: once per zone and models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.contracts.clock import Clock
from features.contracts.errors import Unavailable
from features.prices.ledger import Ledger
from models.demand.frozen_forecasts import FrozenForecasts
from models.served_prices import PriceModels, ServedPricing
from serving.database.forecast_sets import (
    NO_MODEL,
    ForecastSet,
    ForecastSets,
    ModelKey,
    make_set_id,
)


@dataclass(frozen=True)
class ForecastFreezer:
    """Freezes forecasts in the transaction of an approval."""

    settings: Settings
    clock: Clock
    models: PriceModels

    def __call__(self, connection: sa.Connection, zone: str) -> str | None:
        """Keep the served forecasts of a zone, and return the id of the set; None without a demand
        champion.

        The first approval under the served models keeps them; later ones share the set.
        """
        try:
            forecasts = self.models.forecasts()
        except Unavailable:
            return None
        pricing = self._find_pricing()
        demand_key = ModelKey(forecasts.version.version, forecasts.version.run_id)
        pricing_key = NO_MODEL
        if pricing is not None:
            pricing_key = ModelKey(pricing.version.version, pricing.version.run_id)
        known = ForecastSets(connection).find(zone, demand_key, pricing_key)
        if known is not None:
            return known
        frozen = forecasts.table.freeze(zone, self.clock.now())
        frozen = replace(
            frozen,
            elasticity=_find_elasticity(pricing, frozen.item_ids, zone),
            price_minor=_fill_prices(connection, frozen, zone),
        )
        about = ForecastSet(
            id=make_set_id(),
            zone=zone,
            demand_version=demand_key.version,
            demand_run_id=demand_key.run_id,
            pricing_version=pricing_key.version,
            pricing_run_id=pricing_key.run_id,
            made_at=self.clock.now(),
            tax_divisor=self.settings.zone(zone).tax_divisor,
        )
        ForecastSets(connection).add(about, frozen.to_bytes())
        return about.id

    def _find_pricing(self) -> ServedPricing | None:
        try:
            return self.models.pricing()
        except Unavailable:
            return None


def _find_elasticity(
    pricing: ServedPricing | None, item_ids: Sequence[str], zone: str
) -> Float64Array:
    if pricing is None or not item_ids:
        return np.full(len(item_ids), np.nan)
    return pricing.model.find_response(item_ids, zone).elasticity


def _fill_prices(connection: sa.Connection, frozen: FrozenForecasts, zone: str) -> Float64Array:
    """Return the prices that the forecasts assume.

    A forecast without one was learnt from sales alone, made at the price with which the ledger
    opened.
    """
    rows = np.flatnonzero(np.isnan(frozen.price_minor).any(axis=1))
    unknown = [frozen.item_ids[row] for row in rows]
    histories = Ledger(connection).read_histories(unknown, zone)
    opened = {
        item_id: float(history[0].offer_price_minor)
        for item_id, history in histories.items()
        if history
    }
    return frozen.fill_prices(opened)
