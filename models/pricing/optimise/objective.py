"""Units, revenue and profit of items at given prices, their intervals, and the objective value.

n   items
m   (item, price) pairs: `item` (m,) is an index, `prices` (m,) minor units
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.pricing import Band, Effect, Objective, PricingItem
from models.pricing.rules import MAX_PRICE_RATIO, PricingRules

Z10 = 1.2815515655446004  # the 90 % point of the normal distribution
# Nine equally likely values of a standard normal; all pairs of them make 81 equally likely futures.
_NORMAL = np.array([NormalDist().inv_cdf((k + 0.5) / 9) for k in range(9)])
_SLOPE, _SCALE = (axis.ravel() for axis in np.meshgrid(_NORMAL, _NORMAL))
_P10, _P90 = 8, 72  # indices of the 10 % and 90 % point among 81 sorted values
_GRID = np.geomspace(1 / MAX_PRICE_RATIO, MAX_PRICE_RATIO, 161)
_CHUNK = 10_000


@dataclass(frozen=True)
class ItemColumns:
    """Items as arrays (n,). An unknown elasticity counts as 0.

    current         current price, minor units; cost: net unit cost; tax: divisor from price to net
    cost_error      standard error of the cost, 0 for a known one
    units           mean forecast over the horizon; spread: standard deviation of log units
    error           standard error of the elasticity
    stock, weeks    units on hand and weeks to sell them; NaN where unknown
    cross_*         what the rest of the family gains per unit of the log price; cross_error: the
                    standard error of that, a share of it; cross_correlation: with `error`
    """

    current: Float64Array
    cost: Float64Array
    cost_error: Float64Array
    tax: Float64Array
    units: Float64Array
    spread: Float64Array
    elasticity: Float64Array
    error: Float64Array
    stock: Float64Array
    weeks: Float64Array
    cross_units: Float64Array
    cross_revenue: Float64Array
    cross_profit: Float64Array
    cross_error: Float64Array
    cross_correlation: Float64Array

    @classmethod
    def from_items(cls, items: Sequence[PricingItem]) -> ItemColumns:
        """Return the columns of items, in their order."""

        def read_column(name: str) -> Float64Array:
            values = list(map(attrgetter(name), items))
            return np.array(values, np.float64)  # NaN for None

        units = read_column("units_mean")
        middle, high = read_column("units_p50"), read_column("units_p90")
        middle = np.maximum(np.where(middle > 0, middle, units), 1e-9)
        return cls(
            current=read_column("current_price_minor"),
            cost=read_column("unit_cost_minor"),
            cost_error=read_column("unit_cost_error_minor"),
            tax=read_column("tax_divisor"),
            units=units,
            spread=np.log(np.maximum(high, middle) / middle) / Z10,
            elasticity=np.nan_to_num(read_column("elasticity")),
            error=np.nan_to_num(read_column("elasticity_error")),
            stock=read_column("stock_units"),
            weeks=read_column("weeks_to_sell"),
            cross_units=read_column("cross_units"),
            cross_revenue=read_column("cross_revenue_minor"),
            cross_profit=read_column("cross_profit_minor"),
            cross_error=read_column("cross_error"),
            cross_correlation=read_column("cross_correlation"),
        )


@dataclass(frozen=True)
class ObjectiveColumns:
    """The objective of each item's price, as arrays (n,).

    profit, revenue, units   weights in the objective
    sell_through             1 where the objective is to sell a stock off
    salvage                  value of a unit left over, a share of its cost
    horizon                  weeks
    risk                     weight of the worse end of the response's interval
    """

    profit: Float64Array
    revenue: Float64Array
    units: Float64Array
    sell_through: Int64Array
    salvage: Float64Array
    horizon: Float64Array
    risk: Float64Array

    @classmethod
    def from_rules(cls, rules_of_items: Sequence[PricingRules]) -> ObjectiveColumns:
        """Return the objectives of the rules that apply to each item."""
        row_of_rules: dict[int, tuple[float, ...]] = {}
        rows = []
        for rules in rules_of_items:
            if id(rules) not in row_of_rules:
                row_of_rules[id(rules)] = _build_objective_row(rules)
            rows.append(row_of_rules[id(rules)])
        table = np.array(rows, np.float64).reshape(len(rows), 7).T
        return cls(
            profit=table[0],
            revenue=table[1],
            units=table[2],
            sell_through=table[3].astype(np.int64),
            salvage=table[4],
            horizon=table[5],
            risk=table[6],
        )


def _build_objective_row(rules: PricingRules) -> tuple[float, ...]:
    """Return the values of one item in the order of `ObjectiveColumns`."""
    mix: Mapping[Objective, float] = (
        rules.mix if rules.objective is Objective.MIX else {rules.objective: 1.0}
    )
    weights = [
        mix.get(objective, 0.0)
        for objective in (Objective.PROFIT, Objective.REVENUE, Objective.UNITS)
    ]
    sell = float(rules.objective is Objective.SELL_THROUGH)
    return (*weights, sell, rules.salvage_share, float(rules.horizon_weeks), rules.risk_aversion)


def predict_units(
    columns: ItemColumns,
    item: Int64Array,
    prices: Float64Array,
    slopes: Float64Array | None = None,
) -> Float64Array:
    """Return units (m,) over the horizon at constant elasticity: the item's, or `slopes` (m,)."""
    slope = columns.elasticity[item] if slopes is None else slopes
    return np.asarray(columns.units[item] * np.exp(slope * np.log(prices / columns.current[item])))


