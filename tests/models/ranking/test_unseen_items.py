"""Items that nobody has bought yet fill a slate by how popular their category is."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from features.contracts.recommendations import ItemFeatures
from models.ranking.catalogue import Catalogue
from models.ranking.scorers.popularity import make_fixed_lists


def test_unseen_items_of_popular_categories_come_first() -> None:
    categories = {"a": "Food > Tea", "b": "Food > Milk", "c": "Toys > Cars", "d": "Food > Milk"}
    sold = {"y": ("Food > Tea", 2.0), "z": ("Food > Milk", 5.0)}
    items = ItemFeatures(
        as_of=datetime(2024, 5, 6, tzinfo=UTC),
        item_ids=np.array([*categories, *sold], object),
        columns={
            "orders_4w": np.array([0, 0, 0, 0, 2, 5], np.float32),
            "age_days": np.array([np.nan] * 4 + [90, 90], np.float32),
        },
        category=np.array([*categories.values(), *(name for name, _ in sold.values())], object),
        brand=np.array([""] * 6, object),
    )
    unseen = make_fixed_lists(Catalogue(items, ("orders_4w",)))["unseen"]
    assert items.item_ids[unseen.positions].tolist() == ["b", "d", "a", "c"]
    assert (np.diff(unseen.scores) < 0).all()
