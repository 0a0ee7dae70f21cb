"""Parameters of a simulated shop.

They were written before the models that are evaluated on it, and are not tuned to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from features.contracts.arrays import Int64Array
from features.contracts.errors import BadInput

Form = Literal["loglinear", "choice"]
_SHARES = (
    "unannounced",
    "dip_memory",
    "reference_memory",
    "item_shock_memory",
    "slow_share",
    "unknown_families",
    "competitor_match",
    "competitor_seen",
    "never_repriced",
)


@dataclass(frozen=True)
class ShopParameters:
    """Sizes, the form of demand, and how strongly things vary.

    Spreads are standard deviations of logarithms.

    form              "loglinear": ln units is linear in ln prices, own and of the family;
                      "choice": shoppers of a family choose one item or none (logit), so that the
                      rest of the family gains part of what an item loses
    confounded        promotions come when demand is high anyway; else at the same rate in any week
    foresight         weight of the coming demand in the choice of promotion weeks of a confounded
                      shop, against 1 for chance
    slope, slope_spread   d ln units / d ln price of an item (of its utility, for choice); half of
                      the spread is between categories
    cross             log-linear: what the rest of a family gains together when an item gets 1 %
                      dearer, in percent
    inside            choice: share of a family's shoppers that buy one of its items at reference
                      prices
    shock, drift      variation of a category's demand from week to week, and of an item's over
                      months
    season, holiday   half the range of a category over the year; size of the weeks that raise or
                      lower a whole category
    noise             beyond the Poisson noise of each week's units
    lifts             log lift of a kind of promotion at full reach, beside that of its price; a
                      coupon's is per depth
    dip               loss of log units in the week after a price promotion, per depth: shoppers
                      have stocked up
    pass_through      share of a change in cost that the regular price follows
    mark_up_noise     deviation of each item's cost from the one that fits its category's margin
    redeemed          share of a coupon item's lines on which the coupon is used
    stock_outs        share of weeks in which the delivery falls short, and the item sells out

    The following make a shop harder. Each is off by default, and draws its random numbers from a
    generator of its own: a shop without them does not change.

    regular_share, regular_share_spread   response to a regular price as a share of the response to
                      the depth of a reduction; by item normal around the mean, kept in .4 to 1
    announcement, announcement_spread   log lift of an announced reduction (a row of kind `price` in
                      promotions) beside its depth; half of the spread is between categories; never
                      below 0
    unannounced       share of the reductions that nobody announces: the shelf price is lower, and
                      promotions has no row
    dip_memory        share of the dip after a price promotion that is left a week later
    reference_gain, reference_loss, reference_memory   d ln units / d ln (reference / price) where
                      the price paid is below or above the reference price, an exponentially
                      smoothed past price that keeps `reference_memory` of itself each week
    item_shock, item_shock_memory   variation of an item's demand from week to week, which promotion
                      weeks and regular prices may foresee as they foresee the rest
    price_foresight   correlation of a regular price's own changes with the item's demand in the
                      weeks after; in a confounded shop only
    level_drift, slope_drift   random walk of an item's log demand, and of the logarithm of its
                      slopes, over a year; level and slopes of the last week are those of the shop
    slow_share, slow_units   share of items that sell little; their weekly units at reference
                      prices, log-uniform
    unknown_families  share of families that no table names; their items' categories have two levels
    competitor        d ln units / d ln price of a competitor who sells the same items
    competitor_steps, competitor_spread   share of weeks in which a price of the competitor moves on
                      its own; costs move it too
    competitor_match  share of the competitor's moves that regular prices follow
    competitor_seen   share of the items whose competitor price is in the tables
    cost_rounds, cost_round_size   share of weeks in which the costs of a whole category move;
                      mean and standard deviation of the move
    price_stickiness, largest_change   a regular price moves only when it is that far from what
                      costs and chance want, and by at most so much (logarithms)
    never_repriced    share of items whose regular price never moves
    short_promotions  how much likelier a short delivery is in a week of a price promotion, a factor
    """

    form: Form = "loglinear"
    confounded: bool = True
    n_departments: int = 2
    n_categories: int = 3  # of a department
    n_families: int = 4  # of a category
    family_size: int = 4
    n_weeks: int = 104
    horizon_weeks: int = 4
    n_shoppers: int = 1500
    units: float = 15.0
    units_spread: float = 0.6
    foresight: float = 0.6
    slope: float = -2.4
    slope_spread: float = 0.5
    cross: float = 0.4
    inside: float = 0.3
    shock: float = 0.25
    shock_memory: float = 0.6
    drift: float = 0.2
    drift_memory: float = 0.97
    season: float = 0.2
    holiday: float = 0.35
    noise: float = 0.15
    promoted: float = 0.16
    depths: tuple[float, ...] = (0.1, 0.15, 0.2, 0.25, 0.3)
    display_lift: float = 0.35
    mailer_lift: float = 0.25
    coupon_lift: float = 1.2
    dip: float = 0.4
    cost_steps: float = 0.05  # share of weeks in which a cost moves
    cost_spread: float = 0.08
    pass_through: float = 0.7
    price_steps: float = 0.04  # share of weeks in which a regular price moves on its own
    price_spread: float = 0.06
    mark_up_noise: float = 0.08
    redeemed: float = 0.3
    stock_outs: float = 0.02
    regular_share: float = 1.0
    regular_share_spread: float = 0.0
    announcement: float = 0.0
    announcement_spread: float = 0.0
    unannounced: float = 0.0
    dip_memory: float = 0.0
    reference_gain: float = 0.0
    reference_loss: float = 0.0
    reference_memory: float = 0.8
    item_shock: float = 0.0
    item_shock_memory: float = 0.5
    price_foresight: float = 0.0
    level_drift: float = 0.0
    slope_drift: float = 0.0
    slow_share: float = 0.0
    slow_units: tuple[float, float] = (0.5, 3.0)
    unknown_families: float = 0.0
    competitor: float = 0.0
    competitor_steps: float = 0.03
    competitor_spread: float = 0.06
    competitor_match: float = 0.0
    competitor_seen: float = 1.0
    cost_rounds: float = 0.0
    cost_round_size: tuple[float, float] = (0.03, 0.02)
    price_stickiness: float = 0.0
    largest_change: float = 0.14
    never_repriced: float = 0.0
    short_promotions: float = 1.0

    def __post_init__(self) -> None:
        if self.form not in ("loglinear", "choice"):
            raise BadInput(
                f"unknown form of demand {self.form!r}", hint="One of: loglinear, choice"
            )
        sizes = (
            self.n_departments,
            self.n_categories,
            self.n_families,
            self.family_size,
            self.n_shoppers,
        )
        if min(sizes) < 1 or self.n_weeks < 8 or self.horizon_weeks < 1:
            raise BadInput(
                "a shop has at least one family, one shopper, eight weeks and one week to come"
            )
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        if not -1 <= self.price_foresight <= 1:
            raise BadInput(f"price_foresight is a correlation, not {self.price_foresight}")
        if not 0 < self.slow_units[0] <= self.slow_units[1]:
            raise BadInput(f"slow_units are two positive numbers in order, not {self.slow_units}")

    @property
    def n_items(self) -> int:
        """How many items the shop sells."""
        return self.n_departments * self.n_categories * self.n_families * self.family_size

    @property
    def item_family(self) -> Int64Array:
        """(N,) number of each item's family."""
        return np.arange(self.n_items) // self.family_size

    @property
    def item_category(self) -> Int64Array:
        """(N,) number of each item's category."""
        return self.item_family // self.n_families
