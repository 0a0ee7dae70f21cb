"""The model of a shop whose purchases teach no ranker: one week old, guests only, views only.

What was bought, put into carts or viewed together by one visitor gives similar items and items that
go together. They are evaluated on the next item of later visitors, beside popularity, and serve
with popular and trending items until there are purchases of known users to learn from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

import ibis
import numpy as np

from features.contracts.arrays import Float64Array, ObjectArray
from features.contracts.errors import TooLittleData
from features.contracts.seeds import generator
from features.contracts.tables import EventType
from features.online.histories import compute_offline_histories, compute_offline_items
from features.pipelines.expressions import before, instant
from models.ranking.columns import FeatureNames
from models.ranking.model import Policy, RankingTask, RecommendationModel, Retrieval
from models.retrieval.als import fit_als
from models.retrieval.association import fit_association
from models.retrieval.ease import fit_ease
from models.retrieval.interactions import Interactions, number_ids
from models.retrieval.item_knn import ItemKnn, fit_item_knn
from training.non_inferiority import UnitValues
from training.recommendations.learning_targets import ADD_TO_CART, PURCHASE, VIEW, count_events
from training.recommendations.snapshots import TrainingContext
from training.results import OURS, Comparison, Evaluation, Trained
from training.significance import compute_paired_p_value
from training.splits import Window

# What a visitor wants, the strongest sign first; the first one that enough visitors give counts.
_SIGNS = {
    PURCHASE: EventType.PURCHASE,
    ADD_TO_CART: EventType.ADD_TO_CART,
    VIEW: EventType.VIEW_ITEM,
}
_ENOUGH_BASKETS = 20  # visitors with two items or more
_MAX_TESTED = 2_000  # visitors, drawn by the seed
_SHARE_TESTED = 0.25  # of the time with data, the last part
METRIC = "NDCG@10 next item"
POPULARITY = "popularity"
_K = 10


@dataclass(frozen=True)
class _Baskets:
    """The items of each visitor, in the order of time, and the signs that they were taken from."""

    signs: tuple[EventType, ...]
    items: Mapping[str, tuple[str, ...]]

    @property
    def sign(self) -> str:
        """The signs in words."""
        return " and ".join(sign.value for sign in self.signs)

    @property
    def n_long(self) -> int:
        """The number of visitors with two items or more: those who teach what goes together."""
        return sum(len(basket) > 1 for basket in self.items.values())

    def to_interactions(self) -> Interactions:
        """Return the matrix of visitors and items; an item counts once."""
        visitors = sorted(self.items)
        ids, columns = number_ids(
            np.concatenate([np.array(self.items[visitor], object) for visitor in visitors])
        )
        lengths = [len(self.items[visitor]) for visitor in visitors]
        rows = np.repeat(np.arange(len(visitors)), lengths)
        from scipy import sparse

        ones = np.ones(len(columns), np.float32)
        matrix = sparse.csr_matrix((ones, (rows, columns)), shape=(len(visitors), len(ids)))
        matrix.data[:] = 1
        return Interactions(np.array(visitors, object), ids, matrix)


def train_without_rankers(
    context: TrainingContext, end: datetime, why: TooLittleData, *, refit: bool
) -> Trained[RecommendationModel]:
    """Return the model of all data before `end`, and how it does on the last part of them.

    `why` says what is missing for rankers. Raises TooLittleData where no visitor did anything, and
    `why` where a single one did.
    """
    baskets = _read_baskets(context, end)
    if len(baskets.items) < 2:
        raise why
    note = (
        f"{why.what}: no ranker is fitted. What visitors had together ({baskets.sign} of "
        f"{len(baskets.items):,} visitors), popular and trending items serve meanwhile"
    )
    cut = find_cut(context, end)
    past = _read_baskets(context, cut, baskets.signs)
    evaluation = _evaluate(context, Window(cut, end), past, note)
    evaluation = replace(evaluation, choices=_describe_choice(context, end, baskets, why))

    def measure(_folder: Path | None) -> dict[str, UnitValues]:
        return {}

    if not past.items:  # nothing was held out
        served = _fit(context, end, baskets)
        return Trained(evaluation, served, served, end, measure, stands_in=True)
    evaluated = _fit(context, cut, past)
    if not refit:
        return Trained(evaluation, evaluated, evaluated, cut, measure, stands_in=True)
    served = _fit(context, end, baskets)
    return Trained(evaluation, evaluated, served, end, measure, stands_in=True)


def find_cut(context: TrainingContext, end: datetime) -> datetime:
    """Return where the last part of the time with data begins."""
    times = before(context.facts.read("events"), end).occurred_at
    first: datetime | None = times.min().to_pyarrow().as_py()
    last: datetime | None = times.max().to_pyarrow().as_py()
    if first is None or last is None:
        hint = "Import more history, or choose a later --until"
        raise TooLittleData(f"there is no event before {end.isoformat()}", hint=hint)
    return last - max((last - first) * _SHARE_TESTED, timedelta(hours=1))


def fit_without_rankers(context: TrainingContext, end: datetime) -> RecommendationModel:
    """Return the model without rankers, of what visitors had together before `end`."""
    return _fit(context, end, _read_baskets(context, end))


def _describe_choice(
    context: TrainingContext, end: datetime, baskets: _Baskets, why: TooLittleData
) -> dict[str, str]:
    """Return what was learnt in place of rankers, and the counts that decided it."""
    counts = count_events(context.facts, end)
    return {
        "targets": next(kind for kind, sign in _SIGNS.items() if sign == baskets.signs[0])
        if len(baskets.signs) == 1
        else context.config.parsed_targets.setting,
        "targets_why": (
            f"{context.config.parsed_targets.setting}: {why.what}; "
            f"{baskets.n_long:,} visitors had two items or more by {baskets.sign} "
            f"({_ENOUGH_BASKETS} are enough), of {counts.describe()}"
        ),
    }


def _read_baskets(
    context: TrainingContext,
    until: datetime,
    signs: tuple[EventType, ...] | None = None,
    since: datetime | None = None,
) -> _Baskets:
    """Return the baskets by `signs`, else by those of the targets, else by the strongest sign that
    enough visitors give."""
    if signs is not None:
        return _Baskets(signs, _read_items_by_visitor(context, until, signs, since))
    weights = context.config.parsed_targets.weights
    if weights is not None:
        of_targets = tuple(_SIGNS[kind] for kind in weights)
        baskets = _Baskets(of_targets, _read_items_by_visitor(context, until, of_targets, since))
        if not baskets.items:
            counts = count_events(context.facts, until)
            raise TooLittleData(
                f"no visitor has any {' or '.join(weights)}: there are {counts.describe()}",
                where="targets",
                hint="Set targets: auto, or import or send such events with an id of the visitor",
            )
        return baskets
    best, n_best = _Baskets((), {}), -1
    for sign in _SIGNS.values():
        baskets = _Baskets((sign,), _read_items_by_visitor(context, until, (sign,), since))
        if baskets.items and baskets.n_long > n_best:
            best, n_best = baskets, baskets.n_long
        if n_best >= _ENOUGH_BASKETS:
            break
    if not best.items:
        raise TooLittleData(
            "no visitor has bought, carted or viewed anything yet",
            hint="Import or send events with user_id, visitor_id or session_id",
        )
    return best


def _read_items_by_visitor(
    context: TrainingContext,
    until: datetime,
    signs: tuple[EventType, ...],
    since: datetime | None,
) -> dict[str, tuple[str, ...]]:
    events = before(context.facts.read("events"), until)
    events = events.filter(events.event_type.isin([sign.value for sign in signs]))
    if since is not None:
        events = events.filter(events.occurred_at >= instant(since))
    visitor = ibis.coalesce(events.user_id, events.visitor_id, events.session_id, events.order_id)
    rows = events.select("item_id", "occurred_at", "event_id", visitor=visitor)
    rows = rows.filter(rows.visitor.notnull())
    table = rows.order_by(["visitor", "occurred_at", "event_id"]).to_pyarrow().to_pydict()
    baskets: dict[str, dict[str, None]] = {}
    for visitor_id, item_id in zip(table["visitor"], table["item_id"], strict=True):
        baskets.setdefault(visitor_id, {})[item_id] = None
    return {visitor_id: tuple(basket) for visitor_id, basket in baskets.items()}


def _fit(context: TrainingContext, end: datetime, baskets: _Baskets) -> RecommendationModel:
    config, interactions = context.config, baskets.to_interactions()
    binary = interactions.binarise()
    context.progress(f"similar items, from the {baskets.sign} of {len(baskets.items):,} visitors")
    per_buyer = context.settings.orders_per_buyer
    items = compute_offline_items(context.facts, end, orders_per_buyer=per_buyer)
    histories = compute_offline_histories(context.facts, end)
    user_names = {
        name for history in histories.values() for name in history.features if ":" not in name
    }
    names = FeatureNames(
        tuple(sorted(items.columns.keys() - {"margin"})), tuple(sorted(user_names))
    )
    policies: dict[RankingTask, Policy] = {
        "all": "buy_again",
        "new": "buy_again",
        "cart": "association",
    }
    return RecommendationModel(
        retrieval=Retrieval(
            fit_ease(interactions, config.ease),
            fit_als(interactions, config.als, seed=context.settings.seed),
            fit_item_knn(interactions.item_ids, binary, config.item_knn),
            fit_association(interactions.item_ids, binary, config.association),
        ),
        candidates=config.candidates,
        rankers={},
        item_columns=names.item,
        user_columns=names.user,
        policies=policies,
        calibrations={},
    )


def _evaluate(context: TrainingContext, window: Window, past: _Baskets, note: str) -> Evaluation:
    """Evaluate similar items on the next item of visitors in the window, beside popularity."""
    later = _read_baskets(context, window.end, past.signs, since=window.cut)
    tested = [basket for basket in later.items.values() if len(basket) > 1]
    if len(tested) > _MAX_TESTED:
        rng = generator(context.settings.seed, "visitors to test")
        drawn = np.sort(rng.permutation(len(tested))[:_MAX_TESTED])
        tested = [tested[number] for number in drawn.tolist()]
    comparisons = []
    if past.items and tested:
        scores = _score_next_items(context, past, tested)
        ours, popularity = scores[OURS], scores[POPULARITY]
        p_value = compute_paired_p_value(ours, popularity) if len(tested) > 1 else None
        baselines = {POPULARITY: float(popularity.mean())}
        comparisons.append(
            Comparison(METRIC, float(ours.mean()), baselines, "higher", POPULARITY, p_value)
        )
    return Evaluation(
        task="recommendations",
        cut=window.cut,
        primary=METRIC,
        comparisons=tuple(comparisons),
        failed_bars=(),  # it serves beside popular items, not in place of a better model
        notes=(note,),
        data={
            "protocol": "the last item of each visitor after the cut, from the items before it",
            "known": f"{past.sign} events before {window.cut.isoformat()}",
            "visitors evaluated": len(tested) if comparisons else 0,
        },
    )


def _score_next_items(
    context: TrainingContext, past: _Baskets, tested: list[tuple[str, ...]]
) -> dict[str, Float64Array]:
    """Return the NDCG at 10 of the last item of each basket, by similar items and by popularity."""
    interactions = past.to_interactions()
    knn = fit_item_knn(interactions.item_ids, interactions.binarise(), context.config.item_knn)
    counts = np.asarray(interactions.binarise().sum(0)).ravel()
    popular = interactions.item_ids[np.argsort(-counts, kind="stable")].tolist()
    rows = {item_id: row for row, item_id in enumerate(knn.item_ids.tolist())}
    ours, popularity = [], []
    for basket in tested:
        context_ids, target = basket[:-1], basket[-1]
        ranked = chain(_rank_similar(knn, rows, context_ids), popular)
        ours.append(_measure_ndcg(ranked, context_ids, target))
        popularity.append(_measure_ndcg(popular, context_ids, target))
    return {OURS: np.array(ours), POPULARITY: np.array(popularity)}


def _rank_similar(knn: ItemKnn, rows: Mapping[str, int], context_ids: tuple[str, ...]) -> list[str]:
    known = np.array([rows[item_id] for item_id in context_ids if item_id in rows], np.int64)
    if not len(known):
        return []
    scores = knn.score(known)
    best = np.argsort(-scores, kind="stable")
    ids: ObjectArray = knn.item_ids[best[scores[best] > 0]]
    return [str(item_id) for item_id in ids]


def _measure_ndcg(ranked: Iterable[str], known: tuple[str, ...], target: str) -> float:
    """Return 1 / log2(rank + 1) of the target among the first 10 that the visitor did not have."""
    seen = set(known)
    rank = 0
    for item_id in ranked:
        if item_id in seen:
            continue
        seen.add(item_id)
        rank += 1
        if item_id == target:
            return float(1 / np.log2(rank + 1))
        if rank == _K:
            break
    return 0.0
