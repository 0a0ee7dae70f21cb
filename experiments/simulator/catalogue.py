"""The items of a simulated shop, and the true demand for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.simulator.demand import Choice, Demand, LogLinear
from experiments.simulator.parameters import ShopParameters
from features.contracts.arrays import BoolArray, Float64Array, Int64Array

_CHEAPEST, _DEAREST = 150, 1500  # minor units


@dataclass(frozen=True)
class Catalogue:
    """N items in families (F), families in categories (C); all arrays (N,).

    price, cost       reference price and cost in the first week, minor units
    family_is_known   whether the tables name the item's family
    """

    item_ids: list[str]
    family: Int64Array
    category: Int64Array
    department: Int64Array
    price: Float64Array
    cost: Float64Array
    family_is_known: BoolArray

    def category_path(self, item: int) -> str:
        """Return the item's category as the contract writes it."""
        path = f"Department {self.department[item]} > Category {self.category[item]}"
        return f"{path} > Family {self.family[item]}" if self.family_is_known[item] else path

    def family_id(self, item: int) -> str | None:
        """Return the id of the item's family, None where the shop does not know it."""
        return f"f{self.family[item]:03d}" if self.family_is_known[item] else None


def draw_catalogue(
    parameters: ShopParameters,
    regular_share: Float64Array,
    rng: np.random.Generator,
    rng_of_extras: np.random.Generator,
) -> tuple[Catalogue, Demand]:
    """Draw the items, and the true demand for them.

    `regular_share` (N,): slopes on the regular price, divided by those on a reduction's depth. What
    is off by default draws from `rng_of_extras`.

    Margins fit the mean elasticity of each category, not that of each item.
    """
    n = parameters.n_items
    family, category = parameters.item_family, parameters.item_category
    department = category // parameters.n_categories
    n_families, n_categories = int(family.max()) + 1, int(category.max()) + 1
    spread = parameters.slope_spread * np.sqrt(0.5)
    category_slope = parameters.slope + spread * rng.normal(size=n_categories)
    slope = np.minimum(category_slope[category] + spread * rng.normal(size=n), -1.1)
    slope = slope * regular_share
    level = np.log(parameters.units) + parameters.units_spread * (
        rng.normal(size=n) - parameters.units_spread / 2
    )
    is_slow = rng_of_extras.random(n) < parameters.slow_share
    slowest, fastest = np.log(parameters.slow_units)
    slow_level = rng_of_extras.uniform(slowest, fastest, n)
    level = np.where(is_slow, slow_level, level)
    family_is_known = rng_of_extras.random(int(family.max()) + 1) >= parameters.unknown_families
    family_price = rng.uniform(np.log(_CHEAPEST), np.log(_DEAREST), n_families)
    price = np.exp(family_price[family] + 0.2 * rng.normal(size=n))
    mark_up_noise = parameters.mark_up_noise * rng.normal(size=n)
    demand: Demand
    if parameters.form == "loglinear":
        same_family = (family[:, None] == family[None, :]) & ~np.eye(n, dtype=bool)
        cross = (
            parameters.cross
            * rng.uniform(0.5, 1.5, n_families)
            / max(parameters.family_size - 1, 1)
        )
        # A slow item takes from its family in proportion to what it sells.
        weight = np.where(is_slow, np.exp(level) / parameters.units, 1.0)
        cross_effects = same_family * cross[family][:, None] * weight[None, :]
        demand = LogLinear(level, slope, cross_effects, np.log(price))
    else:
        demand = _build_choice_demand(parameters, slope, level, np.log(price), family)
    shop_elasticity = _compute_shop_elasticities(demand, price, level)
    mean = np.bincount(category, shop_elasticity) / np.bincount(category)
    cost = price * (1 + 1 / np.minimum(mean[category], -1.3)) * np.exp(mark_up_noise)
    catalogue = Catalogue(
        item_ids=[f"s{item:04d}" for item in range(n)],
        family=family,
        category=category,
        department=department,
        price=price,
        cost=cost,
        family_is_known=family_is_known[family],
    )
    return catalogue, demand


def _compute_shop_elasticities(
    demand: Demand, price: Float64Array, level: Float64Array
) -> Float64Array:
    """Return the elasticities in Lerner's rule (N,): own, and cross in proportion to sales.

    A shop with these margins knows the means of its categories, not the value of each item.
    """
    sales = price * np.exp(level)
    return np.asarray((sales @ demand.elasticities(np.log(price), np.zeros(len(price)))) / sales)


def _build_choice_demand(
    parameters: ShopParameters,
    slope: Float64Array,
    level: Float64Array,
    reference: Float64Array,
    family: Int64Array,
) -> Choice:
    """Return a logit in which every item sells exp(level) at reference prices."""
    units = np.exp(level)
    family_units = np.bincount(family, units)
    shoppers = family_units / parameters.inside
    outside = (shoppers - family_units)[family]
    return Choice(np.log(units / outside), slope, reference, family, shoppers)
