"""The methods that rank by purchases alone: how each is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from models.artifact import read_meta
from models.retrieval import als, bm25_knn, bpr, ease, tifu_knn
from models.retrieval.purchase_method import PurchaseMethod

_LOADERS: Mapping[str, Callable[[Path], PurchaseMethod]] = {
    als.KIND: als.Als.load,
    bm25_knn.KIND: bm25_knn.Bm25Knn.load,
    bpr.KIND: bpr.Bpr.load,
    ease.KIND: ease.Ease.load,
    tifu_knn.KIND: tifu_knn.TifuKnn.load,
}


def load_purchase_method(folder: Path) -> PurchaseMethod:
    """Read what the `save` of a method wrote. Raises BadInput where it is none."""
    return _LOADERS[read_meta(folder, *_LOADERS)["kind"]](folder)
