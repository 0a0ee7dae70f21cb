"""A simulated shop that changes some regular prices in its last weeks, and what that does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from experiments.simulator.customers import compute_push
from experiments.simulator.plan import Plan
from experiments.simulator.shop import SimulatedShop, draw_sales
from features.contracts.arrays import Float64Array


@dataclass(frozen=True)
class PriceChanges:
    """Regular prices that change at the beginning of a week and stay changed.

    week       number of the first week at the new prices
    ratio      (N,) new over old regular price; 1 where it stays. Reductions keep their depth
    surprise   added to each changed item's log units per unit of |ln ratio|: how much worse (below
               0) or better customers take the change than they take the shop's other prices
    """

    week: int
    ratio: Float64Array
    surprise: float = 0.0


def change_plan(plan: Plan, changes: PriceChanges) -> Plan:
    """Return the plan with the changed prices, whole minor units."""
    factor = np.ones(plan.regular.shape)
    factor[:, changes.week :] = changes.ratio[:, None]
    regular = np.rint(plan.regular * factor).astype(np.int64)
    offer = np.rint(plan.offer * factor).astype(np.int64)
    return replace(plan, regular=regular, offer=np.minimum(offer, regular))


def expect_changed_units(shop: SimulatedShop, changes: PriceChanges) -> Float64Array:
    """Return true expected units (N, T) with the changes, in the demand of each week.

    Customers compare the new prices with the old ones, and buy more of what else the family has.
    """
    plan = change_plan(shop.plan, changes)
    none = np.zeros(len(shop.item_ids))
    push = compute_push(shop.parameters, shop.customers, shop.demand, plan, none)
    push[:, changes.week :] += changes.surprise * np.abs(np.log(changes.ratio))[:, None]
    return np.asarray(shop.demand.units(np.log(plan.offer), push) * shop.demand_factors.past)


def apply_changes(
    shop: SimulatedShop, changes: PriceChanges, rng: np.random.Generator
) -> SimulatedShop:
    """Return the shop with the changes, its sales drawn anew from the first changed week on."""
    plan, expected = change_plan(shop.plan, changes), expect_changed_units(shop, changes)
    units, available = draw_sales(shop.parameters, plan, expected, rng)
    week = changes.week
    return replace(
        shop,
        plan=plan,
        expected=expected,
        units=np.hstack([shop.units[:, :week], units[:, week:]]),
        available=np.hstack([shop.available[:, :week], available[:, week:]]),
    )
