"""A draft of a set of rules tried on a slate: before and after, and nothing is saved."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.ranking.slate.merchandising_rules import RuleSet
from serving.merchandising.present_sets import build_set
from serving.recommendations.service import RecommendationService, SlateAnswer, SlateRequest


@dataclass(frozen=True)
class SlateTrial:
    """The slate of a request as it is served now, and as it would be."""

    before: SlateAnswer
    after: SlateAnswer


@dataclass(frozen=True)
class SlateTrialService:
    """Tries drafts of sets.

    read_sets   returns the sets that are applied now, by name
    """

    recommendations: RecommendationService
    read_sets: Callable[[], Mapping[str, RuleSet]]

    def try_set(self, request: SlateRequest, name: str, values: Mapping[str, object]) -> SlateTrial:
        """Return the slates of a request without and with the values in place of those of a set.

        Nothing is logged, counted or saved. Raises BadInput and UnknownName for values that cannot
        be used, and what RecommendationService.answer raises.
        """
        served = self.recommendations.models.recommender()
        sets = {**self.read_sets(), name: build_set(name, values)}
        answer_id = uuid.uuid4().hex
        preview = self.recommendations.preview
        return SlateTrial(
            before=preview(request, served=served, answer_id=answer_id),
            after=preview(request, served=served.with_rules(sets), answer_id=answer_id),
        )
