"""The JSON of suggestions and of decisions about them, over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from features.contracts.errors import UnknownName
from features.contracts.money import to_major
from serving.database.desk_tables import SUGGESTION_STATUSES
from serving.field_types import Id, Money, ReasonRequest, Text, Time
from serving.price_desk.approvals import Refusal
from serving.price_desk.decisions import BulkResult
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.preview import BulkPreview
from serving.price_desk.repository import Suggestion

_BEGINS = (
    "When the price begins, for an approval: RFC 3339, or the clock of the zone: 2018-01-08 06:00, "
    "Monday 06:00; as the suggestion says if unset"
)


class SuggestionResponse(BaseModel):
    """A price suggestion. Money is a decimal in major units; `expected` is over the whole horizon
    of the run."""

    id: str
    item_id: str
    title: str | None
    category: str
    zone: str
    status: str
    version: int
    kind: str
    currency: str
    list_price: str
    current_price: str
    suggested_price: str
    share_change: float
    expected: dict[str, Any] | None = Field(
        description="units, revenue, profit: p10, p50, p90 and against keeping"
    )
    evidence_grade: str | None
    binding_rule: str | None
    run_id: str
    effective_from: datetime
    starts_at: datetime | None
    ends_at: datetime | None
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    proposed_by: str
    edited_by: str | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    price_id: str | None
    returned_reason: str | None = Field(
        description="Why an approved price came back to the queue before it began"
    )


class SuggestionDetailResponse(SuggestionResponse):
    """A suggestion with its reasons: the way from the opening price through each rule to the
    suggested one."""

    waterfall: list[dict[str, Any]]
    details: dict[str, Any]


class SuggestionsResponse(BaseModel):
    """A page of suggestions, oldest first."""

    items: list[SuggestionResponse]
    next_cursor: str | None


class EditRequest(ReasonRequest):
    """Another price than the suggested one, in major units."""

    suggested_price: Money
    effective_from: Time | None = None
    confirm_large_change: bool = Field(
        False, description="A change of the current price by more than half is meant"
    )


class RollbackRequest(ReasonRequest):
    """Why a price change is undone."""

    confirm_large_change: bool = Field(
        False, description="A change of the current price by more than half is meant"
    )


class ApproveRequest(ReasonRequest):
    """Why, and from when on the price is valid."""

    effective_from: Text | None = Field(None, max_length=60, description=_BEGINS)


class SuggestionFilterRequest(BaseModel):
    """Which suggestions; without status, the submitted ones."""

    model_config = ConfigDict(extra="forbid")

    status: Text | list[Text] | None = None
    category: Text | None = None
    min_change: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Share of the price: 0.05 is 5 %"
    )
    zone: Text | None = None
    item_id: Id | list[Id] | None = None
    evidence_grade: Text | None = None
    run_id: Text | None = None

    def to_filter(self) -> SuggestionFilter:
        """Return the filter. Raises UnknownName for a status that does not exist."""
        return SuggestionFilter(
            status=parse_statuses(_to_list(self.status)),
            category=self.category,
            min_change=self.min_change,
            zone=self.zone,
            item_ids=tuple(_to_list(self.item_id)),
            evidence_grades=(self.evidence_grade,) if self.evidence_grade is not None else (),
            run_id=self.run_id,
        )


class ManyRequest(ReasonRequest):
    """Many suggestions for one transaction: those of `filter`, or those of `ids`."""

    filter: SuggestionFilterRequest | None = None
    ids: list[Text] | None = Field(None, max_length=100_000)
    expected_matched: int | None = Field(None, ge=0, description="409 when another number matches")


class BulkRequest(ManyRequest):
    """A decision on many suggestions in one transaction: those of `filter`, or those of `ids`."""

    action: Literal["approve", "reject"]
    effective_from: Text | None = Field(None, max_length=60, description=_BEGINS)


class SubmitRequest(ManyRequest):
    """Suggestions that a run held back, to be submitted in one transaction: those of `filter` (by
    default all suggested ones of it, as by `run_id`), or those of `ids`."""


class RefusedResponse(BaseModel):
    """A suggestion that was left unchanged."""

    id: str
    reason: str


class BulkResponse(BaseModel):
    """How many matched, how many were changed, and which were refused."""

    matched: int
    changed: int
    refused: list[RefusedResponse]


class PreviewResponse(BaseModel):
    """What a decision on many would do.

    `effects` are differences from keeping the prices, by currency; `begins` is when the first and
    the last price begin; `stopped` says why prices would wait."""

    matched: int
    changed: int
    refused: list[RefusedResponse]
    effects: dict[str, dict[str, Any]]
    unknown: int = Field(description="How many of those that change have no expected effect")
    flagged: int
    largest: list[SuggestionResponse]
    broken: dict[str, int] = Field(description="Number of refused ones by the rule they break")
    begins: list[datetime]
    stopped: str | None


class RollbackManyRequest(RollbackRequest):
    """Price changes by their ids, all of a run, or all that began on a day (in the zone's time)."""

    price_ids: list[Text] | None = Field(None, max_length=100_000)
    run_id: Text | None = None
    day: Text | None = Field(None, max_length=10, description="2018-01-08")
    zone: Text | None = None
    expected_matched: int | None = Field(None, ge=0, description="409 when another number matches")


def parse_statuses(texts: list[str] | None) -> tuple[str, ...]:
    """Return the statuses of a query, in which each text may join several by commas."""
    names = tuple(name for text in texts or () for name in text.split(",") if name)
    for name in names:
        if name not in SUGGESTION_STATUSES:
            raise UnknownName(name, SUGGESTION_STATUSES, kind="status", where="status")
    return names


def _to_list(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def describe_bulk(result: BulkResult) -> BulkResponse:
    """Return what a decision on many did."""
    refused = list_refused(result.refused)
    return BulkResponse(matched=result.matched, changed=len(result.changed), refused=refused)


def list_refused(refusals: Iterable[Refusal]) -> list[RefusedResponse]:
    """Return what was left unchanged, each with the reason."""
    return [
        RefusedResponse(id=refusal.suggestion_id, reason=str(refusal.error)) for refusal in refusals
    ]


def describe_preview(preview: BulkPreview) -> PreviewResponse:
    """Return what a decision on many would do."""
    return PreviewResponse(
        matched=preview.matched,
        changed=preview.changed,
        refused=list_refused(preview.refused),
        effects={
            currency: {
                name: vars(band) if name == "units" else _amounts_to_major(vars(band), currency)
                for name, band in effects.items()
            }
            for currency, effects in preview.effects.items()
        },
        unknown=preview.unknown,
        flagged=preview.flagged,
        largest=[SuggestionResponse.model_validate(list_fields(s)) for s in preview.largest],
        broken=dict(preview.broken),
        begins=list(preview.begins or ()),
        stopped=preview.stop and preview.stop.reason,
    )


def describe_suggestion(suggestion: Suggestion) -> SuggestionDetailResponse:
    """Return a suggestion with its reasons, amounts in major units."""
    currency = suggestion.currency
    reasons = {
        "waterfall": [_in_major_units(step, currency) for step in suggestion.waterfall],
        "details": _in_major_units(suggestion.details, currency),
    }
    return SuggestionDetailResponse.model_validate(list_fields(suggestion) | reasons)


def list_fields(suggestion: Suggestion) -> dict[str, object]:
    """Return the fields of a SuggestionResponse."""
    currency = suggestion.currency
    values = {name: getattr(suggestion, name, None) for name in SuggestionResponse.model_fields}
    for name in ("list_price", "current_price", "suggested_price"):
        values[name] = to_major(getattr(suggestion, f"{name}_minor"), currency)
    if suggestion.expected is not None:
        values["expected"] = {
            name: value if name == "units" else _amounts_to_major(value, currency)
            for name, value in suggestion.expected.items()
        }
    return values


def _in_major_units(values: Mapping[str, object], currency: str) -> dict[str, object]:
    """Return the values with each amount `NAME_minor` as a decimal `NAME`."""
    return {
        name.removesuffix("_minor"): _amounts_to_major(value, currency)
        if name.endswith("_minor")
        else value
        for name, value in values.items()
    }


def _amounts_to_major(value: object, currency: str) -> object:
    """Return amounts in minor units, at any depth of dicts, as decimals in major units."""
    if isinstance(value, dict):
        return {name: _amounts_to_major(inner, currency) for name, inner in value.items()}
    return to_major(round(value), currency) if isinstance(value, int | float) else value
