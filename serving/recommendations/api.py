"""`/v1/recommendations` and `/v1/rank`: slates for placements, and given lists re-ranked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.recommendations import ScoredItem
from features.contracts.tables import DEFAULT_ZONE
from serving.field_types import Id, ModelResponse, MoneyNumber, Name
from serving.http.auth import Caller, require
from serving.http.bodies import LargeBodyRoute
from serving.http.dependencies import inject
from serving.http.parameters import allow_only
from serving.recommendations.allowed_items import Filter
from serving.recommendations.service import (
    MAX_COUNT,
    RecommendationService,
    SlateAnswer,
    SlateRequest,
)

router = APIRouter(prefix="/v1", tags=["recommendations"], route_class=LargeBodyRoute)
Recommendations = Annotated[RecommendationService, Depends(inject(RecommendationService))]
Storefront = Annotated[Caller, Depends(require("storefront"))]

MAX_RANKED = 500
MAX_PLACEMENTS = 20
_RANK_PLACEMENT = "home"
Result = TypeVar("Result")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = None
    zone: Name = Field(
        DEFAULT_ZONE,
        description="Whose prices and stock apply; the stock of all zones where it has none",
    )


class FilterRequest(BaseModel):
    """Conditions on an item: of several values of one field any, of several fields all."""

    model_config = ConfigDict(extra="forbid")

    category: list[Name] = Field(
        [], max_length=100, description='With those below: "Grocery" includes "Grocery > Dairy"'
    )
    brand: list[Name] = Field([], max_length=100)
    price_max: MoneyNumber | None = Field(
        None, description="Highest offer price in major units; items without a price fail"
    )


class RecommendationRequest(_Request):
    """The request of one placement."""

    placement: Name = Field(examples=["home"])
    item_ids: list[Id] = Field(
        [], max_length=200, description="The items on the page or in the cart"
    )
    count: int = Field(20, ge=1, le=MAX_COUNT)
    filter: FilterRequest | None = None
    exclude_item_ids: list[Id] = Field([], max_length=1_000)
    exclude_purchased: bool = False
    in_stock_only: bool = True
    diversity: float | None = Field(
        None,
        ge=0,
        le=1,
        description="0: by score alone; 1: by category too; without it, the placement's own",
    )
    strict: bool = Field(
        False, description="Fewer items rather than popular ones that fill up the slate"
    )
    explain: bool = Field(False, description="Adds what each feature contributed to the score")


class PagePlacement(BaseModel):
    """One placement on the page; a field that is not given is the page's."""

    model_config = ConfigDict(extra="forbid")

    placement: Name = Field(examples=["home"])
    item_ids: list[Id] | None = Field(None, max_length=200)
    count: int | None = Field(None, ge=1, le=MAX_COUNT)
    filter: FilterRequest | None = None
    diversity: float | None = Field(None, ge=0, le=1)


class PageRequest(_Request):
    """Several placements at once. A name alone takes every field from the page."""

    placements: list[Name | PagePlacement] = Field(min_length=1, max_length=MAX_PLACEMENTS)
    item_ids: list[Id] = Field(
        [], max_length=200, description="The items on the page or in the cart"
    )
    count: int = Field(20, ge=1, le=MAX_COUNT)
    filter: FilterRequest | None = None
    exclude_item_ids: list[Id] = Field([], max_length=1_000)
    exclude_purchased: bool = False
    in_stock_only: bool = True
    strict: bool = False
    explain: bool = False

    def request_of(self, placement: str | PagePlacement) -> RecommendationRequest:
        """Return the request of one placement: its own fields, and the page's for the rest."""
        if isinstance(placement, str):
            own: dict[str, object] = {"placement": placement}
        else:
            own = placement.model_dump(exclude_none=True)
        return RecommendationRequest.model_validate(self.model_dump(exclude={"placements"}) | own)


class RankRequest(_Request):
    """A list to re-rank for a visitor, such as a search result."""

    item_ids: list[Id] = Field(min_length=1, max_length=MAX_RANKED)
    query: str | None = Field(
        None, max_length=1_000, description="The search query; the ranking does not use it yet"
    )
    placement: Name = _RANK_PLACEMENT
    count: int | None = Field(None, ge=1, le=MAX_RANKED, description="Without it, all")
    explain: bool = False


class SimpleRequest(_Request):
    """A request as query parameters."""

    placement: Name
    item_ids: list[Id] = Field([], max_length=200)
    count: int = Field(20, ge=1, le=MAX_COUNT)
    exclude_purchased: bool = False
    in_stock_only: bool = True
    strict: bool = False


class RuleResponse(BaseModel):
    """A merchandising rule and its effect on an item."""

    rule: str = Field(examples=["spring.new_tea"])
    effect: str = Field(examples=["relevance x 2", "pinned"])


class WithheldResponse(RuleResponse):
    """An item that a rule kept out of the slate."""

    item_id: str


class ItemResponse(BaseModel):
    """One item of a slate."""

    item_id: str
    rank: int
    score: float = Field(
        description="Falls, or stays, with rank. The ranker's, lowered where rules, diversity or "
        "exploration moved the item down; not comparable between answers"
    )
    reason: str
    because_item_id: str | None = Field(None, description="The item that the reason names")
    contributions: dict[str, float] | None = Field(None, description="With explain, largest first")
    rules: list[RuleResponse] | None = Field(None, description="With explain")


class AssignedResponse(BaseModel):
    """The variant under which this answer was made."""

    experiment: str
    variant: str


