"""The JSON of runs and of what they decided about their items, for HTTP and the command line."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.pricing import Objective
from serving.price_desk.run_outcomes import PricingRun, RunDifference, RunItem
from serving.price_desk.runs import ItemOutcomes, RunComparison


class RunTotalsResponse(BaseModel):
    """Numbers of a run. `n_suggested` and `n_kept` together are `n_forecast`."""

    n_forecast: int = Field(description="Items with a forecast for the horizon")
    n_items: int = Field(description="Those of them with a price")
    n_suggested: int
    n_kept: int
    n_superseded: int
    n_flagged: int
    n_rises: int
    n_assumed_costs: int = Field(description="Suggestions on a cost that nobody knows")
    n_assumed_rises: int = Field(description="Rises on a cost that nobody knows")
    share_assumed_costs: float = Field(description="Of the suggestions")
    share_assumed_rises: float = Field(description="Of the rises")


class PricingRunResponse(BaseModel):
    """A run in one zone. Money is a decimal in major units; values are over the horizon."""

    id: str
    zone: str
    currency: str
    status: str
    objective: str
    horizon_weeks: int
    rules: str
    created_at: datetime
    totals: RunTotalsResponse
    profit_gain: str = Field(description="Sum of the expected gains in profit")
    value: str = Field(description="Objective value at the suggested prices")
    value_of_keeping: str
    gap: float = Field(description="Proven distance to the best prices within the rules, a share")
    kept: dict[str, int] = Field(description="Items that keep their price, by reason")
    held: list[str]
    broken_rules: list[str]
    notes: list[str]
    versions: dict[str, str]


class RunItemResponse(BaseModel):
    """What a run decided about an item; `reason` says why its price is kept."""

    item_id: str
    title: str | None
    category: str
    outcome: str
    reason: str | None
    current_price: str | None
    suggested_price: str | None


class ItemOutcomeResponse(RunItemResponse):
    """The same with its run."""

    run_id: str
    zone: str
    created_at: datetime


class ItemOutcomesResponse(BaseModel):
    """What the kept runs decided about an item, newest first; `absent` says by zone why the newest
    run there did not look at it."""

    item_id: str
    items: list[ItemOutcomeResponse]
    absent: dict[str, str]
    next_cursor: str | None = None


class RunDifferenceResponse(BaseModel):
    """An item that two runs leave at different prices; a kept price has its reason."""

    item_id: str
    title: str | None
    category: str
    first: RunItemResponse
    second: RunItemResponse
    change: float = Field(description="Price by the second run against the first, a share")


class RunComparisonResponse(BaseModel):
    """Two runs of a zone, and the items whose prices differ most between them."""

    first: PricingRunResponse
    second: PricingRunResponse
    shared: int | None = Field(
        description="Items that both looked at; null where the items of a run are not kept any more"
    )
    n_different: int = Field(description="Of them, those left at different prices")
    kept_change: dict[str, int] = Field(
        description="Items more (or fewer) that the second run leaves at their price, by reason"
    )
    items: list[RunDifferenceResponse]
    next_cursor: str | None


def describe_run(run: PricingRun) -> PricingRunResponse:
    """Return the document of a run."""
    totals = run.totals
    counts = {name: int(value) for name, value in totals.items() if name.startswith("n_")}
    return PricingRunResponse(
        id=run.id,
        zone=run.zone,
        currency=run.currency,
        status=run.status,
        objective=run.objective,
        horizon_weeks=run.horizon_weeks,
        rules=run.rules,
        created_at=run.created_at,
        totals=RunTotalsResponse(
            **counts,
            share_assumed_costs=_share(counts["n_assumed_costs"], counts["n_suggested"]),
            share_assumed_rises=_share(counts["n_assumed_rises"], counts["n_rises"]),
        ),
        profit_gain=to_major(round(totals["profit_gain_minor"]), run.currency),
        value=_describe_value(run, totals["value"]),
        value_of_keeping=_describe_value(run, totals["keeping"]),
        gap=totals["gap"],
        kept=dict(sorted(run.kept.items(), key=lambda entry: -entry[1])),
        held=list(run.held),
        broken_rules=list(run.broken_rules),
        notes=list(run.notes),
        versions=dict(run.versions),
    )


def describe_item(run: PricingRun, item: RunItem) -> RunItemResponse:
    """Return the document of an item of a run."""
    return RunItemResponse(
        item_id=item.item_id,
        title=item.title,
        category=item.category,
        outcome=item.outcome,
        reason=item.reason,
        current_price=_money(item.current_price_minor, run.currency),
        suggested_price=_money(item.suggested_price_minor, run.currency),
    )


def describe_outcomes(outcomes: ItemOutcomes) -> ItemOutcomesResponse:
    """Return the document of what runs decided about an item."""
    return ItemOutcomesResponse(
        item_id=outcomes.item_id,
        items=[
            ItemOutcomeResponse(
                **describe_item(run, item).model_dump(),
                run_id=run.id,
                zone=run.zone,
                created_at=run.created_at,
            )
            for run, item in outcomes.outcomes
        ],
        absent=dict(outcomes.absent),
    )


def describe_comparison(comparison: RunComparison, *, skip: int = 0) -> RunComparisonResponse:
    """Return the document of two compared runs; `skip` items stand on the pages before."""
    first, second = comparison.first, comparison.second
    shown = skip + len(comparison.largest)
    is_last = not comparison.largest or shown >= comparison.n_different
    return RunComparisonResponse(
        first=describe_run(first),
        second=describe_run(second),
        shared=comparison.shared,
        n_different=comparison.n_different,
        kept_change=comparison.kept_change,
        items=[_describe_difference(comparison, difference) for difference in comparison.largest],
        next_cursor=None if is_last else str(shown),
    )


def _describe_difference(
    comparison: RunComparison, difference: RunDifference
) -> RunDifferenceResponse:
    before, after = difference.prices_minor
    return RunDifferenceResponse(
        item_id=difference.item_id,
        title=difference.title,
        category=difference.category,
        first=describe_item(comparison.first, difference.first),
        second=describe_item(comparison.second, difference.second),
        change=round(after / before - 1, 4),
    )


def _describe_value(run: PricingRun, value: float) -> str:
    """Return an objective value: money, or units where units are the objective."""
    if run.objective == Objective.UNITS:
        return str(round(value))
    return to_major(round(value), run.currency)


def _money(minor: int | None, currency: str) -> str | None:
    return None if minor is None else to_major(minor, currency)


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
