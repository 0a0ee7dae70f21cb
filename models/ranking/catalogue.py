"""The catalogue that a model ranks: item features, categories, and the position of each item."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.categories import codes
from features.contracts.recommendations import ItemFeatures, Reason
from models.retrieval.interactions import find_positions
from models.retrieval.text_match import TextMatch

CATEGORY_DEPTHS = (1, 2, 3)


class Catalogue:
    """Item features as of one instant, with arrays by position prepared once.

    matrix           float32 (n_items, item columns), the item features that a ranker sees
    categories       int64 (depths, n_items), the code of the item's category at each depth
    n_categories     int64 (depths,)
    popularity       float32 (n_items,), orders of four weeks as a share of the most popular item's;
                     views of a week where nobody bought anything
    whole_category   (n_items,), the index of the item's category in `category_names`
    families         int64 (n_items,), the code of the item's family, -1 without one
    is_sold          bool (n_items,), whether anybody has bought it
    buyers, repeat_rate   float64 (n_items,), 0 where unknown
    """

    def __init__(self, items: ItemFeatures, item_columns: Sequence[str]) -> None:
        self.items = items
        self.n_items = len(items.item_ids)
        self.index = {item_id: position for position, item_id in enumerate(items.item_ids)}
        self._ids = pa.array(items.item_ids, pa.string())
        self._looked_up: dict[int, tuple[weakref.ref[ObjectArray], Int64Array]] = {}
        missing = np.full(self.n_items, np.nan, np.float32)
        self.matrix: Float32Array = np.ascontiguousarray(
            np.stack([items.columns.get(name, missing) for name in item_columns], axis=1)
            if item_columns
            else np.zeros((self.n_items, 0), np.float32)
        )
        self.categories: Int64Array = np.stack(
            [codes(items.category, depth) for depth in CATEGORY_DEPTHS]
        )
        self.n_categories: Int64Array = self.categories.max(1, initial=-1) + 1
        self.families = code_families(items)
        popularity = np.nan_to_num(items.columns.get("orders_4w", missing))
        if not popularity.any():  # a shop of views
            popularity = np.nan_to_num(items.columns.get("views_1w", missing))
        self.popularity: Float32Array = popularity / max(float(popularity.max(initial=0.0)), 1e-9)
        names, self.whole_category = np.unique(items.category.astype(str), return_inverse=True)
        self.category_names: tuple[str, ...] = tuple(names.tolist())
        self.is_sold = self.column("orders_decayed") + self.popularity > 0
        self.buyers = np.nan_to_num(items.columns.get("buyers", missing).astype(np.float64))
        self.repeat_rate = np.nan_to_num(
            items.columns.get("repeat_rate", missing).astype(np.float64)
        )

    @cached_property
    def text_match(self) -> TextMatch:
        """The index of what can be read of each item: its title, brand and category."""
        items = self.items
        parts = (
            (items.brand, items.category)
            if items.title is None
            else (items.title, items.brand, items.category)
        )
        return TextMatch([" ".join(of_item) for of_item in zip(*parts, strict=True)])

    def find_relatives(self, positions: Int64Array) -> Int64Array:
        """Return the other items of the families of `positions`."""
        families = self.families[positions]
        related = np.flatnonzero(np.isin(self.families, families[families >= 0]))
        return np.setdiff1d(related, positions)

    def find_best_sellers(self, selected: BoolArray, count: int) -> Int64Array:
        """Return the selected items (n_items,) that sell best; of those that sell alike the most
        viewed, then the newest."""
        positions = np.flatnonzero(selected)
        age = self.column("age_days", missing=np.inf)[positions]
        views = self.column("views_1w")[positions]
        order = np.lexsort((age, -views, -self.popularity[positions]))
        return positions[order][:count]

    def general_reasons(self, positions: Int64Array) -> ObjectArray:
        """Return the reason of items that nothing speaks for but what everybody knows of them.

        An item that was bought is popular, one that nobody has bought yet is new.
        """
        reasons = np.where(self.is_sold[positions], Reason.POPULAR, Reason.NEW)
        return reasons.astype(object)

    def column(self, name: str, missing: float = 0.0) -> Float64Array:
        """Return an item feature (n_items,), `missing` where it is unknown."""
        values = self.items.columns.get(name)
        if values is None:
            return np.full(self.n_items, missing)
        return np.nan_to_num(values.astype(np.float64), nan=missing, posinf=missing)

    def positions(self, ids: ObjectArray) -> Int64Array:
        """Return the position of each id, -1 for an unknown one.

        An array that nobody can change is looked up once, for as long as it lives.
        """
        if ids.flags.writeable:
            return find_positions(self.index, ids)
        known = self._looked_up.get(id(ids))
        if known is not None and known[0]() is ids:
            return known[1]
        positions = find_positions(self.index, ids)
        positions.flags.writeable = False
        key = id(ids)
        forget = weakref.ref(ids, lambda _: self._looked_up.pop(key, None))
        self._looked_up[key] = forget, positions
        return positions

    def positions_of_each(self, lists: Sequence[ObjectArray]) -> list[Int64Array]:
        """Return `positions` of each list, looked up for all lists at once."""
        if not lists:
            return []
        ids = pa.array(np.concatenate([*lists, np.zeros(0, object)]), pa.string())
        indices = pc.fill_null(pc.index_in(ids, value_set=self._ids), -1)
        ends = np.cumsum([len(item_ids) for item_ids in lists])
        return np.split(indices.to_numpy().astype(np.int64), ends[:-1])


def code_families(items: ItemFeatures) -> Int64Array:
    """Return the code of the family of each item (n_items,), -1 without one."""
    if items.family is None or not (items.family != "").any():
        return np.full(len(items.item_ids), -1)
    _, codes_of_items = np.unique(items.family.astype(str), return_inverse=True)
    return np.where(items.family != "", codes_of_items, -1)
