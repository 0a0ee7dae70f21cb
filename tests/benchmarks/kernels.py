"""Time of every compiled kernel and of its numpy twin.

    python -m tests.benchmarks.kernels

It also prints the share of an answer of 1 ms that the kernel saves.

Inputs are random, of the size of the demo's shop: 8,000 items that EASE knows, 400 weights each, a
visitor with 100 of them bought, 300 candidates, rankers of 140 trees of 10 leaves. A kernel that is
called twice for an answer is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from timeit import repeat

import numpy as np

from models.compiled.candidate_columns import (
    make_candidate_columns,
    make_candidate_columns_numpy,
)
from models.compiled.factor_fold_in import fold_in_user, fold_in_user_numpy
from models.compiled.merge_candidates import merge_candidates, merge_candidates_numpy
from models.compiled.source_chances import (
    interpolate_chances,
    interpolate_chances_numpy,
    likeliest_sources,
    likeliest_sources_numpy,
)
from models.compiled.sparse_sums import add_rows, add_rows_in_pairs, add_rows_numpy
from models.compiled.top_items import (
    best_allowed_rows,
    best_allowed_rows_numpy,
    top_positions,
    top_positions_numpy,
)
from models.compiled.tree_scoring import add_tree_scores, add_tree_scores_numpy
from tests.shops.kernel_inputs import KernelInputs

ANSWER = 1_000.0  # µs
N_ITEMS, N_BOUGHT, N_CANDIDATES, N_EARLY_EXIT = 8_000, 100, 300, 60


@dataclass(frozen=True)
class Measurement:
    """Times in µs of one call of a kernel and of its twin, and calls for one answer."""

    name: str
    kernel: float
    twin: float
    n_calls: int

    @property
    def saved_share(self) -> float:
        """The share of an answer that the kernel saves."""
        return (self.twin - self.kernel) * self.n_calls / ANSWER

    def line(self) -> str:
        """One line of the printed table."""
        return (
            f"{self.name:28s} {self.kernel:10.1f} {self.twin:10.1f} {self.n_calls:6d} "
            f"{self.saved_share:10.1%}"
        )


def measure(
    kernel: Callable[..., object],
    twin: Callable[..., object],
    arguments: tuple[object, ...],
    n_calls: int = 1,
) -> Measurement:
    """Time both on the same arguments: the best of five rounds."""
    times = []
    for function in (kernel, twin):
        function(*arguments)  # compile or load
        n = max(1, int(0.02 / repeat(lambda f=function: f(*arguments), number=1, repeat=3)[-1]))
        times.append(min(repeat(lambda f=function: f(*arguments), number=n, repeat=5)) / n * 1e6)
    return Measurement(kernel.__name__, times[0], times[1], n_calls)


def measure_all() -> list[Measurement]:
    """Time every kernel."""
    inputs = KernelInputs(np.random.default_rng(1), N_ITEMS, N_BOUGHT)
    columns = inputs.candidate_columns(N_CANDIDATES, 64)
    bought = columns.purchases.positions
    sources = np.concatenate([inputs.distinct_positions(150) for _ in range(3)])
    sums, both_sums = inputs.sparse_sums(1, 400), inputs.sparse_sums(2, 400)
    explained = inputs.chances(10)
    chosen_scores = explained.matrix[:, explained.score_columns]
    catalogue, allowed = np.arange(N_ITEMS), np.ones(N_ITEMS, bool)
    popularity = inputs.scores(N_ITEMS).astype(np.float64)
    first_trees, other_trees = inputs.trees(10, 10, 50), inputs.trees(130, 10, 50)
    table, early_exit = inputs.table(N_CANDIDATES, 50), inputs.table(N_EARLY_EXIT, 50)
    trees_of_all = first_trees, table, np.zeros(N_CANDIDATES)
    trees_of_best = other_trees, early_exit, np.zeros(N_EARLY_EXIT)
    return [
        measure(add_rows_in_pairs, add_rows_numpy, both_sums),
        measure(add_rows, add_rows_numpy, sums),
        measure(fold_in_user, fold_in_user_numpy, inputs.fold_in(64)),
        measure(top_positions, top_positions_numpy, (inputs.scores(N_ITEMS), 150), 2),
        measure(merge_candidates, merge_candidates_numpy, (sources, bought, bought[:50])),
        measure(make_candidate_columns, make_candidate_columns_numpy, columns),
        measure(add_tree_scores, add_tree_scores_numpy, trees_of_all),
        measure(add_tree_scores, add_tree_scores_numpy, trees_of_best),
        measure(best_allowed_rows, best_allowed_rows_numpy, (catalogue, popularity, allowed, 10)),
        measure(likeliest_sources, likeliest_sources_numpy, explained),
        measure(interpolate_chances, interpolate_chances_numpy, (chosen_scores, *explained[-2:])),
    ]


def main() -> None:
    """Print a line per kernel."""
    print(f"{'kernel':28s} {'kernel µs':>10s} {'numpy µs':>10s} {'calls':>6s} {'saves':>10s}")
    for measurement in measure_all():
        print(measurement.line())


if __name__ == "__main__":
    main()
