"""How fitting and recommending grow with the catalogue: seconds and memory, on synthetic data of a
real shape.

    python -m tests.benchmarks.retrieval_scale [--items 10000 100000 1000000] [--users 100000]
    [--search-only]

Item popularity follows a power law, users differ in activity, and half of a user's purchases come
from a taste that it shares with other users. Each size is measured in a process of its own, so that
the memory told is its own.
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
from models.ranking.columns import Catalogue, column_names, columns
from models.ranking.lambdarank import Ranker, fit_ranker
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

_PER_USER = 30
_N_TASTES = 200
_EXACT_UP_TO = 12_000  # a dense matrix of more items takes minutes to invert, and gigabytes
_N_CATEGORIES = 300
_AS_OF = datetime(2024, 3, 4, tzinfo=UTC)
_ASKED = 200  # users that are recommended to
_LEARNT = 300  # users that the ranker learns from
_BEST = 60  # items that a search looks for


def synthetic(n_users: int, n_items: int, seed: int = 1) -> Interactions:
    """Who bought what, about `_PER_USER` items a user."""
    rng = np.random.default_rng(seed)
    n_bought = np.maximum(rng.poisson(rng.gamma(2.0, _PER_USER / 2, n_users)), 1)
    user = np.repeat(np.arange(n_users), n_bought)
    anything = _by_popularity(rng, n_items, len(user))
    taste = rng.integers(0, _N_TASTES, n_users)[user]
    own = np.minimum(
        _by_popularity(rng, n_items // _N_TASTES, len(user)) * _N_TASTES + taste, n_items - 1
    )
    item = np.where(rng.random(len(user)) < 0.5, own, anything)
    matrix = sparse.csr_matrix(
        (np.ones(len(user), np.float32), (user, item)), shape=(n_users, n_items)
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    ids = [np.array([f"{n:07}" for n in range(size)], object) for size in (n_users, n_items)]
    return Interactions(*ids, matrix)


def _by_popularity(rng: np.random.Generator, n_items: int, n: int) -> np.ndarray:
    """Draws whose chances fall as rank to the power of -0.8."""
    ranks = np.arange(1, n_items + 1, dtype=np.float64)
    cumulative = np.cumsum(ranks**-0.8)
    return np.searchsorted(cumulative, rng.random(n) * cumulative[-1])


@dataclass
class Measured:
    """Seconds of each step of one size, and figures beside them."""

    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Adds the seconds of a block."""
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def measure(n_users: int, n_items: int, *, search_only: bool) -> Measured:
    """Fits every source and a ranker, recommends, and searches; with `search_only` ALS alone is
    fitted."""
    config, measured = load("models/recommendations", RecommendationsConfig), Measured()
    interactions = synthetic(n_users, n_items)
    before = _gigabytes()
    if search_only:
        _search(fit_als(interactions, config.als, seed=1), interactions, measured)
        return measured
    with measured.step("EASE" if n_items <= _EXACT_UP_TO else "local EASE"):
        ease = _ease(interactions, config, exact=n_items <= _EXACT_UP_TO)
    with measured.step("ALS"):
        als = fit_als(interactions, config.als, seed=1)
    with measured.step("item-kNN"):
        similar = fit_item_knn(interactions.item_ids, interactions.binarise(), config.item_knn)
    with measured.step("rules"):
        together = fit_association(
            interactions.item_ids, interactions.binarise(), config.association
        )
    measured.figures |= {"items in EASE": len(ease.item_ids), "items in ALS": len(als.item_ids)}
    _recommend(Retrieval(ease, als, similar, together), interactions, config, measured)
    measured.figures["GB"] = _gigabytes() - before
    _search(als, interactions, measured)
    return measured


def _ease(interactions: Interactions, config: RecommendationsConfig, *, exact: bool) -> Ease:
    if exact:
        return fit_ease(interactions, replace(config.ease, n_items=interactions.matrix.shape[1]))
    return fit_local_ease(interactions, config.local_ease)


