"""The value of price decisions under what is known, and under what a test may show.

N items, L prices an item might have, M possible results of tests. Values are expected gains against
keeping all prices, in units of the objective (minor units for profit), per week.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.pricing import PricingItem
from models.pricing.optimise.bounds import find_allowed_prices
from models.pricing.optimise.objective import ItemColumns, ObjectiveColumns, compute_cross_values
from models.pricing.response.evidence import find_grade_needs
from models.pricing.rules import AssortmentPart, PricingRules, select_rules

_LADDER = 9  # prices of an item's ladder that are compared, at most
_SURE = 1.2816  # standard errors by which a slope lies below 0 for a grade above D


@dataclass(frozen=True)
class PriceDecisions:
    """What the decisions of all items are computed from.

    log_ratio    (N, L) of each price to the current one; 0 is among them
    unit_value   (N, L) objective value of a unit at each price
    value_of_price   (N,) value of a unit that the current price brings, before cost
    units        (N,) per week at the current price
    cross_value  (N,) weekly gain of the rest of the family per unit of the log price; cross_error
                 is its standard error, a share of it
    least_gain   (N,) weekly gain that a change needs
    max_error    (N,) error of the slope that the rules allow at most; n_changes_missing: whether
                 they ask for a move of the regular price that the item never made
    may_change   (N,) whether anything but evidence keeps the price
    """

    log_ratio: Float64Array
    unit_value: Float64Array
    value_of_price: Float64Array
    units: Float64Array
    cross_value: Float64Array
    cross_error: Float64Array
    least_gain: Float64Array
    max_error: Float64Array
    n_changes_missing: BoolArray
    may_change: BoolArray
    max_losing_share: float

    @classmethod
    def build(
        cls,
        items: Sequence[PricingItem],
        rules: PricingRules,
        presets: Mapping[str, PricingRules] | None = None,
    ) -> PriceDecisions:
        """Return the decisions on `items` under the rules and the presets of their stages."""
        rules_of = [_find_rules(item, rules, presets or {}) for item in items]
        ladders = [_thin(item, of_item) for item, of_item in zip(items, rules_of, strict=True)]
        columns = ItemColumns.from_items(items)
        objectives = ObjectiveColumns.from_rules(rules_of)
        prices = np.stack(ladders).astype(np.float64)
        net = prices / columns.tax[:, None]
        value = (
            objectives.profit[:, None] * (net - columns.cost[:, None])
            + objectives.revenue[:, None] * net
            + objectives.units[:, None]
        )
        units = columns.units / objectives.horizon
        log_ratio = np.log(prices / columns.current[:, None])
        at_current = np.take_along_axis(value, np.abs(log_ratio).argmin(1)[:, None], axis=1)[:, 0]
        shares = np.array([of_item.min_gain for of_item in rules_of])
        least = np.array([of_item.min_gain_minor for of_item in rules_of]) / objectives.horizon
        needs = [find_grade_needs(of_item.min_grade) for of_item in rules_of]
        return cls(
            log_ratio=log_ratio,
            unit_value=value,
            value_of_price=(objectives.profit + objectives.revenue) * columns.current / columns.tax,
            units=units,
            cross_value=compute_cross_values(columns, objectives) / objectives.horizon,
            cross_error=columns.cross_error,
            least_gain=np.maximum(shares * np.abs(units * at_current), least),
            max_error=np.array([largest_error for _, largest_error in needs]),
            n_changes_missing=np.array(
                [
                    (item.n_regular_changes or 0) < least_changes
                    for item, (least_changes, _) in zip(items, needs, strict=True)
                ]
            ),
            may_change=np.array([_may_change(item) for item in items]) & (objectives.profit > 0),
            max_losing_share=rules.max_losing_share,
        )

    def evaluate(
        self,
        slopes: Float64Array,
        error: Float64Array,
        n_changes_missing: BoolArray,
        confidence: float | None = None,
    ) -> Float64Array:
        """Return what each item gains (M, N) by the decisions at slopes (M, N) with errors (N,).

        Of the best prices the surest are taken, as a run of suggestions does: those of a
        `confidence`, or as many as `max_losing_share` allows.
        """
        gain, at_worse = self._gain(slopes), self._gain(slopes, error)
        of_family = self.cross_error * np.abs(self.cross_value)
        spread = np.hypot(gain - at_worse, of_family[:, None] * np.abs(self.log_ratio))
        best = gain.argmax(2)[:, :, None]
        best_gain = np.take_along_axis(gain, best, axis=2)[:, :, 0]
        best_spread = np.take_along_axis(spread, best, axis=2)[:, :, 0]
        sureness = ndtr(best_gain / np.maximum(best_spread, 1e-12))
        is_known = self.may_change & (error <= self.max_error) & ~n_changes_missing
        is_open = is_known & (slopes + _SURE * error < 0) & (best_gain > self.least_gain)
        sureness = np.where(is_open, sureness, 0.0)
        if confidence is None:
            is_taken = _take_surest(sureness, self.max_losing_share)
        else:
            is_taken = sureness >= confidence
        return np.where(is_taken & is_open, best_gain, 0.0)

    @property
    def weekly_value(self) -> Float64Array:
        """Weekly objective value (N,) at the current prices."""
        return self.units * self._value_at_current()

    def expect_gain(
        self, log_ratio: Float64Array, slopes: Float64Array, error: Float64Array
    ) -> Float64Array:
        """Return the expected weekly gain (N,) at prices (N,) given by their log ratio."""
        at_current = self._value_at_current()
        value = at_current + self.value_of_price * np.expm1(log_ratio)
        # The mean of exp(slope × log ratio) over the uncertain slope.
        units = self.units * np.exp(slopes * log_ratio + (error * log_ratio) ** 2 / 2)
        return np.asarray(units * value - self.units * at_current + self.cross_value * log_ratio)

    def _gain(self, slopes: Float64Array, error: Float64Array | None = None) -> Float64Array:
        """Return gains (M, N, L) at slopes (M, N), each worse by its error (N,) where given."""
        slope = slopes[:, :, None]
        if error is not None:
            slope = slope - np.sign(self.log_ratio) * error[:, None]
        units = self.units[:, None] * np.exp(slope * self.log_ratio)
        at_current = (self.units * self._value_at_current())[:, None]
        cross = self.cross_value[:, None] * self.log_ratio
        return np.asarray(units * self.unit_value - at_current + cross)

    def _value_at_current(self) -> Float64Array:
        current = np.abs(self.log_ratio).argmin(1)[:, None]
        return np.take_along_axis(self.unit_value, current, axis=1)[:, 0]


def _find_rules(
    item: PricingItem, rules: PricingRules, presets: Mapping[str, PricingRules]
) -> PricingRules:
    part = AssortmentPart.of(item)
    return select_rules(rules, presets.get(part.stage)).apply_scopes(part)


def _may_change(item: PricingItem) -> bool:
    return item.hold is None and item.units_mean > 0 and not np.isnan(item.elasticity)


def _thin(item: PricingItem, rules: PricingRules) -> Int64Array:
    """Return L of the item's allowed prices, from the lowest to the highest, the current among
    them."""
    current = item.current_price_minor
    allowed = find_allowed_prices(item, rules).prices if _may_change(item) else ()
    ladder = np.array(allowed if len(allowed) else [current], np.int64)
    rows = np.rint(np.linspace(0, len(ladder) - 1, _LADDER)).astype(np.int64)
    thinned = ladder[rows]
    thinned[np.abs(thinned - current).argmin()] = current
    return thinned


def _take_surest(sureness: Float64Array, max_losing_share: float) -> BoolArray:
    """Return which of the best prices (M, N) are taken: the surest, while few enough may lose."""
    order = np.argsort(-sureness, axis=1)
    ranked = np.take_along_axis(sureness, order, axis=1)
    losing = np.cumsum(1 - ranked, axis=1) / np.arange(1, ranked.shape[1] + 1)
    taken_by_rank = (losing <= max_losing_share) & (ranked > 0.5)
    taken = np.zeros(sureness.shape, bool)
    np.put_along_axis(taken, order, taken_by_rank, axis=1)
    return taken
