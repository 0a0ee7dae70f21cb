"""The requests for slates as HTTP sends them, and what the service makes of them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    model_validator,
)

from features.contracts.tables import DEFAULT_ZONE
from serving.field_types import Id, MoneyNumber, Name, Text
from serving.recommendations.item_filter import (
    NO_FILTER,
    AttributeCondition,
    AttributeValue,
    Filter,
    Flag,
)
from serving.recommendations.service import MAX_COUNT, SlateRequest

MAX_RANKED = 500
MAX_PLACEMENTS = 20
_MAX_ATTRIBUTES = 20
_MAX_FIELDS = 50
_RANK_PLACEMENT = "home"
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = None
    zone: Name = Field(
        DEFAULT_ZONE,
        description="Whose prices and stock apply; the stock of all zones where it has none",
    )


class _VisitRequest(_Request):
    """What experiments ask of a visit."""

    attributes: dict[Name, Name] = Field(
        {},
        max_length=20,
        description="Of the visit, such as device or channel: experiments choose by them whom "
        "they are for",
        examples=[{"device": "phone"}],
    )
    override: str | None = Field(
        None,
        max_length=400,
        description="A token of `experiments override`: the answer of a chosen variant, which "
        "counts nowhere",
    )


class RangeRequest(BaseModel):
    """A range of numbers; both ends belong to it."""

    model_config = ConfigDict(extra="forbid")

    min: _Number | None = None
    max: _Number | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a range has min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


_Value = Annotated[Text, Field(max_length=1_000)] | StrictBool | StrictInt | StrictFloat
_Values = Annotated[list[_Value], Field(min_length=1, max_length=100)]


class FilterRequest(BaseModel):
    """Conditions on an item: of several values of one field any, of several fields all."""

    model_config = ConfigDict(extra="forbid")

    category: list[Name] = Field(
        [], max_length=100, description='With those below: "Grocery" includes "Grocery > Dairy"'
    )
    brand: list[Name] = Field([], max_length=100)
    price_min: MoneyNumber | None = Field(
        None, description="Lowest offer price in major units; items without a price fail"
    )
    price_max: MoneyNumber | None = Field(None, description="Highest offer price")
    attributes: dict[Name, _Values | RangeRequest] = Field(
        {},
        max_length=_MAX_ATTRIBUTES,
        description="By name of an extra column of the catalogue, or of size and family_id: "
        "values, of which an item has one, or a range of numbers",
        examples=[{"color": ["red", "blue"], "size": ["M"], "weight": {"max": 1.5}}],
    )

    @model_validator(mode="after")
    def _check_prices(self) -> Self:
        lowest, highest = self.price_min, self.price_max
        if lowest is not None and highest is not None and lowest > highest:
            raise ValueError("price_min is above price_max")
        return self

    def to_filter(self) -> Filter:
        """Return the conditions as the service reads them."""
        conditions = []
        for name, given in sorted(self.attributes.items()):
            if isinstance(given, RangeRequest):
                conditions.append(AttributeCondition(name, least=given.min, most=given.max))
            else:
                conditions.append(AttributeCondition(name, tuple(map(_read_value, given))))
        return Filter(
            category=tuple(self.category),
            brand=tuple(self.brand),
            price_min=None if self.price_min is None else repr(self.price_min),
            price_max=None if self.price_max is None else repr(self.price_max),
            attributes=tuple(conditions),
        )


class RecommendationRequest(_VisitRequest):
    """The request of one placement."""

    placement: Name = Field(examples=["home"])
    item_ids: list[Id] = Field(
        [], max_length=200, description="The items on the page or in the cart"
    )
    count: int = Field(20, ge=1, le=MAX_COUNT)
    filter: FilterRequest | None = None
    exclude_item_ids: list[Id] = Field([], max_length=1_000)
    exclude_purchased: bool = False
    exclude_viewed: bool = Field(False, description="Nothing that was viewed in the last weeks")
    exclude_carted: bool = Field(False, description="Nothing that is in the cart")
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
    fields: list[Name] = Field(
        [],
        max_length=_MAX_FIELDS,
        description="What the answer says of each item: title, category, brand, image_url, size, "
        "family_id, available_from, available_to, price, list_price, prior_price, currency, "
        "in_stock, and extra columns of the catalogue",
    )
    fold_families: bool = Field(
        False,
        description="At most one item of each family, with all of them on sale as `variants`",
    )
    after: str | None = Field(
        None,
        max_length=64,
        description="The recommendation_id of the page before: the next page, without its items",
    )
    rotate: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="How fast items sink that this visitor was shown and never clicked",
    )


class PagePlacement(BaseModel):
    """One placement on the page; a field that is not given is the page's."""

    model_config = ConfigDict(extra="forbid")

    placement: Name = Field(examples=["home"])
    item_ids: list[Id] | None = Field(None, max_length=200)
    count: int | None = Field(None, ge=1, le=MAX_COUNT)
    filter: FilterRequest | None = None
    diversity: float | None = Field(None, ge=0, le=1)
    after: str | None = Field(None, max_length=64)


