"""`/v1/merchandising-rules`: the sets of rules of slates, their versions, new ones, and a trial."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.tables import DEFAULT_ZONE
from serving.field_types import Id, Name
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text
from serving.http.rule_documents import (
    RestoreRulesRequest,
    RulesListResponse,
    RulesResponse,
    RuleVersionsResponse,
    SaveRulesRequest,
    describe_changes,
    describe_rules,
    describe_version,
)
from serving.merchandising.service import MerchandisingService
from serving.merchandising.slate_trial import SlateTrialService
from serving.recommendations.service import MAX_COUNT, SlateAnswer, SlateRequest
from serving.versioned_rules import NewVersion

router = APIRouter(
    prefix="/v1/merchandising-rules",
    tags=["merchandising rules"],
    dependencies=[Depends(check_text)],
)
Trials = Annotated[SlateTrialService, Depends(inject(SlateTrialService))]
Rules = Annotated[MerchandisingService, Depends(inject(MerchandisingService))]
Reader = Annotated[Caller, Depends(require("storefront"))]
Manager = Annotated[Caller, Depends(require("slates.manage"))]


class TrialRequest(BaseModel):
    """Values of a set that is not saved, and the slate to try them on."""

    model_config = ConfigDict(extra="forbid")

    values: dict[str, Any]
    placement: Name = Field(examples=["home"])
    user_id: Id | None = None
    visitor_id: Id | None = None
    item_ids: list[Id] = Field([], max_length=200, description="On the page or in the cart")
    zone: Name = DEFAULT_ZONE
    count: int = Field(20, ge=1, le=MAX_COUNT)


class AppliedRuleResponse(BaseModel):
    """A rule and what it did to an item."""

    rule: str = Field(examples=["spring.new_tea"])
    effect: str


class TriedItemResponse(BaseModel):
    """An item of a slate."""

    item_id: str
    rank: int
    reason: str
    rules: list[AppliedRuleResponse]


class TrialResponse(BaseModel):
    """The slate as it is served now and as it would be; the items that come in and go out."""

    before: list[TriedItemResponse]
    after: list[TriedItemResponse]
    entered: list[str]
    left: list[str]


@router.get("", dependencies=[Depends(allow_only())])
def list_rules(rules: Rules, _caller: Reader) -> RulesListResponse:
    """The rules of every name as they are valid now."""
    return RulesListResponse(items=[describe_rules(each) for each in rules.list_rules()])


@router.post("", response_model=RulesResponse)
def save_rules(rules: Rules, caller: Manager, write: Write, body: SaveRulesRequest) -> Response:
    """Saves a version, which is valid at once. 409 where somebody saved another one meanwhile."""
    caller.require_everywhere(rules.scope)
    new = NewVersion(body.name, body.values, body.comment, body.based_on)

    def work(connection: sa.Connection) -> RulesResponse:
        return describe_version(rules.save(connection, new, author=caller.id))

    return write.run_once(caller, work)


@router.get("/{name}", dependencies=[Depends(allow_only("number"))])
def get_rules(
    rules: Rules,
    _caller: Reader,
    name: str,
    number: Annotated[int | None, Query(ge=0, lt=2**31, description="0: the file")] = None,
) -> RulesResponse:
    """The rules of a name as they are valid now, or one of their versions."""
    return describe_rules(rules.read_set(name, number))


@router.get("/{name}/versions", dependencies=[Depends(allow_only())])
def list_versions(rules: Rules, _caller: Reader, name: str) -> RuleVersionsResponse:
    """Every version of the rules of a name, with author, reason and what it changed."""
    return describe_changes(rules.list_versions(name))


@router.post("/{name}/restore", response_model=RulesResponse)
def restore_rules(
    rules: Rules, caller: Manager, write: Write, name: str, body: RestoreRulesRequest
) -> Response:
    """Saves the values of an earlier version again, as a new version."""
    caller.require_everywhere(rules.scope)

    def work(connection: sa.Connection) -> RulesResponse:
        version = rules.restore(connection, name, body.number, body.comment, author=caller.id)
        return describe_version(version)

    return write.run_once(caller, work)


@router.post("/{name}/try", dependencies=[Depends(allow_only())])
def try_rules(trials: Trials, _caller: Manager, name: str, body: TrialRequest) -> TrialResponse:
    """The slate of a shopper without and with new values of a set. Nothing is saved or logged."""
    request = SlateRequest(
        placement=body.placement,
        user_id=body.user_id,
        visitor_id=body.visitor_id,
        item_ids=tuple(body.item_ids),
        zone=body.zone,
        count=body.count,
        explain=True,
    )
    trial = trials.try_set(request, name, body.values)
    before, after = _describe_slate(trial.before), _describe_slate(trial.after)
    ids = [[item.item_id for item in slate] for slate in (before, after)]
    return TrialResponse(
        before=before,
        after=after,
        entered=[item_id for item_id in ids[1] if item_id not in ids[0]],
        left=[item_id for item_id in ids[0] if item_id not in ids[1]],
    )


def _describe_slate(answer: SlateAnswer) -> list[TriedItemResponse]:
    return [
        TriedItemResponse(
            item_id=item.item_id,
            rank=item.rank,
            reason=item.reason,
            rules=[
                AppliedRuleResponse(rule=rule.rule, effect=rule.effect) for rule in item.rules or ()
            ],
        )
        for item in answer.slate.items
    ]
