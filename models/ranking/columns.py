"""The columns a ranker sees, for one visitor and some candidates. Training and serving both call
this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.calendar import SECONDS_PER_WEEK
from features.contracts.categories import codes
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.retrieval.interactions import positions, top
from models.retrieval.nearest import Nearest

_CATEGORY_DEPTHS = (1, 2, 3)
_OWN = (
    "n_orders",
    "quantity",
    "decayed_frequency",
    "recency_weeks",
    "span_weeks",
    "gap_weeks",
    "due_ratio",
)
_SCORES = ("ease", "ease_decayed", "ease_rank", "als")
_VIEWED = ("viewed_weeks_ago",)
_PER_DEPTH = ("affinity", "share", "n_items", "recency_weeks")


@dataclass(frozen=True)
class SourceScores:
    """What one source says of its own items.

    values   float32 (n_source,)
    rows     int64 (n_items,), where each item of the catalogue stands in it; -1 where it does not
    """

    values: Float32Array
    rows: Int64Array

    def at(self, places: Int64Array) -> Float32Array:
        """Of positions of the catalogue, 0 where the source knows nothing."""
        return np.asarray(_at(self.values, self.rows, places))

    def best(self, k: int, but: Int64Array) -> Int64Array:
        """Rows of the k highest above 0, without those of the positions `but`."""
        return top(_without(self.values, self.rows, but), k) if k else np.zeros(0, np.int64)


@dataclass(frozen=True)
class FactorScores:
    """The same for a source of factors, whose scores are computed where they are asked for.

    user      float32 (factors,)
    factors   float32 (n_source + 1, factors), 0 at the end
    nearest   a search over them
    rows      as in SourceScores
    """

    user: Float32Array
    factors: Float32Array
    nearest: Nearest
    rows: Int64Array

    def best(self, k: int, but: Int64Array) -> Int64Array:
        """Rows of the k highest above 0, without those of the positions `but`."""
        rows = self.rows[but]
        return self.nearest.best(self.user, k, rows[rows >= 0])


@dataclass(frozen=True)
class Visitor:
    """One visitor in the positions of the catalogue: what was bought and viewed, and the sources'
    scores.

    own, viewed   positions of items, `own` ascending; `rows` are those of `own` in the history's
                  arrays
    """

    history: UserHistory
    own: Int64Array
    rows: Int64Array
    viewed: Int64Array
    ease: SourceScores
    ease_viewed: SourceScores
    ease_decayed: SourceScores
    als: FactorScores


class Catalogue:
    """The item side of the columns, prepared once: item features, categories and the position of
    each id."""

    def __init__(self, items: ItemFeatures, item_columns: Sequence[str]) -> None:
        self.items = items
        self.n_items = len(items.item_ids)
        self.index = {item_id: place for place, item_id in enumerate(items.item_ids)}
        self._ids = pa.array(items.item_ids, pa.string())
        missing = np.full(self.n_items, np.nan, np.float32)
        self.matrix: Float32Array = np.ascontiguousarray(
            np.stack([items.columns.get(name, missing) for name in item_columns], axis=1)
            if item_columns
            else np.zeros((self.n_items, 0), np.float32)
        )
        self.categories: Int64Array = np.stack(
            [codes(items.category, depth) for depth in _CATEGORY_DEPTHS]
        )
        self.n_categories: Int64Array = self.categories.max(1, initial=-1) + 1
        popularity = np.nan_to_num(items.columns.get("orders_4w", missing))
        self.popularity: Float32Array = popularity / max(float(popularity.max(initial=0.0)), 1e-9)
        names, self.whole_category = np.unique(items.category.astype(str), return_inverse=True)
        self.category_names: tuple[str, ...] = tuple(names.tolist())
        self.buyers = np.nan_to_num(items.columns.get("buyers", missing).astype(np.float64))
        self.repeat_rate = np.nan_to_num(
            items.columns.get("repeat_rate", missing).astype(np.float64)
        )

    def column(self, name: str, missing: float = 0.0) -> Float64Array:
        """An item feature (n_items,), `missing` where it is unknown."""
        values = self.items.columns.get(name)
        if values is None:
            return np.full(self.n_items, missing)
        return np.nan_to_num(values.astype(np.float64), nan=missing, posinf=missing)

    def positions(self, ids: ObjectArray) -> Int64Array:
        """Where each id stands, -1 where it does not."""
        return positions(self.index, ids)

    def positions_of_each(self, lists: Sequence[ObjectArray]) -> list[Int64Array]:
        """`positions` of each list, looked up for all of them at once."""
        ids = pa.array(np.concatenate([*lists, np.zeros(0, object)]), pa.string())
        found = pc.fill_null(pc.index_in(ids, value_set=self._ids), -1).to_numpy().astype(np.int64)
        return np.split(found, np.cumsum([len(each) for each in lists])[:-1]) if lists else []


def column_names(item_columns: Sequence[str], user_columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of `columns`, in order."""
    categories = [f"category_{depth}_{name}" for depth in _CATEGORY_DEPTHS for name in _PER_DEPTH]
    items = [f"item_{name}" for name in item_columns]
    return (
        *_OWN,
        *_SCORES,
        *_VIEWED,
        *categories,
        *items,
        *(f"user_{name}" for name in user_columns),
    )


