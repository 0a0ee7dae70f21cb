"""What to plan: the design of a price test, what it is about, and how long it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.contracts.errors import BadInput
from features.contracts.pricing import PriceTestDesign
from features.contracts.tables import DEFAULT_ZONE

if TYPE_CHECKING:
    from experiments.designs.price_designs import Periods

MOST_ITEMS, MOST_WEEKS = 1_000, 260
LEAST_ITEMS, LEAST_WEEKS = 2, 4
MOST_PERIODS, MOST_PERIOD_WEEKS = 52, 26
# In one of two periods nobody has the new prices of a roll-out, in the other everybody.
LEAST_PERIODS = {
    PriceTestDesign.CROSSOVER: 2,
    PriceTestDesign.SWITCHBACK: 4,
    PriceTestDesign.ROLLOUT: 3,
}
MOST_NAMED = 1_000  # zones, categories or items
SWITCHBACK_PERIODS = 6  # where nobody says how many
_PERIOD_WEEKS = 3


@dataclass(frozen=True, kw_only=True)
class PlanOrder:
    """What to plan.

    zones       of a switchback two or more, else one
    categories, item_ids   what the test is about, with the families of the items; all where none is
                named
    max_items   items under test at a time; a roll-out has all prices that wait
    weeks       from now on, in which better prices count; of a crossover, as its periods follow
                from its value
    n_periods, period_weeks, burn_in_weeks   of the other designs; None: as usual
    save        whether the plan is kept as soon as it is there
    """

    design: PriceTestDesign = PriceTestDesign.CROSSOVER
    zones: tuple[str, ...] = (DEFAULT_ZONE,)
    categories: tuple[str, ...] = ()
    item_ids: tuple[str, ...] = ()
    max_items: int = 40
    weeks: int = 52
    n_periods: int | None = None
    period_weeks: int | None = None
    burn_in_weeks: int | None = None
    save: bool = False

    def check(self) -> None:
        """Raise BadInput for numbers out of range, and for what the design cannot have."""
        for name, value, least, most in (
            ("max_items", self.max_items, LEAST_ITEMS, MOST_ITEMS),
            ("weeks", self.weeks, LEAST_WEEKS, MOST_WEEKS),
            ("n_periods", self.n_periods, LEAST_PERIODS[self.design], MOST_PERIODS),
            ("period_weeks", self.period_weeks, 1, MOST_PERIOD_WEEKS),
            ("burn_in_weeks", self.burn_in_weeks, 0, MOST_PERIOD_WEEKS),
        ):
            if value is not None and not least <= value <= most:
                raise BadInput(f"{name} is {least} to {most:,}, not {value:,}", where=name)
        if self.design is PriceTestDesign.SWITCHBACK:
            self._check_switchback()
        elif len(self.zones) != 1:
            raise BadInput(
                f"a {self.design} is about one zone, not {len(self.zones)}",
                where="zones",
                hint="Several zones at a time are tested by a switchback",
            )
        lengths = (self.n_periods, self.period_weeks, self.burn_in_weeks)
        if self.design is PriceTestDesign.CROSSOVER and any(n is not None for n in lengths):
            raise BadInput(
                "the periods of a crossover follow from what they are expected to bring",
                where="n_periods",
                hint="Leave out the number and the length of its periods",
            )

    def build_periods(self, n_periods: int) -> Periods:
        """Return the periods, so many where the order names no number. Raises BadInput for those
        that leave nothing to analyse."""
        from experiments.designs.price_designs import Periods

        return Periods(
            self.n_periods or n_periods,
            self.period_weeks or _PERIOD_WEEKS,
            1 if self.burn_in_weeks is None else self.burn_in_weeks,
        )

    def _check_switchback(self) -> None:
        from experiments.designs.price_designs import Switchback

        if len(set(self.zones)) < 2:
            raise BadInput(
                "a switchback compares two zones or more",
                where="zones",
                hint="Name the zones; items of one zone are tested by a crossover",
            )
        Switchback(self.zones, self.build_periods(SWITCHBACK_PERIODS))
