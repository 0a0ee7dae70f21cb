"""Pricing rules: the objective of prices, the limits of suggestions, and which limits are soft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, NamedTuple

from features.contracts.categories import SEPARATOR
from features.contracts.errors import BadInput, UnknownName
from features.contracts.pricing import EvidenceGrade, Objective, PricingItem
from models.pricing.optimise.batch_guards import BatchGuards
from models.pricing.optimise.endings import check_ending

# Rules of one item, in the order in which the waterfall applies them.
TRIED = "tried range"
CEILING = "ceiling"
CHANGE = "maximum change"
UNTESTED = "untested step"
COMPETITOR = "competitor position"
MARGIN = "margin floor"
MAP = "minimum advertised price"
LAW = "law"
FREQUENCY = "change frequency"
ENDING = "ending"
# Rules of many items.
ORDER = "family order"
IMAGE = "price image"
CHANGES = "number of changes"
GROUP_MARGIN = "group margin"
REVENUE = "revenue floor"
# The rules that may be soft. The law never is.
SOFT_RULES = (
    TRIED,
    CEILING,
    CHANGE,
    UNTESTED,
    COMPETITOR,
    MARGIN,
    MAP,
    FREQUENCY,
    ENDING,
    ORDER,
    IMAGE,
    CHANGES,
    GROUP_MARGIN,
    REVENUE,
)
MIXABLE_OBJECTIVES = (Objective.PROFIT, Objective.REVENUE, Objective.UNITS)
# No slope is valid further from the current price than this factor, whichever rules are given up.
MAX_PRICE_RATIO = 2.0

PlainStrategy = Literal["keep", "cost_plus", "competitor_index"]


@dataclass(frozen=True)
class CompetitorRule:
    """The price lies between `lowest` and `highest`, shares of the reference price of competitors.

    reference      lowest, median or mean of each competitor's latest price
    max_age_days   older observations do not count
    """

    reference: Literal["lowest", "median", "mean"] = "lowest"
    lowest: float = 0.0
    highest: float = 1.0
    max_age_days: int = 14

    def __post_init__(self) -> None:
        if not 0 <= self.lowest <= self.highest or self.max_age_days < 1:
            raise BadInput(
                "competitor: 0 <= lowest <= highest, max_age_days at least 1", where="pricing rules"
            )


@dataclass(frozen=True)
class FamilyRule:
    """Prices within a family (`family_id`), for sizes that can be compared.

    order        a larger pack is not cheaper than a smaller one
    unit_price   a larger pack is not dearer per gram, millilitre or piece either
    same_size    packs of one size cost the same; else the rule applies to the best seller of each
                 size
    """

    order: bool = False
    unit_price: bool = False
    same_size: bool = True


@dataclass(frozen=True)
class GroupMargin:
    """The minimum margin of every category at `depth` levels, a share of its net revenue.

    None: the margin at current prices.
    """

    depth: int = 1
    least: float | None = None


@dataclass(frozen=True)
class RuleScope:
    """Other rules for a part of the assortment: the items that have all that is named.

    category   a category with all below it
    brand, zone, stage   "" is every one
    The rest are rules of an item as in PricingRules; None leaves them as they are.
    """

    category: str = ""
    brand: str = ""
    zone: str = ""
    stage: str = ""
    objective: Objective | None = None
    mix: Mapping[Objective, float] | None = None
    risk_aversion: float | None = None
    max_change: float | None = None
    untested_step: float | None = None
    min_margin: float | None = None
    tried_margin: float | None = None
    max_over_list: float | None = None
    endings: tuple[str | int, ...] | None = None
    price_step: str | None = None
    min_grade: EvidenceGrade | None = None
    min_gain: float | None = None
    min_gain_minor: int | None = None
    min_days_between_changes: int | None = None
    competitor: CompetitorRule | None = None
    without_evidence: PlainStrategy | None = None
    markup: float | None = None
    competitor_index: float | None = None

    def __post_init__(self) -> None:
        if not any((self.category, self.brand, self.zone, self.stage)):
            raise BadInput(
                "a scope names a category, a brand, a zone or a stage",
                where="pricing rules: scopes",
                hint="What is right for every item stands outside of `scopes`",
            )

    def covers(self, part: AssortmentPart) -> bool:
        """Return whether the rules here are those of items in this part of the assortment."""
        below = f"{self.category}{SEPARATOR}"
        in_category = part.category == self.category or part.category.startswith(below)
        return (
            (not self.category or in_category)
            and self.brand in ("", part.brand)
            and self.zone in ("", part.zone)
            and self.stage in ("", part.stage)
        )

    def apply(self, rules: PricingRules) -> PricingRules:
        """Return the rules with those of this scope in their place."""
        values = {
            name: value
            for name, value in vars(self).items()
            if name not in _SCOPE_KEYS and value is not None
        }
        if self.objective is not None and self.mix is None:
            values["mix"] = {}
        return replace(rules, **values)


_SCOPE_KEYS = ("category", "brand", "zone", "stage")


class AssortmentPart(NamedTuple):
    """What scopes ask of an item; "" where it is not known."""

    category: str
    brand: str
    zone: str
    stage: str

    @classmethod
    def of(cls, item: PricingItem) -> AssortmentPart:
        """Return the part in which an item is."""
        return cls(item.category, item.brand, item.zone, item.stage or "")


@dataclass(frozen=True)
class PricingRules:
    """The rules of one file in configs/pricing, or of a version of it.

    Shares are 0..1, `_minor` is in minor units of the zone's currency.

    objective          what prices maximise over `horizon_weeks`
    mix                with objective mix: weights of profit, revenue (both in money) and units
                       (money per unit)
    risk_aversion      how much the worse end of the response's interval counts: 0 the mean, 1 only
                       that end
    sell_by            with objective sell_through: the day by which the stock should be sold;
                       unset: the horizon's end
    salvage_share      with objective sell_through: the value of a unit left over, a share of its
                       cost
    max_change         largest change of the offer price, a share of it
    untested_step      the same for items whose regular price never moved
    min_margin         least margin, a share of the net price; 0 is the cost floor, below 0 allows a
                       loss
    tried_margin       how far beyond the range of past prices a suggestion may go, a share
    max_over_list      ceiling over the list price that the shop set itself, a share; approved
                       prices do not raise it
    endings            ends of the prices that may be suggested, as text (see optimise/endings.py);
                       empty allows all; unset: those of the zone
    price_step         smallest step of prices, major units as text; unset: that of the zone
    min_grade          items with less evidence are priced by `without_evidence`
    max_losing_share   share of the suggestions that may be expected to lose, by the intervals of
                       the responses: the surest are made; 1 leaves the intervals aside
    min_gain           minimum expected gain, a share of the objective at the current price ...
    min_gain_minor     ... and in money; for objective units, in units
    min_days_between_changes   a price that changed more recently stays
    rejected_days      a rejected suggestion is not made again for so many days, unless the price
                       changed meanwhile
    max_changes, max_changes_share   maximum changes in a run, as a number and as a share of the
                       items
    revenue_floor      minimum expected revenue, a share of the revenue at current prices
    group_margin, family, competitor   see their types
    price_image        maximum increase of each price image group (item attribute `price_image`), a
                       share
    soft               rules that may be given up, with priorities 1 (first) to 100; every other
                       rule is hard
    without_evidence   keep, cost_plus (cost plus `markup`) or competitor_index (`competitor_index`
                       x the reference)
    stages             lifecycle stage of an item -> the preset of configs/pricing that prices it
    scopes             other rules for parts of the assortment; all that cover an item apply, over
                       its preset too, in the order of the list: of two the later one decides
    guards             limits of a whole run, see their type
    introduction_days  days for which an item without attribute `lifecycle_stage` is in stage
                       introduction
    """

    objective: Objective = Objective.PROFIT
    mix: Mapping[Objective, float] = field(default_factory=dict)
    risk_aversion: float = 0.0
    horizon_weeks: int = 4
    sell_by: date | None = None
    salvage_share: float = 0.0
    max_change: float = 0.1
    untested_step: float = 0.05
    min_margin: float = 0.05
    tried_margin: float = 0.05
    max_over_list: float = 0.1
    endings: tuple[str | int, ...] | None = None
    price_step: str | None = None
    min_grade: EvidenceGrade = EvidenceGrade.B
    max_losing_share: float = 1.0
    min_gain: float = 0.005
    min_gain_minor: int = 0
    min_days_between_changes: int = 0
    rejected_days: int = 28
    max_changes: int | None = None
    max_changes_share: float | None = None
    revenue_floor: float | None = None
    group_margin: GroupMargin | None = None
    family: FamilyRule = FamilyRule()
    competitor: CompetitorRule | None = None
    price_image: float | None = None
    soft: Mapping[str, int] = field(default_factory=dict)
    without_evidence: PlainStrategy = "keep"
    markup: float = 0.4
    competitor_index: float = 1.0
    stages: Mapping[str, str] = field(default_factory=dict)
    scopes: tuple[RuleScope, ...] = ()
    introduction_days: int = 56
    guards: BatchGuards = field(default_factory=BatchGuards)

    def __post_init__(self) -> None:
        for is_wrong, message in self._list_checks():
            if is_wrong:
                raise BadInput(message, where="pricing rules")
        for name, priority in self.soft.items():
            if name not in SOFT_RULES:
                raise UnknownName(name, SOFT_RULES, kind="rule")
            if not 1 <= priority <= 100:
                raise BadInput(
                    f"priorities lie in 1..100, that of {name!r} is {priority}",
                    where="pricing rules",
                )
        for scope in self.scopes:
            scope.apply(replace(self, scopes=()))  # raises where the rules together are wrong

    def apply_scopes(self, part: AssortmentPart) -> PricingRules:
        """Return the rules of items in a part of the assortment."""
        rules = replace(self, scopes=()) if self.scopes else self
        for scope in self.scopes:
            if scope.covers(part):
                rules = scope.apply(rules)
        return rules

    def _list_checks(self) -> list[tuple[bool, str]]:
        """Return pairs: whether a value is wrong, and what is right."""
        shares = (
            self.tried_margin,
            self.max_over_list,
            self.min_gain,
            self.min_gain_minor,
            self.markup,
        )
        days = (
            self.min_days_between_changes,
            self.rejected_days,
            self.introduction_days,
            self.max_changes or 0,
        )
        floors = (self.revenue_floor or 0.0, self.max_changes_share or 0.0, self.price_image or 0.0)
        mixed = {objective for objective, weight in self.mix.items() if weight}
        return [
            (
                not 0 < self.max_change < 1
                or not 0 < self.untested_step < 1
                or not -1 <= self.min_margin < 1,
                "max_change and untested_step in 0..1, min_margin in -1..1",
            ),
            (
                not all(map(check_ending, self.endings or ())),
                'endings are text such as "9", ".99" or "9.00"; numbers are one or two digits',
            ),
            (min(*shares, *days, *floors) < 0, "shares, amounts, days and counts are at least 0"),
            (self.horizon_weeks < 1, "horizon_weeks is at least 1"),
            (not 0 <= self.risk_aversion <= 1, "risk_aversion lies in 0..1"),
            (not 0 < self.max_losing_share <= 1, "max_losing_share lies in 0..1, above 0"),
            (not 0 <= self.salvage_share <= 1, "salvage_share lies in 0..1"),
            (self.competitor_index <= 0, "competitor_index is above 0"),
            (
                self.min_grade == EvidenceGrade.D,
                "min_grade is A, B or C: of grade D nothing is known. Test these prices first",
            ),
            (not mixed <= set(MIXABLE_OBJECTIVES), "mix weighs profit, revenue and units"),
            (
                (self.objective is Objective.MIX) != bool(mixed),
                "objective mix and the weights `mix` go together",
            ),
            (
                self.without_evidence == "competitor_index" and self.competitor is None,
                "without_evidence: competitor_index needs the rule `competitor` for its reference",
            ),
        ]


def select_rules(rules: PricingRules, preset: PricingRules | None) -> PricingRules:
    """Return the preset of a lifecycle stage with the scopes of `rules`; `rules` without a
    preset."""
    if preset is None:
        return rules
    return replace(preset, scopes=rules.scopes) if rules.scopes else preset


def set_objective(rules: PricingRules, objective: str | None) -> PricingRules:
    """Return the rules with another objective; unchanged where it is None.

    Raises UnknownName for an objective that does not exist.
    """
    if objective is None:
        return rules
    if objective not in tuple(Objective):
        raise UnknownName(objective, tuple(Objective), kind="objective")
    chosen = Objective(objective)
    return replace(rules, objective=chosen, mix=rules.mix if chosen is Objective.MIX else {})
