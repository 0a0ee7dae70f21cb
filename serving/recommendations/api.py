"""`/v1/recommendations` and `/v1/rank`: slates for a placement, and given lists in a better
order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.recommendations import ScoredItem
from features.contracts.tables import DEFAULT_ZONE
from serving.http.auth import Caller, require
from serving.http.dependencies import provided
from serving.http.metrics import Metrics
from serving.http.types import Id, ModelResponse, Name
from serving.recommendations.allowed_items import Filter
from serving.recommendations.service import (
    MAX_COUNT,
    RecommendationService,
    SlateAnswer,
    SlateRequest,
)

router = APIRouter(prefix="/v1", tags=["recommendations"])
Recommendations = Annotated[RecommendationService, Depends(provided(RecommendationService))]
Counters = Annotated[Metrics, Depends(provided(Metrics))]
Storefront = Annotated[Caller, Depends(require("storefront"))]

Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
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

    def request_of(self, placement: str | PagePlacement) -> RecommendationRequest:
        """Return the request of one placement: its own fields, and the page's for the rest."""
        if isinstance(placement, str):
            own: dict[str, object] = {"placement": placement}
        else:
            own = placement.model_dump(exclude_none=True)
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
    recommendations: Recommendations,
    metrics: Counters,
    _caller: Storefront,
    body: RecommendationRequest,
) -> Response:
    """A slate for a placement."""
    return await _respond(recommendations, metrics, _slate_request(body))


@router.post("/recommendations/page", response_model=PageResponse)
async def post_page(
    recommendations: Recommendations, metrics: Counters, _caller: Storefront, body: PageRequest
) -> Response:
    """Slates for all the placements of a page in one call. The first placements choose first;
    nothing is shown twice."""
    requests = [_slate_request(body.request_of(placement)) for placement in body.placements]
    answers = await _in_worker(recommendations, lambda: recommendations.answer_page(requests))
    for answer in answers:
        _count_slate(metrics, answer)
    slates = [build_slate(answer, explain=body.explain) for answer in answers]
    return _json({"slates": slates})


@router.get("/recommendations", response_model=RecommendationResponse)
async def get_recommendations(
    recommendations: Recommendations,
    metrics: Counters,
    _caller: Storefront,
    query: Annotated[SimpleRequest, Query()],
) -> Response:
    """The same for simple storefronts."""
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
    return await _respond(recommendations, metrics, request)


@router.post("/rank", response_model=RecommendationResponse)
async def post_rank(
    recommendations: Recommendations, metrics: Counters, _caller: Storefront, body: RankRequest
) -> Response:
    """The given items in the order that suits the visitor. Items that nobody knows come last, in
    the order given."""
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
    return await _respond(recommendations, metrics, request)


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


async def _respond(
    recommendations: RecommendationService, metrics: Metrics, request: SlateRequest
) -> Response:
    answer = await _in_worker(recommendations, lambda: recommendations.answer(request))
    _count_slate(metrics, answer)
    return _json(build_slate(answer, explain=request.explain))


async def _in_worker(recommendations: RecommendationService, work: Callable[[], Result]) -> Result:
    """Return the result of `work`, which computes away from the event loop."""
    return await asyncio.get_running_loop().run_in_executor(recommendations.workers, work)


def _count_slate(metrics: Metrics, answer: SlateAnswer) -> None:
    metrics.slates.labels(answer.placement, answer.slate.fallback or "none").inc()


# Bodies are built as plain values and written by orjson: a tenth of the time that pydantic takes
# for a slate. A test holds them to RecommendationResponse.
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
        "score": item.score,
        "reason": item.reason.value,
    }
    if item.because_item_id is not None:
        values["because_item_id"] = item.because_item_id
    if item.contributions is not None:
        values["contributions"] = dict(item.contributions)
    if item.rules is not None:
        values["rules"] = [{"rule": rule.rule, "effect": rule.effect} for rule in item.rules]
    return values
