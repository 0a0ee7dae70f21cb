"""Rows that the ranker of carts is fitted and tuned on: candidates of incomplete orders."""

from __future__ import annotations

import numpy as np

from features.contracts.histories import UserHistory
from features.contracts.seeds import generator
from models.ranking.candidates import CandidateSource
from models.ranking.cart import CartSource, cart_columns
from models.ranking.catalogue import Catalogue
from models.ranking.columns import FeatureNames
from models.ranking.visitor import Visitor
from training.recommendations.carts import hold_out_last_items
from training.recommendations.ranking_rows import Rows, RowsBuilder
from training.recommendations.snapshots import TrainingContext
from training.splits import Window

_SHARE_UNKNOWN = 0.2  # of the orders are learnt from as those of an unknown visitor


def make_cart_rows(
    context: TrainingContext, window: Window, names: FeatureNames, seed: int, *, thinned: bool
) -> Rows:
    """Return the rows of the window's orders, by what was known at its cut.

    At most `carts.learnt` orders, drawn by the seed. `thinned`, to fit on: only some of the other
    candidates, and no orders whose held-out item is no candidate.
    """
    snapshot, config = context.snapshot(window.cut), context.config
    orders = hold_out_last_items(context.facts, window, snapshot.interactions.item_ids.tolist())
    rng = generator(seed, f"carts {window.cut.isoformat()}")
    catalogue = Catalogue(snapshot.items, names.item)
    source = CandidateSource(catalogue, snapshot.retrieval, config.candidates)
    cart_source = CartSource(catalogue, snapshot.retrieval, config.candidates.cart)
    visitors: dict[str, Visitor] = {}
    unknown = source.make_visitor(UserHistory.unknown(window.cut))
    share_negatives = config.ranker_cart.share_negatives if thinned else 1.0
    rows = RowsBuilder(len(cart_columns(*names)))
    for row in np.sort(rng.permutation(len(orders))[: config.carts.learnt]):
        order, visitor = orders[row], unknown
        if order.user_id in snapshot.histories and rng.random() >= _SHARE_UNKNOWN:
            if order.user_id not in visitors:
                visitors[order.user_id] = source.make_visitor(snapshot.histories[order.user_id])
            visitor = visitors[order.user_id]
        cart = cart_source.make_cart(order.context)
        candidates = cart_source.find_candidates(cart, visitor)
        labels = candidates == catalogue.index[order.target]
        kept = labels | (rng.random(len(candidates)) < share_negatives)
        if thinned and not labels.any():
            continue
        matrix = cart_source.make_columns(cart, visitor, candidates, names.user)
        rows.add(matrix[kept], labels[kept], 1)
    return rows.build()
