"""The three ways in which a price moves units, apart: regular price, depth, announcement.

A regular price that falls by ten percent and a price that is announced as reduced by ten percent
are not the same to a shopper: the announcement draws attention, and the end of the reduction is in
sight (Blattberg, Briesch and Fox, How promotions work, Marketing Science 1995). So log units are
explained by

    regular     the log of the list price: the response that a suggested regular price relies on
    depth       the log of offer price over list price, 0 without a reduction
    announced   share of the week in which the price was announced as reduced: a step

What a promotion does is its step and its depth together.
"""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.group_regression import centre_series
from models.pricing.response.panel import PricePanel

REGULAR, DEPTH, ANNOUNCED = range(3)
N_TREATMENTS = 3
PRICE_KIND = "price"  # promotions of this kind are the announcement of a reduced price


def build_treatments(panel: PricePanel) -> Float64Array:
    """Return the treatments (3, S, W) in the order above; 0 where the price is unknown."""
    known = np.isfinite(panel.log_price)
    regular = np.where(known, panel.log_list, 0.0)
    depth = np.where(known, panel.log_ratio, 0.0)
    announced = np.where(known, panel.announced, 0.0)
    return np.stack([regular, depth, announced])


def combine_treatments(responses: Float64Array, treatments: Float64Array) -> Float64Array:
    """Return what prices do to log units (S, W): responses (S, 3) times treatments (3, S, W)."""
    return np.asarray(np.einsum("sk,ksw->sw", responses, treatments))


def centre_treatments(panel: PricePanel) -> Float64Array:
    """Return the treatments less their means over the weeks with a known price (3, S, W)."""
    known = np.isfinite(panel.log_price).astype(np.float64)
    return np.stack([centre_series(values, known) for values in build_treatments(panel)])
