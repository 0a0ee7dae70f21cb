"""The items whose vectors have the highest inner product with a visitor's, in large catalogues
without looking at all.

An inverted file of clusters, as faiss builds it (Jégou, Douze and Schmid, Product quantization for
nearest neighbor search, TPAMI 2011, without the quantization). A last coordinate makes all items
equally long, so that the nearest are those of the highest inner product (Bachrach et al., Speeding
up the Xbox recommender system, RecSys 2014).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.errors import BadInput
from models.compiled.top_items import top_positions

if TYPE_CHECKING:
    import faiss

# two meet.
EXACT_UP_TO = 20_000
_CLUSTERS = 4.0  # times the square root of the number of items
_LOOKED_INTO = 64  # clusters
_STEPS = 10
_SAMPLED = 64  # items of each cluster that it is found from


class Nearest:
    """A search over the factors of items, float32 (items, factors)."""

    def __init__(self, factors: Float32Array, index: faiss.IndexIVFFlat | None = None) -> None:
        self._factors = factors
        self._index = index
        if index is not None:
            index.nprobe = _LOOKED_INTO

    @classmethod
    def build(cls, factors: Float32Array, exact_up_to: int = EXACT_UP_TO) -> Self:
        """Over `factors`, exact where they are few; the same factors give the same index."""
        if len(factors) <= exact_up_to:
            return cls(factors)
        import faiss  # here, because most shops do not need it

        faiss.omp_set_num_threads(1)  # or sums differ in their last bits from run to run
        lengths = np.linalg.norm(factors, axis=1)
        rest = np.sqrt(np.maximum(lengths.max() ** 2 - lengths**2, 0))
        vectors = np.column_stack([factors, rest]).astype(np.float32)
        n_clusters = int(_CLUSTERS * np.sqrt(len(factors)))
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatL2(vectors.shape[1]), vectors.shape[1], n_clusters, faiss.METRIC_L2
        )
        index.cp.niter, index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = (
            _STEPS,
            1,
            _SAMPLED,
        )
        index.train(vectors)
        index.add(vectors)
        return cls(factors, index)

    def search(self, vector: Float32Array, k: int, but: Int64Array) -> Int64Array:
        """Rows of at most `k` items of the highest inner product above 0, highest first, without
        the rows `but`."""
        if k == 0:
            return np.zeros(0, np.int64)
        if self._index is None:
            scores = self._factors @ vector
            scores[but] = 0
            return top_positions(scores, k)
        wanted = np.append(vector, np.float32(0))[None]
        found = self._index.search(wanted, min(k + len(but), len(self._factors)))[1][0]
        found = np.sort(found[(found >= 0) & ~np.isin(found, but)])
        return found[top_positions(self._factors[found] @ vector, k)]

    def save(self, path: Path) -> None:
        """Writes the index where there is one."""
        if self._index is not None:
            import faiss

            faiss.write_index(self._index, str(path))

    @classmethod
    def load(cls, factors: Float32Array, path: Path) -> Self:
        """Over `factors` as they were saved, with the index of `path` when that exists; BadInput
        for another index."""
        if not path.exists():
            return cls(factors)
        import faiss

        index = faiss.read_index(str(path))
        if not isinstance(index, faiss.IndexIVFFlat):
            raise BadInput(
                "holds another kind of index",
                where=str(path),
                hint="Train anew: shopwright train recommendations",
            )
        return cls(factors, index)