class PageRequest(_VisitRequest):
    """Several placements at once. A name alone takes every field from the page."""

    placements: list[Name | PagePlacement] = Field(min_length=1, max_length=MAX_PLACEMENTS)
    item_ids: list[Id] = Field(
        [], max_length=200, description="The items on the page or in the cart"
    )
    count: int = Field(20, ge=1, le=MAX_COUNT)
    filter: FilterRequest | None = None
    exclude_item_ids: list[Id] = Field([], max_length=1_000)
    exclude_purchased: bool = False
    exclude_viewed: bool = False
    exclude_carted: bool = False
    in_stock_only: bool = True
    strict: bool = False
    explain: bool = False
    fields: list[Name] = Field([], max_length=_MAX_FIELDS)
    fold_families: bool = False
    rotate: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)

    def request_of(self, placement: str | PagePlacement) -> RecommendationRequest:
        """Return the request of one placement: its own fields, and the page's for the rest."""
        if isinstance(placement, str):
            own: dict[str, object] = {"placement": placement}
        else:
            own = placement.model_dump(exclude_none=True)
        shared = self.model_dump(include=set(RecommendationRequest.model_fields))
        return RecommendationRequest.model_validate(shared | own)


class RankRequest(_Request):
    """A list to re-rank for a visitor, such as a search result."""

    item_ids: list[Id] = Field(min_length=1, max_length=MAX_RANKED)
    query: str | None = Field(
        None,
        max_length=1_000,
        description="What was searched for: titles, brands and categories that match it come first",
    )
    placement: Name = _RANK_PLACEMENT
    count: int | None = Field(None, ge=1, le=MAX_RANKED, description="Without it, all")
    explain: bool = False
    fields: list[Name] = Field([], max_length=_MAX_FIELDS)


class SimpleRequest(_Request):
    """A request as query parameters."""

    placement: Name
    item_ids: list[Id] = Field([], max_length=200)
    count: int = Field(20, ge=1, le=MAX_COUNT)
    exclude_purchased: bool = False
    in_stock_only: bool = True
    strict: bool = False
    fields: list[Name] = Field([], max_length=_MAX_FIELDS)
    after: str | None = Field(None, max_length=64)


def _read_value(given: str | bool | float) -> AttributeValue:
    if isinstance(given, bool):
        return Flag.TRUE if given else Flag.FALSE
    return given if isinstance(given, str) else float(given)


def build_request(body: RecommendationRequest) -> SlateRequest:
    """Return the request of one placement."""
    return SlateRequest(
        placement=body.placement,
        user_id=body.user_id,
        visitor_id=body.visitor_id,
        session_id=body.session_id,
        item_ids=tuple(body.item_ids),
        count=body.count,
        zone=body.zone,
        filter=NO_FILTER if body.filter is None else body.filter.to_filter(),
        exclude_item_ids=frozenset(body.exclude_item_ids),
        exclude_purchased=body.exclude_purchased,
        in_stock_only=body.in_stock_only,
        diversity=body.diversity,
        strict=body.strict,
        explain=body.explain,
        fields=tuple(dict.fromkeys(body.fields)),
        fold_families=body.fold_families,
        exclude_viewed=body.exclude_viewed,
        exclude_carted=body.exclude_carted,
        after=body.after,
        rotate=body.rotate,
        attributes=dict(body.attributes),
        override=body.override,
    )


def build_simple_request(query: SimpleRequest) -> SlateRequest:
    """Return the request of query parameters."""
    return SlateRequest(
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
        fields=tuple(dict.fromkeys(query.fields)),
        after=query.after,
    )


def build_rank_request(body: RankRequest) -> SlateRequest:
    """Return the request of a given list."""
    return SlateRequest(
        placement=body.placement,
        user_id=body.user_id,
        visitor_id=body.visitor_id,
        session_id=body.session_id,
        count=body.count or len(body.item_ids),
        zone=body.zone,
        in_stock_only=False,
        explain=body.explain,
        candidate_ids=tuple(body.item_ids),
        search_text=body.query,
        fields=tuple(dict.fromkeys(body.fields)),
    )
