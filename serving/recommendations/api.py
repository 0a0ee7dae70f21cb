"""`/v1/recommendations` and `/v1/rank`: slates for placements, and given lists re-ranked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field, JsonValue

from features.contracts.recommendations import ScoredItem
from serving.field_types import ModelResponse
from serving.http.auth import Caller, require
from serving.http.bodies import LargeBodyRoute
from serving.http.dependencies import inject
from serving.http.parameters import allow_only
from serving.recommendations.item_fields import FamilyMember, FieldValues
from serving.recommendations.request_types import (
    PageRequest,
    RankRequest,
    RecommendationRequest,
    SimpleRequest,
    build_rank_request,
    build_request,
    build_simple_request,
)
from serving.recommendations.service import RecommendationService, SlateAnswer, SlateRequest

router = APIRouter(prefix="/v1", tags=["recommendations"], route_class=LargeBodyRoute)
Recommendations = Annotated[RecommendationService, Depends(inject(RecommendationService))]
Storefront = Annotated[Caller, Depends(require("storefront"))]

Result = TypeVar("Result")


class RuleResponse(BaseModel):
    """A merchandising rule and its effect on an item."""

    rule: str = Field(examples=["spring.new_tea"])
    effect: str = Field(examples=["relevance x 2", "pinned"])


class WithheldResponse(RuleResponse):
    """An item that a rule kept out of the slate."""

    item_id: str


class VariantResponse(BaseModel):
    """An item of a family."""

    item_id: str
    size: str | None
    in_stock: bool | None = Field(description="null where the stock is not known")
    fields: dict[str, JsonValue] | None = None


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
    fields: dict[str, JsonValue] | None = Field(
        None,
        description="With fields: each of them, null where nothing is known. Prices are those "
        "of the zone, the same for everybody",
    )
    variants: list[VariantResponse] | None = Field(
        None, description="With fold_families, of an item with a family: all of it on sale"
    )


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
    return await _respond(recommendations, build_request(body))


@router.post("/recommendations/page", response_model=PageResponse)
async def post_page(
    recommendations: Recommendations, _caller: Storefront, body: PageRequest
) -> Response:
    """Slates for all the placements of a page in one call. The first placements choose first;
    nothing is shown twice."""
    requests = [build_request(body.request_of(placement)) for placement in body.placements]
    answers = await _in_worker(recommendations, lambda: recommendations.answer_page(requests))
    slates = [build_slate(answer, explain=body.explain) for answer in answers]
    return _json({"slates": slates})


@router.get(
    "/recommendations",
    response_model=RecommendationResponse,
    dependencies=[Depends(allow_only(*SimpleRequest.model_fields, many=("item_ids", "fields")))],
)
async def get_recommendations(
    recommendations: Recommendations,
    _caller: Storefront,
    query: Annotated[SimpleRequest, Query()],
) -> Response:
    """A slate for a placement, for storefronts that send query parameters."""
    request = build_simple_request(query)
    return await _respond(recommendations, request)


@router.post("/rank", response_model=RecommendationResponse)
async def post_rank(
    recommendations: Recommendations, _caller: Storefront, body: RankRequest
) -> Response:
    """The given items ranked for the visitor. Unknown items come last, in the order given."""
    request = build_rank_request(body)
    return await _respond(recommendations, request)


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
    experiments = [
        {"experiment": assigned.experiment.key, "variant": assigned.variant.name}
        for assigned in answer.assigned
    ]
    body: dict[str, object] = {
        "recommendation_id": answer.recommendation_id,
        "placement": answer.placement,
        "items": [_build_item(item, answer) for item in answer.slate.items],
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


def _build_item(item: ScoredItem, answer: SlateAnswer) -> dict[str, object]:
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
    if answer.fields is not None:
        values["fields"] = answer.fields[item.item_id]
    if answer.variants is not None and (variants := answer.variants[item.item_id]):
        values["variants"] = [_build_variant(variant, answer.fields) for variant in variants]
    return values


def _build_variant(
    variant: FamilyMember, fields: Mapping[str, FieldValues] | None
) -> dict[str, object]:
    values: dict[str, object] = {
        "item_id": variant.item_id,
        "size": variant.size,
        "in_stock": variant.in_stock,
    }
    if fields is not None:
        values["fields"] = fields[variant.item_id]
    return values
