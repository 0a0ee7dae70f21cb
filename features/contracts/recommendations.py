"""What is asked of a recommender and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from features.contracts.histories import UserHistory


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
    """

    as_of: datetime
    item_ids: npt.NDArray[np.object_]
    columns: Mapping[str, npt.NDArray[np.float32]]
    category: npt.NDArray[np.object_]
    brand: npt.NDArray[np.object_]


@dataclass(frozen=True)
class RecommendationQuery:
    """One request for a slate. `candidate_ids` is set when a given list is to be re-ranked (`/v1/rank`)."""

    history: UserHistory
    placement: str
    count: int
    context_item_ids: tuple[str, ...] = ()
    exclude_item_ids: frozenset[str] = frozenset()
    exclude_purchased: bool = False
    allowed_item_ids: frozenset[str] | None = None
    candidate_ids: tuple[str, ...] | None = None
    strict: bool = False
    explain: bool = False


@dataclass(frozen=True)
class ScoredItem:
    """One place in a slate; `rank` starts at 1. `contributions` holds feature contributions when asked for."""

    item_id: str
    rank: int
    score: float
    reason: Reason
    contributions: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Slate:
    """The answer. `fallback` names why popular items stand in for personal ones, None when they do not."""

    items: tuple[ScoredItem, ...]
    fallback: str | None = None