def _recommend(
    retrieval: Retrieval,
    interactions: Interactions,
    config: RecommendationsConfig,
    measured: Measured,
) -> None:
    """A recommender of these sources over the whole catalogue, asked for slates of 20, one user at
    a time."""
    items = _catalogue(interactions)
    histories = [_history(interactions, user) for user in range(_ASKED + _LEARNT)]
    names = column_names(tuple(sorted(items.columns)), ())
    with measured.step("ranker"):
        ranker, calibration = _ranker(retrieval, items, histories[_ASKED:], names, config)
    model = RecommendationModel(
        retrieval,
        config.candidates,
        dict.fromkeys(TASKS, ranker),
        tuple(sorted(items.columns)),
        (),
        dict.fromkeys(TASKS, "ranker"),
        dict.fromkeys(TASKS, calibration),
    )
    with measured.step("bound to the catalogue"):
        recommender = Recommender(model, items, {task: Placement(task) for task in TASKS})
    for task in TASKS:
        queries = [RecommendationQuery(history, task, 20) for history in histories[:_ASKED]]
        recommender.recommend(queries[:5])
        measured.figures[f"ms a recommendation, {task}"] = _milliseconds(
            lambda queries=queries: recommender.recommend(queries)
        )


def _ranker(
    retrieval: Retrieval,
    items: ItemFeatures,
    histories: Sequence[UserHistory],
    names: tuple[str, ...],
    config: RecommendationsConfig,
) -> tuple[Ranker, Calibration]:
    """Learns what else a user bought, without seeing it; as many trees as the shipped one, and its
    calibration."""
    catalogue = Catalogue(items, tuple(sorted(items.columns)))
    source = CandidateSource(catalogue, retrieval, config.candidates)
    matrices, labels = [], []
    for history in histories:
        shown = np.arange(len(history.item_ids)) % 4 > 0
        fields = ("item_ids", "n_orders", "quantity", "decayed_frequency", "first_at", "last_at")
        visitor = source.visitor(
            replace(history, **{name: getattr(history, name)[shown] for name in fields})
        )
        places = source.candidates(visitor, "all")
        matrices.append(columns(catalogue, visitor, places, ()))
        labels.append(np.isin(places, catalogue.positions(history.item_ids[~shown])))
    sizes = np.array([len(label) for label in labels])
    matrix, label = np.concatenate(matrices), np.concatenate(labels)
    ranker = fit_ranker(matrix, label, sizes, names, config.ranker_all, seed=1)
    return ranker, fit_calibration(matrix, label, np.ones(len(label)), names)


def _catalogue(interactions: Interactions) -> ItemFeatures:
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


def _history(interactions: Interactions, user: int) -> UserHistory:
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


def _search(als: Als, interactions: Interactions, measured: Measured) -> None:
    """The best items by ALS: all looked at, and by clusters; what share of the best the clusters
    find."""
    row_of = {item_id: row for row, item_id in enumerate(als.item_ids)}
    exact = Nearest(als.factors)
    with measured.step("clusters"):
        clusters = Nearest.build(als.factors, exact_up_to=0)
    held = [
        [row_of.get(each, -1) for each in interactions.item_ids[interactions.matrix[u].indices]]
        for u in range(_ASKED)
    ]
    rows = [np.array([each for each in user if each >= 0], np.int64) for user in held]
    asked = [(als.fold_in(each), _BEST, each) for each in rows]
    found = []
    for vector, k, but in asked:
        best = exact.search(vector, k, but)
        found.append(np.isin(best, clusters.search(vector, k, but)).mean() if len(best) else 1.0)
    for name, search in (("exact", exact), ("clusters", clusters)):
        measured.figures[f"ms a search, {name}"] = _milliseconds(
            lambda search=search: [search.best(*each) for each in asked]
        )
    measured.figures["share found"] = float(np.mean(found))


def _milliseconds(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return (time.perf_counter() - started) / _ASKED * 1000


def _gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints what each size takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument(
        "--search-only", action="store_true", help="the two searches of ALS, and nothing else"
    )
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        measured = measure(chosen.users, chosen.items[0], search_only=chosen.search_only)
        print(json.dumps({"seconds": measured.seconds, "figures": measured.figures}))
        return
    print(f"{chosen.users:,} users, about {_PER_USER} items each")
    for n_items in chosen.items:
        command = [sys.executable, "-m", "tests.benchmarks.retrieval_scale", "--one"]
        command += [
            "--items",
            str(n_items),
            "--users",
            str(chosen.users),
            *["--search-only"] * chosen.search_only,
        ]
        found = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        )
        print(f"\n{n_items:,} items")
        print(
            "  seconds: "
            + ", ".join(f"{name} {value:.1f}" for name, value in found["seconds"].items())
        )
        print(
            "  " + ", ".join(f"{name} {value:,.3g}" for name, value in found["figures"].items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
