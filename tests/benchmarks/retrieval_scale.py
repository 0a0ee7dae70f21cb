"""Seconds and memory of fitting and recommending by size of the catalogue, on synthetic data.

    python -m tests.benchmarks.retrieval_scale [--items 10000 100000 1000000] [--users 100000]
    [--search-only]

Item popularity follows a power law, users differ in activity, and half of a user's purchases come
from a taste that the user shares with other users. Each size is measured in a process of its own,
so that its memory is measured separately.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from scipy import sparse

from configs.loading import load
from features.contracts.calendar import SECONDS_PER_WEEK
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
from models.ranking.calibration import Calibration, fit_calibration
from models.ranking.candidates import CandidateSource
from models.ranking.catalogue import Catalogue
from models.ranking.columns import column_names, make_columns
from models.ranking.lambdarank import GroupedRows, Ranker, fit_ranker
from models.ranking.model import TASKS, RecommendationModel, Retrieval
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.retrieval.als import Als, fit_als
from models.retrieval.association import fit_association
from models.retrieval.ease import Ease, fit_ease
from models.retrieval.interactions import Interactions
from models.retrieval.item_knn import fit_item_knn
from models.retrieval.local_ease import fit_local_ease
from models.retrieval.nearest import Nearest
from training.recommendations.config import RecommendationsConfig

_N_PER_USER = 30
_N_TASTES = 200
_EXACT_UP_TO = 12_000  # a dense matrix of more items takes minutes to invert, and gigabytes
_N_CATEGORIES = 300
_AS_OF = datetime(2024, 3, 4, tzinfo=UTC)
_N_QUERIED = 200  # users for whom slates are made
_N_LEARNT = 300  # users that the ranker learns from
_N_BEST = 60  # items that a search returns


def draw_interactions(n_users: int, n_items: int, seed: int = 1) -> Interactions:
    """Return random purchases, about `_N_PER_USER` items a user."""
    rng = np.random.default_rng(seed)
    n_bought = np.maximum(rng.poisson(rng.gamma(2.0, _N_PER_USER / 2, n_users)), 1)
    user = np.repeat(np.arange(n_users), n_bought)
    by_popularity = _draw_by_popularity(rng, n_items, len(user))
    taste = rng.integers(0, _N_TASTES, n_users)[user]
    by_taste = np.minimum(
        _draw_by_popularity(rng, n_items // _N_TASTES, len(user)) * _N_TASTES + taste, n_items - 1
    )
    item = np.where(rng.random(len(user)) < 0.5, by_taste, by_popularity)
    matrix = sparse.csr_matrix(
        (np.ones(len(user), np.float32), (user, item)), shape=(n_users, n_items)
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    ids = [np.array([f"{n:07}" for n in range(size)], object) for size in (n_users, n_items)]
    return Interactions(*ids, matrix)


def _draw_by_popularity(rng: np.random.Generator, n_items: int, n: int) -> np.ndarray:
    """Return n items; the probability of an item is proportional to rank to the power of -0.8."""
    ranks = np.arange(1, n_items + 1, dtype=np.float64)
    cumulative = np.cumsum(ranks**-0.8)
    return np.searchsorted(cumulative, rng.random(n) * cumulative[-1])


@dataclass
class Measurement:
    """Seconds of each step of one size, and other values."""

    seconds: dict[str, float] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the seconds of a block."""
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def measure(n_users: int, n_items: int, *, search_only: bool) -> Measurement:
    """Fit every source and a ranker, recommend, and search; `search_only`: fit and search ALS."""
    config, measurement = load("models/recommendations", RecommendationsConfig), Measurement()
    interactions = draw_interactions(n_users, n_items)
    before = _read_peak_gigabytes()
    if search_only:
        _search_als(fit_als(interactions, config.als, seed=1), interactions, measurement)
        return measurement
    with measurement.step("EASE" if n_items <= _EXACT_UP_TO else "local EASE"):
        ease = _fit_ease(interactions, config, exact=n_items <= _EXACT_UP_TO)
    with measurement.step("ALS"):
        als = fit_als(interactions, config.als, seed=1)
    with measurement.step("item-kNN"):
        similar = fit_item_knn(interactions.item_ids, interactions.binarise(), config.item_knn)
    with measurement.step("rules"):
        together = fit_association(
            interactions.item_ids, interactions.binarise(), config.association
        )
    measurement.values |= {"items in EASE": len(ease.item_ids), "items in ALS": len(als.item_ids)}
    _measure_recommendations(
        Retrieval(ease, als, similar, together), interactions, config, measurement
    )
    measurement.values["GB"] = _read_peak_gigabytes() - before
    _search_als(als, interactions, measurement)
    return measurement


