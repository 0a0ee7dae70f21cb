"""A placement: what a spot on the storefront asks for. One YAML file each in configs/placements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scorer = Literal["all", "new", "similar", "bought_together", "trending", "new_arrivals", "buy_again"]


@dataclass(frozen=True)
class Placement:
    """`scorer` decides what is ranked and how:

    all               what the visitor will buy anyway, learnt
    new               what the visitor will buy for the first time, learnt
    similar           near the context items, by who bought them
    bought_together   near the context items, by the orders that held them
    trending          orders of late against the usual ones
    new_arrivals      lately arrived
    buy_again         bought before, by how likely it is bought again now
    """

    scorer: Scorer
    exclude_purchased: bool = False
    description: str = ""