def evaluate_objective(
    columns: ItemColumns, objectives: ObjectiveColumns, item: Int64Array, prices: Float64Array
) -> Float64Array:
    """Return the objective value of each price (m,): minor units, or units.

    Risk: between the value at the mean slope and the lower of those at both ends of its 80 %
    interval.
    """
    slope = columns.elasticity[item]
    middle = evaluate_at_slopes(columns, objectives, item, prices, slope)
    risk = objectives.risk[item]
    if not risk.any():
        return middle
    width = Z10 * columns.error[item]
    ends = [
        evaluate_at_slopes(columns, objectives, item, prices, slope + sign * width)
        for sign in (-1, 1)
    ]
    return np.asarray((1 - risk) * middle + risk * np.minimum(middle, np.minimum(*ends)))


def evaluate_at_slopes(
    columns: ItemColumns,
    objectives: ObjectiveColumns,
    item: Int64Array,
    prices: Float64Array,
    slopes: Float64Array,
) -> Float64Array:
    """Return the objective value of each price (m,) if the elasticities were `slopes` (m,)."""
    units = predict_units(columns, item, prices, slopes)
    net_price = prices / columns.tax[item]
    value = units * (
        objectives.profit[item] * (net_price - columns.cost[item])
        + objectives.revenue[item] * net_price
        + objectives.units[item]
    )
    cross_value = compute_cross_values(columns, objectives)
    value += cross_value[item] * np.log(prices / columns.current[item])
    selling = np.flatnonzero(objectives.sell_through[item] * ~np.isnan(columns.stock[item]))
    if len(selling):
        value[selling] = _predict_proceeds(
            columns, objectives, item[selling], net_price[selling], units[selling]
        )
    return np.asarray(value)


def compute_cross_values(columns: ItemColumns, objectives: ObjectiveColumns) -> Float64Array:
    """Return the objective value (n,) that the rest of the family gains per unit of log price."""
    value = objectives.profit * columns.cross_profit + objectives.revenue * columns.cross_revenue
    return np.asarray(value + objectives.units * columns.cross_units)


def _predict_proceeds(
    columns: ItemColumns,
    objectives: ObjectiveColumns,
    item: Int64Array,
    net_price: Float64Array,
    units: Float64Array,
) -> Float64Array:
    """Return the expected proceeds of the stock until the date: sales, and salvage of the rest.

    Demand is lognormal around its mean m with spread s, so that E min(D, S) = m F(a - s) + S (1 -
    F(a)) with a = (ln(S / m) + s² / 2) / s (Gallego and van Ryzin, Management Science 1994, for one
    price until the end).
    """
    stock = columns.stock[item]
    weeks = np.where(np.isnan(columns.weeks[item]), objectives.horizon[item], columns.weeks[item])
    demand = np.maximum(units * weeks / objectives.horizon[item], 1e-12)
    spread = np.maximum(columns.spread[item], 1e-6)
    with np.errstate(divide="ignore"):
        a = (np.log(stock / demand) + spread**2 / 2) / spread
    sold = demand * ndtr(a - spread) + stock * (1 - ndtr(a))
    salvage = (stock - sold) * objectives.salvage[item] * columns.cost[item]
    return np.asarray(sold * net_price + salvage)


