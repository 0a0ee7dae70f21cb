"""A shop of twenty-four teas at 1.00, of which eight change their price; sales are set by week.

Every tea sells 10 a week, as its forecast says. A change from 1.00 to 1.10 is predicted to cost
1 - 1.1 ** -1 of the units; a unit costs 0.60.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import Unavailable
from features.contracts.tables import TIMESTAMP
from features.database import transaction
from features.facts.facts import Facts
from features.facts.item_rules import ItemRules
from features.prices.ledger import Ledger
from models.demand.lookup import ForecastTable
from models.pricing.rules import PricingRules
from models.registry import Version
from models.served_prices import ServedForecasts, ServedPricing
from serving.access import SCOPES, Caller
from serving.effects.service import EffectService
from serving.effects.watch import EffectWatch
from serving.price_desk.actions import DeskActions
from serving.price_desk.forecast_freezer import ForecastFreezer
from serving.price_desk.proposals import ProposalService
from serving.price_desk.repository import Suggestions
from serving.price_desk.served_inputs import ServedInputs
from serving.price_desk.service import PriceDeskService
from tests.shops.clocks import MovingClock
from tests.shops.event_tables import make_table
from tests.shops.executors import AtOnce
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import NOW, SYSTEM_NOW, make_opening_price, make_suggestion
from tests.shops.served_shop import make_aggregate_distributions

TIMEZONE = "America/New_York"
CATEGORY = "Drinks > Tea"
TEAS = tuple(f"tea{n:02d}" for n in range(24))
CHANGED = TEAS[:8]
WEEKLY, COST = 10.0, 60
ELASTICITY, ERROR = -1.0, 0.1
RULES = PricingRules(endings=(), max_change=0.2, tried_margin=0.5, max_over_list=0.5)
BEN = Caller("ben", "Ben", frozenset(SCOPES))


class TeaModels:
    """Served models; `version`, `run_id` and `weekly` are what a retraining changes.

    unlearnt   items of which the forecast assumes no price
    """

    def __init__(self) -> None:
        self.version, self.run_id, self.weekly = "1", "run", WEEKLY
        self.is_trained = True
        self.unlearnt: tuple[str, ...] = ()

    def forecasts(self) -> ServedForecasts:
        if not self.is_trained:
            raise Unavailable("no demand model is champion yet")
        rows = [
            {
                "unique_id": item,
                "zone": "default",
                "ds": NOW + timedelta(weeks=week),
                **dict.fromkeys(("mean", "p10", "p50", "p90"), self.weekly),
                "price_minor": math.nan if item in self.unlearnt else 100.0,
                "alpha": 0.2,
                "dense": True,
            }
            for item in TEAS
            for week in range(-1, 12)
        ]
        table = pa.Table.from_pylist(rows)
        ds = table["ds"].cast(TIMESTAMP)
        table = table.set_column(table.column_names.index("ds"), "ds", ds)
        return ServedForecasts(
            ForecastTable(table, aggregates=make_aggregate_distributions()),
            Version("demand", self.version, self.run_id, (), 0.0),
        )

    def pricing(self) -> ServedPricing:
        model = make_fitted_response(TEAS, np.full(len(TEAS), ELASTICITY))
        return ServedPricing(model, Version("pricing", "1", "run", (), 0.0))

    def elasticity(self, _item_id: str, _zone: str) -> float:
        return ELASTICITY


@dataclass
class TeaShop:
    """The shop, its services, and what tests do to it."""

    settings: Settings
    engine: sa.Engine
    clock: MovingClock
    system_clock: MovingClock
    models: TeaModels
    desk: PriceDeskService
    proposals: ProposalService
    effects: EffectService
    ids: dict[str, str]

    def make_watch(self) -> EffectWatch:
        """Return a watch as a process that was just started has it; it searches where it ticks."""
        return EffectWatch(self.effects, self.proposals, AtOnce())

    def approve(self) -> None:
        """Let somebody approve all changes now."""
        actions = DeskActions(self.desk)
        result = actions.decide(BEN, "approve", ids=list(self.ids.values()))
        assert len(result.changed) == len(self.ids), result.refused

    def sell(self, week: int, units: Callable[[str], float], paid: Mapping[str, int]) -> None:
        """Write the sales of a week after NOW, one line per item, and a sale of the next week, of
        an item without a forecast."""
        lines = [
            {
                "event_id": f"{item}-{week}",
                "event_type": "purchase",
                "occurred_at": NOW + timedelta(weeks=week, days=3),
                "user_id": f"u{number}",
                "item_id": item,
                "zone": "default",
                "quantity": float(units(item)),
                "line_amount_minor": round(units(item) * paid.get(item, 100)),
                "order_id": f"{item}-{week}",
            }
            for number, item in enumerate(TEAS)
        ]
        later = {
            "event_id": f"later-{week}",
            "event_type": "purchase",
            "occurred_at": NOW + timedelta(weeks=week + 1, hours=1),
            "item_id": "pot",
            "zone": "default",
            "quantity": 1.0,
            "line_amount_minor": 900,
        }
        Facts(self.settings).write({"events": make_table("events", [*lines, later])})

    def pass_weeks(self, n: int, units: Callable[[str], float]) -> None:
        """Let `n` weeks go by from NOW on in which items sell `units` each week."""
        paid = dict.fromkeys(CHANGED, 110)
        for week in range(n):
            self.sell(week, units, paid)
        self.move(NOW + timedelta(weeks=n, hours=4))

    def move(self, at: datetime) -> None:
        """Set both clocks on."""
        self.system_clock.at += at - self.clock.at
        self.clock.at = at


def open_tea_shop(settings: Settings, engine: sa.Engine) -> TeaShop:
    """Write the shop, and file the changes of eight teas as one run."""
    # Business weeks begin at NOW.
    settings = settings.model_copy(update={"currency": "EUR", "timezone": TIMEZONE})
    items = [
        {"item_id": item, "title": item.title(), "category": CATEGORY, "unit_cost_minor": COST}
        for item in TEAS
    ]
    Facts(settings).write({"items": make_table("items", items)})
    clock, system_clock, models = MovingClock(NOW), MovingClock(SYSTEM_NOW), TeaModels()
    rules = ItemRules(settings, clock, engine)
    desk = PriceDeskService(
        settings,
        engine,
        clock,
        system_clock,
        rules,
        freeze=ForecastFreezer(settings, clock, models),
    )
    inputs = ServedInputs(settings, engine, clock, models)
    proposals = ProposalService(
        desk, lambda zone, ids: replace(inputs.read(zone, ids), rules=RULES)
    )
    effects = EffectService(settings, engine, clock, system_clock, desk.catch_up)
    changes = [
        make_suggestion(
            item,
            110,
            run_id="run_tea",
            category=CATEGORY,
            title=item.title(),
            details={
                "elasticity": ELASTICITY,
                "elasticity_error": ERROR,
                "unit_cost_minor": float(COST),
                "cost_source": "known",
            },
        )
        for item in CHANGED
    ]
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price(item) for item in TEAS])
        ids = Suggestions(connection).add(changes)
    by_item = dict(zip(CHANGED, ids, strict=True))
    return TeaShop(settings, engine, clock, system_clock, models, desk, proposals, effects, by_item)
