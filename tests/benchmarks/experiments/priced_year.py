"""A simulated shop over a year at prices that are decided on the way.

Promotions and costs go on as planned; from the first decision on, regular prices move by decisions
only. The chance in units sold is the same whatever the prices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from experiments.simulator.customers import compute_push
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.plan import Plan
from experiments.simulator.shop import SimulatedShop, draw_sales, simulate_shop
from experiments.simulator.worlds import build_parameters
from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.seeds import generator
from models.pricing.response.panel import PricePanel
from tests.benchmarks.simulated_pricing import ZONE

HISTORY_WEEKS, YEAR_WEEKS = 104, 52
_FORECAST_WEEKS = 13  # whose mean is the forecast of the weeks to come
_Z10 = 1.2816


@dataclass(frozen=True)
class PricedYear:
    """A shop of which the first weeks are over when the first decision is made.

    shop    with the weeks of the year at the last regular prices of history
    """

    shop: SimulatedShop
    seed: int

    @classmethod
    def simulate(cls, world: str, form: str, seed: int) -> PricedYear:
        """Draw the shop of a seed."""
        parameters: ShopParameters = build_parameters(world, form, seed)  # type: ignore[arg-type]
        parameters = replace(parameters, n_weeks=HISTORY_WEEKS + YEAR_WEEKS)
        shop = simulate_shop(parameters, generator(seed, "simulated shop"))
        return cls(replace(shop, plan=_stop_moves(shop.plan)), seed)

    @property
    def n_weeks(self) -> int:
        """Weeks of history and year."""
        return HISTORY_WEEKS + YEAR_WEEKS

    def charge(self, ratio: Float64Array) -> SimulatedShop:
        """Return the shop if its prices were the plan's, multiplied by `ratio` (N, T)."""
        shop = self.shop
        plan = _change_plan(shop.plan, ratio)
        none = np.zeros(len(shop.item_ids))
        push = compute_push(shop.parameters, shop.customers, shop.demand, plan, none)
        expected = shop.demand.units(np.log(plan.offer), push) * shop.demand_factors.past
        units, available = draw_sales(
            shop.parameters, plan, expected, generator(self.seed, "sales of the year")
        )
        return replace(shop, plan=plan, expected=expected, units=units, available=available)

    def compute_profits(self, ratio: Float64Array) -> Float64Array:
        """Return the true expected profit of each week of the year (52,), minor units."""
        shop = self.charge(ratio)
        margin = shop.plan.offer - shop.plan.cost
        return np.asarray((margin * shop.expected).sum(0)[HISTORY_WEEKS:])


def cut_shop(shop: SimulatedShop, n_weeks: int) -> SimulatedShop:
    """Return the shop as it was after its first weeks."""
    plan = Plan(**{name: values[:, :n_weeks] for name, values in vars(shop.plan).items()})
    return replace(
        shop,
        parameters=replace(shop.parameters, n_weeks=n_weeks),
        plan=plan,
        expected=shop.expected[:, :n_weeks],
        units=shop.units[:, :n_weeks],
        available=shop.available[:, :n_weeks],
    )


def build_panel(shop: SimulatedShop, *, costs: bool) -> PricePanel:
    """Return the panel that is read from the shop's tables (a test compares the two)."""
    plan = shop.plan
    log_offer, log_list = np.log(plan.offer), np.log(plan.regular)
    sold_out = shop.units == shop.available
    catalogue = shop.catalogue
    numbers = range(len(shop.item_ids))
    return PricePanel(
        item_ids=np.array(shop.item_ids, object),
        zones=np.array([ZONE] * len(shop.item_ids), object),
        category=np.array([catalogue.category_path(n) for n in numbers], object),
        family=np.array([catalogue.family_id(n) or "" for n in numbers], object),
        units=shop.units.astype(np.float64),
        log_price=np.where(sold_out, np.nan, log_offer),
        log_list=log_list,
        log_ratio=np.where(sold_out, np.nan, log_offer - log_list),
        announced=plan.announced.astype(np.float64),
        listed=np.ones(len(shop.item_ids), bool),
        kinds=("coupon", "display", "mailer", "price"),
        reach=np.stack([plan.coupon > 0, plan.display, plan.mailer, plan.announced]).astype(float),
        log_cost=np.log(plan.cost) if costs else None,
        margin=(1 - plan.cost / plan.regular).mean(1) if costs else None,
    )


def find_quiet_weeks(shop: SimulatedShop) -> BoolArray:
    """Return the weeks (N, T) without promotion, coupon, support or short delivery."""
    plan = shop.plan
    is_supported = (plan.depth > 0) | (plan.display > 0) | (plan.mailer > 0) | (plan.coupon > 0)
    return np.asarray(~is_supported & (shop.units < shop.available))


def forecast_units(shop: SimulatedShop, slopes: Float64Array) -> Float64Array:
    """Return mean, p10, p50, p90 (N, 4) of the weeks to come: the mean of the last quiet weeks.

    Units at earlier prices are moved to the current ones by the slopes (N,).
    """
    recent = slice(shop.parameters.n_weeks - _FORECAST_WEEKS, None)
    moved = np.log(shop.current_minor[:, None] / shop.plan.regular[:, recent])
    units = shop.units[:, recent] * np.exp(np.nan_to_num(slopes)[:, None] * moved)
    quiet = find_quiet_weeks(shop)[:, recent]
    weekly = np.where(quiet, units, 0.0).sum(1) / np.maximum(quiet.sum(1), 1)
    weekly = np.where(quiet.any(1), weekly, units.mean(1))
    mean = weekly * shop.parameters.horizon_weeks
    spread = _Z10 * np.hypot(np.sqrt(mean), 0.2 * mean)
    return np.stack([mean, np.maximum(mean - spread, 0.0), mean, mean + spread], axis=1)


def _stop_moves(plan: Plan) -> Plan:
    """Return the plan with the regular prices of the last week of history in the year."""
    regular = plan.regular.copy()
    regular[:, HISTORY_WEEKS:] = regular[:, HISTORY_WEEKS - 1 : HISTORY_WEEKS]
    offer = np.where(plan.depth > 0, np.rint(regular * (1 - plan.depth)).astype(np.int64), regular)
    return replace(plan, regular=regular, offer=offer)


def _change_plan(plan: Plan, ratio: Float64Array) -> Plan:
    """Return the plan at changed prices, whole minor units; reductions keep their depth."""
    regular = np.rint(plan.regular * ratio).astype(np.int64)
    offer = np.minimum(np.rint(plan.offer * ratio).astype(np.int64), regular)
    return replace(plan, regular=regular, offer=offer)
