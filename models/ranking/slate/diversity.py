"""Relevance between 0 and 1 from scores, and how similar two items are by their categories."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.categories import levels


def scale_to_relevance(scores: Float64Array, *, log_odds: bool) -> Float64Array:
    """Return scores (n,) as relevance in [0, 1], the best at 1, in the same order.

    LambdaRank learns log odds: of two items of one query the first wins with sigmoid(difference)
    (Burges 2010), so an item's relevance is twice its chance against the best one. Other scores are
    shares of the best, from 0 or the worst.

    >>> scale_to_relevance(np.array([2.0, 2.0 - np.log(3)]), log_odds=True).tolist()
    [1.0, 0.5]
    >>> scale_to_relevance(np.array([4.0, 1.0]), log_odds=False).tolist()
    [1.0, 0.25]
    """
    if not len(scores):
        return np.zeros(0)
    if log_odds:
        return np.asarray(
            2.0 / (1.0 + np.exp(np.minimum(scores.max() - scores, 700.0))), np.float64
        )
    lowest = min(float(scores.min()), 0.0)
    span = float(scores.max()) - lowest
    return (scores - lowest) / span if span > 0 else np.ones(len(scores))


class CategorySimilarity:
    """Similarity of items: the share of levels of the category path that two have in common."""

    def __init__(self, categories: list[str]) -> None:
        paths = [levels(category) for category in categories]
        self._depth = np.array([len(path) for path in paths], np.int64)
        codes: dict[tuple[str, ...], int] = {}
        width = int(self._depth.max(initial=0))
        # codes[i, d]: a number for the first d + 1 levels of item i, -1 below its path.
        self._codes = np.full((len(paths), width), -1, np.int64)
        for row, path in enumerate(paths):
            for depth in range(len(path)):
                self._codes[row, depth] = codes.setdefault(path[: depth + 1], len(codes))

    def to_item(self, index: int) -> Float64Array:
        """Return the similarity (n,) of every item to the item at `index`."""
        shared = ((self._codes == self._codes[index]) & (self._codes >= 0)).sum(1)
        deeper = np.maximum(self._depth, self._depth[index])
        return np.asarray(shared / np.maximum(deeper, 1), np.float64)
