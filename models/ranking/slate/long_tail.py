"""The last ranks of slates filled with items that few users are shown: more of the catalogue is
seen, and the first ranks stay as they are.

Of many slates together an assignment with capacities chooses these items; for one answer, which
knows nothing of the others, a hash of user and item does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from features.contracts.errors import BadInput

_PAIRS_AT_ONCE = 1_000_000  # bounds the memory of the pairs as Python numbers


@dataclass(frozen=True)
class LongTail:
    """How the last ranks of a slate are filled; nothing is changed by default.

    places          the last so many ranks
    pool            from the items at these ranks and so many of the next candidates
    max_users       an item is given to a user at these ranks while fewer slates than this hold it;
                    in a single answer, to so many users among its buyers
    min_relevance   an item is given only if its relevance is at least this share of that of the
                    item at the first of these ranks
    """

    places: int = 0
    pool: int = 100
    max_users: int = 1
    min_relevance: float = 0.1

    def __post_init__(self) -> None:
        if self.places < 0 or self.pool < 1 or self.max_users < 1:
            raise BadInput("places is at least 0, pool and max_users at least 1", where="long_tail")
        if not 0 <= self.min_relevance <= 1:
            raise BadInput("min_relevance lies in 0..1", where="long_tail")


@dataclass(frozen=True)
class SlateOptions:
    """The usual slates of some users, and the next candidates behind each.

    user_ids    (users,), each once
    starts      int64 (users + 1,), the rows starts[n]:starts[n + 1] belong to user n, best first
    items       int64 (rows,), a number for each item
    relevance   float64 (rows,), falls for each user
    open        bool (rows,), a candidate of the user that no rule pins
    count       length of a slate
    """

    user_ids: ObjectArray
    starts: Int64Array
    items: Int64Array
    relevance: Float64Array
    open: BoolArray
    count: int


def assign_last_places(options: SlateOptions, long_tail: LongTail) -> Int64Array:
    """Return the rows of all slates, user after user, by rank.

    Pairs of user and item are taken by falling relevance while the user has a place left and fewer
    than `max_users` slates hold the item (greedy b-matching, at least half of the best total
    relevance: Mestre, Greedy in approximation algorithms, ESA 2006). Equal relevance is ordered by
    a hash of the user, so that the result does not depend on the order of the users. Where a user's
    candidates are used up the usual items stay.
    """
    n_head = max(options.count - long_tail.places, 0)
    is_fixed = np.zeros(len(options.items), bool)
    eligible = np.zeros(len(options.items), bool)
    n_free = np.zeros(len(options.user_ids), np.int64)
    for user, (start, end) in enumerate(pairwise(options.starts.tolist())):
        tail = slice(min(start + n_head, end), end)
        usual = slice(tail.start, min(start + options.count, end))
        is_fixed[start : tail.start] = True
        is_fixed[usual] = ~options.open[usual]
        n_free[user] = options.open[usual].sum()
        eligible[tail] = find_eligible(options.relevance[tail], options.open[tail], long_tail)
    n_items = int(options.items.max(initial=-1)) + 1
    capacity = long_tail.max_users - np.bincount(options.items[is_fixed], minlength=n_items)
    given = _assign(options, np.flatnonzero(eligible), n_free, capacity)
    rows = [
        start + fill_last_places(options.open[start:end], given[start:end], options.count, n_head)
        for start, end in pairwise(options.starts.tolist())
    ]
    return np.concatenate([*rows, np.zeros(0, np.int64)])


def _assign(
    options: SlateOptions, rows: Int64Array, n_free: Int64Array, capacity: Int64Array
) -> BoolArray:
    """Return which of all rows are given to their users; only `rows` may be.

    n_free     (users,), places of each user
    capacity   (items,), further slates that may hold each item
    """
    users = np.repeat(np.arange(len(options.user_ids)), np.diff(options.starts))[rows]
    hashes = np.array([_hash(str(user_id)) for user_id in options.user_ids], np.uint64)[users]
    order = np.lexsort((rows, hashes, -options.relevance[rows]))
    given = np.zeros(len(options.items), bool)
    places, left = n_free.tolist(), capacity.tolist()
    for start in range(0, len(order), _PAIRS_AT_ONCE):
        part = order[start : start + _PAIRS_AT_ONCE]
        pairs = zip(
            rows[part].tolist(),
            users[part].tolist(),
            options.items[rows[part]].tolist(),
            strict=True,
        )
        for row, user, item in pairs:
            if places[user] > 0 and left[item] > 0:
                places[user] -= 1
                left[item] -= 1
                given[row] = True
    return given


def find_eligible(relevance: Float64Array, is_open: BoolArray, long_tail: LongTail) -> BoolArray:
    """Return which rows from the first of the last ranks on are good enough to be given.

    relevance, is_open   (rows,), of one user
    """
    if not len(relevance):
        return np.zeros(0, bool)
    return np.asarray(is_open & (relevance >= long_tail.min_relevance * relevance[0]))


def fill_last_places(is_open: BoolArray, given: BoolArray, count: int, n_head: int) -> Int64Array:
    """Return the rows of one user's slate, by rank.

    The first `n_head`, and rows that are not open, keep their ranks. The other ranks up to `count`
    hold what is given, then the usual items, each part best first.

    >>> is_open, given = np.array([True, True, True, True]), np.array([False, False, False, True])
    >>> fill_last_places(is_open, given, 3, 1).tolist()  # one of the last two ranks for row 3
    [0, 3, 1]
    """
    slate = np.arange(min(count, len(is_open)))
    slots = slate[n_head:][is_open[n_head : len(slate)]]
    behind = np.arange(n_head, len(is_open))
    behind = behind[is_open[behind]]
    chosen = np.concatenate([behind[given[behind]], behind[~given[behind]]])[: len(slots)]
    slate[slots] = chosen
    return slate


def choose_by_hash(
    user_id: str, item_ids: ObjectArray, n_buyers: Float64Array, long_tail: LongTail
) -> BoolArray:
    """Return which items (n,) a user may be given in a single answer.

    An item is for the share max_users ÷ (1 + its buyers) of the users: about `max_users` of those
    who have it among their candidates, if these are as many as its buyers.
    """
    share = np.minimum(1.0, long_tail.max_users / (1.0 + n_buyers))
    drawn = np.array([_hash(f"{user_id}:{item_id}") for item_id in item_ids], np.uint64)
    return np.asarray(drawn / 2.0**64 < share)


def _hash(text: str) -> int:
    """Return 64 bits that depend on the text only."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
