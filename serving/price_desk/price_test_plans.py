"""Plans of price tests: which items of a zone to test, and the prices that chance gives them.

The planner is imported by the first plan: a server should be ready before that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from features.contracts.errors import BadInput, NotFound
from features.contracts.seeds import generator
from features.contracts.tables import DEFAULT_ZONE

if TYPE_CHECKING:
    from experiments.designs.portfolio import Portfolio
    from experiments.designs.price_test import PriceTest
    from serving.pricing_inputs.items import PricedZone, PricingInputs

MOST_ITEMS, MOST_WEEKS = 1_000, 260
LEAST_ITEMS, LEAST_WEEKS = 2, 4


@dataclass(frozen=True, kw_only=True)
class PlanOrder:
    """What to plan.

    max_items   items under test at a time
    weeks       from now on, in which better prices count
    save        whether the plan is kept as soon as it is there
    """

    zone: str = DEFAULT_ZONE
    max_items: int = 40
    weeks: int = 52
    save: bool = False

    def check(self) -> None:
        """Raise BadInput for numbers out of range."""
        for name, value, least, most in (
            ("max_items", self.max_items, LEAST_ITEMS, MOST_ITEMS),
            ("weeks", self.weeks, LEAST_WEEKS, MOST_WEEKS),
        ):
            if not least <= value <= most:
                raise BadInput(f"{name} is {least} to {most:,}, not {value:,}", where=name)


def plan_portfolio(inputs: PricingInputs, priced: PricedZone, order: PlanOrder) -> Portfolio:
    """Return the best portfolio for the items of a zone; those under test are held and left out.

    Raises NotFound where no item has a price and a forecast.
    """
    from experiments.designs.portfolio import KnownItems, ProgrammeLimits, plan_tests

    if not priced.items:
        raise NotFound(
            f"no item of zone {priced.zone} has a price and a forecast",
            hint="Import prices, and train: shopwright train demand",
        )
    item_ids = [item.item_id for item in priced.items]
    errors = inputs.pricing_model.find_shared_errors(item_ids, priced.zone)
    limits = ProgrammeLimits(max_items=order.max_items, value_weeks=order.weeks)
    return plan_tests(KnownItems(priced.items, *errors), inputs.rules, limits, inputs.presets)


def draw_test(inputs: PricingInputs, priced: PricedZone, portfolio: Portfolio) -> PriceTest:
    """Return the test of a portfolio, with the prices that chance gives its units."""
    from experiments.designs.price_test import assign_prices
    from experiments.designs.tested_units import sum_cross_effects

    item_ids = [item.item_id for item in priced.items]
    effects = inputs.pricing_model.find_cross_elasticities(item_ids, priced.zone)
    cross = sum_cross_effects(effects, item_ids, [test.unit for test in portfolio.tests])
    seed = int(generator(inputs.settings.seed, inputs.now.isoformat()).integers(1 << 31))
    return assign_prices(priced.zone, portfolio, cross, seed)


def describe_expectation(portfolio: Portfolio) -> dict[str, object]:
    """Return what a portfolio is expected to bring and to cost, as JSON values."""
    return {
        "weeks": portfolio.periods.n_weeks,
        "n_items": portfolio.n_items,
        "value": portfolio.value,
        "cost": portfolio.cost,
        "net": portfolio.net,
        "reasons": dict(portfolio.reasons),
        "units": [
            {
                "name": test.unit.name,
                "cost": test.cost,
                "error_now": test.error_now,
                "error_after": test.error_after,
                "prices": [asdict(prices) for prices in test.unit.prices],
            }
            for test in portfolio.tests
        ],
    }
