"""The recommendation model: all that is fitted at one cut, saved and loaded as one artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from features.contracts.errors import BadInput
from models.artifact import read_meta, write_meta
from models.ranking.calibration import Calibration
from models.ranking.lambdarank import Ranker
from models.retrieval.als import Als
from models.retrieval.association import Association
from models.retrieval.buy_again import BuyAgain
from models.retrieval.ease import Ease
from models.retrieval.item_knn import ItemKnn
from models.retrieval.purchase_method import PurchaseMethod
from models.retrieval.purchase_methods import load_purchase_method
from models.retrieval.visit_sources import VisitSources

KIND = "recommendations"
# What a full match of a query adds to a score, where no clicks have shown another weight.
DEFAULT_QUERY_WEIGHT = 8.0

# "ranker" learns from candidates of all sources; "ease" is EASE alone with popularity behind it;
# "baseline" is the baseline that was measurably better than these;
# "buy_again" is decayed frequency with popularity behind it; "association" is the rules between
# items alone; "sequence" learns from the order of purchases; "popular" is one list for everybody;
# the others are sources of a visit.
Policy = Literal[
    "ranker",
    "ease",
    "baseline",
    "buy_again",
    "association",
    "sequence",
    "session_knn",
    "sequential_rules",
    "popular",
]
RankingTask = Literal["all", "new", "cart", "visit", "sequence"]
# The tasks that every model has, of which one without rankers ranks by rule; "cart" takes orders of
# several items to learn from, "visit" visits of several looks, and "sequence" buyers who seldom buy
# the same again.
TASKS: tuple[RankingTask, ...] = ("all", "new")


@dataclass(frozen=True)
class CandidateConfig:
    """How many candidates each source gives; `own`: items bought before, the most frequent."""

    own: int = 150
    ease: int = 150
    ease_decayed: int = 80
    als: int = 60
    popular: int = 80
    promoted: int = 60


@dataclass(frozen=True)
class CartCandidates:
    """How many candidates of a cart each source gives.

    Association rules, neighbours of its items, the visitor's most frequent items, popular items.
    """

    together: int = 150
    near: int = 40
    own: int = 100
    popular: int = 30


@dataclass(frozen=True)
class Candidates:
    """Numbers of candidates per task: "new" needs many new items, "all" only a few."""

    all: CandidateConfig = field(
        default_factory=lambda: CandidateConfig(
            ease=60, ease_decayed=40, als=20, popular=40, promoted=30
        )
    )
    new: CandidateConfig = field(default_factory=CandidateConfig)
    cart: CartCandidates = field(default_factory=CartCandidates)

    def of(self, task: RankingTask) -> CandidateConfig:
        """Return those of a task of TASKS."""
        return self.all if task == "all" else self.new


@dataclass(frozen=True)
class Retrieval:
    """The fitted sources of candidates."""

    ease: Ease
    als: Als
    similar: ItemKnn
    bought_together: Association


@dataclass(frozen=True)
class RecommendationModel:
    """Sources, one ranker per task, and what they were fitted with.

    candidates     how many of each source the rankers were fitted on, and rank
    item_columns   names of the item features (ItemFeatures.columns) in the rankers' order
    user_columns   names of the user features (UserHistory.features) in the rankers' order
    policies       per task, the policy that won at the cut and serves
    calibrations   per task of TASKS, the chances of the sources' scores
    buy_again      scores what is bought again; None: decayed frequency does
    visit_sources      propose the next items of a visit; None: there were too few visits
    visit_timezone     of the shop, in which the ranker of visits reads hours; None: it sees none
    visits_of_buyers   whether what somebody who has bought looks at next is ranked by their visit,
                       as that of a stranger, and not by their purchases
    sequence_sources   propose what is bought next; None: the same things are bought again
    baselines          per task, the baseline that ranks it where its policy is "baseline"
    query_weight       what a full match of a query adds to a score, in the rankers' unit (log odds
                       that the visitor prefers the item)
    """

    retrieval: Retrieval
    candidates: Candidates
    rankers: dict[RankingTask, Ranker]
    item_columns: tuple[str, ...]
    user_columns: tuple[str, ...]
    policies: dict[RankingTask, Policy]
    calibrations: dict[RankingTask, Calibration]
    buy_again: BuyAgain | None = None
    visit_sources: VisitSources | None = None
    visit_timezone: str | None = None
    visits_of_buyers: bool = False
    sequence_sources: VisitSources | None = None
    baselines: Mapping[RankingTask, PurchaseMethod] = field(default_factory=dict)
    query_weight: float = DEFAULT_QUERY_WEIGHT

    @property
    def ranks_purchases(self) -> bool:
        """Whether a ranker has learnt from purchases of known users."""
        return "all" in self.rankers

    def with_policies(self, policies: dict[RankingTask, Policy]) -> RecommendationModel:
        """Return the same model with other policies."""
        return replace(self, policies=policies)

    def with_visits_of_buyers(self, value: bool) -> RecommendationModel:
        """Return the same model with another `visits_of_buyers`."""
        return replace(self, visits_of_buyers=value)

    def save(self, folder: Path) -> None:
        """Write one subfolder per source, one text file per ranker, and `model.json`."""
        write_meta(
            folder,
            KIND,
            {
                "candidates": asdict(self.candidates),
                "item_columns": list(self.item_columns),
                "user_columns": list(self.user_columns),
                "policies": dict(self.policies),
                "visit_timezone": self.visit_timezone,
                "visits_of_buyers": self.visits_of_buyers,
                "query_weight": self.query_weight,
                "calibrations": {
                    task: calibration.to_meta() for task, calibration in self.calibrations.items()
                },
            },
        )
        self.retrieval.ease.save(folder / "ease")
        self.retrieval.als.save(folder / "als")
        self.retrieval.similar.save(folder / "similar")
        self.retrieval.bought_together.save(folder / "bought_together")
        if self.buy_again is not None:
            self.buy_again.save(folder / "buy_again")
        if self.visit_sources is not None:
            self.visit_sources.save(folder / "visit_sources")
        if self.sequence_sources is not None:
            self.sequence_sources.save(folder / "sequence_sources")
        for task, baseline in self.baselines.items():
            baseline.save(folder / f"baseline_{task}")
        for task, ranker in self.rankers.items():
            ranker.save(folder / f"ranker_{task}.txt")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; BadInput where the folder holds something else or is too old."""
        meta = read_meta(folder, KIND)
        if "calibrations" not in meta:
            hint = "Train it anew: shopwright train recommendations"
            raise BadInput("an older version wrote this model", where=str(folder), hint=hint)
        retrieval = Retrieval(
            Ease.load(folder / "ease"),
            Als.load(folder / "als"),
            ItemKnn.load(folder / "similar"),
            Association.load(folder / "bought_together"),
        )
        tasks: tuple[RankingTask, ...] = (*TASKS, "cart", "visit", "sequence")
        rankers = {
            task: Ranker.load(folder / f"ranker_{task}.txt")
            for task in tasks
            if task in meta["calibrations"] or (folder / f"ranker_{task}.txt").exists()
        }
        counts = meta["candidates"]
        candidates = Candidates(
            CandidateConfig(**counts["all"]),
            CandidateConfig(**counts["new"]),
            CartCandidates(**counts["cart"]),
        )
        calibrations: dict[RankingTask, Calibration] = {
            task: Calibration.from_meta(values) for task, values in meta["calibrations"].items()
        }
        has_buy_again = (folder / "buy_again").exists()
        return cls(
            retrieval=retrieval,
            candidates=candidates,
            rankers=rankers,
            item_columns=tuple(meta["item_columns"]),
            user_columns=tuple(meta["user_columns"]),
            policies=meta["policies"],
            calibrations=calibrations,
            buy_again=BuyAgain.load(folder / "buy_again") if has_buy_again else None,
            visit_sources=_load_sources(folder / "visit_sources"),
            visit_timezone=meta.get("visit_timezone"),  # none in older models
            visits_of_buyers=meta.get("visits_of_buyers", False),
            sequence_sources=_load_sources(folder / "sequence_sources"),
            baselines={
                task: load_purchase_method(folder / f"baseline_{task}")
                for task in TASKS
                if (folder / f"baseline_{task}").exists()
            },
            query_weight=meta.get("query_weight", DEFAULT_QUERY_WEIGHT),
        )


def _load_sources(folder: Path) -> VisitSources | None:
    return VisitSources.load(folder) if folder.exists() else None
