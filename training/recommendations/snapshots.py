"""What is known at a cut: histories, catalogue, and candidate sources fitted on earlier events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import ibis
import numpy as np
from scipy import sparse

from configs.settings import Settings
from features.contracts.arrays import ObjectArray
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from features.contracts.tables import EventType
from features.online.histories import Tables, compute_offline_histories, compute_offline_items
from features.online.past_visits import number_texts
from features.pipelines.expressions import instant
from models.ranking.columns import FeatureNames
from models.ranking.model import RankingTask, Retrieval
from models.retrieval.als import fit_als
from models.retrieval.association import fit_association
from models.retrieval.ease import fit_ease
from models.retrieval.interactions import Interactions
from models.retrieval.item_knn import fit_item_knn
from models.retrieval.local_ease import fit_local_ease
from training.recommendations.config import RecommendationsConfig
from training.recommendations.learning_targets import EVENT_TYPES, PURCHASE
from training.splits import Window

Result = TypeVar("Result")


class Known(NamedTuple):
    """The users and items that are known at a cut."""

    histories: dict[str, UserHistory]
    interactions: Interactions


@dataclass(frozen=True)
class Snapshot:
    """All that is known at one cut; `retrieval` are the sources fitted on what occurred before."""

    cut: datetime
    histories: dict[str, UserHistory]
    items: ItemFeatures
    interactions: Interactions
    retrieval: Retrieval

    def feature_names(self) -> FeatureNames:
        """Return the names of the features that rankers see.

        Margin is only for the rules: nobody wants an item for it. Of the users only features that
        every shop has: those of one category are matched with the items' categories instead.
        """
        user_names: set[str] = set()
        for history in self.histories.values():
            user_names.update(name for name in history.features if ":" not in name)
        items = tuple(sorted(self.items.columns.keys() - {"margin"}))
        return FeatureNames(items, tuple(sorted(user_names)))


class TrainingContext:
    """The facts and the configuration of one training, and a cache of what is computed at cuts.

    The refit shares most of the snapshots, and of the rows of rankers, with the evaluation.
    """

    def __init__(
        self,
        facts: Tables,
        settings: Settings,
        config: RecommendationsConfig,
        progress: Callable[[str], None],
    ) -> None:
        self.facts, self.settings, self.config, self.progress = facts, settings, config, progress
        self._snapshots: dict[datetime, Snapshot] = {}
        self._known: dict[datetime, Known] = {}
        self._results: dict[datetime, dict[Hashable, object]] = {}

    def with_config(self, config: RecommendationsConfig) -> TrainingContext:
        """Return a context of another configuration; what is known at the cuts is shared."""
        other = TrainingContext(self.facts, self.settings, config, self.progress)
        other._known = self._known
        return other

    def branch(self) -> TrainingContext:
        """Return a context that begins with all that is computed here and frees it by itself."""
        other = TrainingContext(self.facts, self.settings, self.config, self.progress)
        other._snapshots, other._known = dict(self._snapshots), dict(self._known)
        other._results = {cut: dict(results) for cut, results in self._results.items()}
        return other

    def read_known(self, cut: datetime) -> Known:
        """Return the users and items at `cut`, which the first call reads."""
        if cut not in self._known:
            histories = compute_offline_histories(self.facts, cut)
            self._known[cut] = Known(histories, Interactions.from_histories(histories))
        return self._known[cut]

    def snapshot(self, cut: datetime) -> Snapshot:
        """Return the snapshot at `cut`, made at the first call."""
        if cut not in self._snapshots:
            self.progress(f"features and candidate sources as of {cut:%Y-%m-%d}")
            histories, interactions = self.read_known(cut)
            retrieval = self._fit_sources(cut, interactions)
            items = compute_offline_items(
                self.facts, cut, orders_per_buyer=self.settings.orders_per_buyer
            )
            self._snapshots[cut] = Snapshot(cut, histories, items, interactions, retrieval)
        return self._snapshots[cut]

    def compute_once(self, cut: datetime, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return what `compute` returns at its first call for this cut and key."""
        results = self._results.setdefault(cut, {})
        if key not in results:
            results[key] = compute()
        return cast(Result, results[key])

    def keep_only(self, cuts: Collection[datetime]) -> None:
        """Free the memory of all that was computed at other cuts than `cuts`."""
        computed: tuple[dict[datetime, Any], ...] = (self._snapshots, self._known, self._results)
        for by_cut in computed:
            for cut in by_cut.keys() - set(cuts):
                del by_cut[cut]

    def _fit_sources(self, cut: datetime, interactions: Interactions) -> Retrieval:
        config = self.config
        local = config.ease_kind == "local"
        return Retrieval(
            fit_local_ease(interactions, config.local_ease)
            if local
            else fit_ease(interactions, config.ease),
            fit_als(interactions, config.als, seed=self.settings.seed),
            fit_item_knn(interactions.item_ids, interactions.binarise(), config.item_knn),
            fit_association(*read_orders(self.facts, cut), config.association),
        )


