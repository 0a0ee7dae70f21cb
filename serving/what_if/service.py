"""Simulations with the models that this process serves: prices of an item, a promotion of some.

The readers of tables are imported by the first request: a server should be ready before that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.money import to_minor
from features.contracts.pricing import DEFAULT_RULES
from features.database import reading
from features.prices.currencies import refuse_unknown_zone
from models.served_prices import PriceModels
from serving.pricing_rules.present_rules import PresentRules
from serving.what_if.plan_documents import PlanRequest, PromotionPlanResponse, describe_plan
from serving.what_if.price_documents import PriceSimulationResponse, describe_prices
from serving.what_if.promotion_documents import (
    PromotionRequest,
    PromotionSimulationResponse,
    describe_promotion,
)

if TYPE_CHECKING:
    from serving.pricing_inputs.items import PricingInputs


@dataclass(frozen=True)
class WhatIfService:
    """Simulates prices and promotions by the served champions and the default rules.

    Every simulation raises UnknownName for a zone that nobody knows.
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    models: PriceModels

    def simulate_prices(
        self, item_id: str, prices: Sequence[str], zone: str
    ) -> PriceSimulationResponse:
        """Return what an item would do at each price, given in major units.

        Raises NotFound, Conflict and BadInput as `simulate_prices` of simulation.py.
        """
        from serving.what_if.simulation import simulate_prices

        currency = self.settings.zone(zone).currency
        prices_minor = [to_minor(price, currency) for price in prices]
        inputs = self._read_inputs(zone, [item_id])
        return describe_prices(simulate_prices(inputs, item_id, prices_minor, zone))

    def simulate_promotion(self, request: PromotionRequest) -> PromotionSimulationResponse:
        """Return what a promotion would do. Raises BadInput for one that cannot be simulated."""
        from features.facts.facts import Facts
        from serving.pricing_inputs.item_facts import add_family_items
        from serving.what_if.campaign import build_campaign
        from serving.what_if.simulation import simulate_promotion

        currency = self.settings.zone(request.zone).currency
        facts = Facts(self.settings)
        requested = build_campaign(request, facts, currency, self.clock.now())
        item_ids = add_family_items(facts, request.item_ids)
        inputs = self._read_inputs(request.zone, item_ids)
        simulation = simulate_promotion(inputs, requested.campaign, request.item_ids)
        return describe_promotion(simulation, currency, requested.inputs)

    def suggest_promotions(self, request: PlanRequest) -> PromotionPlanResponse:
        """Return the promotions that gain most within the limits of the request."""
        from features.facts.facts import Facts
        from serving.pricing_inputs.item_facts import add_family_items
        from serving.what_if.promotion_plan import suggest_promotions

        item_ids = add_family_items(Facts(self.settings), request.item_ids)
        inputs = self._read_inputs(request.zone, item_ids, request.weeks)
        limits = request.to_limits(inputs.rules)
        return describe_plan(
            suggest_promotions(inputs, request.zone, request.weeks, limits, request.item_ids)
        )

    def _read_inputs(
        self, zone: str, item_ids: Sequence[str], weeks: int | None = None
    ) -> PricingInputs:
        from features.facts.facts import Facts
        from serving.pricing_inputs.items import PricingInputs
        from serving.what_if.served_demand import ServedDemand

        with reading(self.engine) as connection:
            refuse_unknown_zone(self.settings, connection, zone)
            rules = PresentRules.read(self.settings, connection).load(DEFAULT_RULES)
        forecasts, pricing = self.models.forecasts(), self.models.pricing()
        now = self.clock.now()
        return PricingInputs(
            facts=Facts(self.settings),
            engine=self.engine,
            settings=self.settings,
            demand_model=ServedDemand(
                forecasts.table, item_ids, zone, weeks or rules.horizon_weeks, now
            ),
            pricing_model=pricing.model,
            rules=rules,
            now=now,
            presets={},
            versions={"demand": forecasts.version.version, "pricing": pricing.version.version},
        )
