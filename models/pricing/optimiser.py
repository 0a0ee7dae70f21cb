"""One price per item: the best of its ladder within the rules, with the waterfall that led to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from features.contracts.pricing import (
    Band,
    Effect,
    Objective,
    PriceSuggestion,
    PricingItem,
    WaterfallStep,
)
from models.pricing.rules import ENDING, REACH, Allowed, PricingRules, allowed

_Z10 = 1.2815515655446004  # the 90 % point of the normal distribution
# Nine equally likely values of a standard normal; every pair of two of them makes 81 equally likely futures.
_NORMAL = np.array([NormalDist().inv_cdf((k + 0.5) / 9) for k in range(9)])
_SLOPE, _SCALE = (axis.ravel() for axis in np.meshgrid(_NORMAL, _NORMAL))
_P10, _P90 = 8, 72  # places of the 10 % and 90 % point among 81 sorted values


@dataclass(frozen=True)
class Suggested:
    """The suggestions, largest gain first, and how many items keep their price, by reason."""

    suggestions: tuple[PriceSuggestion, ...]
    kept: Counter[str]


def suggest(items: Sequence[PricingItem], rules: PricingRules) -> Suggested:
    """A price for every item whose best price is another than the current one.

    Items are independent of each other. The same input gives the same output, to the minor unit.
    """
    suggestions, kept = [], Counter[str]()
    for item in items:
        result = _one(item, rules)
        if isinstance(result, str):
            kept[result] += 1
        else:
            suggestions.append(result)
    suggestions.sort(key=lambda each: (-gain(each, rules.objective), each.item_id, each.zone))
    return Suggested(tuple(suggestions), kept)


def gain(suggestion: PriceSuggestion, objective: Objective) -> float:
    """Expected gain in the objective against keeping the price, minor units or units."""
    effect = suggestion.against_keeping
    return {Objective.PROFIT: effect.profit, Objective.REVENUE: effect.revenue, Objective.UNITS: effect.units}[
        objective
    ].p50


def effect(item: PricingItem, price_minor: int) -> Effect:
    """Units, net revenue and net profit over the horizon at a price, units following constant elasticity.

    The forecast and the slope are taken as lognormal and independent of each other; p50 is the value at the mean
    forecast and the mean slope.
    """
    log_ratio = math.log(price_minor / item.current_price_minor)
    sd = math.hypot(_forecast_sd(item), item.elasticity_error * log_ratio)
    mean = item.units_mean * math.exp(item.elasticity * log_ratio)
    units = Band(mean * math.exp(-_Z10 * sd), mean, mean * math.exp(_Z10 * sd))
    net = price_minor / item.tax_divisor
    margin = net - item.unit_cost_minor
    revenue = Band(units.p10 * net, units.p50 * net, units.p90 * net)
    return Effect(units, revenue, _ordered(units.p10 * margin, units.p50 * margin, units.p90 * margin))


def difference(item: PricingItem, price_minor: int) -> Effect:
    """The effect at a price less the effect at the current one, in the same future.

    The forecast's error scales both alike; the slope's error moves one against the other. The band is read off 81
    equally likely pairs of the two errors.
    """
    log_ratio = math.log(price_minor / item.current_price_minor)
    slopes = np.append(item.elasticity + item.elasticity_error * _SLOPE, item.elasticity)
    before = item.units_mean * np.exp(np.append(_forecast_sd(item) * _SCALE, 0.0))
    after = before * np.exp(slopes * log_ratio)
    net, net_now, cost = (
        price_minor / item.tax_divisor,
        item.current_price_minor / item.tax_divisor,
        item.unit_cost_minor,
    )
    units = after - before
    revenue = after * net - before * net_now
    values = np.stack([units, revenue, revenue - cost * units])  # (3, 82), the middle last
    ordered = np.sort(values[:, :-1], axis=1)
    rows = zip(ordered[:, _P10].tolist(), values[:, -1].tolist(), ordered[:, _P90].tolist(), strict=True)
    return Effect(*(_around(*row) for row in rows))


def _one(item: PricingItem, rules: PricingRules) -> PriceSuggestion | str:
    """The suggestion, or why the price is kept."""
    if item.evidence_grade > rules.min_grade:
        return f"evidence grade {item.evidence_grade}: too little is known, test the price first"
    if item.units_mean <= 0:
        return "no demand is forecast"
    choice = allowed(item, rules)
    if not choice.prices:
        return "no price satisfies all rules"
    values = _objective(item, np.array(choice.prices, float), rules.objective)
    best = choice.prices[int(np.argmax(values))]
    now = float(_objective(item, np.array([float(item.current_price_minor)]), rules.objective)[0])
    allowed_now = all(limit.lowest <= item.current_price_minor <= limit.highest for limit in choice.limits)
    if best == item.current_price_minor:
        return "the current price is the best allowed"
    if allowed_now and float(values.max()) - now < rules.min_gain * abs(now):
        return "the gain is too small"
    optimum = _optimum(item, rules.objective)
    waterfall, binding = _waterfall(item, optimum, choice, best, rules.soft)
    return PriceSuggestion(
        item.item_id,
        item.zone,
        item.currency,
        item.list_price_minor,
        item.current_price_minor,
        best,
        effect(item, best),
        difference(item, best),
        item.evidence_grade,
        item.elasticity,
        item.elasticity_error,
        item.unit_cost_minor,
        item.cost_source,
        binding,
        waterfall,
    )


def _objective(item: PricingItem, prices: np.ndarray, objective: Objective) -> np.ndarray:
    units = item.units_mean * np.exp(item.elasticity * np.log(prices / item.current_price_minor))
    if objective is Objective.UNITS:
        return np.asarray(units)
    net = prices / item.tax_divisor
    return np.asarray(units * (net if objective is Objective.REVENUE else net - item.unit_cost_minor))


def _optimum(item: PricingItem, objective: Objective) -> int:
    """The best whole price if there were no rules, within the reach of the slope."""
    low, high = item.current_price_minor / REACH, item.current_price_minor * REACH
    if objective is Objective.UNITS:
        return max(1, math.ceil(low))
    if objective is Objective.PROFIT and item.elasticity < -1:
        # d/dp (p - c) p^e = 0 at p = c e / (e + 1): Lerner's markup.
        best = item.unit_cost_minor * item.elasticity / (item.elasticity + 1) * item.tax_divisor
    elif item.elasticity < -1:
        best = low
    else:
        best = high
    return max(1, round(min(max(best, low), high)))


def _waterfall(
    item: PricingItem, optimum: int, choice: Allowed, final: int, soft: tuple[str, ...]
) -> tuple[tuple[WaterfallStep, ...], str | None]:
    """From the current price to the final one, rule by rule; and the last rule that moved the price."""
    steps = [WaterfallStep("optimum", item.current_price_minor, optimum, False, "best price without rules")]
    price, binding = optimum, None
    given_up = "given up: no price satisfies all rules"
    steps.extend(WaterfallStep(name, price, price, False, given_up) for name in choice.given_up)
    for limit in choice.limits:
        after = limit.nearest(price)
        if after != price:
            binding = limit.rule
            steps.append(WaterfallStep(limit.rule, price, after, limit.rule not in soft, limit.note))
        price = after
    if final != price:
        steps.append(WaterfallStep(ENDING, price, final, ENDING not in soft, "the best price with an allowed ending"))
    return tuple(steps), binding


def _forecast_sd(item: PricingItem) -> float:
    """Standard deviation of log units: the distance of the forecast's upper end from its middle."""
    middle = max(item.units_p50 if item.units_p50 > 0 else item.units_mean, 1e-9)
    return math.log(max(item.units_p90, middle) / middle) / _Z10


def _ordered(first: float, middle: float, last: float) -> Band:
    return Band(min(first, last), middle, max(first, last))


def _around(first: float, middle: float, last: float) -> Band:
    """A band that holds its middle, also where the effect turns within the slope's interval."""
    return Band(min(first, middle, last), middle, max(first, middle, last))
