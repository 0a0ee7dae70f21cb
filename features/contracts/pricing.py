"""Price suggestions: frozen records that the optimiser makes, the desk stores and HTTP shows.

Money is in minor units of the suggestion's currency; revenue and profit are net of tax. No record
has a field about a person, and none may get one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from features.contracts.sizes import Size

# The name of the pricing rules where none is named.
DEFAULT_RULES = "default"


class Objective(StrEnum):
    """The quantity that a suggested price maximises."""

    PROFIT = "profit"
    REVENUE = "revenue"
    UNITS = "units"
    SELL_THROUGH = "sell_through"  # revenue of a finite stock until a date
    MIX = "mix"  # a weighted sum of profit, revenue and units


class PriceTestDesign(StrEnum):
    """How chance says which items have which of two prices when."""

    CROSSOVER = "crossover"  # families and items change between their prices from period to period
    SWITCHBACK = "switchback"  # whole zones do, each in a random order of its own
    ROLLOUT = "rollout"  # categories get their new prices one after the other, and keep them


class PriceLaw(StrEnum):
    """The earlier prices from which an announced reduction is counted."""

    # the lowest of the 30 days before it began: Directive 98/6/EC, article 6a; CJEU C-330/23
    EU30 = "EU30"
    CN7 = "CN7"  # the lowest of the 7 days before it began: China's rules on the marking of prices

    @property
    def days(self) -> int:
        """Length of the window."""
        return {PriceLaw.EU30: 30, PriceLaw.CN7: 7}[self]


class EvidenceGrade(StrEnum):
    """The evidence of the data on the price response of an item: A much, D none."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


class PresentItem(NamedTuple):
    """What is known of an item now: unit cost (minor units, net of tax), stock, the price of
    competitors as a rule counts it, and the minimum advertised price; None where nothing is."""

    unit_cost_minor: float | None
    stock_on_hand: float | None
    competitor_minor: float | None = None
    map_minor: int | None = None


@dataclass(frozen=True)
class Band:
    """A quantity with its uncertainty."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True)
class Effect:
    """Units, net revenue and net profit over the horizon."""

    units: Band
    revenue: Band
    profit: Band


@dataclass(frozen=True)
class WaterfallStep:
    """One rule and its effect on the price; a soft rule may be broken, a hard one never is."""

    rule: str
    before_minor: int
    after_minor: int
    hard: bool
    note: str


@dataclass(frozen=True)
class PriceSuggestion:
    """One price for one item in one zone, with its reasons.

    expected          at the suggested price
    against_keeping   expected at the suggested price less expected at the current one, with the
                      change of the rest of the family (both None where a plain strategy priced
                      an item whose response is unknown)
    binding_rule      the rule that prevented the optimal price; None when none did
    strategy          "optimise", or the plain strategy that gave the price
    stage             lifecycle stage whose preset priced the item; None where none did
    flags             notes for the approver: a planned promotion that a raise would spoil
    propensity        probability with which this price was drawn; 1 for a deterministic suggestion
    """

    item_id: str
    zone: str
    currency: str
    list_price_minor: int
    current_price_minor: int
    suggested_price_minor: int
    expected: Effect | None
    against_keeping: Effect | None
    evidence_grade: EvidenceGrade
    elasticity: float
    elasticity_error: float
    unit_cost_minor: float
    cost_source: Literal["known", "assumed"]
    binding_rule: str | None
    waterfall: tuple[WaterfallStep, ...]
    strategy: str = "optimise"
    stage: str | None = None
    flags: tuple[str, ...] = ()
    propensity: float = 1.0


@dataclass(frozen=True)
class PricingItem:
    """The inputs of the optimiser for one item in one zone.

    opening_list_price_minor   the list price before the price desk moved it; None where that is not
                               known
    units_*            forecast units over the horizon at the current price
    elasticity         mean and standard error of d ln units / d ln price; NaN and grade D when
                       unknown
    lowest_tried_minor, highest_tried_minor   the range of prices seen; None without evidence
    cross_*            what the rest of the family gains over the horizon per unit of the log of
                       this item's price; cross_error: standard error of that, a share of it;
                       cross_correlation: of this error with that of the elasticity
    unit_cost_error_minor   standard error of an assumed cost, 0 where nothing is known of it
    n_regular_changes  moves of the item's own regular price that its response was learnt from; None
                       where that is not known
    hold               why the price must not change; None where it may
    category, brand, family_id, size, price_image   groups that rules speak of; size is comparable
    within its unit
    stage              lifecycle stage; None where none is known
    stock_units        on hand; weeks_to_sell: how long it may take to sell them; None where not
                       known
    map_minor          minimum advertised price
    competitor_minor   price of the competitors, as the rules compute it
    law_floor_minor    lowest price that leaves the planned promotions lawful
    spoiled_above_minor   a price above this one spoils the planned promotion that `spoiled` names
    days_since_change  days since the price last changed; None where it never did
    """

    item_id: str
    zone: str
    currency: str
    list_price_minor: int
    current_price_minor: int
    unit_cost_minor: float
    cost_source: Literal["known", "assumed"]
    tax_divisor: float
    units_p10: float
    units_p50: float
    units_p90: float
    units_mean: float
    elasticity: float
    elasticity_error: float
    evidence_grade: EvidenceGrade
    lowest_tried_minor: int | None
    highest_tried_minor: int | None
    opening_list_price_minor: int | None = None
    hold: str | None = None
    category: str = ""
    brand: str = ""
    family_id: str | None = None
    size: Size | None = None
    price_image: str | None = None
    stage: str | None = None
    stock_units: float | None = None
    weeks_to_sell: float | None = None
    map_minor: int | None = None
    competitor_minor: float | None = None
    law_floor_minor: int | None = None
    spoiled_above_minor: int | None = None
    spoiled: str = ""
    days_since_change: float | None = None
    cross_units: float = 0.0
    cross_revenue_minor: float = 0.0
    cross_profit_minor: float = 0.0
    cross_error: float = 0.0
    cross_correlation: float = 0.0
    n_regular_changes: int | None = None
    unit_cost_error_minor: float = 0.0
