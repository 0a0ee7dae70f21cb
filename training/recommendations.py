"""Recommendations: windows of the past -> rankers -> slates at the cut beside the baselines -> the model to serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import ibis
import numpy as np
import numpy.typing as npt
from scipy import sparse

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from features.contracts.seeds import generator
from features.contracts.tables import EventType
from features.pipelines.expressions import instant
from features.store.facts import Facts
from features.store.histories import Tables, offline_histories, offline_items
from models.ranking.candidates import CandidateSource
from models.ranking.features import Catalogue, columns
from models.ranking.lambdarank import Ranker, RankerConfig, fit_ranker
from models.ranking.model import TASKS, Candidates, Policy, RecommendationModel, Retrieval, Task
from models.ranking.recommender import ranker_columns
from models.retrieval.als import AlsConfig, fit_als
from models.retrieval.association import AssociationConfig, fit_association
from models.retrieval.buy_again import BuyAgain, BuyAgainConfig, fit_buy_again, fit_gaps
from models.retrieval.ease import EaseConfig, fit_ease
from models.retrieval.interactions import Interactions
from models.retrieval.item_knn import ItemKnnConfig, fit_item_knn
from models.retrieval.local_ease import LocalEaseConfig, fit_local_ease
from training.carts import (
    ALONE,
    CartFigures,
    CartsConfig,
    cart_figures,
    fit_cart_ranker,
    held_out,
    training_rows,
)
from training.holdout import LEAVE_ONE_OUT, TIME_SPLIT, HeldOut, hold_out_last
from training.recommendation_judgement import judged
from training.results import OURS, Evaluation, Trained
from training.splits import Window, end_of_data, windows
from training.subject import Subject


@dataclass(frozen=True)
class RecommendationsConfig:
    """Everything that decides a recommendation model.

    `ease_kind`: "exact" (EASE on its most bought items) or "local" (LocalEase on all of them), for large catalogues.
    """

    window_weeks: int = 4
    n_windows: int = 2
    ease_kind: Literal["exact", "local"] = "exact"
    ease: EaseConfig = field(default_factory=EaseConfig)
    local_ease: LocalEaseConfig = field(default_factory=LocalEaseConfig)
    als: AlsConfig = field(default_factory=AlsConfig)
    item_knn: ItemKnnConfig = field(default_factory=ItemKnnConfig)
    association: AssociationConfig = field(default_factory=AssociationConfig)
    buy_again: BuyAgainConfig = field(default_factory=BuyAgainConfig)
    candidates: Candidates = field(default_factory=Candidates)
    ranker_all: RankerConfig = field(default_factory=RankerConfig)
    ranker_new: RankerConfig = field(default_factory=RankerConfig)
    ranker_cart: RankerConfig = field(default_factory=lambda: RankerConfig(share_negatives=0.25))
    carts: CartsConfig = field(default_factory=CartsConfig)


CONFIG = RecommendationsConfig
# What of a config decides how it is judged, not what is fitted.
PROTOCOL = ("window_weeks",)
# How purchases are held out: those of the last weeks, or the last one of each user.
PROTOCOLS = ("time", "leave-one-out")


@dataclass
class Snapshot:
    """All that is known at one cut: histories, the catalogue, and the sources fitted on what occurred before."""

    cut: datetime
    histories: dict[str, UserHistory]
    items: ItemFeatures
    interactions: Interactions
    retrieval: Retrieval


class _Workshop:
    """Makes snapshots, each once, since the refit shares most of the evaluation's."""

    def __init__(
        self, facts: Tables, settings: Settings, config: RecommendationsConfig, progress: Callable[[str], None]
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
                fit_local_ease(interactions, config.local_ease) if local else fit_ease(interactions, config.ease),
                fit_als(interactions, config.als, seed=self.settings.seed),
                fit_item_knn(interactions.item_ids, interactions.binary(), config.item_knn),
                fit_association(*orders_before(self.facts, cut), config.association),
            )
            self._snapshots[cut] = Snapshot(cut, histories, offline_items(self.facts, cut), interactions, retrieval)
        return self._snapshots[cut]

    def forget(self, kept: Sequence[datetime]) -> None:
        """Frees snapshots that are no longer needed."""
        self._snapshots = {cut: each for cut, each in self._snapshots.items() if cut in kept}


