"""One slate of two rankers, by team draft."""

from __future__ import annotations

from dataclasses import replace

from experiments.interleaving import draft_teams
from features.contracts.recommendations import Slate


def mix_slates(
    first: Slate, second: Slate, names: tuple[str, str], count: int, draw: str
) -> tuple[Slate, tuple[str, ...]]:
    """Return a slate of `count` items of both, and by rank the name of the ranker that gave each.

    draw   seeds the draft: the recommendation_id

    Scores of two rankers are not comparable: an item keeps its own, lowered where one above it has
    less, so that the score of the answer falls.
    """
    items = {item.item_id: item for item in (*second.items, *first.items)}
    drafted = draft_teams(
        [item.item_id for item in first.items],
        [item.item_id for item in second.items],
        count,
        draw,
    )
    mixed, lowest = [], float("inf")
    for rank, item_id in enumerate(drafted.item_ids, start=1):
        item = items[item_id]
        lowest = min(lowest, item.falling_score)
        mixed.append(replace(item, rank=rank, falling_score=lowest))
    by_team = {"first": names[0], "second": names[1]}
    teams = tuple(by_team[team] for team in drafted.teams)
    return replace(first, items=tuple(mixed)), teams
