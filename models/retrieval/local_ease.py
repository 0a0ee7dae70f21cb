"""EASE for more than ten thousand items: each item is regressed on its nearest neighbours only.

EASE inverts one matrix of items × items, whose memory grows with the square of the catalogue and
whose time with its cube. Almost all of its weights lie near zero. Here each item has a ridge
regression of its own on its few nearest items (fsSLIM of Ning and Karypis, "SLIM:
Sparse Linear Methods for Top-N Recommender Systems", ICDM 2011, in the closed form of Steck 2019):
memory and time grow with the number of items. With all other items for neighbours the weights are
those of EASE.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from features.contracts.arrays import Float32Array, Int64Array
from models.retrieval.ease import Ease
from models.retrieval.interactions import Interactions

_BLOCK = 1024  # items whose co-occurrences are counted at a time
_N_SOLVED = 256  # regressions solved at a time


@dataclass(frozen=True)
class LocalEaseConfig:
    """What each regression uses.

    n_neighbors      items that an item is regressed on, those of the highest cosines
    n_co_occurring   co-occurrences stored per item; other pairs count as never bought by one user
    min_buyers       an item of fewer buyers has no weights: they would be chance
    l2               ridge penalty
    """

    n_neighbors: int = 100
    n_co_occurring: int = 1000
    min_buyers: int = 3
    l2: float = 500.0


def fit_local_ease(interactions: Interactions, config: LocalEaseConfig) -> Ease:
    """Fit on whether a user bought an item; the same inputs give the same weights."""
    matrix = interactions.binarise()
    buyers = np.bincount(matrix.indices, minlength=matrix.shape[1])
    fitted_items = np.flatnonzero(buyers >= config.min_buyers)
    fitted_items = fitted_items if len(fitted_items) else np.arange(matrix.shape[1])
    matrix = matrix[:, fitted_items].tocsc()
    n_buyers = buyers[fitted_items].astype(np.float32)
    gram = _count_co_occurrences(matrix, n_buyers, config.n_co_occurring)
    neighbors = _select_neighbors(gram, n_buyers, config.n_neighbors)
    weights = _fit_weights(gram, n_buyers, neighbors, config.l2)
    return Ease(interactions.item_ids[fitted_items], weights)


def _count_co_occurrences(
    matrix: sparse.csc_matrix, n_buyers: Float32Array, n_pairs: int
) -> sparse.csr_matrix:
    """Return the users in common (items, items) for the pairs of highest cosine of each row.

    The matrix is symmetric, its diagonal is empty.
    """
    rows = matrix.tocsr()
    blocks = []
    for start in range(0, matrix.shape[1], _BLOCK):
        block = (matrix[:, start : start + _BLOCK].T @ rows).tocsr()
        blocks.append(_select_highest_cosines(block, n_buyers, start, n_pairs))
    pairs = sparse.vstack(blocks, format="csr")
    return pairs.maximum(pairs.T).tocsr()


def _select_highest_cosines(
    block: sparse.csr_matrix, n_buyers: Float32Array, start: int, n_pairs: int
) -> sparse.csr_matrix:
    """Return the `n_pairs` entries of highest cosine of each row, without the diagonal.

    The block's first row is the item at position `start`. Equal cosines are ordered by position.
    """
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    column = block.indices.astype(np.int64)
    off_diagonal = column != row + start
    row, column, data = row[off_diagonal], column[off_diagonal], block.data[off_diagonal]
    order = np.lexsort((column, -data / np.sqrt(n_buyers[column]), row))
    first = np.searchsorted(row[order], np.arange(block.shape[0]))
    rank = np.arange(len(order)) - first[row[order]]  # from 0, within the row
    chosen = order[rank < n_pairs]
    return sparse.csr_matrix((data[chosen], (row[chosen], column[chosen])), shape=block.shape)


def _select_neighbors(gram: sparse.csr_matrix, n_buyers: Float32Array, n: int) -> Int64Array:
    """Return positions (items, n) of the nearest items, ascending; -1 behind them where an item has
    fewer."""
    nearest = _select_highest_cosines(gram, n_buyers, 0, n)
    nearest.sort_indices()
    lengths = np.diff(nearest.indptr)
    neighbors = np.full((gram.shape[0], max(1, int(lengths.max(initial=0)))), -1, np.int64)
    row = np.repeat(np.arange(gram.shape[0]), lengths)
    neighbors[row, np.arange(len(row)) - nearest.indptr[row]] = nearest.indices
    return neighbors


def _fit_weights(
    gram: sparse.csr_matrix, n_buyers: Float32Array, neighbors: Int64Array, l2: float
) -> sparse.csr_matrix:
    """Return the weights: row = the item bought, column = the item that it adds score to."""
    n, k = neighbors.shape
    gram.sort_indices()
    keys = np.repeat(np.arange(n), np.diff(gram.indptr)) * np.int64(n) + gram.indices
    data, diagonal = np.append(gram.data, np.float32(0)), np.arange(k)
    parts = []
    # The systems are small: threads would wait longer than they work.
    with threadpool_limits(1, "blas"):
        for start in range(0, n, _N_SOLVED):
            near = neighbors[start : start + _N_SOLVED]
            target = np.arange(start, start + len(near))
            system = _look_up_entries(keys, data, near[:, :, None], near[:, None, :], n)
            # A missing neighbour has an equation of its own, whose solution is 0.
            system[:, diagonal, diagonal] = np.where(near >= 0, n_buyers[near], 1.0) + l2
            right = _look_up_entries(keys, data, near, target[:, None], n)
            solution = np.linalg.solve(
                system.astype(np.float64), right[:, :, None].astype(np.float64)
            )[:, :, 0]
            known = near >= 0
            parts.append(
                (near[known], np.broadcast_to(target[:, None], near.shape)[known], solution[known])
            )
    rows, columns, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    weights = sparse.csr_matrix((values.astype(np.float32), (rows, columns)), shape=(n, n))
    weights.eliminate_zeros()
    return weights


def _look_up_entries(
    keys: Int64Array, data: Float32Array, row: Int64Array, column: Int64Array, n: int
) -> Float32Array:
    """Return entries of a sparse matrix whose sorted keys are row × n + column; 0 where there is
    none."""
    entry_keys = np.where((row >= 0) & (column >= 0), row * np.int64(n) + column, -1)
    index = np.searchsorted(keys, entry_keys)
    exists = np.zeros(entry_keys.shape, bool)
    inside = index < len(keys)
    exists[inside] = keys[index[inside]] == entry_keys[inside]
    return np.where(exists, data[np.minimum(index, len(data) - 1)], np.float32(0))
