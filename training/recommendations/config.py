"""The settings of a recommendation model: the type of configs/models/recommendations.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from features.contracts.errors import BadInput
from models.ranking.lambdarank import RankerConfig
from models.ranking.model import Candidates, RankingTask
from models.retrieval.als import AlsConfig
from models.retrieval.association import AssociationConfig
from models.retrieval.buy_again import BuyAgainConfig
from models.retrieval.ease import EaseConfig
from models.retrieval.item_knn import ItemKnnConfig
from models.retrieval.local_ease import LocalEaseConfig
from models.retrieval.recent_views import RecentViewsConfig
from models.retrieval.sequential_rules import SequentialRulesConfig
from models.retrieval.visit_sources import VisitSourcesConfig
from training.recommendations.baseline_config import BaselinesConfig
from training.recommendations.carts import CartsConfig
from training.recommendations.learning_targets import AUTO, Targets, parse_targets


@dataclass(frozen=True)
class VisitsConfig:
    """What ranks the next items of a visit.

    min_visits      of two looks or more, from which on there is something to learn
    max_looks       a longer visit, as of a robot, is not learnt from
    max_visits      the latest ones that are learnt from
    share_learnt    of the visits, the last ones, that the ranker learns from
    max_learnt, max_evaluated, n_tuned   next items at most, drawn by the seed: that the ranker
                    learns from, that an evaluation looks at, that sources are tuned on
    max_loss        share of MRR@20 up to which slates may be worse without a source, with 95 %
                    confidence, for the source to be left out; None: every source is served
    """

    min_visits: int = 200
    max_looks: int = 200
    max_visits: int = 1_000_000
    share_learnt: float = 0.3
    max_learnt: int = 20_000
    max_evaluated: int = 10_000
    n_tuned: int = 2_000
    max_loss: float | None = 0.01
    sources: VisitSourcesConfig = field(default_factory=VisitSourcesConfig)
    ranker: RankerConfig = field(
        default_factory=lambda: RankerConfig(
            n_trees=300, n_leaves=31, share_features=0.6, share_negatives=0.3
        )
    )

    def __post_init__(self) -> None:
        if not 0 < self.share_learnt < 1 or self.min_visits < 2:
            raise BadInput(
                "share_learnt lies between 0 and 1, and min_visits is at least 2", where="visits"
            )
        if self.max_loss is not None and not 0 <= self.max_loss < 1:
            raise BadInput("max_loss is a share from 0 to 1, or null", where="visits")


def _sources_of_purchases() -> VisitSourcesConfig:
    """Return the sources of purchases: weeks apart, where looks are seconds apart."""
    return VisitSourcesConfig(
        next_views=SequentialRulesConfig(max_steps=1, prior=1.0),
        recent_views=RecentViewsConfig(half_life_days=30.0),
        candidates={
            "session_knn": 100,
            "sequential_rules": 100,
            "next_views": 100,
            "co_views": 100,
            "recent_views": 20,
        },
    )


@dataclass(frozen=True)
class SequencesConfig:
    """What ranks the next purchase of buyers by the order of the ones before.

    min_buyers    of two items or more, from which on there is something to learn
    max_repeats   share of the orders of an item by who has bought it before, up to which the order
                  of purchases is looked at: above it, what is bought again matters most
    max_items     a buyer of more, as a reseller, is not learnt from
    max_learnt    buyers, drawn by the seed, that the ranker learns from
    """

    min_buyers: int = 500
    max_repeats: float = 0.2
    max_items: int = 200
    max_learnt: int = 20_000
    sources: VisitSourcesConfig = field(default_factory=_sources_of_purchases)
    ranker: RankerConfig = field(
        default_factory=lambda: RankerConfig(
            n_trees=150, n_leaves=15, min_rows_in_leaf=200, share_features=0.6, share_negatives=0.3
        )
    )


@dataclass(frozen=True)
class RecommendationsConfig:
    """Everything that decides a recommendation model.

    targets     what is learnt to be predicted: auto (what the data suffice for), one kind of event
                (purchase, add_to_cart or view), or weights by kind
    ease_kind   "exact": EASE on the most bought items; "local": LocalEase on all items, for large
                catalogues
    choose_ease whether other weightings and penalties replace those of `ease`, and of the EASE of
                `baselines`, where they rank measurably better on the windows that rankers learn
                from; exact EASE alone
    baselines   of the baselines that a model is evaluated beside; they change no model
    """

    targets: str | Mapping[str, float] = AUTO
    window_weeks: int = 4
    n_windows: int = 2
    ease_kind: Literal["exact", "local"] = "exact"
    ease: EaseConfig = field(default_factory=EaseConfig)
    choose_ease: bool = False
    local_ease: LocalEaseConfig = field(default_factory=LocalEaseConfig)
    als: AlsConfig = field(default_factory=AlsConfig)
    item_knn: ItemKnnConfig = field(default_factory=ItemKnnConfig)
    association: AssociationConfig = field(default_factory=AssociationConfig)
    buy_again: BuyAgainConfig = field(default_factory=BuyAgainConfig)
    candidates: Candidates = field(default_factory=Candidates)
    ranker_all: RankerConfig = field(default_factory=RankerConfig)
    ranker_new: RankerConfig = field(default_factory=RankerConfig)
    ranker_cart: RankerConfig = field(default_factory=lambda: RankerConfig(share_negatives=0.25))
    carts: CartsConfig = field(default_factory=CartsConfig)
    visits: VisitsConfig = field(default_factory=VisitsConfig)
    sequences: SequencesConfig = field(default_factory=SequencesConfig)
    baselines: BaselinesConfig = field(default_factory=BaselinesConfig)

    def __post_init__(self) -> None:
        parse_targets(self.targets)

    @property
    def parsed_targets(self) -> Targets:
        """The targets as weights."""
        return parse_targets(self.targets)

    def ranker(self, task: RankingTask) -> RankerConfig:
        """Return the settings of the ranker of one task."""
        return {
            "all": self.ranker_all,
            "new": self.ranker_new,
            "cart": self.ranker_cart,
            "visit": self.visits.ranker,
            "sequence": self.sequences.ranker,
        }[task]
