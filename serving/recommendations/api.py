"""`/v1/recommendations` and `/v1/rank`: slates for a placement, and given lists in a better
order."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from features.contracts.recommendations import ScoredItem
from features.contracts.tables import DEFAULT_ZONE
from serving.http.auth import Caller, require
from serving.recommendations.service import MAX_COUNT, Answer, Asked, Filter
from serving.server import server

router = APIRouter(prefix="/v1", tags=["recommendations"])
Storefront = Annotated[Caller, Depends(require("storefront"))]

# No database keeps NUL in text.
Id = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=r"^[^\x00]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
MAX_RANKED = 500
MAX_PLACEMENTS = 20
_RANK_PLACEMENT = "home"


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = None
    zone: Name = Field(
        DEFAULT_ZONE, description="Whose prices and stock hold; one without stock of its own: all"
    )


class FilterRequest(BaseModel):
    """What an item must be. Several values of one field mean any of them, several fields all of
    them."""

    model_config = ConfigDict(extra="forbid")

    category: list[Name] = Field(
        [], max_length=100, description='With what is below: "Grocery" lets "Grocery > Dairy" in'
    )
    brand: list[Name] = Field([], max_length=100)
    price_max: Amount | None = Field(
        None, description="Highest offer price in major units; items without a price fail"
    )


class RecommendationRequest(_Request):
    """What a spot on the storefront asks for."""

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
        description="0: by score alone; towards 1: categories apart; the placement's own without it",
    )
    strict: bool = Field(False, description="Fewer items rather than popular ones that fill up")
    explain: bool = Field(False, description="Adds what each feature contributed to the score")


class PagePlacement(BaseModel):
    """One spot on the page; what it does not say is the page's."""

    model_config = ConfigDict(extra="forbid")

    placement: Name = Field(examples=["home"])
    item_ids: list[Id] | None = Field(None, max_length=200)
    count: int | None = Field(None, ge=1, le=MAX_COUNT)
    filter: FilterRequest | None = None
    diversity: float | None = Field(None, ge=0, le=1)


class PageRequest(_Request):
    """Several spots at once. A name alone is a spot that takes everything from the page."""

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

    def spot(self, spot: str | PagePlacement) -> RecommendationRequest:
        """What one spot asks for."""
        own = {"placement": spot} if isinstance(spot, str) else spot.model_dump(exclude_none=True)
        return RecommendationRequest.model_validate(self.model_dump(exclude={"placements"}) | own)


class RankRequest(_Request):
    """A list to re-rank for somebody, such as a search result."""

    item_ids: list[Id] = Field(min_length=1, max_length=MAX_RANKED)
    query: str | None = Field(
        None, max_length=1_000, description="What was searched for; kept out of the ranking so far"
    )
    placement: Name = _RANK_PLACEMENT
    count: int | None = Field(None, ge=1, le=MAX_RANKED, description="All without it")
    explain: bool = False


class SimpleRequest(_Request):
    """The same as query parameters."""

    placement: Name
    item_ids: list[Id] = Field([], max_length=200)
    count: int = Field(20, ge=1, le=MAX_COUNT)
    exclude_purchased: bool = False
    in_stock_only: bool = True
    strict: bool = False


class RuleResponse(BaseModel):
    """What a merchandising rule did to an item."""

    rule: str = Field(examples=["spring.new_tea"])
    effect: str = Field(examples=["relevance x 2", "pinned"])


class WithheldResponse(RuleResponse):
    """An item that would stand in the slate but for a rule."""

    item_id: str


class ItemResponse(BaseModel):
    """One place in a slate."""

    item_id: str
    rank: int
    score: float = Field(
        description="The ranker's, before rules, diversity and exploration moved the item"
    )
    reason: str
    because_item_id: str | None = Field(None, description="The item that the reason speaks of")
    contributions: dict[str, float] | None = Field(None, description="With explain, largest first")
    rules: list[RuleResponse] | None = Field(None, description="With explain")


class AssignedResponse(BaseModel):
    """The variant that this answer was made under."""

    experiment: str
    variant: str


class ModelResponse(BaseModel):
    """The model version that answered."""

    name: str
    version: str


class RecommendationResponse(BaseModel):
    """A slate. Send recommendation_id, placement and rank along with the events that follow from
    it."""

    recommendation_id: str
    placement: str
    items: list[ItemResponse]
    experiments: list[AssignedResponse]
    model: ModelResponse
    fallback: str | None = Field(
        description="Why popular items stand in for personal ones; null when they do not"
    )
    degraded: bool = Field(
        description="Whether the answer was made without the visitor's history, which did not answer"
    )
    withheld: list[WithheldResponse] | None = Field(
        None, description="With explain: what rules kept out of the slate"
    )