class KnownAtCut(Protocol):
    """The users and items that are known at a cut."""

    @property
    def histories(self) -> Mapping[str, UserHistory]: ...

    @property
    def interactions(self) -> Interactions: ...


def find_relevant_items(
    facts: Tables, window: Window, known: KnownAtCut
) -> dict[RankingTask, dict[str, frozenset[str]]]:
    """Return the known items that each known user bought in the window, by task and user."""
    events = facts.read("events")
    purchases = events.filter(
        (events.occurred_at >= instant(window.cut))
        & (events.occurred_at < instant(window.end))
        & (events.event_type == EventType.PURCHASE.value)
        & events.user_id.notnull()
    )
    pairs = purchases.select("user_id", "item_id").distinct().to_pyarrow().to_pydict()
    return group_by_task(zip(pairs["user_id"], pairs["item_id"], strict=True), known)


def find_targets(
    facts: Tables, window: Window, snapshot: Snapshot, weights: Mapping[str, float]
) -> dict[RankingTask, dict[str, dict[str, float]]]:
    """Return what rankers learn from a window: how much each known item counts, by task, user and
    item.

    Where more than purchases count, an item of the catalogue is known that nobody has bought yet.

    weights   by kind of event; an item counts as the kind of the highest weight that the user gave
    """
    bought_only = set(weights) == {PURCHASE}
    known_items = snapshot.interactions.item_ids if bought_only else snapshot.items.item_ids
    weight_of = {
        event_type.value: weight
        for kind, weight in weights.items()
        for event_type in EVENT_TYPES[kind]
    }
    events = facts.read("events")
    rows = events.filter(
        (events.occurred_at >= instant(window.cut))
        & (events.occurred_at < instant(window.end))
        & events.event_type.isin(list(weight_of))
        & events.user_id.notnull()
    )
    table = rows.select("user_id", "item_id", "event_type").distinct().to_pyarrow().to_pydict()
    gains: dict[tuple[str, str], float] = {}
    for user_id, item_id, event_type in zip(*table.values(), strict=True):
        pair = user_id, item_id
        gains[pair] = max(gains.get(pair, 0.0), weight_of[event_type])
    return {
        task: {
            user_id: {item_id: gains[user_id, item_id] for item_id in sorted(item_ids)}
            for user_id, item_ids in by_user.items()
        }
        for task, by_user in _group_by_task(gains, snapshot.histories, known_items).items()
    }


def group_by_task(
    pairs: Iterable[tuple[str, str]], known: KnownAtCut
) -> dict[RankingTask, dict[str, frozenset[str]]]:
    """Group pairs of user and item by task and user, without unknown users and items.

    The task "all" has every item, "new" those that the user had not bought before the cut.
    """
    return _group_by_task(pairs, known.histories, known.interactions.item_ids)


def _group_by_task(
    pairs: Iterable[tuple[str, str]], histories: Mapping[str, UserHistory], item_ids: ObjectArray
) -> dict[RankingTask, dict[str, frozenset[str]]]:
    known_items = set(item_ids)
    bought: dict[str, set[str]] = {}
    for user_id, item_id in pairs:
        if item_id in known_items and user_id in histories:
            bought.setdefault(user_id, set()).add(item_id)
    new = {user: items - set(histories[user].item_ids) for user, items in bought.items()}
    return {
        "all": {user: frozenset(items) for user, items in bought.items()},
        "new": {user: frozenset(items) for user, items in new.items() if items},
    }


def read_orders(facts: Tables, cut: datetime) -> tuple[ObjectArray, sparse.csr_matrix]:
    """Return the items and the binary CSR matrix (orders, items) of purchases before `cut`."""
    events = facts.read("events")
    purchases = events.filter(
        (events.event_type == EventType.PURCHASE.value) & (events.occurred_at < instant(cut))
    )
    order = purchases.order_id.coalesce(purchases.event_id)
    pairs = purchases.select(order=order, item_id=purchases.item_id).distinct()
    table = pairs.order_by([ibis.asc("order"), ibis.asc("item_id")]).to_pyarrow()
    orders = table["order"].combine_chunks().dictionary_encode()
    item_ids, item_rows = number_texts(table["item_id"])
    order_rows = orders.indices.to_numpy()
    ones = np.ones(len(order_rows), np.float32)
    shape = (len(orders.dictionary), len(item_ids))
    return item_ids, sparse.csr_matrix((ones, (order_rows, item_rows)), shape=shape)
