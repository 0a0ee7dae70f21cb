"""A recommender as a process serves it: with the version and the catalogue it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from features.contracts.recommendations import ItemFeatures
from models.ranking.recommender import Recommender
from models.ranking.slate.merchandising_rules import RuleSet
from models.registry import Version


@dataclass(frozen=True)
class ServedRecommender:
    """A recommender with its model version, and the catalogue it was made from.

    zones   the zones that had a stock of their own when the features were made
    rules   the sets of merchandising rules that it applies
    """

    recommender: Recommender
    items: ItemFeatures
    version: Version
    zones: frozenset[str]
    rules: Mapping[str, RuleSet] = field(default_factory=dict)

    def with_rules(self, rules: Mapping[str, RuleSet]) -> ServedRecommender:
        """Return the same with other merchandising rules. Raises as Recommender.with_rules."""
        return replace(self, recommender=self.recommender.with_rules(rules), rules=rules)


class RecommenderSource(Protocol):
    """Holds the recommender that answers now; the next call may return another."""

    def recommender(self) -> ServedRecommender:
        """Return the recommender. Raises Unavailable while model or features are missing."""
        ...