class PageResponse(BaseModel):
    """The slates of a page, in the order asked for; no item stands in two of them."""

    slates: list[RecommendationResponse]


@router.post("/recommendations", response_model=RecommendationResponse)
async def post_recommendations(
    request: Request, _caller: Storefront, body: RecommendationRequest
) -> Response:
    """A slate for a placement."""
    return await _answered(request, _asked(body))


@router.post("/recommendations/page", response_model=PageResponse)
async def post_page(request: Request, _caller: Storefront, body: PageRequest) -> Response:
    """Slates for all the spots of a page in one call. The first spots choose first; nothing is
    shown twice."""
    every = [_asked(body.spot(spot)) for spot in body.placements]
    here = server(request)
    served = here.champions.recommender()
    answers = await asyncio.get_running_loop().run_in_executor(
        here.workers,
        lambda: here.recommend.page(
            every,
            recommender=served.recommender,
            items=served.in_zone(every[0].zone),
            version=served.version,
            experiments=here.experiments.current,
        ),
    )
    for answer in answers:
        here.metrics.slates.labels(answer.placement, answer.slate.fallback or "none").inc()
    documents = [_document(answer, explain=body.explain) for answer in answers]
    return Response(orjson.dumps({"slates": documents}), media_type="application/json")


@router.get("/recommendations", response_model=RecommendationResponse)
async def get_recommendations(
    request: Request, _caller: Storefront, query: Annotated[SimpleRequest, Query()]
) -> Response:
    """The same for simple storefronts."""
    asked = Asked(
        query.placement,
        query.user_id,
        query.visitor_id,
        query.session_id,
        tuple(query.item_ids),
        query.count,
        query.zone,
        exclude_purchased=query.exclude_purchased,
        in_stock_only=query.in_stock_only,
        strict=query.strict,
    )
    return await _answered(request, asked)


@router.post("/rank", response_model=RecommendationResponse)
async def post_rank(request: Request, _caller: Storefront, body: RankRequest) -> Response:
    """The given items in the order that suits the visitor. Items that nobody knows come last, in
    the order given."""
    asked = Asked(
        body.placement,
        body.user_id,
        body.visitor_id,
        body.session_id,
        count=body.count or len(body.item_ids),
        zone=body.zone,
        in_stock_only=False,
        explain=body.explain,
        candidate_ids=tuple(body.item_ids),
    )
    return await _answered(request, asked)


def _asked(body: RecommendationRequest) -> Asked:
    wanted = body.filter or FilterRequest()
    price_max = None if wanted.price_max is None else repr(wanted.price_max)
    return Asked(
        body.placement,
        body.user_id,
        body.visitor_id,
        body.session_id,
        tuple(body.item_ids),
        body.count,
        body.zone,
        Filter(tuple(wanted.category), tuple(wanted.brand), price_max),
        frozenset(body.exclude_item_ids),
        body.exclude_purchased,
        body.in_stock_only,
        body.diversity,
        body.strict,
        body.explain,
    )


async def _answered(request: Request, asked: Asked) -> Response:
    here = server(request)
    served = here.champions.recommender()
    answer = await asyncio.get_running_loop().run_in_executor(
        here.workers,
        lambda: here.recommend.answer(
            asked,
            recommender=served.recommender,
            items=served.in_zone(asked.zone),
            version=served.version,
            experiments=here.experiments.current,
        ),
    )
    here.metrics.slates.labels(answer.placement, answer.slate.fallback or "none").inc()
    return Response(
        orjson.dumps(_document(answer, explain=asked.explain)), media_type="application/json"
    )


def _document(answer: Answer, *, explain: bool) -> dict[str, Any]:
    assignment = answer.assignment
    withheld = [
        {"item_id": each.item_id, "rule": each.rule, "effect": each.effect}
        for each in answer.slate.withheld
    ]
    return {
        "recommendation_id": answer.recommendation_id,
        "placement": answer.placement,
        "items": [_item(item) for item in answer.slate.items],
        "experiments": []
        if assignment is None
        else [{"experiment": assignment[0].key, "variant": assignment[1].name}],
        "model": {"name": answer.version.name, "version": answer.version.version},
        "fallback": answer.slate.fallback,
        "degraded": answer.degraded,
        **({"withheld": withheld} if explain else {}),
    }


def _item(item: ScoredItem) -> dict[str, Any]:
    document: dict[str, Any] = {
        "item_id": item.item_id,
        "rank": item.rank,
        "score": item.score,
        "reason": item.reason.value,
    }
    if item.because_item_id is not None:
        document["because_item_id"] = item.because_item_id
    if item.contributions is not None:
        document["contributions"] = dict(item.contributions)
    if item.rules is not None:
        document["rules"] = [{"rule": each.rule, "effect": each.effect} for each in item.rules]
    return document
