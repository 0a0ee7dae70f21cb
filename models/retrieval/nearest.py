"""Search for the items of the highest inner product with a visitor's factors, exact or by clusters.

Large catalogues are searched by an inverted file of clusters, as faiss builds it (Jégou, Douze and
Schmid, Product quantization for nearest neighbor search, TPAMI 2011, without the quantization). A
last coordinate makes all items equally long, so that the nearest are those of the highest inner
product (Bachrach et al., Speeding up the Xbox recommender system, RecSys 2014).
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

# Up to so many items the search is exact: `tests/benchmarks/retrieval_scale.py` finds where the
# times of the two ways are equal.
EXACT_UP_TO = 20_000
_CLUSTERS_PER_ROOT = 4.0  # clusters for each square root of the number of items
_SEARCHED_CLUSTERS = 64
_KMEANS_STEPS = 10
_SAMPLED_ITEMS = 64  # items per cluster that k-means sees


class Nearest:
    """A search over the factors of items, float32 (items, factors)."""

    def __init__(self, factors: Float32Array, index: faiss.IndexIVFFlat | None = None) -> None:
        self._factors = factors
        self._index = index
        if index is not None:
            index.nprobe = _SEARCHED_CLUSTERS

    @classmethod
    def build(cls, factors: Float32Array, exact_up_to: int = EXACT_UP_TO) -> Self:
        """Build a search over `factors`, exact where they are few; the same factors give the same
        index."""
        if len(factors) <= exact_up_to:
            return cls(factors)
        import faiss  # here, because most shops do not need it

        faiss.omp_set_num_threads(1)  # or sums differ in their last bits from run to run
        lengths = np.linalg.norm(factors, axis=1)
        rest = np.sqrt(np.maximum(lengths.max() ** 2 - lengths**2, 0))
        vectors = np.column_stack([factors, rest]).astype(np.float32)
        n_clusters = int(_CLUSTERS_PER_ROOT * np.sqrt(len(factors)))
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatL2(vectors.shape[1]), vectors.shape[1], n_clusters, faiss.METRIC_L2
        )
        index.cp.niter = _KMEANS_STEPS
        index.cp.min_points_per_centroid = 1
        index.cp.max_points_per_centroid = _SAMPLED_ITEMS
        index.train(vectors)
        index.add(vectors)
        return cls(factors, index)

    def search(self, vector: Float32Array, k: int, excluded: Int64Array) -> Int64Array:
        """Return the rows of at most `k` items of the highest inner product above 0, highest first.

        vector     float32 (factors,)
        excluded   rows that are left out
        """
        if k == 0:
            return np.zeros(0, np.int64)
        if self._index is None:
            scores = self._factors @ vector
            scores[excluded] = 0
            return top_positions(scores, k)
        # The last coordinate of a visitor is 0.
        query = np.append(vector, np.float32(0))[None]
        n_neighbours = min(k + len(excluded), len(self._factors))
        neighbours = self._index.search(query, n_neighbours)[1][0]
        rows = np.sort(neighbours[(neighbours >= 0) & ~np.isin(neighbours, excluded)])
        return rows[top_positions(self._factors[rows] @ vector, k)]

    def save(self, path: Path) -> None:
        """Write the index where there is one."""
        if self._index is not None:
            import faiss

            faiss.write_index(self._index, str(path))

    @classmethod
    def load(cls, factors: Float32Array, path: Path) -> Self:
        """Build a search over `factors` as they were saved, with the index at `path` if it exists.

        Raises BadInput for another kind of index.
        """
        if not path.exists():
            return cls(factors)
        import faiss

        index = faiss.read_index(str(path))
        if not isinstance(index, faiss.IndexIVFFlat):
            raise BadInput(
                "contains another kind of index",
                where=str(path),
                hint="Train anew: shopwright train recommendations",
            )
        return cls(factors, index)