def train(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Callable[[str], None],
) -> Trained[RecommendationModel]:
    """Fits at the last cut, measures beside the baselines, and refits on everything visible."""
    end = end_of_data(facts, until, settings.timezone)
    workshop = _Workshop(facts, settings, config, progress)
    evaluated, evaluation = _evaluated(workshop, end)
    if not refit:
        return Trained(evaluation, evaluated, evaluated)
    progress("refitting on all data")
    served = _fit(workshop, end).with_policies(evaluated.policies)
    return Trained(evaluation, evaluated, served)


def evaluate(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    protocol: str = "time",
    progress: Callable[[str], None],
) -> Evaluation:
    """The figures at the last cut, or with each user's last purchase held out; nothing is refitted."""
    if protocol == "time":
        return train(facts, settings, config, until=until, refit=False, progress=progress).evaluation
    end = end_of_data(facts, until, settings.timezone)
    held = hold_out_last(facts, end)
    return _left_one_out(held, _Workshop(held, settings, config, progress), end)


def evaluate_carts(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    progress: Callable[[str], None],
) -> tuple[Window, CartFigures]:
    """What completes a cart at the last cut, every order of the window after it; no other ranker is fitted."""
    workshop = _Workshop(facts, settings, config, progress)
    (window,) = windows(end_of_data(facts, until, settings.timezone), 1, config.window_weeks, settings.timezone)
    past = windows(window.cut, config.n_windows, config.window_weeks, settings.timezone)
    final = workshop.snapshot(window.cut)
    names = tuple(sorted(final.items.columns)), _user_columns(final.histories)
    ranker = _cart_ranker(workshop, past, names)
    rankers: dict[Task, Ranker] = {} if ranker is None else {"cart": ranker}
    model = RecommendationModel(final.retrieval, config.candidates, rankers, *names, {"cart": "ranker"})
    orders = held_out(facts, window, final.interactions.item_ids.tolist())
    progress(f"slates of {len(orders)} orders")
    by_orders = fit_item_knn(*orders_before(facts, window.cut), config.item_knn)
    return window, cart_figures(orders, model, final.histories, final.items, by_orders)


def _left_one_out(held: HeldOut, workshop: _Workshop, end: datetime) -> Evaluation:
    """One model fitted on everything but the held-out purchases, asked for each of them."""
    model = _fit(workshop, end)
    snapshot = workshop.snapshot(end)
    relevant = by_task(held.targets(), snapshot)
    if not relevant["all"]:
        raise BadInput("no user's last purchase is of a known item", hint="Import more history")
    _, evaluation = judged(_subject(workshop, snapshot, model, relevant), workshop.progress)
    data: dict[str, str | int] = {
        "protocol": LEAVE_ONE_OUT,
        "known": f"events before {end.isoformat()}, without the held-out ones",
        "purchases held out": sum(map(len, relevant["all"].values())),
    }
    return replace(evaluation, data=data | _counts(snapshot, relevant))


def _evaluated(workshop: _Workshop, end: datetime) -> tuple[RecommendationModel, Evaluation]:
    (window,) = windows(end, 1, workshop.config.window_weeks, workshop.settings.timezone)
    model = _fit(workshop, window.cut)
    snapshot = workshop.snapshot(window.cut)
    relevant = relevant_items(workshop.facts, window, snapshot)
    if not relevant["all"]:
        raise BadInput(
            "nobody bought a known item after the cut", hint="Import more history, or choose another --until"
        )
    model, evaluation = judged(_subject(workshop, snapshot, model, relevant), workshop.progress)
    model, evaluation = _with_carts(workshop, window, snapshot, model, evaluation)
    data = {
        "protocol": TIME_SPLIT,
        "known": f"events before {window.cut.isoformat()}",
        "to be foretold": f"purchases until {window.end.isoformat()}",
    }
    return model, replace(evaluation, data=data | _counts(snapshot, relevant))


