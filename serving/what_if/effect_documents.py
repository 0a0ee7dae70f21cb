"""The JSON of units, revenue and profit with their bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from pydantic import BaseModel

from features.contracts.money import to_major
from features.contracts.pricing import Band, Effect


class UnitsResponse(BaseModel):
    """Units."""

    p10: float
    p50: float
    p90: float


class MoneyResponse(BaseModel):
    """Decimals in major units."""

    p10: str
    p50: str
    p90: str


class EffectResponse(BaseModel):
    """Units, revenue and profit; revenue and profit net of tax."""

    units: UnitsResponse
    revenue: MoneyResponse
    profit: MoneyResponse


def describe_effect(effect: Effect, currency: str) -> EffectResponse:
    """Return the document of an effect."""
    return EffectResponse(
        units=UnitsResponse(**describe_units(effect.units)),
        revenue=MoneyResponse(**describe_money(effect.revenue, currency)),
        profit=MoneyResponse(**describe_money(effect.profit, currency)),
    )


def describe_units(band: Band) -> Mapping[str, float]:
    """Return the fields of a band of units."""
    return {"p10": float(band.p10), "p50": float(band.p50), "p90": float(band.p90)}


def describe_money(band: Band, currency: str) -> Mapping[str, str]:
    """Return the fields of a band of money, from minor to major units."""
    return {name: to_major(round(value), currency) for name, value in asdict(band).items()}
