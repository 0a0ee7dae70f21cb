"""Input of an evaluation: a model, what was known at its cut, and the purchases to predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.ranking.model import RankingTask, RecommendationModel
from models.retrieval.interactions import Interactions
from training.recommendations.baseline_config import BaselinesConfig
from training.recommendations.purchases import Purchases

Slates = Mapping[str, Sequence[str]]  # item ids by user, best first
RelevantItems = Mapping[str, frozenset[str]]  # item ids by user


@dataclass(frozen=True)
class EvaluationInput:
    """A model, and all that was known at the cut at which it was fitted.

    histories   of every known user
    relevant    the items to predict, by task and user
    purchases   those that `interactions` counts, with their times
    baselines   the settings of the baselines
    """

    cut: datetime
    histories: Mapping[str, UserHistory]
    items: ItemFeatures
    interactions: Interactions
    model: RecommendationModel
    relevant: Mapping[RankingTask, RelevantItems]
    purchases: Purchases
    baselines: BaselinesConfig
    seed: int
