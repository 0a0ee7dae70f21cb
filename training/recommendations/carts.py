"""The task "cart": the rest of a past order must find one held-out line in the whole catalogue.

The line held out is the last by the order of (occurred_at, event_id). Where a shop's lines have
their own times that is the line added last. Where all lines of an order share one time, as in the
Complete Journey, it is the greatest event_id; there the ids are hashes, so that the line is random,
and the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import ibis
import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
from features.contracts.seeds import generator
from features.contracts.tables import EventType
from features.online.histories import Tables
from features.pipelines.expressions import instant
from models.compiled.top_items import top_positions
from models.ranking.model import Policy, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.retrieval.item_knn import ItemKnn
from training.recommendations.metrics import ndcg, recall
from training.results import OURS, Comparison
from training.significance import bootstrap_interval, compute_paired_p_value
from training.splits import Window

K = 10
MIN_ITEMS = 5  # different items in an order, at least, to be evaluated or learnt from
OURS_UNKNOWN_VISITOR = "Shopwright, strangers"
ASSOCIATION = "association"


@dataclass(frozen=True)
class CartsConfig:
    """Numbers of orders, drawn by the seed, that bound the cost of carts.

    learnt   that the ranker is fitted on in each window
    judged   that an evaluation looks at; the benchmark evaluates every order
    """

    learnt: int = 1200
    judged: int = 1500


@dataclass(frozen=True)
class IncompleteCart:
    """An order without its last line: `context` are the other items, `target` the one to find."""

    order: str
    user_id: str | None
    context: tuple[str, ...]
    target: str


def hold_out_last_items(
    facts: Tables, window: Window, known: Sequence[str]
) -> list[IncompleteCart]:
    """Return the window's orders of MIN_ITEMS different items or more, by order id.

    Orders whose last item is not `known` are left out.
    """
    events = facts.read("events")
    purchases = events.filter(
        (events.occurred_at >= instant(window.cut))
        & (events.occurred_at < instant(window.end))
        & (events.event_type == EventType.PURCHASE.value)
    )
    lines = purchases.select(
        order=purchases.order_id.coalesce(purchases.event_id),
        user_id=purchases.user_id,
        item_id=purchases.item_id,
        at=purchases.occurred_at,
        event_id=purchases.event_id,
    )
    lines = lines.mutate(n=lines.item_id.nunique().over(ibis.window(group_by=lines["order"])))
    lines = lines.filter(lines.n >= MIN_ITEMS)
    rows = lines.order_by([lines["order"], lines["at"], lines.event_id]).to_pyarrow()
    orders, users, items = (rows[name].to_pylist() for name in ("order", "user_id", "item_id"))
    starts = [row for row in range(len(orders)) if not row or orders[row] != orders[row - 1]]
    carts, known_items = [], set(known)
    for start, end in zip(starts, [*starts, len(orders)][1:], strict=True):
        target = items[end - 1]
        if target in known_items:
            context = tuple(dict.fromkeys(item for item in items[start:end] if item != target))
            carts.append(IncompleteCart(orders[start], users[start], context, target))
    return carts


@dataclass(frozen=True)
class CartMetrics:
    """recall@10 and NDCG@10 of every method by order; with one target recall is 0 or 1."""

    recall: Mapping[str, Float64Array]
    ndcg: Mapping[str, Float64Array]

    def compare(self, *, seed: int) -> tuple[list[Comparison], dict[str, float]]:
        """Return ours beside every baseline, and metrics of the rules and of unknown visitors."""
        comparisons = [
            _compare(f"recall@{K} last of cart", self.recall),
            _compare(f"NDCG@{K} last of cart", self.ndcg),
        ]
        low, high = bootstrap_interval(self.recall[OURS], generator(seed, "bootstrap cart"))
        metrics = {
            f"recall@{K} cart low": low,
            f"recall@{K} cart high": high,
            f"recall@{K} cart strangers": float(self.recall[OURS_UNKNOWN_VISITOR].mean()),
            f"recall@{K} cart association": float(self.recall[ASSOCIATION].mean()),
            "orders cart": float(len(self.recall[OURS])),
        }
        return comparisons, metrics

    def format_table(self, ours: str, *, seed: int) -> list[str]:
        """Return the lines of a table: means, the interval of the recall, p-values of `ours`."""
        tests = f"{'p (recall)':>12}{'p (NDCG)':>12}"
        lines = [f"{'':<28}{'recall@10':>10}{'95 % interval':>16}{'NDCG@10':>9}{tests}"]
        for name, hits in self.recall.items():
            low, high = bootstrap_interval(hits, generator(seed, f"bootstrap cart {name}"))
            p_values = [
                compute_paired_p_value(values[ours], values[name])
                for values in (self.recall, self.ndcg)
            ]
            shown = ["" if name == ours else f"{p_value:.1e}" for p_value in p_values]
            lines.append(
                f"{name:<28}{hits.mean():>10.4f}{f'{low:.3f}-{high:.3f}':>16}"
                f"{self.ndcg[name].mean():>9.4f}{shown[0]:>12}{shown[1]:>12}"
            )
        return lines


def _compare(metric: str, values: Mapping[str, Float64Array]) -> Comparison:
    means = {
        name: float(by_order.mean())
        for name, by_order in values.items()
        if name not in (OURS, OURS_UNKNOWN_VISITOR, ASSOCIATION)
    }
    strongest = max(means, key=lambda name: means[name])
    p_value = compute_paired_p_value(values[OURS], values[strongest])
    return Comparison(
        metric=metric,
        ours=float(values[OURS].mean()),
        baselines=means,
        better="higher",
        strongest=strongest,
        p_value=p_value,
    )


def measure_carts(
    orders: Sequence[IncompleteCart],
    model: RecommendationModel,
    histories: Mapping[str, UserHistory],
    items: ItemFeatures,
    by_orders: ItemKnn,
) -> CartMetrics:
    """Measure the served object's slates beside association, item-kNN and popularity.

    Item-kNN on buyers is the model's own, `by_orders` that on orders. Ours are the ranker's slates,
    whichever policy serves, and once more with every visitor unknown. Every method ranks the full
    catalogue without the cart.
    """
    methods = _CartMethods(model, histories, items, by_orders)
    # LightGBM and numpy release the interpreter, and each order is scored by itself.
    with ThreadPoolExecutor(2) as pool:
        slates = list(pool.map(methods.make_slates, orders))
    names = list(slates[0]) if slates else []
    return CartMetrics(
        {name: _measure([by_name[name] for by_name in slates], orders, recall) for name in names},
        {name: _measure([by_name[name] for by_name in slates], orders, ndcg) for name in names},
    )


def _measure(
    slates: Sequence[Sequence[str]],
    orders: Sequence[IncompleteCart],
    metric: Callable[[Sequence[str], Set[str], int], float],
) -> Float64Array:
    return np.array(
        [metric(slate, {order.target}, K) for slate, order in zip(slates, orders, strict=True)]
    )


class _CartMethods:
    """Ours and the baselines, each making a slate of K items for an order."""

    def __init__(
        self,
        model: RecommendationModel,
        histories: Mapping[str, UserHistory],
        items: ItemFeatures,
        by_orders: ItemKnn,
    ) -> None:
        self._recommender = Recommender(model, items, {"cart": Placement("bought_together")})
        self._has_ranker = "cart" in model.rankers
        self._histories = histories
        self._unknown = UserHistory.unknown(items.as_of)
        self._neighbours = {
            "ItemKNN orders": _Neighbours(by_orders),
            "ItemKNN": _Neighbours(model.retrieval.similar),
        }
        by_popularity = np.argsort(-np.nan_to_num(items.columns["orders_4w"]), kind="stable")
        self._popular = [str(items.item_ids[position]) for position in by_popularity]

    def make_slates(self, order: IncompleteCart) -> dict[str, list[str]]:
        """Return every method's slate, by name."""
        history = self._histories.get(order.user_id or "", self._unknown)
        slates: dict[str, list[str]] = {}
        if self._has_ranker:
            slates[OURS] = self._recommend(order, history, "ranker")
            slates[OURS_UNKNOWN_VISITOR] = self._recommend(order, self._unknown, "ranker")
        slates[ASSOCIATION] = self._recommend(order, self._unknown, "association")
        for name, neighbours in self._neighbours.items():
            slates[name] = neighbours.recommend(order.context)
        first = self._popular[: K + len(order.context)]
        slates["recent popularity"] = [item for item in first if item not in order.context][:K]
        return slates

    def _recommend(self, order: IncompleteCart, history: UserHistory, policy: Policy) -> list[str]:
        query = RecommendationQuery(history, "cart", K, context_item_ids=order.context)
        (slate,) = self._recommender.recommend([query], policy=policy)
        return [item.item_id for item in slate.items]


class _Neighbours:
    """The nearest items of a cart by an item-kNN."""

    def __init__(self, knn: ItemKnn) -> None:
        self._knn = knn
        self._index = {item_id: row for row, item_id in enumerate(knn.item_ids)}

    def recommend(self, context: Sequence[str]) -> list[str]:
        """Return the K nearest items, best first, without those of the cart."""
        rows = np.array([self._index[item] for item in context if item in self._index], np.int64)
        scores = self._knn.score(rows)
        scores[rows] = 0
        return [str(self._knn.item_ids[row]) for row in top_positions(scores, K)]
