"""Placements: spots on the storefront, one YAML file each in configs/placements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from features.contracts.errors import BadInput, UnknownName
from models.ranking.model import CandidateConfig, Policy
from models.ranking.slate.assemble import Exploration
from models.ranking.slate.long_tail import LongTail
from models.ranking.slate.merchandising_rules import RuleSet

ScorerName = Literal[
    "all", "new", "similar", "bought_together", "trending", "new_arrivals", "buy_again"
]
Fallback = Literal["popular", "trending", "new", "none"]
LEARNT: tuple[ScorerName, ...] = ("all", "new")


@dataclass(frozen=True)
class Placement:
    """What is ranked at one spot, and how; `scorer` is one of:

    all               what the visitor will buy in any case, learnt
    new               what the visitor will buy for the first time, learnt
    similar           near the context items, by who bought them
    bought_together   what completes the cart of the context items, learnt from past orders
    trending          recent orders against the usual ones
    new_arrivals      arrived in the last weeks
    buy_again         bought before, by how likely it is bought again now

    candidates         source -> how many at most, for learnt scorers. The rankers know no more than
                       the model's own numbers, so that a placement can take fewer of a source, or
                       none (0), and not more
    rules              the sets of rules that apply, by the names of their files in configs/rules
    policy             ranks in place of the one that the model's evaluation chose; None: that one
    fallback           what is shown where nothing is known, and at the end of a short slate;
                       "none": the slate stays short
    diversity          where the request has none
    exploration        how much of a slate is drawn at random
    long_tail          how many of the last ranks are for items that few users are shown
    """

    scorer: ScorerName
    exclude_purchased: bool = False
    description: str = ""
    candidates: Mapping[str, int] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    policy: Policy | None = None
    fallback: Fallback = "popular"
    diversity: float = 0.0
    exploration: Exploration = field(default_factory=Exploration)
    long_tail: LongTail = field(default_factory=LongTail)

    def __post_init__(self) -> None:
        if not 0 <= self.diversity <= 1:
            raise BadInput("diversity lies in 0..1", where="placement")
        if self.long_tail.places and self.exploration.on:
            raise BadInput(
                "exploration and long_tail would fill the same ranks: choose one", where="placement"
            )
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

    def restrict_candidates(self, config: CandidateConfig) -> CandidateConfig:
        """Return the model's numbers of candidates, fewer where the placement takes fewer."""
        return replace(
            config, **{name: min(n, getattr(config, name)) for name, n in self.candidates.items()}
        )


def add_rule_sets(
    placements: Mapping[str, Placement], sets: Mapping[str, RuleSet]
) -> dict[str, Placement]:
    """Return the placements with the sets that name them behind the sets that they name.

    Raises UnknownName where either names one that does not exist.
    """
    check_rules(placements, sets)
    followed = {name: list(placement.rules) for name, placement in placements.items()}
    for set_name, rule_set in sets.items():
        for placement in rule_set.placements:
            if placement not in followed:
                where = f"rules {set_name!r}"
                raise UnknownName(placement, placements, kind="placement", where=where)
            if set_name not in followed[placement]:
                followed[placement].append(set_name)
    return {
        name: replace(placement, rules=tuple(followed[name]))
        for name, placement in placements.items()
    }


def check_rules(placements: Mapping[str, Placement], sets: Mapping[str, object]) -> None:
    """Raise UnknownName where a placement names a set of rules that does not exist."""
    for name, placement in placements.items():
        for rule_set in placement.rules:
            if rule_set not in sets:
                where = f"placements/{name}.yaml"
                raise UnknownName(rule_set, sets, kind="set of rules", where=where)