def columns(
    catalogue: Catalogue, visitor: Visitor, candidates: Int64Array, user_columns: Sequence[str]
) -> Float32Array:
    """The ranker's input (n_candidates, columns) for one visitor; NaN where unknown."""
    history, own, rows = visitor.history, visitor.own, visitor.rows
    n_own, n_scores, n_per_depth = len(_OWN), len(_SCORES), len(_PER_DEPTH)
    after_scores = n_own + n_scores + len(_VIEWED)
    after_categories = after_scores + len(_CATEGORY_DEPTHS) * n_per_depth
    n_columns = after_categories + catalogue.matrix.shape[1] + len(user_columns)
    table = np.empty((len(candidates), n_columns), np.float32)
    now, decayed, last = int(history.as_of.timestamp()), history.decayed_frequency, history.last_at
    _own_columns(
        table,
        candidates,
        own,
        rows,
        history.n_orders,
        history.quantity,
        decayed,
        history.first_at,
        last,
        now,
    )
    ease, als = visitor.ease, visitor.als
    of_ease, of_als = (
        (ease.values, visitor.ease_decayed.values, ease.rows),
        (als.user, als.factors, als.rows),
    )
    _score_columns(table, n_own, candidates, *of_ease, *of_als)
    table[:, n_own + n_scores] = (
        _viewed_weeks_ago(catalogue, visitor, candidates) if len(visitor.viewed) else np.nan
    )
    depths = catalogue.categories, catalogue.n_categories
    _category_columns(table, after_scores, own, rows, candidates, *depths, decayed, last, now)
    of_user = np.array([history.features.get(name, np.nan) for name in user_columns], np.float32)
    _feature_columns(table, after_categories, candidates, catalogue.matrix, of_user)
    return table


@numba.njit(cache=True, nogil=True)
def _at(values, rows, places):  # type: ignore[no-untyped-def]
    """What `values` say of `places`, whose rows in them are `rows`; 0 where that is -1."""
    found = np.zeros(len(places), values.dtype)
    for n in range(len(places)):
        row = rows[places[n]]
        if row >= 0:
            found[n] = values[row]
    return found


@numba.njit(cache=True, nogil=True)
def _without(values, rows, places):  # type: ignore[no-untyped-def]
    """`values` with 0 for those of `places`."""
    others = values.copy()
    for n in range(len(places)):
        row = rows[places[n]]
        if row >= 0:
            others[row] = 0
    return others


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _products(user, factors, rows, places):  # type: ignore[no-untyped-def]
    """Of `user` (factors,) with the factors of each of `places`, whose rows in them are `rows`."""
    products = np.empty(len(places), np.float32)
    for n in range(len(places)):
        row, product = rows[places[n]], np.float32(0)
        for factor in range(len(user)):
            product += user[factor] * factors[row, factor]
        products[n] = product
    return products


