"""What the ranker of carts learns from, and is tuned on: candidates of past orders with one line
held out."""

from __future__ import annotations

import numpy as np

from features.contracts.histories import UserHistory
from features.contracts.seeds import generator
from models.ranking.candidates import CandidateSource
from models.ranking.cart import CartSource, cart_columns
from models.ranking.columns import Catalogue, Visitor
from training.recommendations.carts import held_out
from training.recommendations.ranking_rows import Names, Rows
from training.recommendations.snapshots import Workshop
from training.splits import Window

_SHARE_STRANGERS = 0.2  # of the orders, those whose visitor nobody knows


def cart_rows(workshop: Workshop, window: Window, names: Names, *, thinned: bool) -> Rows:
    """The rows of the window's orders, by what was known at its cut; `names` of the item and the
    user columns.

    At most `carts.learnt` orders. `thinned`, to learn from: orders whose held-out item is no
    candidate are left out, and the other candidates thinned.
    """
    known, config = workshop.snapshot(window.cut), workshop.config
    orders = held_out(workshop.facts, window, known.interactions.item_ids.tolist())
    rng = generator(workshop.settings.seed, f"carts {window.cut.isoformat()}")
    catalogue = Catalogue(known.items, names[0])
    visitors = CandidateSource(catalogue, known.retrieval, config.candidates)
    carts = CartSource(catalogue, known.retrieval, config.candidates.cart)
    met: dict[str, Visitor] = {}
    stranger = visitors.visitor(UserHistory.unknown(window.cut))
    matrices, labels, sizes = (
        [np.zeros((0, len(cart_columns(*names))), np.float32)],
        [np.zeros(0, bool)],
        [],
    )
    for at in np.sort(rng.permutation(len(orders))[: config.carts.learnt]):
        order, visitor = orders[at], stranger
        if order.user_id in known.histories and rng.random() >= _SHARE_STRANGERS:
            if order.user_id not in met:
                met[order.user_id] = visitors.visitor(known.histories[order.user_id])
            visitor = met[order.user_id]
        cart = carts.cart(order.context)
        places = carts.candidates(cart, visitor)
        label = places == catalogue.index[order.target]
        kept = label | (
            rng.random(len(places)) < (config.ranker_cart.share_negatives if thinned else 1.0)
        )
        if thinned and not label.any():
            continue
        matrices.append(carts.columns(cart, visitor, places, names[1])[kept])
        labels.append(label[kept])
        sizes.append(int(kept.sum()))
    counts = np.array(sizes, np.int64), np.ones(len(sizes), np.int64)
    return Rows(np.concatenate(matrices), np.concatenate(labels), *counts)
