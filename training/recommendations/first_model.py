"""The model without rankers, which serves while the rankers are trained."""

from __future__ import annotations

from datetime import datetime

from configs.settings import Settings
from features.contracts.errors import TooLittleData
from features.facts.facts import Facts
from models.ranking.model import RecommendationModel
from training.recommendations.config import RecommendationsConfig
from training.recommendations.snapshots import TrainingContext
from training.recommendations.task import RecommendationsTask
from training.recommendations.young_shop import train_without_rankers
from training.results import Trained
from training.splits import end_of_data
from training.task import Progress


def train_first_model(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Progress,
) -> Trained[RecommendationModel]:
    """Fit what needs no ranker; a model with rankers takes its place when it is trained."""
    end = end_of_data(facts, until, settings.timezone)
    context = TrainingContext(facts, settings, config, progress)
    why = TooLittleData("the rankers are trained next")
    return train_without_rankers(context, end, why, refit=refit)


class FirstModelTask(RecommendationsTask):
    """Recommendations without rankers."""

    train = staticmethod(train_first_model)
