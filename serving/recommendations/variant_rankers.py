"""What makes the slate of a visitor: the ranker of the variant, two that are interleaved, or what
serves anyway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from experiments.definition import Experiment, Variant
from features.contracts.errors import Unavailable
from features.contracts.recommendations import RecommendationQuery, Slate
from models.ranking.model import Policy
from models.served_recommender import ServedRecommender
from serving.recommendations.assigned_units import AssignedUnit, AssignmentRequest, UnitAssigner
from serving.recommendations.interleaved_slates import mix_slates


class Ranker(NamedTuple):
    """A recommender and the policy that ranks, None for the model's own; `name` is that of its
    variant."""

    served: ServedRecommender
    policy: Policy | None
    name: str = ""


class Choice(NamedTuple):
    """The variants of a visitor, and what makes the slate; `rivals` are the rankers of variants
    that are interleaved, `ranker` the first of them."""

    assigned: tuple[AssignedUnit, ...]
    ranker: Ranker
    rivals: tuple[Ranker, ...] = ()

    def rank(self, query: RecommendationQuery, draw: str) -> tuple[Slate, tuple[str, ...] | None]:
        """Return the slate, and the variant of each item where several are interleaved.

        draw   seeds the interleaving: the recommendation_id
        """
        slates = [
            ranker.served.recommender.recommend([query], policy=ranker.policy)[0]
            for ranker in self.rivals or (self.ranker,)
        ]
        if not self.rivals:
            return slates[0], None
        names = (self.rivals[0].name, self.rivals[1].name)
        return mix_slates(slates[0], slates[1], names, query.count, draw)


@dataclass(frozen=True)
class VariantRankers:
    """Chooses what answers. Safe to share between threads.

    assigner        finds the variants of a visitor
    find_variant    returns what answers for a variant, None where it is not loaded
    read_override   returns experiment and variant of a token
    """

    assigner: UnitAssigner
    find_variant: Callable[[Experiment, Variant], ServedRecommender | None]
    read_override: Callable[[str], tuple[str, str]]

    def choose(self, request: AssignmentRequest, served: ServedRecommender) -> Choice:
        """Return what answers a request; `served` does where the visitor takes part in nothing.

        Raises Unavailable for a variant that was chosen by hand and is not loaded.
        """
        assigned = self.assigner.assign(request)
        if not assigned:
            return Choice((), Ranker(served, None))
        experiment, variant = assigned[-1].experiment, assigned[-1].variant
        arms: tuple[Variant, ...] = (variant,)
        if experiment.allocation == "interleave" and not assigned[-1].is_override:
            arms = experiment.variants
        rankers = [self._find(experiment, arm, served) for arm in arms]
        loaded = tuple(ranker for ranker in rankers if ranker is not None)
        if len(loaded) < len(arms) and not assigned[-1].is_override:
            return Choice((), Ranker(served, None))  # dropped since: it has just been stopped
        if len(loaded) < len(arms):
            raise Unavailable(
                f"variant {variant.name!r} is not loaded yet",
                where=f"experiment {experiment.key!r}",
                hint="Try again in some seconds; /readyz and the log say why it cannot be loaded",
            )
        return Choice(assigned, loaded[0], loaded if len(loaded) > 1 else ())

    def _find(
        self, experiment: Experiment, variant: Variant, served: ServedRecommender
    ) -> Ranker | None:
        """Return what answers for a variant, `served` where it changes neither model nor
        placement."""
        found = served if variant.uses_served_models else self.find_variant(experiment, variant)
        if found is None:
            return None
        policy = None if variant.policy == "champion" else variant.policy
        return Ranker(found, policy, variant.name)
