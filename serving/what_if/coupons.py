"""How many buyers past coupons reached, and how many of these used them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from features.facts.facts import Facts
from features.pipelines.orders import count_redemptions

PAST_WEEKS = 52
MIN_LINES = 50


@dataclass(frozen=True)
class CouponUse:
    """What past coupons did: mean reach, and the share of the purchases of those who got one that
    were made with it.

    n_lines   purchases of items with a coupon that this is taken from
    """

    reach: float
    take_up: float
    take_up_error: float
    n_lines: int


def read_coupon_use(facts: Facts, zone: str, now: datetime) -> CouponUse | None:
    """Return what the coupons of the last year did in a zone; None of too few purchases.

    A purchase while a coupon ran counts as made with it where it was paid less than its list price
    by more than half of the coupon's depth: the table `events` must have list prices, and
    `promotions` the depth of coupons.
    """
    since = now - timedelta(weeks=PAST_WEEKS)
    table = count_redemptions(
        facts.read("promotions"), facts.read("events"), zone, since=since, until=now
    )
    row = table.to_pyarrow().to_pylist()[0]
    if row["n_lines"] < MIN_LINES or not row["mean_reach"]:
        return None
    redeemed = row["n_redeemed"] / row["n_lines"]
    error = math.sqrt(max(redeemed * (1 - redeemed), 1 / row["n_lines"]) / row["n_lines"])
    reach = row["mean_reach"]
    return CouponUse(reach, min(redeemed / reach, 1.0), error / reach, row["n_lines"])
