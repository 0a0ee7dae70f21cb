"""How EASE and its local form grow with the catalogue: seconds and memory, on synthetic data of a real shape.

    python -m tests.benchmarks.retrieval_scale [--items 10000 100000 1000000] [--users 100000]

Item popularity follows a power law, users differ in activity, and half of a user's purchases come from a taste that it
shares with other users. Each fit runs in a process of its own, so that the memory told is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from models.retrieval.ease import EaseConfig, fit_ease
from models.retrieval.interactions import Interactions
from models.retrieval.local_ease import LocalEaseConfig, fit_local_ease

_PER_USER = 30
_N_TASTES = 200
_EXACT_UP_TO = 12_000  # a dense matrix of more items takes minutes to invert, and gigabytes


def synthetic(n_users: int, n_items: int, seed: int = 1) -> Interactions:
    """Who bought what, about `_PER_USER` items a user."""
    rng = np.random.default_rng(seed)
    n_bought = np.maximum(rng.poisson(rng.gamma(2.0, _PER_USER / 2, n_users)), 1)
    user = np.repeat(np.arange(n_users), n_bought)
    anything = _by_popularity(rng, n_items, len(user))
    taste = rng.integers(0, _N_TASTES, n_users)[user]
    own = np.minimum(_by_popularity(rng, n_items // _N_TASTES, len(user)) * _N_TASTES + taste, n_items - 1)
    item = np.where(rng.random(len(user)) < 0.5, own, anything)
    matrix = sparse.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=(n_users, n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    ids = [np.array([f"{n:07}" for n in range(size)], object) for size in (n_users, n_items)]
    return Interactions(*ids, matrix)


def _by_popularity(rng: np.random.Generator, n_items: int, n: int) -> np.ndarray:
    """Draws whose chances fall as rank to the power of -0.8."""
    ranks = np.arange(1, n_items + 1, dtype=np.float64)
    cumulative = np.cumsum(ranks**-0.8)
    return np.searchsorted(cumulative, rng.random(n) * cumulative[-1])


def measure(kind: str, n_users: int, n_items: int) -> dict[str, float]:
    """Seconds and peak memory of one fit, and how many items and weights it has."""
    interactions = synthetic(n_users, n_items)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if kind == "exact":
        model = fit_ease(interactions, EaseConfig(n_items=n_items))
    else:
        model = fit_local_ease(interactions, LocalEaseConfig())
    seconds = time.perf_counter() - started
    rows = np.arange(min(20, len(model.item_ids)))
    asked = time.perf_counter()
    for _ in range(20):
        model.score(rows, np.ones(len(rows), np.float32))
    return {
        "seconds": seconds,
        "gigabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6,
        "items": len(model.item_ids),
        "weights": model.weights.nnz,
        "score_ms": (time.perf_counter() - asked) / 20 * 1000,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one line per size and form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--one", choices=["exact", "local"], help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(measure(chosen.one, chosen.users, chosen.items[0])))
        return
    print(f"{chosen.users:,} users, about {_PER_USER} items each")
    print(f"{'items':>10} {'form':>6} {'fitted':>9} {'weights':>12} {'seconds':>8} {'GB':>6} {'score ms':>9}")
    for n_items in chosen.items:
        for kind in ("exact", "local"):
            if kind == "exact" and n_items > _EXACT_UP_TO:
                continue
            command = [sys.executable, "-m", "tests.benchmarks.retrieval_scale", "--one", kind]
            command += ["--items", str(n_items), "--users", str(chosen.users)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"{n_items:>10,} {kind:>6} {found['items']:>9,} {found['weights']:>12,} {found['seconds']:>8.1f} "
                f"{found['gigabytes']:>6.1f} {found['score_ms']:>9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
