"""The JSON of what price changes brought, for HTTP and the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.pricing import Band, Effect
from serving.database.forecast_sets import ForecastSet
from serving.effects.measured import ChangeEffect, GroupEffect, MeasuredEffects, Quantities
from serving.effects.repository import BatchLook
from serving.what_if.effect_documents import MoneyResponse, UnitsResponse


class QuantitiesResponse(BaseModel):
    """Units, and money net of tax as decimals in major units; profit is null without a cost."""

    units: float
    revenue: str
    profit: str | None


class MeasuredEffectResponse(BaseModel):
    """Against keeping the price, with intervals of 80 %; profit is null without a cost."""

    units: UnitsResponse
    revenue: MoneyResponse
    profit: MoneyResponse | None


class WeeksResponse(BaseModel):
    """Whole weeks since the change."""

    over: int = Field(description="Over, and their sales known")
    counted: int
    left_out: dict[str, int] = Field(description="Why others do not count, and how many")


class FrozenForecastResponse(BaseModel):
    """The forecasts that the approval froze."""

    id: str
    made_at: datetime
    demand_version: str
    pricing_version: str | None


class EffectFiguresResponse(BaseModel):
    """Sold, expected of keeping, and the difference, over the weeks that count."""

    verdict: str = Field(description="as_expected, better, worse, too_early or unknown")
    sold: QuantitiesResponse | None = Field(description="At the new price")
    keeping: QuantitiesResponse | None = Field(description="Expected at the price before")
    expected: QuantitiesResponse | None = Field(
        description="By how much the approval expected more than keeping brings"
    )
    effect: MeasuredEffectResponse | None
    unknown: str | None = Field(description="Why something of this is not known")


class ChangeEffectResponse(EffectFiguresResponse):
    """What a price change brought against keeping the price."""

    price_id: str
    suggestion_id: str
    run_id: str
    item_id: str
    title: str | None
    category: str
    zone: str
    currency: str
    status: str
    price_before: str
    price_after: str
    begins_at: datetime
    approved_at: datetime | None
    weeks: WeeksResponse
    control: str | None = Field(
        description='What keeping is from: "forecast", or "unchanged items of CATEGORY (n)"'
    )
    forecast: FrozenForecastResponse | None
    cost_source: str | None


class GroupEffectResponse(EffectFiguresResponse):
    """What the changes of a batch or a category brought together."""

    name: str
    zone: str
    currency: str
    n_changes: int
    n_measured: int = Field(description="Changes with a week that counts")
    controls: list[str]


class WarningResponse(BaseModel):
    """A batch that sells less than its forecast."""

    run_id: str
    zone: str
    week: int
    looked_at: datetime
    currency: str
    profit: MoneyResponse
    proposal_id: str | None = Field(description="The rollback that waits for approval")
    note: str | None


class EffectsResponse(BaseModel):
    """Price changes, the latest first; together by batch and category; batches below forecast."""

    items: list[ChangeEffectResponse]
    batches: list[GroupEffectResponse]
    categories: list[GroupEffectResponse]
    warnings: list[WarningResponse]
    sales_known_until: datetime | None = Field(
        description="When the latest known sale was, of several zones in that where it was first"
    )
    next_cursor: None = None


def describe_effects(measured: MeasuredEffects, warnings: list[BatchLook]) -> EffectsResponse:
    """Return the document of many changes."""
    return EffectsResponse(
        items=[describe_change_effect(one, measured.sets) for one in measured.changes],
        batches=[_describe_group(one) for one in measured.batches],
        categories=[_describe_group(one) for one in measured.categories],
        warnings=[describe_warning(look) for look in warnings],
        sales_known_until=measured.known_until,
    )


def describe_change_effect(
    effect: ChangeEffect, sets: Mapping[str, ForecastSet]
) -> ChangeEffectResponse:
    """Return the document of one change."""
    change, currency = effect.change, effect.change.currency
    frozen = sets.get(change.forecast_set_id or "")
    return ChangeEffectResponse(
        price_id=change.price_id,
        suggestion_id=change.id,
        run_id=change.run_id,
        item_id=change.item_id,
        title=change.title,
        category=change.category,
        zone=change.zone,
        currency=currency,
        status=change.status,
        price_before=to_major(change.before_minor, currency),
        price_after=to_major(change.after_minor, currency),
        begins_at=change.begins_at,
        approved_at=change.approved_at,
        weeks=WeeksResponse(
            over=effect.weeks.n_over,
            counted=effect.weeks.n_counted,
            left_out=dict(effect.weeks.left_out),
        ),
        control=None if effect.control is None else effect.control.describe(),
        forecast=None if frozen is None else _describe_set(frozen),
        cost_source=change.cost_source,
        **_describe_figures(effect, currency),
    )


def describe_warning(look: BatchLook) -> WarningResponse:
    """Return the document of a look that raised an alarm."""
    profit = Band(**look.profit)
    return WarningResponse(
        run_id=look.run_id,
        zone=look.zone,
        week=look.week,
        looked_at=look.looked_at,
        currency=look.currency,
        profit=_describe_money(profit, look.currency),
        proposal_id=look.proposal_id,
        note=look.note,
    )


def name_verdict(effect: ChangeEffect | GroupEffect) -> str:
    """Return a verdict as documents and texts name it."""
    return effect.verdict.value.replace(" ", "_")


def _describe_group(group: GroupEffect) -> GroupEffectResponse:
    return GroupEffectResponse(
        name=group.name,
        zone=group.zone,
        currency=group.currency,
        n_changes=group.n_changes,
        n_measured=group.n_measured,
        controls=list(group.controls),
        **_describe_figures(group, group.currency),
    )


def _describe_figures(
    effect: ChangeEffect | GroupEffect, currency: str
) -> dict[str, str | QuantitiesResponse | MeasuredEffectResponse | None]:
    return {
        "verdict": name_verdict(effect),
        "sold": _describe_quantities(effect.sold, currency),
        "keeping": _describe_quantities(effect.keeping, currency),
        "expected": _describe_quantities(effect.predicted, currency),
        "effect": None if effect.effect is None else _describe_effect(effect.effect, currency),
        "unknown": effect.unknown,
    }


def _describe_quantities(quantities: Quantities | None, currency: str) -> QuantitiesResponse | None:
    if quantities is None:
        return None
    profit = quantities.profit
    return QuantitiesResponse(
        units=round(quantities.units, 3),
        revenue=to_major(round(quantities.revenue), currency),
        profit=None if profit is None else to_major(round(profit), currency),
    )


def _describe_effect(effect: Effect, currency: str) -> MeasuredEffectResponse:
    units = effect.units
    known = not math.isnan(effect.profit.p50)
    return MeasuredEffectResponse(
        units=UnitsResponse(
            p10=round(units.p10, 3), p50=round(units.p50, 3), p90=round(units.p90, 3)
        ),
        revenue=_describe_money(effect.revenue, currency),
        profit=_describe_money(effect.profit, currency) if known else None,
    )


def _describe_money(band: Band, currency: str) -> MoneyResponse:
    values = {name: getattr(band, name) for name in ("p10", "p50", "p90")}
    return MoneyResponse(
        **{name: to_major(round(value), currency) for name, value in values.items()}
    )


def _describe_set(frozen: ForecastSet) -> FrozenForecastResponse:
    return FrozenForecastResponse(
        id=frozen.id,
        made_at=frozen.made_at,
        demand_version=frozen.demand_version,
        pricing_version=frozen.pricing_version or None,
    )
