"""Lift of displays, mailers and coupons that support a promotion, beside that of its price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.promotions.mechanics import Campaign, Mechanic

COUPON = "coupon"
_MIN_PLANNED_REACH = 0.005  # a planned reach above this is mentioned in the notes


@dataclass(frozen=True)
class SupportLift:
    """What a support adds to log units of each item (n,), 0 where unknown.

    `notes` explain what was counted and what was not.
    """

    log_units: Float64Array
    notes: tuple[str, ...]


def compute_support_lift(
    campaign: Campaign,
    lifts: Mapping[str, Float64Array],
    planned: Mapping[str, Float64Array],
    n_items: int,
) -> SupportLift:
    """Return the lift of a campaign's support, beyond the reach that forecasts contain already.

    Each kind counts at its mean. `lifts` (n,) by kind: added to log units at full reach, NaN where
    the model has none. `planned` (n,) by kind: the reach, 0 to the campaign's, of promotions that
    are planned for the time of the campaign; forecasts contain these.
    """
    log_units, notes = np.zeros(n_items), []
    for kind in campaign.support:
        lift = lifts.get(kind, np.full(n_items, np.nan))
        if kind == COUPON and campaign.mechanic is Mechanic.COUPON:
            notes.append(
                "the coupon counts by what is paid with it, not a second time as a support"
            )
            continue
        if np.isnan(lift).all():
            notes.append(f"no lift of {kind!r} was learnt: it is not counted")
            continue
        planned_reach = planned.get(kind, np.zeros(n_items))
        log_units += np.nan_to_num(lift) * np.maximum(campaign.reach - planned_reach, 0.0)
        notes += _describe_uncounted(kind, lift, planned_reach)
    if log_units.any():
        notes.append(
            "a lift is taken at its mean: its own error is not known and not in the intervals"
        )
    return SupportLift(log_units, tuple(notes))


def _describe_uncounted(
    kind: str, lift: Float64Array, planned_reach: Float64Array
) -> Iterator[str]:
    n_items = len(lift)
    n_unknown = int(np.isnan(lift).sum())
    n_planned = int((planned_reach > _MIN_PLANNED_REACH).sum())
    if n_unknown:
        yield (
            f"no lift of {kind!r} was learnt for {n_unknown:,} of {n_items:,} items: "
            "it is not counted there"
        )
    if n_planned:
        yield (
            f"{kind!r} is planned for {n_planned:,} of {n_items:,} items already: "
            "the forecast holds that part"
        )