def find_unconstrained_optima(columns: ItemColumns, objectives: ObjectiveColumns) -> Int64Array:
    """Return each item's best whole price without rules (n,), where its slope is valid."""
    n = len(columns.current)
    optima = np.zeros(n, np.int64)
    for start in range(0, n, _CHUNK):
        items = np.arange(start, min(start + _CHUNK, n))
        current = columns.current[items]
        slope = np.where(columns.elasticity[items] < -1, columns.elasticity[items], -2.0)
        # d/dp (p - c) p^e = 0 at p = c e / (e + 1): Lerner's markup, the optimum where profit is
        # all that counts.
        lerner = columns.cost[items] * slope / (slope + 1) * columns.tax[items]
        lerner = np.clip(lerner, current / MAX_PRICE_RATIO, current * MAX_PRICE_RATIO)
        prices = np.hstack([current[:, None] * _GRID, lerner[:, None]])
        prices = np.maximum(np.round(prices), 1.0)
        item = np.repeat(items, prices.shape[1])
        values = evaluate_objective(columns, objectives, item, prices.ravel()).reshape(prices.shape)
        # Of equal values the last: Lerner's price is the exact one.
        best = prices.shape[1] - 1 - np.argmax(values[:, ::-1], axis=1)
        optima[items] = prices[np.arange(len(items)), best].astype(np.int64)
    return optima


def predict_effects(columns: ItemColumns, item: Int64Array, prices: Float64Array) -> list[Effect]:
    """Return units, net revenue and net profit over the horizon at each price.

    The forecast and the slope are taken as lognormal and independent of each other; p50 is the
    value at the mean forecast and the mean slope.
    """
    log_ratio = np.log(prices / columns.current[item])
    spread = np.hypot(columns.spread[item], columns.error[item] * log_ratio)
    middle = predict_units(columns, item, prices)
    units = np.stack(
        [middle * np.exp(-Z10 * spread), middle, middle * np.exp(Z10 * spread)], axis=1
    )
    net_price = (prices / columns.tax[item])[:, None]
    profit = units * (net_price - columns.cost[item][:, None])
    profit[:, [0, 2]] = np.sort(profit[:, [0, 2]], axis=1)
    return _build_effects(units, units * net_price, profit)


def compare_with_current(
    columns: ItemColumns, item: Int64Array, prices: Float64Array, lift: Float64Array | None = None
) -> list[Effect]:
    """Return the effect at each price less the effect at the current one, in the same future.

    The forecast's error scales both alike; the slope's error moves one against the other. The band
    comes from 81 equally likely pairs of the two errors; what the rest of the family gains or loses
    is included at its mean. `lift` (m,): what comes with the new price and adds to log units beside
    it.
    """
    lift = np.zeros(len(item)) if lift is None else lift
    effects: list[Effect] = []
    for start in range(0, len(item), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        effects += _compare_chunk(columns, item[chunk], prices[chunk], lift[chunk])
    return effects


def _compare_chunk(
    columns: ItemColumns, item: Int64Array, prices: Float64Array, lift: Float64Array
) -> list[Effect]:
    current = columns.current[item]
    log_ratio = np.log(prices / current)[:, None]
    # (m, 82): the futures, and last the middle.
    slopes = columns.elasticity[item][:, None] + columns.error[item][:, None] * np.append(
        _SLOPE, 0.0
    )
    before = columns.units[item][:, None] * np.exp(
        columns.spread[item][:, None] * np.append(_SCALE, 0.0)
    )
    after = before * np.exp(slopes * log_ratio + lift[:, None])
    net_price = (prices / columns.tax[item])[:, None]
    net_current = (current / columns.tax[item])[:, None]
    units = after - before
    revenue = after * net_price - before * net_current
    profit = revenue - columns.cost[item][:, None] * units
    units = units + columns.cross_units[item][:, None] * log_ratio
    revenue = revenue + columns.cross_revenue[item][:, None] * log_ratio
    profit = profit + columns.cross_profit[item][:, None] * log_ratio
    return _build_effects(*(_find_quantiles(values) for values in (units, revenue, profit)))


def _find_quantiles(values: Float64Array) -> Float64Array:
    """Return p10, p50, p90 (m, 3) of values (m, 82), the last of which is the middle.

    A band contains its middle, also where the effect has its extreme within it.
    """
    middle = values[:, -1]
    ascending = np.sort(values[:, :-1], axis=1)
    low, high = np.minimum(ascending[:, _P10], middle), np.maximum(ascending[:, _P90], middle)
    return np.stack([low, middle, high], axis=1)


def _build_effects(
    units: Float64Array, revenue: Float64Array, profit: Float64Array
) -> list[Effect]:
    """Return one effect per row of the bands (m, 3)."""
    rows = zip(units.tolist(), revenue.tolist(), profit.tolist(), strict=True)
    return [Effect(Band(*u), Band(*r), Band(*p)) for u, r, p in rows]