def _fit_ease(interactions: Interactions, config: RecommendationsConfig, *, exact: bool) -> Ease:
    if exact:
        return fit_ease(interactions, replace(config.ease, n_items=interactions.matrix.shape[1]))
    return fit_local_ease(interactions, config.local_ease)


def _measure_recommendations(
    retrieval: Retrieval,
    interactions: Interactions,
    config: RecommendationsConfig,
    measurement: Measurement,
) -> None:
    """Measure slates of 20 items over the whole catalogue, one user at a time."""
    items = _draw_catalogue(interactions)
    histories = [_draw_history(interactions, user) for user in range(_N_QUERIED + _N_LEARNT)]
    names = column_names(tuple(sorted(items.columns)), ())
    with measurement.step("ranker"):
        ranker, calibration = _fit_ranker(retrieval, items, histories[_N_QUERIED:], names, config)
    model = RecommendationModel(
        retrieval=retrieval,
        candidates=config.candidates,
        rankers=dict.fromkeys(TASKS, ranker),
        item_columns=tuple(sorted(items.columns)),
        user_columns=(),
        policies=dict.fromkeys(TASKS, "ranker"),
        calibrations=dict.fromkeys(TASKS, calibration),
    )
    with measurement.step("bound to the catalogue"):
        recommender = Recommender(model, items, {task: Placement(task) for task in TASKS})
    for task in TASKS:
        queries = [RecommendationQuery(history, task, 20) for history in histories[:_N_QUERIED]]
        recommender.recommend(queries[:5])
        measurement.values[f"ms a recommendation, {task}"] = _measure_milliseconds(
            lambda queries=queries: recommender.recommend(queries)
        )


def _fit_ranker(
    retrieval: Retrieval,
    items: ItemFeatures,
    histories: Sequence[UserHistory],
    names: tuple[str, ...],
    config: RecommendationsConfig,
) -> tuple[Ranker, Calibration]:
    """Return a ranker with the shipped config, and its calibration.

    It learns from a quarter of each user's items, which its columns do not include.
    """
    catalogue = Catalogue(items, tuple(sorted(items.columns)))
    source = CandidateSource(catalogue, retrieval, config.candidates)
    matrices, labels = [], []
    for history in histories:
        shown = np.arange(len(history.item_ids)) % 4 > 0
        fields = ("item_ids", "n_orders", "quantity", "decayed_frequency", "first_at", "last_at")
        visitor = source.make_visitor(
            replace(history, **{name: getattr(history, name)[shown] for name in fields})
        )
        positions = source.find_candidates(visitor, "all")
        matrices.append(make_columns(catalogue, visitor, positions, ()))
        labels.append(np.isin(positions, catalogue.positions(history.item_ids[~shown])))
    sizes = np.array([len(label) for label in labels])
    matrix, label = np.concatenate(matrices), np.concatenate(labels)
    ranker = fit_ranker(GroupedRows(matrix, label, sizes, names), config.ranker_all, seed=1)
    return ranker, fit_calibration(matrix, label, np.ones(len(label)), names)


