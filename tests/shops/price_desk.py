"""A small price desk for tests: items at 1.00 in the ledger, and suggestions filed for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from features.database import transaction
from features.prices.ledger import Ledger, NewPrice, PriceSource
from models.demand.lookup import ForecastTable
from models.registry import Version
from serving.database.audit_log import SYSTEM, Decider
from serving.price_desk.repository import NewSuggestion, Suggestions

NOW = datetime(2018, 1, 1, 5, tzinfo=UTC)
SYSTEM_NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FixedModels:
    """Served models: one table of forecasts, and one elasticity for every item."""

    table: ForecastTable
    own_elasticity: float | None

    def forecasts(self):
        return SimpleNamespace(table=self.table, version=Version("demand", "1", "run", (), 0.0))

    def elasticity(self, _item_id, _zone):
        return self.own_elasticity


def make_decider(actor="key_anna", days=0.0, reason=None):
    return Decider(actor, NOW + timedelta(days=days), SYSTEM_NOW + timedelta(days=days), reason)


def act_as_system(now):
    """Who acts where time does."""
    return Decider(SYSTEM, now, SYSTEM_NOW)


def make_opening_price(item, offer=100, zone="default"):
    return NewPrice(
        item_id=item,
        zone=zone,
        valid_from=NOW - timedelta(days=100),
        list_price_minor=offer,
        offer_price_minor=offer,
        currency="EUR",
        source=PriceSource.OBSERVED,
        recorded_at=NOW,
    )


def make_suggestion(item, price=110, zone="default", base=None, **values):
    return replace(
        NewSuggestion(
            item_id=item,
            zone=zone,
            status="submitted",
            kind="regular",
            currency="EUR",
            list_price_minor=100,
            current_price_minor=100,
            suggested_price_minor=price,
            run_id="run",
            base_price_id=base or make_opening_price(item, zone=zone).content_id(),
            effective_from=NOW,
            created_at=NOW,
            proposed_by=SYSTEM,
            category="Food > Dairy",
            expected={"profit": {"p10": 1.0, "p50": 2.0, "p90": 3.0}},
            waterfall=[
                {
                    "rule": "optimum",
                    "before_minor": 100,
                    "after_minor": price,
                    "hard": False,
                    "note": "",
                }
            ],
            gain_minor=float(abs(price - 100)),
        ),
        **values,
    )


def store_suggestions(engine, *suggestions):
    """Open the ledger for the suggestions' items and file them; return their ids."""
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price(s.item_id, zone=s.zone) for s in suggestions])
        return Suggestions(connection).add(suggestions)


def read_offer_prices(engine, *items, at=NOW, zone="default"):
    with transaction(engine) as connection:
        current = Ledger(connection).find_current(items, zone, at)
    return [current[item].offer_price_minor for item in items]


def read_statuses(engine, ids):
    with transaction(engine) as connection:
        repository = Suggestions(connection)
        return [repository.get(key).status for key in ids]
