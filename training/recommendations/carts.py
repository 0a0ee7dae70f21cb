"""The task "cart": of past orders one line is held out, and the rest must find it among the whole
catalogue.

The line held out is the last by the order of (occurred_at, event_id). Where a shop's lines have
their own times that is the line that came last. Where all lines of an order share one time, as in
the Complete Journey, it is the greatest event_id; there the ids are hashes, so that the line is a
random one that every run draws alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

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
from training.significance import bootstrap_interval, paired_p_value
from training.splits import Window

K = 10
MIN_ITEMS = 5  # an order must hold so many different items to be judged, or learnt from
STRANGERS = "Shopwright, strangers"
ALONE = "association"


@dataclass(frozen=True)
class CartsConfig:
    """Orders, drawn by the seed: `learnt` ones the ranker learns from in each window, `judged` an
    evaluation looks at.

    Both bound what carts cost; the benchmark judges every order.
    """

    learnt: int = 1200
    judged: int = 1500


@dataclass(frozen=True)
class OpenCart:
    """An order with one line held out. `context` are its other items, `target` the one to find."""

    order: str
    user_id: str | None
    context: tuple[str, ...]
    target: str


def held_out(facts: Tables, window: Window, known: Sequence[str]) -> list[OpenCart]:
    """The window's orders of MIN_ITEMS different items or more whose last item is `known`, by
    order."""
    events = facts.read("events")
    bought = events.filter(
        (events.occurred_at >= instant(window.cut))
        & (events.occurred_at < instant(window.end))
        & (events.event_type == EventType.PURCHASE.value)
    )
    lines: Any = bought.select(
        order=bought.order_id.coalesce(bought.event_id),
        user_id=bought.user_id,
        item_id=bought.item_id,
        at=bought.occurred_at,
        event_id=bought.event_id,
    )
    lines = lines.mutate(n=lines.item_id.nunique().over(ibis.window(group_by=lines.order)))
    lines = lines.filter(lines.n >= MIN_ITEMS)
    rows = lines.order_by([lines.order, lines["at"], lines.event_id]).to_pyarrow()
    orders, users, items = (rows[name].to_pylist() for name in ("order", "user_id", "item_id"))
    starts = [k for k in range(len(orders)) if not k or orders[k] != orders[k - 1]]
    found, wanted = [], set(known)
    for start, end in zip(starts, [*starts, len(orders)][1:], strict=True):
        target = items[end - 1]
        if target in wanted:
            context = tuple(dict.fromkeys(each for each in items[start:end] if each != target))
            found.append(OpenCart(orders[start], users[start], context, target))
    return found


@dataclass(frozen=True)
class CartFigures:
    """Every method's recall@10 and NDCG@10 per order (one line is held out, so recall is 0 or
    1)."""

    recall: Mapping[str, Float64Array]
    ndcg: Mapping[str, Float64Array]

    def summary(self, *, seed: int) -> tuple[list[Comparison], dict[str, float]]:
        """Ours beside every baseline, and the figures of the rules alone and of carts of
        strangers."""
        comparisons = []
        for metric, of in ((f"recall@{K}", self.recall), (f"NDCG@{K}", self.ndcg)):
            means = {
                name: float(each.mean())
                for name, each in of.items()
                if name not in (OURS, STRANGERS, ALONE)
            }
            strongest = max(means, key=lambda name: means[name])
            p_value = paired_p_value(of[OURS], of[strongest])
            ours = float(of[OURS].mean())
            comparisons.append(
                Comparison(f"{metric} last of cart", ours, means, "higher", strongest, p_value)
            )
        low, high = bootstrap_interval(self.recall[OURS], generator(seed, "bootstrap cart"))
        figures = {
            f"recall@{K} cart low": low,
            f"recall@{K} cart high": high,
            f"recall@{K} cart strangers": float(self.recall[STRANGERS].mean()),
            f"recall@{K} cart association": float(self.recall[ALONE].mean()),
            "orders cart": float(len(self.recall[OURS])),
        }
        return comparisons, figures

    def lines(self, ours: str, *, seed: int) -> list[str]:
        """A table to print: means, the interval of the recall, and the paired p-value against
        `ours`."""
        lines = [
            f"{'':<28}{'recall@10':>10}{'95 % interval':>16}{'NDCG@10':>9}{'p (recall)':>12}{'p (NDCG)':>12}"
        ]
        for name, hits in self.recall.items():
            low, high = bootstrap_interval(hits, generator(seed, f"bootstrap cart {name}"))
            tests = [paired_p_value(each[ours], each[name]) for each in (self.recall, self.ndcg)]
            shown = ["" if name == ours else f"{p:.1e}" for p in tests]
            lines.append(
                f"{name:<28}{hits.mean():>10.4f}{f'{low:.3f}-{high:.3f}':>16}{self.ndcg[name].mean():>9.4f}"
                f"{shown[0]:>12}{shown[1]:>12}"
            )
        return lines


def cart_figures(
    orders: Sequence[OpenCart],
    model: RecommendationModel,
    histories: Mapping[str, UserHistory],
    items: ItemFeatures,
    by_orders: ItemKnn,
) -> CartFigures:
    """The served object's slates beside association alone, item-kNN on orders and on buyers, and
    popularity.

    Ours is the ranker's, whatever policy serves; "strangers" are the same orders with nobody known.
    Every method ranks the full catalogue less the cart.
    """
    recommender = Recommender(model, items, {"cart": Placement("bought_together")})
    as_of = items.as_of
    has_ranker = "cart" in model.rankers

    def ours(order: OpenCart, policy: Policy, known: bool = True) -> list[str]:
        unknown = UserHistory.unknown(as_of)
        history = histories.get(order.user_id or "", unknown) if known else unknown
        query = RecommendationQuery(history, "cart", K, context_item_ids=order.context)
        (slate,) = recommender.recommend([query], policy=policy)
        return [item.item_id for item in slate.items]

    neighbours = {
        "ItemKNN orders": _Neighbours(by_orders),
        "ItemKNN": _Neighbours(model.retrieval.similar),
    }
    popular = [
        str(items.item_ids[at])
        for at in np.argsort(-np.nan_to_num(items.columns["orders_4w"]), kind="stable")
    ]

    def slates(order: OpenCart) -> dict[str, list[str]]:
        learnt: dict[str, list[str]] = {}
        if has_ranker:
            learnt = {OURS: ours(order, "ranker"), STRANGERS: ours(order, "ranker", known=False)}
        return {
            **learnt,
            ALONE: ours(order, "association", known=False),
            **{name: each.slate(order.context) for name, each in neighbours.items()},
            "recent popularity": [
                each for each in popular[: K + len(order.context)] if each not in order.context
            ][:K],
        }

    # LightGBM and numpy let go of the interpreter, and each order is scored by itself.
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(slates, orders))
    names = list(found[0]) if found else []
    pairs = list(zip(found, ({order.target} for order in orders), strict=True))
    return CartFigures(
        {
            name: np.array([recall(each[name], target, K) for each, target in pairs])
            for name in names
        },
        {name: np.array([ndcg(each[name], target, K) for each, target in pairs]) for name in names},
    )


class _Neighbours:
    def __init__(self, knn: ItemKnn) -> None:
        self._knn = knn
        self._index = {item_id: row for row, item_id in enumerate(knn.item_ids)}

    def slate(self, context: Sequence[str]) -> list[str]:
        rows = np.array([self._index[each] for each in context if each in self._index], np.int64)
        scores = self._knn.score(rows)
        scores[rows] = 0
        return [str(self._knn.item_ids[at]) for at in top_positions(scores, K)]