class RecommendationResponse(BaseModel):
    """A slate. Send recommendation_id, placement and rank with the events that follow from it."""

    recommendation_id: str
    placement: str
    items: list[ItemResponse]
    experiments: list[AssignedResponse]
    model: ModelResponse
    fallback: str | None = Field(
        description="Why popular items replace personal ones; null when they do not"
    )
    degraded: bool = Field(
        description="Whether the visitor's history could not be read for this answer"
    )
    unknown: list[str] | None = Field(
        None,
        description="A zone that nobody knows, and names of the filter that no item has, each with "
        "the nearest right name; absent without any",
    )
    withheld: list[WithheldResponse] | None = Field(
        None, description="With explain: items that rules kept out of the slate"
    )


class PageResponse(BaseModel):
    """The slates of a page, in the order of the request; no item is in two of them."""

    slates: list[RecommendationResponse]


@router.post("/recommendations", response_model=RecommendationResponse)
async def post_recommendations(
    recommendations: Recommendations,
    _caller: Storefront,
    body: RecommendationRequest,
) -> Response:
    """A slate for a placement."""
    return await _respond(recommendations, _slate_request(body))


@router.post("/recommendations/page", response_model=PageResponse)
async def post_page(
    recommendations: Recommendations, _caller: Storefront, body: PageRequest
) -> Response:
    """Slates for all the placements of a page in one call. The first placements choose first;
    nothing is shown twice."""
    requests = [_slate_request(body.request_of(placement)) for placement in body.placements]
    answers = await _in_worker(recommendations, lambda: recommendations.answer_page(requests))
    slates = [build_slate(answer, explain=body.explain) for answer in answers]
    return _json({"slates": slates})


@router.get(
    "/recommendations",
    response_model=RecommendationResponse,
    dependencies=[Depends(allow_only(*SimpleRequest.model_fields, many=("item_ids",)))],
)
async def get_recommendations(
    recommendations: Recommendations,
    _caller: Storefront,
    query: Annotated[SimpleRequest, Query()],
) -> Response:
    """A slate for a placement, for storefronts that send query parameters."""
    request = SlateRequest(
        placement=query.placement,
        user_id=query.user_id,
        visitor_id=query.visitor_id,
        session_id=query.session_id,
        item_ids=tuple(query.item_ids),
        count=query.count,
        zone=query.zone,
        exclude_purchased=query.exclude_purchased,
        in_stock_only=query.in_stock_only,
        strict=query.strict,
    )
    return await _respond(recommendations, request)


@router.post("/rank", response_model=RecommendationResponse)
async def post_rank(
    recommendations: Recommendations, _caller: Storefront, body: RankRequest
) -> Response:
    """The given items ranked for the visitor. Unknown items come last, in the order given."""
    request = SlateRequest(
        placement=body.placement,
        user_id=body.user_id,
        visitor_id=body.visitor_id,
        session_id=body.session_id,
        count=body.count or len(body.item_ids),
        zone=body.zone,
        in_stock_only=False,
        explain=body.explain,
        candidate_ids=tuple(body.item_ids),
    )
    return await _respond(recommendations, request)


def _slate_request(body: RecommendationRequest) -> SlateRequest:
    given = body.filter or FilterRequest()
    price_max = None if given.price_max is None else repr(given.price_max)
    return SlateRequest(
        placement=body.placement,
        user_id=body.user_id,
        visitor_id=body.visitor_id,
        session_id=body.session_id,
        item_ids=tuple(body.item_ids),
        count=body.count,
        zone=body.zone,
        filter=Filter(tuple(given.category), tuple(given.brand), price_max),
        exclude_item_ids=frozenset(body.exclude_item_ids),
        exclude_purchased=body.exclude_purchased,
        in_stock_only=body.in_stock_only,
        diversity=body.diversity,
        strict=body.strict,
        explain=body.explain,
    )


async def _respond(recommendations: RecommendationService, request: SlateRequest) -> Response:
    answer = await _in_worker(recommendations, lambda: recommendations.answer(request))
    return _json(build_slate(answer, explain=request.explain))


async def _in_worker(recommendations: RecommendationService, work: Callable[[], Result]) -> Result:
    """Return the result of `work`, which computes away from the event loop."""
    return await asyncio.get_running_loop().run_in_executor(recommendations.workers, work)


# Bodies are built as plain values and written by orjson: 13 µs for a slate of twenty, against 76 µs
# by pydantic. A test holds them to the response types.
def _json(body: dict[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


def build_slate(answer: SlateAnswer, *, explain: bool) -> dict[str, object]:
    """Return the values of a RecommendationResponse; what `explain` adds is left out without it."""
    experiments = []
    if answer.assigned is not None:
        experiment, variant = answer.assigned.experiment, answer.assigned.variant
        experiments.append({"experiment": experiment.key, "variant": variant.name})
    body: dict[str, object] = {
        "recommendation_id": answer.recommendation_id,
        "placement": answer.placement,
        "items": [_build_item(item) for item in answer.slate.items],
        "experiments": experiments,
        "model": {"name": answer.version.name, "version": answer.version.version},
        "fallback": answer.slate.fallback,
        "degraded": answer.degraded,
    }
    if answer.unknown:
        body["unknown"] = list(answer.unknown)
    if explain:
        body["withheld"] = [
            {"item_id": withheld.item_id, "rule": withheld.rule, "effect": withheld.effect}
            for withheld in answer.slate.withheld
        ]
    return body


def _build_item(item: ScoredItem) -> dict[str, object]:
    values: dict[str, object] = {
        "item_id": item.item_id,
        "rank": item.rank,
        "score": item.falling_score,
        "reason": item.reason.value,
    }
    if item.because_item_id is not None:
        values["because_item_id"] = item.because_item_id
    if item.contributions is not None:
        values["contributions"] = dict(item.contributions)
    if item.rules is not None:
        values["rules"] = [{"rule": rule.rule, "effect": rule.effect} for rule in item.rules]
    return values
