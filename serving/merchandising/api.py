"""`/v1/merchandising-rules` and `/v1/placements`: what slates follow, its versions, and a trial."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.tables import DEFAULT_ZONE
from serving.field_types import Id, Name
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.parameters import allow_only
from serving.http.rule_routes import make_rules_router
from serving.merchandising.placements import PlacementService
from serving.merchandising.service import MerchandisingService
from serving.merchandising.slate_trial import SlateTrialService
from serving.recommendations.service import MAX_COUNT, SlateAnswer, SlateRequest

router = make_rules_router(
    "/v1/merchandising-rules",
    "merchandising rules",
    MerchandisingService,
    read_scope="storefront",
)
placements_router = make_rules_router(
    "/v1/placements", "placements", PlacementService, read_scope="storefront"
)
Trials = Annotated[SlateTrialService, Depends(inject(SlateTrialService))]
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
