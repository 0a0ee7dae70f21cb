"""What prices do: units, revenue and profit of many items at many prices, their intervals, and what
that is worth.

n   items
m   (item, price) pairs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.pricing import Band, Effect, Objective, PricingItem
from models.pricing.rules import REACH, PricingRules

Z10 = 1.2815515655446004  # the 90 % point of the normal distribution
# Nine equally likely values of a standard normal; every pair of two of them makes 81 equally likely
# futures.
_NORMAL = np.array([NormalDist().inv_cdf((k + 0.5) / 9) for k in range(9)])
_SLOPE, _SCALE = (axis.ravel() for axis in np.meshgrid(_NORMAL, _NORMAL))
_P10, _P90 = 8, 72  # places of the 10 % and 90 % point among 81 sorted values
_GRID = np.geomspace(1 / REACH, REACH, 161)
_CHUNK = 10_000


@dataclass(frozen=True)
class Columns:
    """Items as arrays (n,). An unknown elasticity counts as none. `spread`: standard deviation of
    log units."""

    current: Float64Array
    cost: Float64Array
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

    @classmethod
    def of(cls, items: Sequence[PricingItem]) -> Columns:
        """The columns of items, in their order."""
        current, cost, tax, units = (
            np.array(values, np.float64)
            for values in (
                [each.current_price_minor for each in items],
                [each.unit_cost_minor for each in items],
                [each.tax_divisor for each in items],
                [each.units_mean for each in items],
            )
        )
        middle, high = (
            np.array([each.units_p50 for each in items]),
            np.array([each.units_p90 for each in items]),
        )
        middle = np.where(middle > 0, middle, units)
        elasticity = np.array([each.elasticity for each in items], np.float64)
        error = np.array([each.elasticity_error for each in items], np.float64)
        stock = np.array([each.stock_units for each in items], np.float64)  # NaN for None
        weeks = np.array([each.weeks_to_sell for each in items], np.float64)
        families = [
            np.array([each.cross_units for each in items], np.float64),
            np.array([each.cross_revenue_minor for each in items], np.float64),
            np.array([each.cross_profit_minor for each in items], np.float64),
        ]
        middle = np.maximum(middle, 1e-9)
        spread = np.log(np.maximum(high, middle) / middle) / Z10
        elasticity, error = np.nan_to_num(elasticity), np.nan_to_num(error)
        return cls(current, cost, tax, units, spread, elasticity, error, stock, weeks, *families)


@dataclass(frozen=True)
class Aims:
    """What each item's price is to be best at, as arrays (n,): weights of profit, revenue and
    units, and the rest."""

    profit: Float64Array
    revenue: Float64Array
    units: Float64Array
    sell_through: Int64Array  # 1 where the objective is that
    salvage: Float64Array
    horizon: Float64Array
    risk: Float64Array

    @classmethod
    def of(cls, rules: Sequence[PricingRules]) -> Aims:
        """The aims of the rules that hold for each item."""
        known: dict[int, tuple[float, ...]] = {}
        rows = [
            known.setdefault(id(each), _aim(each)) if id(each) not in known else known[id(each)]
            for each in rules
        ]
        table = np.array(rows, np.float64).reshape(len(rows), 7).T
        profit, revenue, units, sell, salvage, horizon, risk = table
        return cls(profit, revenue, units, sell.astype(np.int64), salvage, horizon, risk)


def _aim(rules: PricingRules) -> tuple[float, ...]:
    mix: Mapping[Objective, float] = (
        rules.mix if rules.objective is Objective.MIX else {rules.objective: 1.0}
    )
    weights = [
        mix.get(each, 0.0) for each in (Objective.PROFIT, Objective.REVENUE, Objective.UNITS)
    ]
    sell = float(rules.objective is Objective.SELL_THROUGH)
    return (*weights, sell, rules.salvage_share, float(rules.horizon_weeks), rules.risk_aversion)


def units_at(
    columns: Columns, item: Int64Array, prices: Float64Array, slopes: Float64Array | None = None
) -> Float64Array:
    """Units (m,) over the horizon, following constant elasticity."""
    slope = columns.elasticity[item] if slopes is None else slopes
    return np.asarray(columns.units[item] * np.exp(slope * np.log(prices / columns.current[item])))


def worth(columns: Columns, aims: Aims, item: Int64Array, prices: Float64Array) -> Float64Array:
    """What each price is worth by its item's aim (m,): minor units, or units.

    Risk: between the value at the mean slope and the lower of those at both ends of its 80 %
    interval.
    """
    slope = columns.elasticity[item]
    middle = _value(columns, aims, item, prices, slope)
    risk = aims.risk[item]
    if not risk.any():
        return middle
    width = Z10 * columns.error[item]
    ends = [_value(columns, aims, item, prices, slope + sign * width) for sign in (-1, 1)]
    return np.asarray((1 - risk) * middle + risk * np.minimum(middle, np.minimum(*ends)))


def _value(
    columns: Columns, aims: Aims, item: Int64Array, prices: Float64Array, slopes: Float64Array
) -> Float64Array:
    units = units_at(columns, item, prices, slopes)
    net = prices / columns.tax[item]
    value = units * (
        aims.profit[item] * (net - columns.cost[item]) + aims.revenue[item] * net + aims.units[item]
    )
    gained = aims.profit * columns.cross_profit + aims.revenue * columns.cross_revenue
    gained = gained + aims.units * columns.cross_units
    value += gained[item] * np.log(prices / columns.current[item])
    selling = np.flatnonzero(aims.sell_through[item] * ~np.isnan(columns.stock[item]))
    if len(selling):
        value[selling] = _proceeds(columns, aims, item[selling], net[selling], units[selling])
    return np.asarray(value)


def _proceeds(
    columns: Columns, aims: Aims, item: Int64Array, net: Float64Array, units: Float64Array
) -> Float64Array:
    """What the stock brings in until the date: what sells of it at the net price, the rest at its
    salvage value.

    Demand is lognormal around its mean m with spread s, so that E min(D, S) = m F(a - s) + S (1 -
    F(a)) with a = (ln(S / m) + s² / 2) / s (Gallego and van Ryzin, Management Science 1994, for one
    price until the end).
    """
    stock = columns.stock[item]
    weeks = np.where(np.isnan(columns.weeks[item]), aims.horizon[item], columns.weeks[item])
    demand = np.maximum(units * weeks / aims.horizon[item], 1e-12)
    spread = np.maximum(columns.spread[item], 1e-6)
    with np.errstate(divide="ignore"):
        place = (np.log(stock / demand) + spread**2 / 2) / spread
    sold = demand * ndtr(place - spread) + stock * (1 - ndtr(place))
    return np.asarray(sold * net + (stock - sold) * aims.salvage[item] * columns.cost[item])


def optima(columns: Columns, aims: Aims) -> Int64Array:
    """The best whole price of each item if there were no rules (n,), within the reach of the
    slope."""
    n = len(columns.current)
    found = np.zeros(n, np.int64)
    for start in range(0, n, _CHUNK):
        here = np.arange(start, min(start + _CHUNK, n))
        current = columns.current[here]
        slope = np.where(columns.elasticity[here] < -1, columns.elasticity[here], -2.0)
        # d/dp (p - c) p^e = 0 at p = c e / (e + 1): Lerner's markup, the optimum where profit is
        # all that counts.
        lerner = columns.cost[here] * slope / (slope + 1) * columns.tax[here]
        tried = np.hstack(
            [current[:, None] * _GRID, np.clip(lerner, current / REACH, current * REACH)[:, None]]
        )
        tried = np.maximum(np.round(tried), 1.0)
        values = worth(columns, aims, np.repeat(here, tried.shape[1]), tried.ravel()).reshape(
            tried.shape
        )
        # Of equal values the last: Lerner's price is the exact one.
        best = tried.shape[1] - 1 - np.argmax(values[:, ::-1], axis=1)
        found[here] = tried[np.arange(len(here)), best].astype(np.int64)
    return found


def effects(columns: Columns, item: Int64Array, prices: Float64Array) -> list[Effect]:
    """Units, net revenue and net profit over the horizon at each price.

    The forecast and the slope are taken as lognormal and independent of each other; p50 is the
    value at the mean forecast and the mean slope.
    """
    log_ratio = np.log(prices / columns.current[item])
    spread = np.hypot(columns.spread[item], columns.error[item] * log_ratio)
    middle = units_at(columns, item, prices)
    units = np.stack(
        [middle * np.exp(-Z10 * spread), middle, middle * np.exp(Z10 * spread)], axis=1
    )
    net = (prices / columns.tax[item])[:, None]
    profit = units * (net - columns.cost[item][:, None])
    profit[:, [0, 2]] = np.sort(profit[:, [0, 2]], axis=1)
    return _effects(units, units * net, profit)


def differences(
    columns: Columns, item: Int64Array, prices: Float64Array, lift: Float64Array | None = None
) -> list[Effect]:
    """The effect at each price less the effect at the current one, in the same future, with the
    rest of the family.

    The forecast's error scales both alike; the slope's error moves one against the other. The band
    is read off 81 equally likely pairs of the two errors; what the family gains or loses is taken
    at its mean. `lift` (m,): what comes with the new price and adds to log units beside it.
    """
    lift = np.zeros(len(item)) if lift is None else lift
    found: list[Effect] = []
    for start in range(0, len(item), _CHUNK):
        here = slice(start, start + _CHUNK)
        found += _differences(columns, item[here], prices[here], lift[here])
    return found


def _differences(
    columns: Columns, item: Int64Array, prices: Float64Array, lift: Float64Array
) -> list[Effect]:
    current = columns.current[item]
    log_ratio = np.log(prices / current)[:, None]
    slopes = columns.elasticity[item][:, None] + columns.error[item][:, None] * np.append(
        _SLOPE, 0.0
    )
    before = columns.units[item][:, None] * np.exp(
        columns.spread[item][:, None] * np.append(_SCALE, 0.0)
    )
    after = before * np.exp(slopes * log_ratio + lift[:, None])  # (m, 82), the middle last
    net, net_now = ((each / columns.tax[item])[:, None] for each in (prices, current))
    units = after - before
    revenue = after * net - before * net_now
    profit = revenue - columns.cost[item][:, None] * units
    units = units + columns.cross_units[item][:, None] * log_ratio
    revenue = revenue + columns.cross_revenue[item][:, None] * log_ratio
    profit = profit + columns.cross_profit[item][:, None] * log_ratio
    return _effects(*(_around(values) for values in (units, revenue, profit)))


def _around(values: Float64Array) -> Float64Array:
    """p10, p50, p90 (m, 3) of values (m, 82); a band holds its middle, also where the effect turns
    within it."""
    middle = values[:, -1]
    ordered = np.sort(values[:, :-1], axis=1)
    low, high = np.minimum(ordered[:, _P10], middle), np.maximum(ordered[:, _P90], middle)
    return np.stack([low, middle, high], axis=1)


def _effects(units: Float64Array, revenue: Float64Array, profit: Float64Array) -> list[Effect]:
    rows = zip(units.tolist(), revenue.tolist(), profit.tolist(), strict=True)
    return [Effect(Band(*u), Band(*r), Band(*p)) for u, r, p in rows]


def effect(item: PricingItem, price_minor: int) -> Effect:
    """`effects` of one item at one price."""
    return effects(Columns.of([item]), np.zeros(1, np.int64), np.array([float(price_minor)]))[0]


def difference(item: PricingItem, price_minor: int) -> Effect:
    """`differences` of one item at one price."""
    return differences(Columns.of([item]), np.zeros(1, np.int64), np.array([float(price_minor)]))[0]