@numba.njit(cache=True, nogil=True)
def _own_columns(table, candidates, own, rows, n_orders, quantity, decayed, first, last, now):  # type: ignore[no-untyped-def]
    """_OWN of each candidate; `rows`: where the items `own` (ascending) stand in the arrays that
    follow."""
    at, before = 0, -1
    for row in range(len(candidates)):
        place = candidates[row]
        if place < before:  # as a rule they ascend
            at = 0
        before = place
        while at < len(own) and own[at] < place:
            at += 1
        if at == len(own) or own[at] != place:
            table[row, :7] = np.nan
            continue
        item = rows[at]
        recency = np.float32((now - last[item]) / SECONDS_PER_WEEK)
        span = np.float32((last[item] - first[item]) / SECONDS_PER_WEEK)
        gap = np.float32(np.nan)
        if n_orders[item] > 1:
            gap = np.float32(span / (n_orders[item] - np.float32(1)))
        table[row, 0], table[row, 1], table[row, 2] = n_orders[item], quantity[item], decayed[item]
        table[row, 3], table[row, 4], table[row, 5] = recency, span, gap
        table[row, 6] = recency / gap if gap > 0 else np.float32(np.nan)


@numba.njit(cache=True, nogil=True)
def _score_columns(table, column, candidates, ease, decayed, ease_rows, user, factors, als_rows):  # type: ignore[no-untyped-def]
    """_SCORES of each candidate, from `column` on."""
    first, second = _at(ease, ease_rows, candidates), _at(decayed, ease_rows, candidates)
    third = _products(user, factors, als_rows, candidates)
    for rank, row in enumerate(np.argsort(-first, kind="mergesort")):
        table[row, column], table[row, column + 1] = first[row], second[row]
        table[row, column + 2], table[row, column + 3] = rank, third[row]


@numba.njit(cache=True, nogil=True)
def _feature_columns(table, column, candidates, of_items, of_user):  # type: ignore[no-untyped-def]
    """Features of the item of each candidate from `column` on, and those of the user behind
    them."""
    after = column + of_items.shape[1]
    for row in range(len(candidates)):
        place = candidates[row]
        for at in range(of_items.shape[1]):
            table[row, column + at] = of_items[place, at]
        for at in range(len(of_user)):
            table[row, after + at] = of_user[at]


@numba.njit(cache=True, nogil=True)
def _category_columns(table, column, own, rows, candidates, depths, n_codes, decayed, last, now):  # type: ignore[no-untyped-def]
    """_PER_DEPTH of each depth, from `column` on: decayed purchases, their share, items, weeks
    since the last.

    `rows`: where the items `own` stand in `decayed` and `last`; `depths`: the category of each of
    the catalogue.
    """
    total = 0.0
    for row in rows:
        total += decayed[row]
    total = max(total, 1e-9)
    for depth in range(len(depths)):
        codes_, n = depths[depth], n_codes[depth]
        affinity, n_items, recency = (
            np.zeros(n),
            np.zeros(n, np.float32),
            np.full(n, np.nan, np.float32),
        )
        for at in range(len(own)):
            code, row = codes_[own[at]], rows[at]
            affinity[code] += decayed[row]
            n_items[code] += 1
            weeks = np.float32((now - last[row]) / SECONDS_PER_WEEK)
            if not recency[code] <= weeks:
                recency[code] = weeks
        first = column + len(_PER_DEPTH) * depth
        for at in range(len(candidates)):
            code = codes_[candidates[at]]
            table[at, first] = affinity[code]
            table[at, first + 1] = np.float32(np.float32(affinity[code]) / total)
            table[at, first + 2], table[at, first + 3] = n_items[code], recency[code]


def _viewed_weeks_ago(
    catalogue: Catalogue, visitor: Visitor, candidates: Int64Array
) -> Float32Array:
    column = np.full(len(candidates), np.nan, np.float32)
    now = int(visitor.history.as_of.timestamp())
    for item_id, at in zip(visitor.history.viewed_item_ids, visitor.history.viewed_at, strict=True):
        place = catalogue.index.get(item_id)
        if place is not None:
            column[candidates == place] = (now - at) / SECONDS_PER_WEEK
    return column
