"""What is served to users and of items that the model has never seen, beside simple rules.

A twentieth of the buyers and of the items, drawn by the seed, are hidden: none of their events is
known to features, sources and rankers. A hidden user comes in the test window, without history or
with one item on the page. Of a hidden item only the catalogue's attributes are known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.categories import levels
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
from features.contracts.seeds import generator
from features.contracts.tables import EventType
from features.online.histories import Tables, fetch_sorted
from features.pipelines.expressions import instant
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from training.recommendations.ease_choice import use_chosen_ease
from training.recommendations.metrics import ndcg, recall
from training.recommendations.model_fitting import fit_model
from training.recommendations.snapshots import TrainingContext
from training.results import OURS
from training.significance import compute_paired_p_value
from training.splits import Window

SHARE_HIDDEN = 0.05  # of the users and of the items
MAX_USERS = 500  # that hidden items are ranked for, drawn by the seed
K, K_RECALL = 10, 20
NO_HISTORY = "hidden users, no history"
ONE_VIEW = "hidden users, one item on the page"
GIVEN_LIST = "hidden items, given as a list"
FILTERED = "hidden items, as a filter of a placement"


@dataclass(frozen=True)
class VisibleFacts:
    """The facts without the events of hidden users and items; follows histories.Tables."""

    facts: Tables
    hidden_users: tuple[str, ...]
    hidden_items: tuple[str, ...]

    @property
    def connection(self) -> Any:
        """The database connection of the facts."""
        return self.facts.connection

    def read(self, table: str) -> ir.Table:
        """Return `table` without the hidden events."""
        rows = self.facts.read(table)
        if table != "events":
            return rows
        for name, ids in (("user_id", self.hidden_users), ("item_id", self.hidden_items)):
            rows = rows.anti_join(ibis.memtable({name: list(ids)}), name)
        return rows


@dataclass(frozen=True)
class WindowPurchases:
    """What was bought in a window: the items of each user in the order of time, each once."""

    by_user: Mapping[str, tuple[str, ...]]


@dataclass
class ColdStartMetrics:
    """NDCG@10 and recall@20 by question, method and user, ours first."""

    ndcg: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    recall: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, question: str, slates: Mapping[str, Sequence[str]], relevant: set[str]) -> None:
        """Add the slates of one user by method."""
        for method, slate in slates.items():
            for values, value in (
                (self.ndcg, ndcg(slate, relevant, K)),
                (self.recall, recall(slate, relevant, K_RECALL)),
            ):
                values.setdefault(question, {}).setdefault(method, []).append(value)

    def format_table(self) -> list[str]:
        """Return a line for each question and method, with p-values of ours against it."""
        lines = [f"{'':<44}{'users':>7}{'NDCG@10':>10}{'p':>10}{'recall@20':>11}"]
        for question, by_method in self.ndcg.items():
            ours = np.array(by_method[OURS])
            lines.append(question)
            for method, values in by_method.items():
                p_value = compute_paired_p_value(ours, np.array(values))
                shown = "" if method == OURS else f"{p_value:.1e}"
                lines.append(
                    f"    {method:<40}{len(values):>7,}{np.mean(values):>10.4f}{shown:>10}"
                    f"{np.mean(self.recall[question][method]):>11.4f}"
                )
        return lines


def evaluate_cold_start(context: TrainingContext, window: Window) -> ColdStartMetrics:
    """Fit without the hidden users and items at the cut of `window`, and evaluate on it.

    context   with all facts; only the fit is without the hidden ones
    """
    facts, seed = context.facts, context.settings.seed
    before = read_window_purchases(facts, None, window)
    users = draw_hidden(before.by_user, generator(seed, "hidden users"))
    bought = {item for items in before.by_user.values() for item in items}
    items = draw_hidden(bought, generator(seed, "hidden items"))
    visible = VisibleFacts(facts, tuple(users), tuple(items))
    cold_context = TrainingContext(visible, context.settings, context.config, context.progress)
    cold_context = use_chosen_ease(cold_context, window.cut).context
    model = fit_model(cold_context, window.cut)
    snapshot = cold_context.snapshot(window.cut)
    placements = {"home": Placement("all"), "discover": Placement("new", exclude_purchased=True)}
    cold_start = _ColdStart(
        Recommender(model, snapshot.items, placements), snapshot.items, snapshot.histories, items
    )
    known = set(snapshot.interactions.item_ids)
    after = read_window_purchases(facts, window, window)
    metrics = ColdStartMetrics()
    for user in users:
        targets = [item for item in after.by_user.get(user, ()) if item in known]
        cold_start.measure_user(metrics, targets)
    hidden = set(items)
    buyers = [
        user
        for user, targets in after.by_user.items()
        if user in snapshot.histories and hidden.intersection(targets)
    ]
    order = generator(seed, "buyers of hidden items").permutation(len(buyers))[:MAX_USERS]
    for number in np.sort(order):
        user = buyers[number]
        cold_start.measure_items(metrics, user, hidden.intersection(after.by_user[user]))
    return metrics


def draw_hidden(ids: Iterable[str], rng: np.random.Generator) -> list[str]:
    """Return SHARE_HIDDEN of the ids, at least one of them, sorted."""
    ordered = np.array(sorted(ids), object)
    n = min(len(ordered), max(1, round(SHARE_HIDDEN * len(ordered))))
    return [str(hidden) for hidden in sorted(rng.choice(ordered, n, replace=False))]


def read_window_purchases(facts: Tables, within: Window | None, window: Window) -> WindowPurchases:
    """Return what was bought in `within`, or, where that is None, before the cut of `window`.

    Equal times are ordered by event_id.
    """
    events = facts.read("events")
    events = events.filter(
        (events.event_type == EventType.PURCHASE.value) & events.user_id.notnull()
    )
    if within is None:
        events = events.filter(events.occurred_at < instant(window.cut))
    else:
        events = events.filter(
            (events.occurred_at >= instant(within.cut)) & (events.occurred_at < instant(within.end))
        )
    columns = events.select("user_id", "occurred_at", "event_id", "item_id")
    rows = fetch_sorted(columns, ["user_id", "occurred_at", "event_id"])
    by_user: dict[str, dict[str, None]] = {}
    for user_id, item_id in zip(
        rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True
    ):
        by_user.setdefault(user_id, {}).setdefault(item_id)
    return WindowPurchases({user: tuple(items) for user, items in by_user.items()})


class _ColdStart:
    """A model that knows no hidden user and item, and the simple rules beside it."""

    def __init__(
        self,
        recommender: Recommender,
        items: ItemFeatures,
        histories: Mapping[str, UserHistory],
        hidden_items: Sequence[str],
    ) -> None:
        self._recommender, self._histories = recommender, histories
        self._hidden = tuple(hidden_items)
        self._unknown = UserHistory.unknown(items.as_of)
        self._paths = {
            str(item_id): tuple(levels(str(category)))
            for item_id, category in zip(items.item_ids, items.category, strict=True)
        }
        orders = np.nan_to_num(items.columns["orders_4w"]).astype(np.float64)
        order = np.argsort(-orders, kind="stable")
        self._popular = [str(item_id) for item_id in items.item_ids[order]]
        self._category_orders: dict[tuple[str, ...], float] = {}
        for item_id, n_orders in zip(items.item_ids, orders.tolist(), strict=True):
            for prefix in _list_prefixes(self._paths[str(item_id)]):
                total = self._category_orders.get(prefix, 0.0)
                self._category_orders[prefix] = total + n_orders
        self._by_popular_category = self._rank_hidden(self._category_orders)

    def measure_user(self, metrics: ColdStartMetrics, targets: Sequence[str]) -> None:
        """Measure what a hidden user is served who bought `targets`, in the order of time."""
        if not targets:
            return
        slates = {OURS: self._recommend(self._unknown, "home"), "popular": self._popular[:K_RECALL]}
        metrics.add(NO_HISTORY, slates, set(targets))
        viewed, rest = targets[0], set(targets[1:])
        if not rest:
            return
        popular = [item for item in self._popular if item != viewed]
        same_category = [item for item in popular if self._paths[item] == self._paths[viewed]]
        by_category = list(dict.fromkeys([*same_category, *popular]))
        slates = {
            OURS: self._recommend(self._unknown, "home", viewed=(viewed,)),
            "popular in its category": by_category[:K_RECALL],
            "popular": popular[:K_RECALL],
        }
        metrics.add(ONE_VIEW, slates, rest)

    def measure_items(self, metrics: ColdStartMetrics, user: str, targets: Collection[str]) -> None:
        """Measure how the hidden items are ranked for a user who bought `targets` of them."""
        history = self._histories[user]
        rules = {
            "the user's categories": self._rank_hidden(self._score_own_categories(history)),
            "popular categories": self._by_popular_category,
        }
        given = self._recommend(history, "home", candidates=self._hidden)
        filtered = self._recommend(history, "discover", allowed=frozenset(self._hidden))
        metrics.add(GIVEN_LIST, {OURS: given, **rules}, set(targets))
        metrics.add(FILTERED, {OURS: filtered, **rules}, set(targets))

    def _recommend(
        self,
        history: UserHistory,
        placement: str,
        *,
        viewed: tuple[str, ...] = (),
        candidates: tuple[str, ...] | None = None,
        allowed: frozenset[str] | None = None,
    ) -> list[str]:
        query = RecommendationQuery(
            history,
            placement,
            K_RECALL,
            context_item_ids=viewed,
            candidate_ids=candidates,
            allowed_item_ids=allowed,
        )
        (slate,) = self._recommender.recommend([query])
        return [item.item_id for item in slate.items]

    def _score_own_categories(self, history: UserHistory) -> dict[tuple[str, ...], float]:
        """Return the user's decayed orders in each category, at all levels."""
        orders: dict[tuple[str, ...], float] = {}
        for item_id, weight in zip(history.item_ids, history.decayed_frequency, strict=True):
            for prefix in _list_prefixes(self._paths.get(str(item_id), ())):
                orders[prefix] = orders.get(prefix, 0.0) + float(weight)
        return orders

    def _rank_hidden(self, category_scores: Mapping[tuple[str, ...], float]) -> list[str]:
        """Return the first hidden items by the score of their category, the deepest level first."""
        depth = max((len(self._paths.get(item, ())) for item in self._hidden), default=0)
        scores: Float64Array = np.zeros((max(depth, 1), len(self._hidden)))
        for column, item in enumerate(self._hidden):
            for prefix in _list_prefixes(self._paths.get(item, ())):
                scores[len(prefix) - 1, column] = category_scores.get(prefix, 0.0)
        return [self._hidden[row] for row in np.lexsort(-scores)[:K_RECALL]]


def _list_prefixes(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return a category and all categories above it."""
    return [path[:depth] for depth in range(1, len(path) + 1)]
