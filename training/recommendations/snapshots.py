"""What is known at a cut: histories, the catalogue and the sources fitted on what occurred before
it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ibis
import numpy as np
from scipy import sparse

from configs.settings import Settings
from features.contracts.arrays import ObjectArray
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from features.contracts.tables import EventType
from features.online.histories import Tables, offline_histories, offline_items
from features.pipelines.expressions import instant
from models.ranking.model import RankingTask, Retrieval
from models.retrieval.als import fit_als
from models.retrieval.association import fit_association
from models.retrieval.ease import fit_ease
from models.retrieval.interactions import Interactions
from models.retrieval.item_knn import fit_item_knn
from models.retrieval.local_ease import fit_local_ease
from training.recommendations.config import RecommendationsConfig
from training.splits import Window


@dataclass
class Snapshot:
    """All that is known at one cut: histories, the catalogue, and the sources fitted on what
    occurred before."""

    cut: datetime
    histories: dict[str, UserHistory]
    items: ItemFeatures
    interactions: Interactions
    retrieval: Retrieval


class Workshop:
    """Makes snapshots, each once, since the refit shares most of the evaluation's."""

    def __init__(
        self,
        facts: Tables,
        settings: Settings,
        config: RecommendationsConfig,
        progress: Callable[[str], None],
    ) -> None:
        self.facts, self.settings, self.config, self.progress = facts, settings, config, progress
        self._snapshots: dict[datetime, Snapshot] = {}

    def snapshot(self, cut: datetime) -> Snapshot:
        """The snapshot at `cut`."""
        if cut not in self._snapshots:
            self.progress(f"features and candidate sources as of {cut:%Y-%m-%d}")
            config = self.config
            histories = offline_histories(self.facts, cut)
            interactions = Interactions.from_histories(histories)
            local = config.ease_kind == "local"
            retrieval = Retrieval(
                fit_local_ease(interactions, config.local_ease)
                if local
                else fit_ease(interactions, config.ease),
                fit_als(interactions, config.als, seed=self.settings.seed),
                fit_item_knn(interactions.item_ids, interactions.binarise(), config.item_knn),
                fit_association(*orders_before(self.facts, cut), config.association),
            )
            self._snapshots[cut] = Snapshot(
                cut, histories, offline_items(self.facts, cut), interactions, retrieval
            )
        return self._snapshots[cut]

    def forget(self, kept: Sequence[datetime]) -> None:
        """Frees snapshots that are no longer needed."""
        self._snapshots = {cut: each for cut, each in self._snapshots.items() if cut in kept}


def relevant_items(
    facts: Tables, window: Window, snapshot: Snapshot
) -> dict[RankingTask, dict[str, frozenset[str]]]:
    """What each known user bought in the window: known items, and of these the ones new to the
    user."""
    events = facts.read("events")
    bought = events.filter(
        (events.occurred_at >= instant(window.cut))
        & (events.occurred_at < instant(window.end))
        & (events.event_type == EventType.PURCHASE.value)
        & events.user_id.notnull()
    )
    pairs = bought.select("user_id", "item_id").distinct().to_pyarrow().to_pydict()
    return by_task(zip(pairs["user_id"], pairs["item_id"], strict=True), snapshot)


def by_task(
    pairs: Iterable[tuple[str, str]], snapshot: Snapshot
) -> dict[RankingTask, dict[str, frozenset[str]]]:
    """Known items of known users, and of these the ones new to the user, from pairs of user and
    item."""
    known = set(snapshot.interactions.item_ids)
    every: dict[str, set[str]] = {}
    for user_id, item_id in pairs:
        if item_id in known and user_id in snapshot.histories:
            every.setdefault(user_id, set()).add(item_id)
    new = {user: items - set(snapshot.histories[user].item_ids) for user, items in every.items()}
    return {
        "all": {user: frozenset(items) for user, items in every.items()},
        "new": {user: frozenset(items) for user, items in new.items() if items},
    }


def item_columns_of(items: ItemFeatures) -> tuple[str, ...]:
    """Names of the item features that rankers see; margin is for the rules: nobody wants an item
    for it."""
    return tuple(sorted(items.columns.keys() - {"margin"}))


def user_columns_of(histories: Mapping[str, UserHistory]) -> tuple[str, ...]:
    """Names of the user features that every shop has; per-category ones are the item side's to
    match."""
    found = {name for history in histories.values() for name in history.features if ":" not in name}
    return tuple(sorted(found))


def orders_before(facts: Tables, cut: datetime) -> tuple[ObjectArray, sparse.csr_matrix]:
    """Items and the binary CSR (orders, items) of purchases before `cut`."""
    events = facts.read("events")
    bought = events.filter(
        (events.event_type == EventType.PURCHASE.value) & (events.occurred_at < instant(cut))
    )
    order = bought.order_id.coalesce(bought.event_id)
    pairs: Any = bought.select(order=order, item_id=bought.item_id).distinct()
    table = pairs.order_by([ibis.asc("order"), ibis.asc("item_id")]).to_pyarrow()
    orders = table["order"].combine_chunks().dictionary_encode()
    item_ids, columns_ = np.unique(
        np.array(table["item_id"].to_pylist(), object), return_inverse=True
    )
    rows = orders.indices.to_numpy()
    shape = (len(orders.dictionary), len(item_ids))
    return item_ids, sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, columns_)), shape=shape
    )
