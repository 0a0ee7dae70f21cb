"""The JSON of price tests: the plan, its units, its periods and the result."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from configs.settings import Settings
from experiments.designs.tested_units import ItemPrices
from features.contracts.money import to_major
from features.contracts.pricing import PriceTestDesign
from features.prices.stored_tests import Json, StoredTest
from serving.price_desk.price_test_batches import NextStep, find_next_step, find_refused
from serving.price_desk.price_test_reading import PeriodView, PriceTestView
from serving.price_desk.proposals import FiledProposal


class NextStepResponse(BaseModel):
    """What is to be done next: file the prices of a period (the number after the last one is the
    end), or finish a test that is over. Due is what somebody should do now."""

    action: Literal["file", "finish"]
    period: int
    at: datetime
    is_due: bool


class PriceTestSummaryResponse(BaseModel):
    """A price test in a list. Money is a decimal in major units; the numbers are null for a plan
    that is computed or has failed (`problem` says why). `zone` is the first of `zones`.

    `value` is expected from better prices, `cost` is given up meanwhile, `net` is the difference;
    of a switchback and a roll-out only the cost is known.
    """

    id: str
    design: PriceTestDesign
    zone: str
    zones: list[str]
    state: str
    currency: str
    n_items: int | None
    weeks: int | None
    value: str | None
    cost: str | None
    net: str | None
    begins_at: datetime | None
    ends_at: datetime | None
    next_step: NextStepResponse | None
    problem: str | None


class PriceTestItemResponse(BaseModel):
    """An item of a unit, with the price before the test, its two prices in it, and that of each
    period. `new_price` is the one that a roll-out brings to stay."""

    item_id: str
    zone: str
    current_price: str
    lower_price: str
    higher_price: str
    new_price: str | None
    prices: list[str]


class PriceTestUnitResponse(BaseModel):
    """A family, or an item without one; a zone of a switchback, a category of a roll-out.
    `has_test_price` says by period which price it has: the test price is the higher one, in a
    roll-out the new one. The errors are standard errors of the elasticity, now and, of a crossover,
    as expected after the test; null where they are not known."""

    name: str
    items: list[PriceTestItemResponse]
    has_test_price: list[bool]
    cost: str
    error_now: float | None
    error_after: float | None


class PriceTestPeriodResponse(BaseModel):
    """A period, counted from 1; the last row is the end, with the prices before the test. A
    roll-out has no end, unless prices of its last period were filed later.

    `statuses` counts the suggestions that were filed, `refused` says why items kept their price."""

    number: int
    is_end: bool
    starts_at: datetime | None
    is_filed: bool
    is_late: bool
    is_missed: bool
    proposal_id: str | None
    statuses: dict[str, int]
    approved_by: list[str]
    refused: dict[str, str]


class SlopeResponse(BaseModel):
    """An elasticity with its standard error, and half of the width of its 95 % interval; null where
    they cannot be measured, as an error of fewer than four families, categories or periods."""

    slope: float | None
    error: float | None
    margin: float | None = None


class MeasuredSlopeResponse(BaseModel):
    """What a test measured of an item at its own price alone, beside what was known before."""

    item_id: str
    zone: str
    slope: float
    error: float
    slope_before: float | None
    error_before: float | None
    grade_before: str | None


class PriceTestResultResponse(BaseModel):
    """The result: `items` are those of a crossover, which the next training reads. `common` is the
    elasticity of all items together, `all_weeks` the same with the weeks of the burn-in, `p_value`
    how often chance alone gives as much, `carry_over` what comes a period later, and `interference`
    what other items of the families did. `keeps_prices` says that the new prices stay, as those of
    a roll-out do."""

    items: list[MeasuredSlopeResponse]
    common: SlopeResponse
    all_weeks: SlopeResponse | None
    p_value: float
    by_period: list[SlopeResponse]
    carry_over: SlopeResponse | None
    interference: SlopeResponse | None
    n_weeks_left_out: int
    keeps_prices: bool
    model_before: str | None = Field(description="Version of the price model before the result")


class PriceTestResponse(PriceTestSummaryResponse):
    """A price test with its units, what became of its periods, and the result.

    `error` is the standard error that a switchback or a roll-out leaves on the elasticity of all
    its items together, as expected by its plan; null where too few periods or categories leave none
    that can be estimated. `not_tested` counts the families and items without a test, by reason."""

    period_weeks: int | None
    burn_in_weeks: int | None = Field(description="First weeks of each period, not analysed")
    error: float | None
    not_tested: dict[str, int]
    units: list[PriceTestUnitResponse]
    periods: list[PriceTestPeriodResponse]
    result: PriceTestResultResponse | None


class FiledPriceTestResponse(PriceTestResponse):
    """A test of which prices were just filed: how many, as which proposal (null where every item
    has its price already), and why others were refused. Somebody else must approve them."""

    proposal_id: str | None
    n_filed: int
    refused: dict[str, str]


def summarise_test(
    settings: Settings, stored: StoredTest, now: datetime
) -> PriceTestSummaryResponse:
    """Return a test as a row of a list."""
    step = find_next_step(stored, now, settings.timezone)
    return PriceTestSummaryResponse.model_validate(_describe_summary(settings, stored, step))


def describe_test(settings: Settings, view: PriceTestView) -> PriceTestResponse:
    """Return a test with all that is known of it."""
    stored = view.stored
    currency = settings.zone(stored.zone).currency
    plan = stored.document.get("plan") or {}
    result = stored.document.get("result")
    return PriceTestResponse(
        **_describe_summary(settings, stored, view.next_step),
        period_weeks=None if view.test is None else view.test.periods.period_weeks,
        burn_in_weeks=None if view.test is None else view.test.periods.burn_in_weeks,
        error=plan.get("error"),
        not_tested=plan.get("reasons", {}),
        units=_describe_units(view, currency),
        periods=[_describe_period(period, view) for period in view.periods],
        result=None if result is None else _describe_result(stored, result),
    )


def describe_filed_test(
    settings: Settings, view: PriceTestView, filed: FiledProposal
) -> FiledPriceTestResponse:
    """Return a test with what was just filed of it."""
    return FiledPriceTestResponse(
        **describe_test(settings, view).model_dump(),
        proposal_id=filed.proposal.proposal_id if filed.ids else None,
        n_filed=len(filed.ids),
        refused=find_refused(filed.proposal),
    )


def _describe_summary(
    settings: Settings, stored: StoredTest, step: NextStep | None
) -> dict[str, object]:
    currency = settings.zone(stored.zone).currency
    plan = stored.document.get("plan")
    amounts = {
        name: None if plan is None or plan[name] is None else to_major(round(plan[name]), currency)
        for name in ("value", "cost", "net")
    }
    return {
        "id": stored.test_id,
        "design": stored.design,
        "zone": stored.zone,
        "zones": list(stored.zones),
        "state": stored.state,
        "currency": currency,
        "n_items": None if plan is None else plan["n_items"],
        "weeks": None if plan is None else plan["weeks"],
        **amounts,
        "begins_at": stored.begins_at,
        "ends_at": stored.ends_at,
        "next_step": None if step is None else _describe_step(step),
        "problem": stored.document.get("problem"),
    }


def _describe_step(step: NextStep) -> NextStepResponse:
    return NextStepResponse(
        action=step.action, period=step.period + 1, at=step.at, is_due=step.is_due
    )


def _describe_units(view: PriceTestView, currency: str) -> list[PriceTestUnitResponse]:
    """Return the units with their prices, and what is expected of each."""
    if view.test is None:
        return []
    expected = {unit["name"]: unit for unit in view.stored.document["plan"]["units"]}
    return [
        PriceTestUnitResponse(
            name=unit.name,
            items=[_describe_item(prices, unit.has_test_price, currency) for prices in unit.prices],
            has_test_price=list(unit.has_test_price),
            cost=to_major(round(expected[unit.name]["cost"]), currency),
            error_now=expected[unit.name]["error_now"],
            error_after=expected[unit.name]["error_after"],
        )
        for unit in view.test.units
    ]


def _describe_item(
    prices: ItemPrices, has_test_price: Sequence[bool], currency: str
) -> PriceTestItemResponse:
    new_minor = prices.new_minor
    return PriceTestItemResponse(
        item_id=prices.item_id,
        zone=prices.zone,
        current_price=to_major(prices.current_minor, currency),
        lower_price=to_major(prices.lower_minor, currency),
        higher_price=to_major(prices.higher_minor, currency),
        new_price=None if new_minor is None else to_major(new_minor, currency),
        prices=[
            to_major(prices.find_price(is_test_price=is_test_price), currency)
            for is_test_price in has_test_price
        ],
    )


def _describe_period(period: PeriodView, view: PriceTestView) -> PriceTestPeriodResponse:
    return PriceTestPeriodResponse(
        number=period.number + 1,
        is_end=view.test is not None and period.number == view.test.periods.n_periods,
        starts_at=period.starts_at,
        is_filed=period.is_filed,
        is_late=period.is_late,
        is_missed=period.is_missed,
        proposal_id=period.proposal_id,
        statuses=dict(period.statuses),
        approved_by=list(period.approved_by),
        refused=dict(period.refused),
    )


def _describe_result(stored: StoredTest, result: Json) -> PriceTestResultResponse:
    """Return the result, each item beside what was known before, which older ones do not say."""
    before = result.get("before") or {"version": None, "items": []}
    known = {stored.find_key(item): item for item in before["items"]}
    items = [
        {
            **row,
            "zone": stored.find_key(row)[1],
            **{
                f"{name}_before": known.get(stored.find_key(row), {}).get(name)
                for name in ("slope", "error", "grade")
            },
        }
        for row in result["items"]
    ]
    return PriceTestResultResponse.model_validate(
        {
            "all_weeks": None,
            **result,
            "items": items,
            "keeps_prices": stored.design is PriceTestDesign.ROLLOUT,
            "model_before": before["version"],
        }
    )
