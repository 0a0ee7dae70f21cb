"""Parameters of a simulated shop.

They were written before the models that are evaluated on it, and are not tuned to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from features.contracts.errors import BadInput

Form = Literal["loglinear", "choice"]


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

    @property
    def n_items(self) -> int:
        """How many items the shop sells."""
        return self.n_departments * self.n_categories * self.n_families * self.family_size
