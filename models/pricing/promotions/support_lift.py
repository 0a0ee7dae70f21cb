"""What displays, mailers and coupons add to a promotion beside its price: the lift by kind that
sales have told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.promotions.what_if import Campaign, Mechanic

COUPON = "coupon"
_HELD = 0.005  # reach that a plan must hold to be worth a word


@dataclass(frozen=True)
class SupportLift:
    """Added to log units of each item (n,), 0 where nothing is known; `notes` say what was counted
    and what not."""

    log_units: Float64Array
    notes: tuple[str, ...]


def support_lift(
    campaign: Campaign,
    lifts: Mapping[str, Float64Array],
    planned: Mapping[str, Float64Array],
    n_items: int,
) -> SupportLift:
    """The lift of a campaign's support, of every kind the mean at the reach that the items'
    forecasts do not hold yet.

    `lifts` (n,) by kind: added to log units at full reach, NaN where it was not learnt. `planned`
    (n,) by kind: the reach, 0 to the campaign's, of the promotions that are planned for the time of
    the campaign. A forecast holds these.
    """
    found, notes = np.zeros(n_items), []
    for kind in campaign.support:
        known = lifts.get(kind, np.full(n_items, np.nan))
        if kind == COUPON and campaign.mechanic is Mechanic.COUPON:
            notes.append(
                "the coupon counts by what is paid with it, not a second time as a support"
            )
            continue
        if np.isnan(known).all():
            notes.append(f"no lift of {kind!r} was learnt: it is not counted")
            continue
        held = planned.get(kind, np.zeros(n_items))
        found += np.nan_to_num(known) * np.maximum(campaign.reach - held, 0.0)
        notes += _notes(kind, known, held)
    if found.any():
        notes.append(
            "a lift is taken at its mean: its own error is not known and not in the intervals"
        )
    return SupportLift(found, tuple(notes))


def _notes(kind: str, known: Float64Array, held: Float64Array) -> Iterator[str]:
    unknown, planned = int(np.isnan(known).sum()), int((held > _HELD).sum())
    if unknown:
        yield f"no lift of {kind!r} was learnt for {unknown:,} of {len(known):,} items: it is not counted there"
    if planned:
        yield f"{kind!r} is planned for {planned:,} of {len(known):,} items already: the forecast holds that part"
