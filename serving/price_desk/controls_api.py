"""The controls of the price desk over HTTP: stop of activations, approval rules, reject reasons."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from features.contracts.pricing import EvidenceGrade
from serving.field_types import ReasonRequest, Text
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text
from serving.price_desk.controls import MAX_REASONS, DeskControls, RuleValues
from serving.price_desk.controls_repository import ApprovalRule, RejectPolicy

router = APIRouter(prefix="/v1/price-desk", tags=["price desk"], dependencies=[Depends(check_text)])
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Manager = Annotated[Caller, Depends(require("pricing.manage"))]
Controls = Annotated[DeskControls, Depends(inject(DeskControls))]


class ActivationsResponse(BaseModel):
    """Whether approved prices become valid; while they do not, why, by whom and since when."""

    stopped: bool
    reason: str | None = None
    stopped_by: str | None = None
    stopped_at: datetime | None = None


class ActivationsRequest(ReasonRequest):
    """Stop every activation at once (with a reason), or let them go on."""

    stopped: bool


class SwitchedResponse(BaseModel):
    """The switch as it stands now, and the number of prices that are held or released."""

    stopped: bool
    prices: int


class RuleRequest(ReasonRequest):
    """The thresholds of an approval rule; what lies within all of them needs no person."""

    enabled: bool
    max_change: float = Field(description="Largest change, up or down: 0.05 is 5 %")
    min_evidence: EvidenceGrade = EvidenceGrade.A
    min_profit_p10: float = Field(
        0.0,
        allow_inf_nan=False,
        description="The expected gain in profit is above this at its worse end, major units",
    )
    categories: list[Text] = Field(
        default_factory=list, description="With all below them; every category without any"
    )


class ApprovalRuleResponse(BaseModel):
    """An approval rule, and who saved it last."""

    name: str
    enabled: bool
    max_change: float
    min_evidence: str
    min_profit_p10: float
    categories: list[str]
    changed_by: str
    changed_at: datetime


class ApprovalRulesResponse(BaseModel):
    """The approval rules by name."""

    items: list[ApprovalRuleResponse]
    next_cursor: str | None = None


class SavedRuleResponse(ApprovalRuleResponse):
    """The rule as saved; `approved` of the suggestions that waited lay within it."""

    approved: int


class RejectReasonsRequest(ReasonRequest):
    """The shop's own reasons for rejections, in the order in which they are shown."""

    reasons: list[Text] = Field(max_length=MAX_REASONS)
    required: bool = Field(False, description="Nothing is rejected without a reason")


class RejectReasonsResponse(BaseModel):
    """The reasons that whoever rejects may choose from, and who saved them; null: the config."""

    reasons: list[str]
    required: bool
    changed_by: str | None
    changed_at: datetime | None


@router.get("/activations", dependencies=[Depends(allow_only())])
def get_activations(_caller: Reader, controls: Controls) -> ActivationsResponse:
    """Whether approved prices become valid."""
    stop = controls.desk.find_stop()
    return ActivationsResponse(stopped=stop is not None, **(vars(stop) if stop else {}))


@router.put("/activations", response_model=SwitchedResponse)
def put_activations(
    caller: Manager, write: Write, controls: Controls, body: ActivationsRequest
) -> Response:
    """Halts every activation at once, or lets them go on; scheduled prices are held meanwhile."""
    decider = controls.decider(caller, body.reason)

    def work(connection: sa.Connection) -> SwitchedResponse:
        count = controls.switch(connection, decider, stopped=body.stopped)
        return SwitchedResponse(stopped=body.stopped, prices=count)

    return write.run_once(caller, work)


@router.get("/approval-rules", dependencies=[Depends(allow_only())])
def get_rules(_caller: Reader, controls: Controls) -> ApprovalRulesResponse:
    """The rules that approve without a person; none until a manager saves one."""
    return ApprovalRulesResponse(items=[_describe(rule) for rule in controls.list_rules()])


@router.put("/approval-rules/{name}", response_model=SavedRuleResponse)
def put_rule(
    name: str, caller: Manager, write: Write, controls: Controls, body: RuleRequest
) -> Response:
    """Saves a rule, and applies it at once to what waits."""
    decider = controls.decider(caller, body.reason)
    values = RuleValues(
        enabled=body.enabled,
        max_change=body.max_change,
        min_evidence=body.min_evidence,
        min_profit_p10=body.min_profit_p10,
        categories=tuple(body.categories),
    )

    def work(connection: sa.Connection) -> SavedRuleResponse:
        rule, approved = controls.save_rule(connection, decider, name, values)
        return SavedRuleResponse(**_describe(rule).model_dump(), approved=approved)

    return write.run_once(caller, work)


@router.get("/reject-reasons", dependencies=[Depends(allow_only("language"))])
def get_reject_reasons(
    _caller: Reader, controls: Controls, language: str = "en"
) -> RejectReasonsResponse:
    """The reasons that a rejection may give as its `reason`; another text is as good. Until the
    shop has its own, those of the config in a language: en or zh."""
    return _describe_reasons(controls.read_reject_policy(language))


@router.put("/reject-reasons", response_model=RejectReasonsResponse)
def put_reject_reasons(
    caller: Manager, write: Write, controls: Controls, body: RejectReasonsRequest
) -> Response:
    """Replaces the reasons for rejections by the shop's own."""
    decider = controls.decider(caller, body.reason)

    def work(connection: sa.Connection) -> RejectReasonsResponse:
        policy = controls.save_reject_policy(
            connection, decider, body.reasons, required=body.required
        )
        return _describe_reasons(policy)

    return write.run_once(caller, work)


def _describe_reasons(policy: RejectPolicy) -> RejectReasonsResponse:
    return RejectReasonsResponse(**{**vars(policy), "reasons": list(policy.reasons)})


def _describe(rule: ApprovalRule) -> ApprovalRuleResponse:
    values = {**vars(rule), "categories": list(rule.categories)}
    return ApprovalRuleResponse.model_validate(values | {"min_evidence": str(rule.min_evidence)})
