"""The recommendation model: what is fitted on one cut of the data, saved and loaded as one
artifact."""

from __future__ import annotations

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

KIND = "recommendations"

# "ranker" learns from candidates of all sources; "buy_again" is decayed frequency with popularity
# behind it; "association" is the rules between items alone.
Policy = Literal["ranker", "buy_again", "association"]
RankingTask = Literal["all", "new", "cart"]
# The tasks that every model has; "cart" takes orders of several items to learn from.
TASKS: tuple[RankingTask, ...] = ("all", "new")


@dataclass(frozen=True)
class CandidateConfig:
    """How many candidates each source brings; `own`: of the items bought before, those of the
    highest frequency."""

    own: int = 150
    ease: int = 150
    ease_decayed: int = 80
    als: int = 60
    popular: int = 80
    promoted: int = 60


@dataclass(frozen=True)
class CartCandidates:
    """The same for a cart: rules from it, neighbours of its items, the visitor's most bought, and
    popular items."""

    together: int = 150
    near: int = 40
    own: int = 100
    popular: int = 30


@dataclass(frozen=True)
class Candidates:
    """Per task. What is bought anyway needs few new items; finding new ones needs many."""

    all: CandidateConfig = field(
        default_factory=lambda: CandidateConfig(
            ease=60, ease_decayed=40, als=20, popular=40, promoted=30
        )
    )
    new: CandidateConfig = field(default_factory=CandidateConfig)
    cart: CartCandidates = field(default_factory=CartCandidates)

    def of(self, task: RankingTask) -> CandidateConfig:
        """Those of a task of TASKS."""
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

    candidates     how many of each source the rankers learnt from, and rank
    item_columns   names of the item features (ItemFeatures.columns) in the rankers' order
    user_columns   names of the user features (UserHistory.features) in the rankers' order
    policies       per task, the policy that won on the cut and serves
    calibrations   per task of TASKS, what the sources' scores are worth
    buy_again      orders what is bought again; None: decayed frequency does
    """

    retrieval: Retrieval
    candidates: Candidates
    rankers: dict[RankingTask, Ranker]
    item_columns: tuple[str, ...]
    user_columns: tuple[str, ...]
    policies: dict[RankingTask, Policy]
    calibrations: dict[RankingTask, Calibration]
    buy_again: BuyAgain | None = None

    def with_policies(self, policies: dict[RankingTask, Policy]) -> RecommendationModel:
        """The same model serving by other policies."""
        return replace(self, policies=policies)

    def save(self, folder: Path) -> None:
        """Writes one subfolder per source, one text file per ranker, and `model.json`."""
        write_meta(
            folder,
            KIND,
            {
                "candidates": asdict(self.candidates),
                "item_columns": list(self.item_columns),
                "user_columns": list(self.user_columns),
                "policies": dict(self.policies),
                "calibrations": {task: each.meta() for task, each in self.calibrations.items()},
            },
        )
        self.retrieval.ease.save(folder / "ease")
        self.retrieval.als.save(folder / "als")
        self.retrieval.similar.save(folder / "similar")
        self.retrieval.bought_together.save(folder / "bought_together")
        if self.buy_again is not None:
            self.buy_again.save(folder / "buy_again")
        for task, ranker in self.rankers.items():
            ranker.save(folder / f"ranker_{task}.txt")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; BadInput when the folder holds something else, or what an older
        version wrote."""
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
        rankers = {task: Ranker.load(folder / f"ranker_{task}.txt") for task in TASKS}
        if (folder / "ranker_cart.txt").exists():
            rankers["cart"] = Ranker.load(folder / "ranker_cart.txt")
        counts = meta["candidates"]
        candidates = Candidates(
            CandidateConfig(**counts["all"]),
            CandidateConfig(**counts["new"]),
            CartCandidates(**counts["cart"]),
        )
        columns = tuple(meta["item_columns"]), tuple(meta["user_columns"])
        calibrations = {task: Calibration.read(meta["calibrations"][task]) for task in TASKS}
        again = BuyAgain.load(folder / "buy_again") if (folder / "buy_again").exists() else None
        return cls(retrieval, candidates, rankers, *columns, meta["policies"], calibrations, again)
