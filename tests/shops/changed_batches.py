"""A simulated shop that changes twenty prices, and what is known of them week by week.

The forecast of keeping is a plain one made of the weeks before: a smoothed level of each item at
its present price, and the demand of its category. Its dispersion is measured on past weeks, as
training does. No model is trained, and none of the truth is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize

from experiments.simulator.parameters import Form
from experiments.simulator.price_changes import (
    PriceChanges,
    apply_changes,
    expect_changed_units,
)
from experiments.simulator.shop import SimulatedShop, simulate_shop
from experiments.simulator.worlds import build_parameters
from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from features.contracts.seeds import generator
from models.pricing.effects.counterfactuals import Control, SoldItems, build_control
from models.pricing.effects.estimate import ObservedChanges

N_CHANGES, N_WEEKS = 20, 4
EXPECTED_GAIN = 0.05  # of the batch's profit, as its forecast says
_WEEK = 96  # of 104: the rest of the shop's weeks lie after the change
_BELIEVED = -2.2  # response to prices that the plain forecast assumes of every item
_ERROR = 0.5  # standard error of an item's elasticity
_DECAY, _MEMORY = 0.9, 40
_ORIGINS = range(60, _WEEK - N_WEEKS + 1, 4)
_MIN_ROWS, _USUAL_DISPERSION = 50, 0.3
_EDGES = (2.0, 8.0, 20.0)  # weekly units between which the dispersion differs


@dataclass(frozen=True)
class Forecast:
    """Weekly units (N,) of the weeks to come at present prices, with the errors of past forecasts.

    dispersion     (N, N_WEEKS) of the units of 1, 2, ... weeks together
    common_error   (N_WEEKS,) standard deviation of the logarithm that a category misses together
    """

    units: Float64Array
    dispersion: Float64Array
    common_error: Float64Array


@dataclass(frozen=True)
class ChangedBatch:
    """A shop before and after a batch of changes, and the frozen forecast.

    items        (N_CHANGES,) indices of the changed ones
    elasticity   (N_CHANGES,) as the forecast of the change assumes them
    """

    kept: SimulatedShop
    changed: SimulatedShop
    items: Int64Array
    ratio: Float64Array
    elasticity: Float64Array
    forecast: Forecast

    @cached_property
    def counts(self) -> BoolArray:
        """(N, N_WEEKS) weeks that count: in stock, nothing promoted, and the regular price is that
        of the first week after the change (of other items: of the week before it)."""
        plan, weeks = self.changed.plan, slice(_WEEK, _WEEK + N_WEEKS)
        reference = plan.regular[:, _WEEK - 1].copy()
        reference[self.items] = plan.regular[self.items, _WEEK]
        same = plan.regular[:, weeks] == reference[:, None]
        return same & find_plain_weeks(self.changed)[:, weeks]

    def observe(self, n_weeks: int) -> Observation:
        """Return what is known after some weeks."""
        counts = self.counts[:, :n_weeks]
        weeks = slice(_WEEK, _WEEK + n_weeks)
        n_counted = counts.sum(axis=1)
        shop = self.changed
        units = (shop.units[:, weeks] * counts).sum(axis=1).astype(np.float64)
        span = np.maximum(n_counted, 1) - 1
        is_control = np.ones(len(units), bool)
        is_control[self.items] = False
        catalogue = shop.catalogue
        paths = [catalogue.category_path(item) for item in range(len(units))]
        sold = SoldItems(
            units=units,
            expected=self.forecast.units * n_counted,
            dispersion=self.forecast.dispersion[np.arange(len(units)), span],
            category=np.array(paths, object),
            family=_read_families(shop),
            is_control=is_control,
        )
        rows = self.items[n_counted[self.items] > 0]
        control = build_control(sold, rows, float(self.forecast.common_error[n_weeks - 1]))
        return Observation(self._arrange(sold, control, rows), control, rows, n_weeks)

    def _arrange(self, sold: SoldItems, control: Control, rows: Int64Array) -> ObservedChanges:
        known = np.isin(self.items, rows)
        before = self.kept.plan.regular[rows, _WEEK - 1].astype(np.float64)
        log_ratio = np.log(self.ratio[rows])
        return ObservedChanges(
            sold=sold.units[rows],
            keeping=control.keeping,
            dispersion=control.dispersion,
            control_error=control.error,
            group=control.error_group,
            predicted=self.elasticity[known] * log_ratio,
            predicted_error=np.abs(_ERROR * log_ratio),
            net_before=before,
            net_after=self.changed.plan.regular[rows, _WEEK].astype(np.float64),
            unit_cost=self.kept.plan.cost[rows, _WEEK - 1].astype(np.float64),
        )

    def compute_truth(self, observed: Observation) -> dict[str, Float64Array]:
        """Return the true effect of each observed change on units and profit, in expectation."""
        rows, changes = observed.rows, observed.changes
        weeks = slice(_WEEK, _WEEK + observed.n_weeks)
        counts = self.counts[rows, : observed.n_weeks]
        after = (self.changed.expected[rows, weeks] * counts).sum(axis=1)
        before = (self.kept.expected[rows, weeks] * counts).sum(axis=1)
        return {
            name: value_after * after - value_before * before
            for name, (value_after, value_before) in changes.values().items()
        }


@dataclass(frozen=True)
class Observation:
    """The changes with a week that counts, `rows` their items."""

    changes: ObservedChanges
    control: Control
    rows: Int64Array
    n_weeks: int


def draw_batch(world: str, form: Form, seed: int, true_gain: float) -> ChangedBatch:
    """Return a shop that changes twenty prices by 4 to 12 %, four in five of them up.

    The items are some whose prices would have stayed. Their true profit over four weeks is
    (1 + true_gain) times that of keeping; the forecast says EXPECTED_GAIN.
    """
    parameters = build_parameters(world, form, seed)
    shop = simulate_shop(parameters, generator(seed, "shop of price changes"))
    rng = generator(seed, "price changes")
    steady = np.ptp(shop.plan.regular[:, _WEEK - 1 : _WEEK + N_WEEKS], axis=1) == 0
    items = np.sort(rng.choice(np.flatnonzero(steady), N_CHANGES, replace=False))
    size = rng.uniform(0.04, 0.12, N_CHANGES)
    ratio = np.ones(parameters.n_items)
    ratio[items] += np.where(rng.random(N_CHANGES) < 0.8, size, -size)

    def gain(surprise: float) -> float:
        changes = PriceChanges(_WEEK, ratio, surprise)
        return _measure_gain(shop, items, changes) - true_gain

    changes = PriceChanges(_WEEK, ratio, optimize.brentq(gain, -30.0, 30.0, xtol=1e-4))
    elasticity = _believe(shop, items, ratio, rng)
    changed = apply_changes(shop, changes, generator(seed, "sales after price changes"))
    return ChangedBatch(shop, changed, items, ratio, elasticity, make_forecast(shop))


def find_plain_weeks(shop: SimulatedShop) -> BoolArray:
    """Return (N, T): weeks in which nothing was promoted and the item did not sell out."""
    plan = shop.plan
    promoted = (plan.depth > 0) | (plan.display > 0) | (plan.mailer > 0) | (plan.coupon > 0)
    return np.asarray(~promoted & (shop.available > shop.units))


def make_forecast(shop: SimulatedShop) -> Forecast:
    """Return the forecast of keeping from the weeks before the change."""
    plain = find_plain_weeks(shop)
    category = shop.catalogue.category
    means, actual = [], []
    for origin in _ORIGINS:
        units = _forecast_weekly(shop, plain, origin)
        ahead = slice(origin, origin + N_WEEKS)
        means.append(units[:, None] * np.cumsum(plain[:, ahead], axis=1))
        actual.append(np.cumsum(shop.units[:, ahead] * plain[:, ahead], axis=1))
    units = _forecast_weekly(shop, plain, _WEEK)
    dispersion = np.empty((len(units), N_WEEKS))
    common = np.empty(N_WEEKS)
    for span in range(N_WEEKS):
        mean = np.stack([rows[:, span] for rows in means])
        sold = np.stack([rows[:, span] for rows in actual])
        bucket = np.digitize(mean / (span + 1), _EDGES)
        by_bucket = [
            _measure_dispersion(sold[bucket == number], mean[bucket == number])
            for number in range(len(_EDGES) + 1)
        ]
        dispersion[:, span] = np.array(by_bucket)[np.digitize(units, _EDGES)]
        ratios = [
            np.log(max(sold_by[rows].sum(), 1.0) / mean_by[rows].sum())
            for sold_by, mean_by in zip(sold, mean, strict=True)
            for rows in (category == number for number in range(int(category.max()) + 1))
        ]
        common[span] = np.sqrt(np.mean(np.square(ratios)))
    return Forecast(units, dispersion, common)


def _forecast_weekly(shop: SimulatedShop, plain: BoolArray, origin: int) -> Float64Array:
    """Return units (N,) a week from `origin` on: items' levels times their category's demand."""
    weeks = slice(origin - _MEMORY, origin)
    category, regular = shop.catalogue.category, shop.plan.regular
    log_gap = np.log(regular[:, weeks]) - np.log(regular[:, origin - 1])[:, None]
    counts = plain[:, weeks].astype(np.float64)
    units = shop.units[:, weeks] * np.exp(-_BELIEVED * log_gap) * counts
    demand = np.ones((int(category.max()) + 1, _MEMORY))
    for _ in range(3):
        level = (units.sum(axis=1) + 0.1) / ((counts * demand[category]).sum(axis=1) + 0.1)
        for number in range(len(demand)):
            rows = category == number
            mean = (counts[rows] * level[rows, None]).sum(axis=0)
            demand[number] = (units[rows].sum(axis=0) + 3) / (mean + 3)
    decay = _DECAY ** np.arange(_MEMORY - 1, -1, -1)
    seen = (decay * counts * demand[category]).sum(axis=1)
    level = ((decay * units).sum(axis=1) + level) / (seen + 1)
    return np.asarray(np.maximum(level, 0.05) * np.sqrt(demand[category][:, -N_WEEKS:].mean(1)))


def _measure_dispersion(sold: Float64Array, mean: Float64Array) -> float:
    """Return (variance - mean) / mean² of counts around their means."""
    known = mean > 0
    if known.sum() < _MIN_ROWS:
        return _USUAL_DISPERSION
    sold, mean = sold[known], mean[known]
    return max(float(((sold - mean) ** 2 - mean).sum() / (mean**2).sum()), 0.01)


def _measure_gain(shop: SimulatedShop, items: Int64Array, changes: PriceChanges) -> float:
    """Return the true profit of the items with the changes over that of keeping, less 1."""
    weeks = slice(_WEEK, _WEEK + N_WEEKS)
    offer, cost = shop.plan.offer[items, weeks], shop.plan.cost[items, weeks]
    kept = ((offer - cost) * shop.expected[items, weeks]).sum()
    units = expect_changed_units(shop, changes)[items, weeks]
    changed = ((offer * changes.ratio[items, None] - cost) * units).sum()
    return float(changed / kept - 1)


def _believe(
    shop: SimulatedShop, items: Int64Array, ratio: Float64Array, rng: np.random.Generator
) -> Float64Array:
    """Return elasticities with errors, moved together so that they predict EXPECTED_GAIN."""
    price = shop.plan.regular[items, _WEEK - 1].astype(np.float64)
    cost = shop.plan.cost[items, _WEEK - 1]
    units, log_ratio = shop.expected[items, _WEEK - 1], np.log(ratio[items])
    drawn = np.diag(shop.compute_elasticities())[items] + _ERROR * rng.normal(size=len(items))

    def gain(shift: float) -> float:
        predicted = units * np.exp(drawn * log_ratio + shift * np.abs(log_ratio))
        after = (predicted * (price * ratio[items] - cost)).sum()
        return float(after / (units * (price - cost)).sum() - 1 - EXPECTED_GAIN)

    shift = optimize.brentq(gain, -30.0, 30.0)
    return np.asarray(drawn + shift * np.sign(log_ratio))


def _read_families(shop: SimulatedShop) -> ObjectArray:
    families = [shop.catalogue.family_id(item) or "" for item in range(len(shop.item_ids))]
    return np.array(families, object)
