"""The protocol of scorers: one file per way to score the items of a placement."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from features.contracts.arrays import BoolArray
from features.contracts.recommendations import RecommendationQuery
from models.ranking.model import Policy
from models.ranking.scored_items import ScoredItems
from models.ranking.visitor import Visitor


class ScoringRequest(NamedTuple):
    """A query, and what is known of its visitor.

    policy     overrules the model's own; None does not
    eligible   items (n_items,) that may be in the slate; a scorer need not score others
    focus      items (n_items,) of the categories that this visit is about
    """

    query: RecommendationQuery
    visitor: Visitor
    policy: Policy | None
    eligible: BoolArray
    focus: BoolArray | None = None


class Scorer(Protocol):
    """Scores items for one visitor; bound to a model and a catalogue."""

    def score(self, request: ScoringRequest, /) -> ScoredItems:
        """Return items with scores and reasons, in any order; none where nothing is known."""
