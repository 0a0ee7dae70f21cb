"""What is judged: a recommendation model with all that was known at its cut, and what is to be
foretold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.ranking.model import RankingTask, RecommendationModel
from models.retrieval.ease import EaseConfig
from models.retrieval.interactions import Interactions

Slates = Mapping[str, Sequence[str]]  # item ids by user, best first


@dataclass(frozen=True)
class Subject:
    """A model to be judged, and all that was known at the cut it was fitted at.

    `histories` are everyone's, `relevant` what is to be foretold, by task and user. `ease` and
    `seed` are those of the model's configuration, which the baselines share.
    """

    cut: datetime
    histories: Mapping[str, UserHistory]
    items: ItemFeatures
    interactions: Interactions
    model: RecommendationModel
    relevant: Mapping[RankingTask, Mapping[str, frozenset[str]]]
    ease: EaseConfig
    seed: int