def _draw_catalogue(interactions: Interactions) -> ItemFeatures:
    rng = np.random.default_rng(2)
    n = len(interactions.item_ids)
    buyers = np.asarray(interactions.matrix.sum(0)).ravel().astype(np.float32)
    units = {
        name: buyers * share
        for name, share in (("orders_1w", 0.02), ("orders_4w", 0.08), ("units_13w", np.float32(1)))
    }
    units |= {"buyers": buyers, "repeat_rate": rng.random(n).astype(np.float32)}
    units |= {
        "age_days": rng.integers(1, 700, n).astype(np.float32),
        "price": rng.lognormal(1, 1, n).astype(np.float32),
    }
    category = np.array(
        [f"Department {c % 20} > Category {c}" for c in range(_N_CATEGORIES)], object
    )
    return ItemFeatures(
        _AS_OF,
        interactions.item_ids,
        units,
        category[np.arange(n) % _N_CATEGORIES],
        np.full(n, "", object),
    )


def _draw_history(interactions: Interactions, user: int) -> UserHistory:
    rng = np.random.default_rng(user)
    row = interactions.matrix[user]
    n, now = row.nnz, int(_AS_OF.timestamp())
    last = now - (rng.random(n) * 52 * SECONDS_PER_WEEK).astype(np.int64)
    orders = rng.integers(1, 4, n).astype(np.float32)
    decayed = (orders * 0.9 ** ((now - last) / SECONDS_PER_WEEK)).astype(np.float32)
    bought = interactions.item_ids[np.sort(row.indices)]
    return replace(
        UserHistory.unknown(_AS_OF),
        user_id=str(user),
        item_ids=bought,
        n_orders=orders,
        quantity=orders,
        decayed_frequency=decayed,
        first_at=last - SECONDS_PER_WEEK * (orders > 1),
        last_at=last,
    )


def _search_als(als: Als, interactions: Interactions, measurement: Measurement) -> None:
    """Measure the search of the best items by ALS: the full one and that by clusters.

    The share of the best items that the search by clusters finds is measured too.
    """
    rows_by_id = {item_id: row for row, item_id in enumerate(als.item_ids)}
    exact = Nearest(als.factors)
    with measurement.step("clusters"):
        clusters = Nearest.build(als.factors, exact_up_to=0)
    queries, shares = [], []
    for user in range(_N_QUERIED):
        bought = interactions.item_ids[interactions.matrix[user].indices]
        rows = np.array([rows_by_id[item] for item in bought if item in rows_by_id], np.int64)
        queries.append((als.fold_in(rows), _N_BEST, rows))
    for vector, k, own_rows in queries:
        best = exact.search(vector, k, own_rows)
        by_clusters = clusters.search(vector, k, own_rows)
        shares.append(np.isin(best, by_clusters).mean() if len(best) else 1.0)
    for name, index in (("exact", exact), ("clusters", clusters)):
        measurement.values[f"ms a search, {name}"] = _measure_milliseconds(
            lambda index=index: [index.search(*query) for query in queries]
        )
    measurement.values["share found"] = float(np.mean(shares))


def _measure_milliseconds(answer_all: Callable[[], object]) -> float:
    started = time.perf_counter()
    answer_all()
    return (time.perf_counter() - started) / _N_QUERIED * 1000


def _read_peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measurements of each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--search-only", action="store_true", help="the two searches of ALS only")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        measurement = measure(options.users, options.items[0], search_only=options.search_only)
        print(json.dumps({"seconds": measurement.seconds, "values": measurement.values}))
        return
    print(f"{options.users:,} users, about {_N_PER_USER} items each")
    for n_items in options.items:
        command = [sys.executable, "-m", "tests.benchmarks.retrieval_scale", "--one"]
        command += ["--items", str(n_items), "--users", str(options.users)]
        command += ["--search-only"] * options.search_only
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result = json.loads(done.stdout)
        seconds = [f"{name} {value:.1f}" for name, value in result["seconds"].items()]
        values = [f"{name} {value:,.3g}" for name, value in result["values"].items()]
        print(f"\n{n_items:,} items")
        print(f"  seconds: {', '.join(seconds)}")
        print(f"  {', '.join(values)}", flush=True)


if __name__ == "__main__":
    main()
