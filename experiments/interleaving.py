"""Interleaving: the lists of two rankers drafted into one slate, by team draft."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Team = Literal["first", "second"]
_BLOCK_BITS = 512


@dataclass(frozen=True)
class InterleavedSlate:
    """The items of a slate by rank, and the ranker that gave each of them."""

    item_ids: tuple[str, ...]
    teams: tuple[Team, ...]


def draft_teams(
    first: Sequence[str], second: Sequence[str], count: int, draw: str
) -> InterleavedSlate:
    """Return `count` items, or fewer where the lists end, from two lists that are best first.

    In each round a coin decides which ranker gives its best remaining item first, then the other
    gives its own (Radlinski, Kurup and Joachims 2008). So both have the same chance of each rank,
    and neither gains from its position. `draw` seeds the coins: the recommendation_id, so that the
    slate can be made again. An item that both lists have is given once.

    >>> slate = draft_teams(["tea", "milk"], ["milk", "oats"], 3, "a3f")
    >>> slate.item_ids, slate.teams
    (('tea', 'milk', 'oats'), ('first', 'second', 'second'))
    """
    lists: dict[Team, Iterator[str]] = {"first": iter(first), "second": iter(second)}
    chosen: dict[str, Team] = {}
    coins = _draw_coins(draw)
    while len(chosen) < count:
        n_before = len(chosen)
        order: tuple[Team, Team] = ("first", "second") if next(coins) else ("second", "first")
        for team in order:
            item_id = next((item_id for item_id in lists[team] if item_id not in chosen), None)
            if item_id is not None and len(chosen) < count:
                chosen[item_id] = team
        if len(chosen) == n_before:
            break
    return InterleavedSlate(tuple(chosen), tuple(chosen.values()))


def _draw_coins(draw: str) -> Iterator[bool]:
    """Yield coins without end, the same for the same text."""
    block = 0
    while True:
        digest = hashlib.blake2b(f"{draw}:{block}".encode(), digest_size=_BLOCK_BITS // 8).digest()
        bits = int.from_bytes(digest, "little")
        for position in range(_BLOCK_BITS):
            yield bool(bits >> position & 1)
        block += 1
