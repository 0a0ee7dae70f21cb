"""What a price suggestion is: frozen records that the optimiser makes, the desk stores and HTTP shows.

Money is in minor units of the suggestion's currency; revenue and profit are net of tax. No record has a field about a
person, and none may get one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Objective(StrEnum):
    """What a suggested price is best at."""

    PROFIT = "profit"
    REVENUE = "revenue"
    UNITS = "units"


class EvidenceGrade(StrEnum):
    """How much the data say about an item's price response: A much, D nothing."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


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
    """One rule and what it did to the price. A soft rule may be broken, a hard one never is."""

    rule: str
    before_minor: int
    after_minor: int
    hard: bool
    note: str


@dataclass(frozen=True)
class PriceSuggestion:
    """One price for one item in one zone, with its reasons.

    expected          at the suggested price
    against_keeping   expected at the suggested price less expected at the current one
    binding_rule      the rule that kept the price from its optimum; None when none did
    propensity        probability with which this price was drawn; 1 for a deterministic suggestion
    """

    item_id: str
    zone: str
    currency: str
    list_price_minor: int
    current_price_minor: int
    suggested_price_minor: int
    expected: Effect
    against_keeping: Effect
    evidence_grade: EvidenceGrade
    elasticity: float
    elasticity_error: float
    unit_cost_minor: float
    cost_source: Literal["known", "assumed"]
    binding_rule: str | None
    waterfall: tuple[WaterfallStep, ...]
    propensity: float = 1.0


@dataclass(frozen=True)
class PricingItem:
    """All that the optimiser may know about one item in one zone.

    opening_list_price_minor   the list price before the price desk moved it; None where that is not known
    units_*            forecast units over the horizon at the current price
    elasticity         mean and standard error of d ln units / d ln price; grade D when unknown
    lowest_tried_minor, highest_tried_minor   the range of prices seen; None when there is no evidence
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
