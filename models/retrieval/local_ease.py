"""EASE past ten thousand items: each item is regressed on its nearest neighbours only.

EASE inverts one matrix of items × items, whose memory grows with the square of the catalogue and
whose time with its cube. Almost all of its weights lie near zero. Here each item has a ridge
regression of its own on the few items it stands closest to (fsSLIM of Ning and Karypis, "SLIM:
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
_SOLVED = 256  # regressions solved at a time


@dataclass(frozen=True)
class LocalEaseConfig:
    """What each regression sees.

    n_neighbors      items it is regressed on, the highest cosines first
    n_co_occurring   co-occurrences remembered per item; pairs beyond count as never bought by one
                     user
    min_buyers       an item of fewer buyers has no weights: they would be chance
    l2               ridge penalty
    """

    n_neighbors: int = 100
    n_co_occurring: int = 1000
    min_buyers: int = 3
    l2: float = 500.0


def fit_local_ease(interactions: Interactions, config: LocalEaseConfig) -> Ease:
    """Fits on who bought what; the same inputs give the same weights."""
    matrix = interactions.binarise()
    buyers = np.bincount(matrix.indices, minlength=matrix.shape[1])
    kept = np.flatnonzero(buyers >= config.min_buyers)
    kept = kept if len(kept) else np.arange(matrix.shape[1])
    matrix = matrix[:, kept].tocsc()
    counts = buyers[kept].astype(np.float32)
    gram = _co_occurrences(matrix, counts, config.n_co_occurring)
    neighbors = _neighbors(gram, counts, config.n_neighbors)
    return Ease(interactions.item_ids[kept], _weights(gram, counts, neighbors, config.l2))


def _co_occurrences(
    matrix: sparse.csc_matrix, counts: Float32Array, n_kept: int
) -> sparse.csr_matrix:
    """Users in common, items × items: of each row the pairs of highest cosine, made symmetric, no
    diagonal."""
    rows = matrix.tocsr()
    blocks = []
    for start in range(0, matrix.shape[1], _BLOCK):
        block = (matrix[:, start : start + _BLOCK].T @ rows).tocsr()
        blocks.append(_strongest(block, counts, start, n_kept))
    kept = sparse.vstack(blocks, format="csr")
    return kept.maximum(kept.T).tocsr()


def _strongest(
    block: sparse.csr_matrix, counts: Float32Array, start: int, n_kept: int
) -> sparse.csr_matrix:
    """Of each row the `n_kept` entries of highest cosine; the diagonal is left out. Equal ones go
    by position."""
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    column = block.indices.astype(np.int64)
    others = column != row + start
    row, column, data = row[others], column[others], block.data[others]
    order = np.lexsort((column, -data / np.sqrt(counts[column]), row))
    first = np.searchsorted(row[order], np.arange(block.shape[0]))
    place = np.arange(len(order)) - first[row[order]]
    chosen = order[place < n_kept]
    return sparse.csr_matrix((data[chosen], (row[chosen], column[chosen])), shape=block.shape)


def _neighbors(gram: sparse.csr_matrix, counts: Float32Array, n: int) -> Int64Array:
    """Items × n positions of the nearest items, ascending; where an item has fewer, -1 behind
    them."""
    nearest = _strongest(gram, counts, 0, n)
    nearest.sort_indices()
    lengths = np.diff(nearest.indptr)
    found = np.full((gram.shape[0], max(1, int(lengths.max(initial=0)))), -1, np.int64)
    row = np.repeat(np.arange(gram.shape[0]), lengths)
    found[row, np.arange(len(row)) - nearest.indptr[row]] = nearest.indices
    return found


def _weights(
    gram: sparse.csr_matrix, counts: Float32Array, neighbors: Int64Array, l2: float
) -> sparse.csr_matrix:
    """Weights, row = what was bought, column = what it speaks for."""
    n, k = neighbors.shape
    gram.sort_indices()
    keys = np.repeat(np.arange(n), np.diff(gram.indptr)) * np.int64(n) + gram.indices
    data, diagonal = np.append(gram.data, np.float32(0)), np.arange(k)
    parts = []
    with threadpool_limits(
        1, "blas"
    ):  # the systems are small: threads would wait longer than they work
        for start in range(0, n, _SOLVED):
            near = neighbors[start : start + _SOLVED]
            target = np.arange(start, start + len(near))
            system = _looked_up(keys, data, near[:, :, None], near[:, None, :], n)
            # A missing neighbour has an equation of its own, whose answer is 0.
            system[:, diagonal, diagonal] = np.where(near >= 0, counts[near], 1.0) + l2
            right = _looked_up(keys, data, near, target[:, None], n)
            solved = np.linalg.solve(
                system.astype(np.float64), right[:, :, None].astype(np.float64)
            )[:, :, 0]
            known = near >= 0
            parts.append(
                (near[known], np.broadcast_to(target[:, None], near.shape)[known], solved[known])
            )
    rows, columns, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    weights = sparse.csr_matrix((values.astype(np.float32), (rows, columns)), shape=(n, n))
    weights.eliminate_zeros()
    return weights


def _looked_up(
    keys: Int64Array, data: Float32Array, row: Int64Array, column: Int64Array, n: int
) -> Float32Array:
    """Entries of the sparse matrix whose sorted keys are row × n + column; 0 where there is
    none."""
    wanted = np.where((row >= 0) & (column >= 0), row * np.int64(n) + column, -1)
    at = np.searchsorted(keys, wanted)
    found = np.zeros(wanted.shape, bool)
    inside = at < len(keys)
    found[inside] = keys[at[inside]] == wanted[inside]
    return np.where(found, data[np.minimum(at, len(data) - 1)], np.float32(0))
