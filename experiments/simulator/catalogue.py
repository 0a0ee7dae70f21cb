"""What the simulated shop sells, and how its shoppers answer to prices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.simulator.demand import Choice, Demand, LogLinear
from experiments.simulator.parameters import ShopParameters
from features.contracts.arrays import Float64Array, Int64Array

_CHEAPEST, _DEAREST = 150, 1500  # minor units


@dataclass(frozen=True)
class Catalogue:
    """N items in families (F), families in categories (C); all arrays (N,).

    price, cost   reference price and cost in the first week, minor units
    """

    item_ids: list[str]
    family: Int64Array
    category: Int64Array
    department: Int64Array
    price: Float64Array
    cost: Float64Array

    def path(self, item: int) -> str:
        """The item's category as the contract writes it."""
        return f"Department {self.department[item]} > Category {self.category[item]} > Family {self.family[item]}"


def draw_catalogue(
    parameters: ShopParameters, rng: np.random.Generator
) -> tuple[Catalogue, Demand]:
    """Items, and the true demand for them. Margins suit each category on the whole, and no item in
    particular."""
    n = parameters.n_items
    family = np.arange(n) // parameters.family_size
    category = family // parameters.n_families
    department = category // parameters.n_categories
    n_families, n_categories = int(family.max()) + 1, int(category.max()) + 1
    spread = parameters.slope_spread * np.sqrt(0.5)
    of_category = parameters.slope + spread * rng.normal(size=n_categories)
    slope = np.minimum(of_category[category] + spread * rng.normal(size=n), -1.1)
    level = np.log(parameters.units) + parameters.units_spread * (
        rng.normal(size=n) - parameters.units_spread / 2
    )
    of_family = rng.uniform(np.log(_CHEAPEST), np.log(_DEAREST), n_families)
    price = np.exp(of_family[family] + 0.2 * rng.normal(size=n))
    mark_up_noise = parameters.mark_up_noise * rng.normal(size=n)
    demand: Demand
    if parameters.form == "loglinear":
        same = (family[:, None] == family[None, :]) & ~np.eye(n, dtype=bool)
        each = (
            parameters.cross
            * rng.uniform(0.5, 1.5, n_families)
            / max(parameters.family_size - 1, 1)
        )
        demand = LogLinear(level, slope, same * each[family][:, None], np.log(price))
    else:
        demand = _choice(parameters, slope, level, np.log(price), family)
    whole = _of_the_shop(demand, price, level)
    mean = np.bincount(category, whole) / np.bincount(category)
    cost = price * (1 + 1 / np.minimum(mean[category], -1.3)) * np.exp(mark_up_noise)
    ids = [f"s{item:04d}" for item in range(n)]
    return Catalogue(ids, family, category, department, price, cost), demand


def _of_the_shop(demand: Demand, price: Float64Array, level: Float64Array) -> Float64Array:
    """(N,) the elasticity that Lerner's rule asks for: of an item, and of its neighbours in
    proportion to their sales.

    A shop with these margins knows its categories' means, and no item's own.
    """
    sales = price * np.exp(level)
    return np.asarray((sales @ demand.elasticities(np.log(price))) / sales)


def _choice(
    parameters: ShopParameters,
    slope: Float64Array,
    level: Float64Array,
    reference: Float64Array,
    family: Int64Array,
) -> Choice:
    """A logit in which every item sells exp(level) at reference prices."""
    units = np.exp(level)
    of_family = np.bincount(family, units)
    shoppers = of_family / parameters.inside
    outside = (shoppers - of_family)[family]
    return Choice(np.log(units / outside), slope, reference, family, shoppers)