def _with_carts(
    workshop: _Workshop, window: Window, snapshot: Snapshot, model: RecommendationModel, evaluation: Evaluation
) -> tuple[RecommendationModel, Evaluation]:
    """Adds what completes a cart. Where its ranker loses to the rules alone these serve; the figure is the ranker's.

    Whether the model may serve does not depend on it.
    """
    seed, policies = workshop.settings.seed, dict(model.policies)
    orders = held_out(workshop.facts, window, snapshot.interactions.item_ids.tolist())
    if "cart" not in model.rankers or not orders:
        return model.with_policies(policies | {"cart": "association"}), evaluation
    workshop.progress("what completes the carts of the test window, ours and the baselines'")
    drawn = np.sort(generator(seed, "judged carts").permutation(len(orders))[: workshop.config.carts.judged])
    by_orders = fit_item_knn(*orders_before(workshop.facts, window.cut), workshop.config.item_knn)
    found = cart_figures([orders[at] for at in drawn], model, snapshot.histories, snapshot.items, by_orders)
    comparisons, figures = found.summary(seed=seed)
    won = found.recall[OURS].mean() >= found.recall[ALONE].mean()
    notes = () if won else ("the ranker of carts did not beat the rules between items here; the rules serve",)
    added = replace(
        evaluation,
        comparisons=(*evaluation.comparisons, *comparisons),
        metrics={**evaluation.metrics, **figures},
        notes=(*evaluation.notes, *notes),
    )
    return model.with_policies(policies | {"cart": "ranker" if won else "association"}), added


def _subject(
    workshop: _Workshop,
    snapshot: Snapshot,
    model: RecommendationModel,
    relevant: Mapping[Task, Mapping[str, frozenset[str]]],
) -> Subject:
    parts = snapshot.cut, snapshot.histories, snapshot.items, snapshot.interactions
    return Subject(*parts, model, relevant, workshop.config.ease, workshop.settings.seed)


def _counts(snapshot: Snapshot, relevant: Mapping[Task, Mapping[str, frozenset[str]]]) -> dict[str, str | int]:
    return {
        "users known": len(snapshot.histories),
        "items known": len(snapshot.interactions.item_ids),
        "users judged, all items": len(relevant["all"]),
        "users judged, items new to the user": len(relevant["new"]),
    }


def _fit(workshop: _Workshop, cut: datetime) -> RecommendationModel:
    """The model for `cut`: sources fitted there, rankers on the windows before it."""
    config, settings = workshop.config, workshop.settings
    past = windows(cut, config.n_windows, config.window_weeks, settings.timezone)
    workshop.forget([cut, *(window.cut for window in past)])
    final = workshop.snapshot(cut)
    item_columns = tuple(sorted(final.items.columns))
    user_columns = _user_columns(final.histories)
    rankers: dict[Task, Ranker] = {}
    for task, ranker_config in zip(TASKS, (config.ranker_all, config.ranker_new), strict=True):
        rows = [_training_rows(workshop, window, task, item_columns, user_columns) for window in past]
        workshop.progress(f"fitting the ranker of {task} items")
        matrix, labels, sizes = (np.concatenate(part) for part in zip(*rows, strict=True))
        if not labels.any():
            raise BadInput("no purchases to learn from before the cut", hint="Import more history")
        rankers[task] = fit_ranker(
            matrix, labels, sizes, ranker_columns(item_columns, user_columns), ranker_config, seed=settings.seed
        )
    policies: dict[Task, Policy] = {"all": "ranker", "new": "ranker", "cart": "association"}
    cart = _cart_ranker(workshop, past, (item_columns, user_columns))
    if cart is not None:
        rankers["cart"], policies["cart"] = cart, "ranker"
    again = _buy_again(workshop, past[0], final)
    return RecommendationModel(final.retrieval, config.candidates, rankers, item_columns, user_columns, policies, again)


def _buy_again(workshop: _Workshop, window: Window, final: Snapshot) -> BuyAgain:
    """The gaps of all that lies before the cut, with the weights that foretold the last window before it."""
    config, known = workshop.config.buy_again, workshop.snapshot(window.cut)
    bought = relevant_items(workshop.facts, window, known)["all"]
    before, now = (
        fit_gaps(each.histories, dict(zip(each.items.item_ids, each.items.category, strict=True)), config)
        for each in (known, final)
    )
    return BuyAgain(now, fit_buy_again(before, known.histories, bought, config))


