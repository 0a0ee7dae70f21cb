"""The task "cart": of past orders one line is held out, and the rest must find it among the whole catalogue.

The line held out is the last by the order of (occurred_at, event_id). Where a shop's lines have their own times that is
the line that came last. Where all lines of an order share one time, as in the Complete Journey, it is the greatest
event_id; there the ids are hashes, so that the line is a random one that every run draws alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
from features.contracts.seeds import generator
from features.contracts.tables import EventType
from features.pipelines.expressions import instant
from features.store.histories import Tables
from models.ranking.candidates import CandidateSource
from models.ranking.cart import CartSource, cart_columns
from models.ranking.features import Catalogue, Visitor
from models.ranking.lambdarank import Ranker, RankerConfig, fit_ranker
from models.ranking.model import Candidates, Policy, RecommendationModel, Retrieval
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.retrieval.interactions import top
from models.retrieval.item_knn import ItemKnn
from training.metrics import Floats, bootstrap_interval, ndcg, paired_p_value, recall
from training.results import OURS, Comparison
from training.splits import Window

K = 10
MIN_ITEMS = 5  # an order must hold so many different items to be judged, or learnt from
SHARE_STRANGERS = 0.2  # of the orders learnt from, those that are learnt as if nobody knew who placed them
STRANGERS = "Shopwright, strangers"
ALONE = "association"


@dataclass(frozen=True)
class CartsConfig:
    """Orders, drawn by the seed: `learnt` ones the ranker learns from in each window, `judged` an evaluation looks at.

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
    """The window's orders of MIN_ITEMS different items or more whose last item is `known`, by order."""
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


def training_rows(
    orders: Sequence[OpenCart],
    histories: Mapping[str, UserHistory],
    items: ItemFeatures,
    retrieval: Retrieval,
    candidates: Candidates,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    as_of: datetime,
    config: RankerConfig,
    *,
    most: int,
    seed: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Columns, labels and group sizes of past orders, by sources fitted before them; `names` of item and user columns.

    At most `most` orders, of which SHARE_STRANGERS lose their visitor.
    """
    rng = generator(seed, f"carts {as_of.isoformat()}")
    catalogue = Catalogue(items, names[0])
    visitors = CandidateSource(catalogue, retrieval, candidates)
    carts = CartSource(catalogue, retrieval, candidates.cart)
    known: dict[str, Visitor] = {}
    stranger = visitors.visitor(UserHistory.unknown(as_of))
    matrices, labels, sizes = [np.zeros((0, len(cart_columns(*names))), np.float32)], [np.zeros(0, bool)], []
    for at in np.sort(rng.permutation(len(orders))[:most]):
        order, visitor = orders[at], stranger
        if order.user_id in histories and rng.random() >= SHARE_STRANGERS:
            if order.user_id not in known:
                known[order.user_id] = visitors.visitor(histories[order.user_id])
            visitor = known[order.user_id]
        cart = carts.cart(order.context)
        places = carts.candidates(cart, visitor)
        label = places == catalogue.index[order.target]
        kept = label | (rng.random(len(places)) < config.share_negatives)
        if not label.any():
            continue
        matrices.append(carts.columns(cart, visitor, places, names[1])[kept])
        labels.append(label[kept])
        sizes.append(int(kept.sum()))
    return np.concatenate(matrices), np.concatenate(labels), np.array(sizes, np.int64)


def fit_cart_ranker(
    rows: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.int64]]],
    names: tuple[tuple[str, ...], tuple[str, ...]],
    config: RankerConfig,
    *,
    seed: int,
) -> Ranker | None:
    """The ranker of `training_rows`; None where no order was large enough to learn from."""
    matrix, labels, sizes = (np.concatenate(part) for part in zip(*rows, strict=True))
    if not labels.any():
        return None
    return fit_ranker(matrix, labels, sizes, cart_columns(*names), config, seed=seed, n_threads=1)


@dataclass(frozen=True)
class CartFigures:
    """Every method's recall@10 and NDCG@10 per order (one line is held out, so recall is 0 or 1)."""

    recall: Mapping[str, Floats]
    ndcg: Mapping[str, Floats]

    def summary(self, *, seed: int) -> tuple[list[Comparison], dict[str, float]]:
        """Ours beside every baseline, and the figures of the rules alone and of carts of strangers."""
        comparisons = []
        for metric, of in ((f"recall@{K}", self.recall), (f"NDCG@{K}", self.ndcg)):
            means = {name: float(each.mean()) for name, each in of.items() if name not in (OURS, STRANGERS, ALONE)}
            strongest = max(means, key=lambda name: means[name])
            p_value = paired_p_value(of[OURS], of[strongest])
            ours = float(of[OURS].mean())
            comparisons.append(Comparison(f"{metric} last of cart", ours, means, "higher", strongest, p_value))
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
        """A table to print: means, the interval of the recall, and the paired p-value against `ours`."""
        lines = [f"{'':<28}{'recall@10':>10}{'95 % interval':>16}{'NDCG@10':>9}{'p (recall)':>12}{'p (NDCG)':>12}"]
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
    """The served object's slates beside association alone, item-kNN on orders and on buyers, and popularity.

    Ours is the ranker's, whatever policy serves; "strangers" are the same orders with nobody known. Every method ranks
    the full catalogue less the cart.
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

    neighbours = {"ItemKNN orders": _Neighbours(by_orders), "ItemKNN": _Neighbours(model.retrieval.similar)}
    popular = [str(items.item_ids[at]) for at in np.argsort(-np.nan_to_num(items.columns["orders_4w"]), kind="stable")]

    def slates(order: OpenCart) -> dict[str, list[str]]:
        learnt: dict[str, list[str]] = {}
        if has_ranker:
            learnt = {OURS: ours(order, "ranker"), STRANGERS: ours(order, "ranker", known=False)}
        return {
            **learnt,
            ALONE: ours(order, "association", known=False),
            **{name: each.slate(order.context) for name, each in neighbours.items()},
            "recent popularity": [each for each in popular[: K + len(order.context)] if each not in order.context][:K],
        }

    # LightGBM and numpy let go of the interpreter, and each order is scored by itself.
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(slates, orders))
    names = list(found[0]) if found else []
    pairs = list(zip(found, ({order.target} for order in orders), strict=True))
    return CartFigures(
        {name: np.array([recall(each[name], target, K) for each, target in pairs]) for name in names},
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
        return [str(self._knn.item_ids[at]) for at in top(scores, K)]
