"""The settings of the baselines, by task: part of configs/models/recommendations.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field

from features.contracts.calendar import DECAY_PER_WEEK
from models.ranking.model import RankingTask
from models.retrieval.als import AlsConfig
from models.retrieval.bm25_knn import Bm25KnnConfig
from models.retrieval.bpr import BprConfig
from models.retrieval.ease import EaseConfig
from models.retrieval.interactions import Weighting
from models.retrieval.tifu_knn import TifuKnnConfig


@dataclass(frozen=True)
class BuyAgainRuleConfig:
    """The decay of an order's weight."""

    decay_per_week: float = DECAY_PER_WEEK


@dataclass(frozen=True)
class EaseBaselineConfig(EaseConfig):
    """EASE, which counts orders where nothing else is set."""

    weighting: Weighting = "orders"


@dataclass(frozen=True)
class TaskBaselines:
    """The settings of every baseline in one task."""

    buy_again: BuyAgainRuleConfig = field(default_factory=BuyAgainRuleConfig)
    tifu_knn: TifuKnnConfig = field(default_factory=TifuKnnConfig)
    item_knn: Bm25KnnConfig = field(default_factory=Bm25KnnConfig)
    als: AlsConfig = field(default_factory=lambda: AlsConfig(n_factors=128, min_buyers=1))
    bpr: BprConfig = field(default_factory=lambda: BprConfig(n_iterations=40, min_buyers=1))
    ease: EaseBaselineConfig = field(default_factory=EaseBaselineConfig)


@dataclass(frozen=True)
class NewItemBaselines(TaskBaselines):
    """The same in the task "new", in which EASE is strongest on the logarithm of orders."""

    ease: EaseBaselineConfig = field(default_factory=lambda: EaseBaselineConfig(weighting="log"))


@dataclass(frozen=True)
class BaselinesConfig:
    """The settings of every baseline, by task."""

    all: TaskBaselines = field(default_factory=TaskBaselines)
    new: NewItemBaselines = field(default_factory=NewItemBaselines)

    def of(self, task: RankingTask) -> TaskBaselines:
        """Return those of a task of TASKS."""
        return self.all if task == "all" else self.new
