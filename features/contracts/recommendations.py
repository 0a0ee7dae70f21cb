"""The request to a recommender and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from features.contracts.arrays import Float32Array, ObjectArray
from features.contracts.histories import UserHistory
from features.contracts.tables import DEFAULT_ZONE


class Reason(StrEnum):
    """Why an item is in a slate; only the source that carried the score may be named."""

    BUY_AGAIN = "buy_again"
    BECAUSE_YOU_VIEWED = "because_you_viewed"
    SIMILAR = "similar"
    BOUGHT_TOGETHER = "bought_together"
    TRENDING = "trending"
    POPULAR = "popular"
    NEW = "new"
    PROMOTED = "promoted"
    EXPLORATION = "exploration"


@dataclass(frozen=True)
class ItemFeatures:
    """The catalogue with its item-level features (features/pipelines/item.py) as of one instant.

    item_ids    str objects, sorted ascending; every other array is aligned with it
    columns     float32 arrays by feature name, NaN where unknown
    category    str objects, "Department > Category > Type", "" where unknown
    brand       str objects, "" where unknown
    family      str objects, the items that are one style in several sizes, "" where there is none;
                None: nothing is known of families
    title       str objects, "" where there is none; None: nothing is known of titles
    """

    as_of: datetime
    item_ids: ObjectArray
    columns: Mapping[str, Float32Array]
    category: ObjectArray
    brand: ObjectArray
    family: ObjectArray | None = None
    title: ObjectArray | None = None


@dataclass(frozen=True)
class RecommendationQuery:
    """One request for a slate.

    candidate_ids   a given list to re-rank (`/v1/rank`)
    search_text     what the visitor searched for, where the list is the result
    zone            decides which rules are valid
    at              business time, for the validity of rules; that of the history when None
    diversity       0..1; that of the placement when None
    draw            seed text of a placement that explores; None explores nothing
    damping         item -> factor on its relevance
    fold_families   at most one item of each family
    """

    history: UserHistory
    placement: str
    count: int
    context_item_ids: tuple[str, ...] = ()
    exclude_item_ids: frozenset[str] = frozenset()
    exclude_purchased: bool = False
    allowed_item_ids: frozenset[str] | None = None
    candidate_ids: tuple[str, ...] | None = None
    search_text: str | None = None
    strict: bool = False
    explain: bool = False
    zone: str = DEFAULT_ZONE
    at: datetime | None = None
    diversity: float | None = None
    draw: str | None = None
    damping: Mapping[str, float] = field(default_factory=dict)
    fold_families: bool = False


@dataclass(frozen=True)
class AppliedRule:
    """The effect of a merchandising rule on an item; `rule` is "set.name"."""

    rule: str
    effect: str


class QueryMatch(NamedTuple):
    """How far an item matches a text that was searched for (0 not at all, about 1 in full), and the
    score that it has without that."""

    degree: float
    other_score: float


@dataclass(frozen=True)
class ScoredItem:
    """One item of a slate; `rank` starts at 1.

    score             that of the ranker, before rules, diversity and exploration moved the item
    falling_score     the same, lowered so that it falls, or stays, with rank: what is answered
    because_item_id   the item that the reason names: the one viewed, or the one on the page
    contributions     the addition of each feature to the score, when requested
    rules             the effects of rules on the item, when requested
    propensity        probability of the item at this rank given the ranks before; None where the
                      placement explores nothing
    query_match       None where nothing was searched for, or the ranker of purchases did not score
    """

    item_id: str
    rank: int
    score: float
    reason: Reason
    falling_score: float = 0.0
    contributions: Mapping[str, float] | None = None
    because_item_id: str | None = None
    rules: tuple[AppliedRule, ...] | None = None
    propensity: float | None = None
    query_match: QueryMatch | None = None


@dataclass(frozen=True)
class WithheldItem:
    """An item that a rule removed from the slate."""

    item_id: str
    rule: str
    effect: str


@dataclass(frozen=True)
class Slate:
    """The answer.

    fallback    the source in place of personal items ("popular"), None when there are such items
    withheld    the items that rules removed from the slate, when an explanation is requested
    """

    items: tuple[ScoredItem, ...]
    fallback: str | None = None
    withheld: tuple[WithheldItem, ...] = ()
