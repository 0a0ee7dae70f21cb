"""The JSON of an item at several prices, over HTTP and on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.pricing import Effect
from serving.what_if.effect_documents import (
    MoneyResponse,
    UnitsResponse,
    describe_effect,
    describe_money,
    describe_units,
)

if TYPE_CHECKING:
    from serving.what_if.simulation import PriceSimulation


class ComparedUnitsResponse(UnitsResponse):
    """Units, and the difference to keeping the present price."""

    against_keeping: UnitsResponse


class ComparedMoneyResponse(MoneyResponse):
    """Decimals in major units, and the difference to keeping the present price."""

    against_keeping: MoneyResponse


class ComparedEffectResponse(BaseModel):
    """Units, revenue and profit, each with the difference to keeping the present price."""

    units: ComparedUnitsResponse
    revenue: ComparedMoneyResponse
    profit: ComparedMoneyResponse


class PricePointResponse(BaseModel):
    """One price. Units, revenue and profit have p10, p50, p90 over the horizon, and the same
    against keeping."""

    price: str
    expected: ComparedEffectResponse
    broken_rules: list[str] = Field(
        description="Pricing rules that forbid this price; endings aside"
    )


class PriceSimulationResponse(BaseModel):
    """An item at several prices; money is a decimal in major units, revenue and profit net of
    tax."""

    item_id: str
    zone: str
    currency: str
    current_price: str
    horizon_weeks: int
    evidence_grade: str
    elasticity: float
    elasticity_error: float
    cost_source: str
    items: list[PricePointResponse]


def describe_prices(simulation: PriceSimulation) -> PriceSimulationResponse:
    """Return the document of an item at several prices."""
    item = simulation.item
    points = [
        PricePointResponse(
            price=to_major(point.price_minor, item.currency),
            expected=_compare_effect(point.expected, point.against_keeping, item.currency),
            broken_rules=list(point.broken_rules),
        )
        for point in simulation.points
    ]
    return PriceSimulationResponse(
        item_id=item.item_id,
        zone=item.zone,
        currency=item.currency,
        current_price=to_major(item.current_price_minor, item.currency),
        horizon_weeks=simulation.horizon_weeks,
        evidence_grade=str(item.evidence_grade),
        elasticity=item.elasticity,
        elasticity_error=item.elasticity_error,
        cost_source=item.cost_source,
        items=points,
    )


def _compare_effect(effect: Effect, against: Effect, currency: str) -> ComparedEffectResponse:
    """Return an effect with its difference to keeping the present price."""
    compared = describe_effect(against, currency)
    return ComparedEffectResponse(
        units=ComparedUnitsResponse(**describe_units(effect.units), against_keeping=compared.units),
        revenue=ComparedMoneyResponse(
            **describe_money(effect.revenue, currency), against_keeping=compared.revenue
        ),
        profit=ComparedMoneyResponse(
            **describe_money(effect.profit, currency), against_keeping=compared.profit
        ),
    )
