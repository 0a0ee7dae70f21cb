"""A placement: what a spot on the storefront asks for. One YAML file each in configs/placements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from features.contracts.errors import BadInput, UnknownName
from models.ranking.model import CandidateConfig
from models.ranking.slate.assemble import Exploration

Scorer = Literal[
    "all", "new", "similar", "bought_together", "trending", "new_arrivals", "buy_again"
]
Fallback = Literal["popular", "trending", "new", "none"]
LEARNT: tuple[Scorer, ...] = ("all", "new")


@dataclass(frozen=True)
class Placement:
    """`scorer` decides what is ranked and how:

    all               what the visitor will buy anyway, learnt
    new               what the visitor will buy for the first time, learnt
    similar           near the context items, by who bought them
    bought_together   what completes the cart of the context items, learnt from past orders
    trending          orders of late against the usual ones
    new_arrivals      lately arrived
    buy_again         bought before, by how likely it is bought again now

    candidates         source -> how many at most, for learnt scorers; the rankers know no more than
                       the model's own
                       numbers, so a placement can take less of a source, or none (0), and not more
    rules              the sets of rules it obeys, by the names of their files in configs/rules
    fallback           what stands where nothing is known, and behind a short slate; "none" answers
                       fewer
    diversity          where the request does not say
    exploration        how much of a slate is drawn
    """

    scorer: Scorer
    exclude_purchased: bool = False
    description: str = ""
    candidates: Mapping[str, int] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    fallback: Fallback = "popular"
    diversity: float = 0.0
    exploration: Exploration = field(default_factory=Exploration)

    def __post_init__(self) -> None:
        if not 0 <= self.diversity <= 1:
            raise BadInput("diversity lies in 0..1", where="placement")
        if self.candidates and self.scorer not in LEARNT:
            raise BadInput(
                f"the scorer {self.scorer} has no candidates to choose", where="placement"
            )
        for name, n in self.candidates.items():
            if name not in CandidateConfig.__dataclass_fields__:
                raise UnknownName(
                    name, CandidateConfig.__dataclass_fields__, kind="source of candidates"
                )
            if n < 0:
                raise BadInput(f"{name}: a number of candidates is at least 0", where="placement")

    def restricted(self, config: CandidateConfig) -> CandidateConfig:
        """The model's numbers of candidates, less where the placement takes less."""
        return replace(
            config, **{name: min(n, getattr(config, name)) for name, n in self.candidates.items()}
        )


def check_rules(placements: Mapping[str, Placement], sets: Mapping[str, object]) -> None:
    """Raises UnknownName where a placement obeys a set of rules that does not exist."""
    for name, placement in placements.items():
        for each in placement.rules:
            if each not in sets:
                raise UnknownName(each, sets, kind="set of rules", where=f"placements/{name}.yaml")