def _cart_ranker(
    workshop: _Workshop, past: Sequence[Window], names: tuple[tuple[str, ...], tuple[str, ...]]
) -> Ranker | None:
    """The ranker of what completes a cart, from orders of the past windows; None where none is large enough."""
    config, seed = workshop.config, workshop.settings.seed
    rows = []
    for window in past:
        known = workshop.snapshot(window.cut)
        orders = held_out(workshop.facts, window, known.interactions.item_ids.tolist())
        of_window = known.histories, known.items, known.retrieval, config.candidates
        made = training_rows(
            orders, *of_window, names, window.cut, config.ranker_cart, most=config.carts.learnt, seed=seed
        )
        rows.append(made)
    workshop.progress("fitting the ranker of what completes a cart")
    return fit_cart_ranker(rows, names, config.ranker_cart, seed=seed)


def _training_rows(
    workshop: _Workshop, window: Window, task: Task, item_columns: Sequence[str], user_columns: Sequence[str]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Columns, labels and group sizes of one past window, irrelevant candidates thinned."""
    snapshot = workshop.snapshot(window.cut)
    relevant = relevant_items(workshop.facts, window, snapshot)[task]
    catalogue = Catalogue(snapshot.items, item_columns)
    source = CandidateSource(catalogue, snapshot.retrieval, workshop.config.candidates)
    config = workshop.config.ranker_all if task == "all" else workshop.config.ranker_new
    rng = generator(workshop.settings.seed, f"negatives {task} {window.cut.isoformat()}")
    width = len(ranker_columns(item_columns, user_columns))
    matrices, labels, sizes = [np.zeros((0, width), np.float32)], [np.zeros(0, bool)], []
    for user_id in sorted(relevant):
        visitor = source.visitor(snapshot.histories[user_id])
        places = source.candidates(visitor, task)
        wanted = np.zeros(catalogue.n_items, bool)
        wanted[[catalogue.index[each] for each in relevant[user_id] if each in catalogue.index]] = True
        label = wanted[places]
        kept = label | (rng.random(len(places)) < config.share_negatives)
        if not label.any():
            continue
        matrices.append(columns(catalogue, visitor, places, user_columns)[kept])
        labels.append(label[kept])
        sizes.append(int(kept.sum()))
    return np.concatenate(matrices), np.concatenate(labels), np.array(sizes, np.int64)


def relevant_items(facts: Tables, window: Window, snapshot: Snapshot) -> dict[Task, dict[str, frozenset[str]]]:
    """What each known user bought in the window: known items, and of these the ones new to the user."""
    events = facts.read("events")
    bought = events.filter(
        (events.occurred_at >= instant(window.cut))
        & (events.occurred_at < instant(window.end))
        & (events.event_type == EventType.PURCHASE.value)
        & events.user_id.notnull()
    )
    pairs = bought.select("user_id", "item_id").distinct().to_pyarrow().to_pydict()
    return by_task(zip(pairs["user_id"], pairs["item_id"], strict=True), snapshot)


def by_task(pairs: Iterable[tuple[str, str]], snapshot: Snapshot) -> dict[Task, dict[str, frozenset[str]]]:
    """Known items of known users, and of these the ones new to the user, from pairs of user and item."""
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


def _user_columns(histories: Mapping[str, UserHistory]) -> tuple[str, ...]:
    """Names of the user features that every shop has; per-category ones are the item side's to match."""
    found = {name for history in histories.values() for name in history.features if ":" not in name}
    return tuple(sorted(found))


def orders_before(facts: Tables, cut: datetime) -> tuple[npt.NDArray[np.object_], sparse.csr_matrix]:
    """Items and the binary CSR (orders, items) of purchases before `cut`."""
    events = facts.read("events")
    bought = events.filter((events.event_type == EventType.PURCHASE.value) & (events.occurred_at < instant(cut)))
    order = bought.order_id.coalesce(bought.event_id)
    pairs: Any = bought.select(order=order, item_id=bought.item_id).distinct()
    table = pairs.order_by([ibis.asc("order"), ibis.asc("item_id")]).to_pyarrow()
    orders = table["order"].combine_chunks().dictionary_encode()
    item_ids, columns_ = np.unique(np.array(table["item_id"].to_pylist(), object), return_inverse=True)
    rows = orders.indices.to_numpy()
    shape = (len(orders.dictionary), len(item_ids))
    return item_ids, sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns_)), shape=shape)
