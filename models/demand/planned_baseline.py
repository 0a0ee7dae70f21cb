"""A baseline that knows the plan: a series' level × the effects of planned promotions and prices.

Units of a week = level × (1 + sum over plans of effect × (planned - usual)). Plans are the reach of
each kind of promotion, and with a price list how far the logarithm of the offer price lies below
that of the recent weeks. Effects are by category, shrunk towards those of all series, and those
towards 0; they are estimated from weeks before the origin only. Where no plan is known, the
forecast is the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from models.demand.baselines import tsb
from models.demand.panel import PRICE_MEMORY, DemandPanel

NAME = "TSB × effects of the plan"
_MEMORY = 26  # weeks that effects are estimated from
_SHOP_STRENGTH = 20.0  # units × squared plans that count as observed with no effect
_CATEGORY_STRENGTH = 200.0  # and with the effect of all series
_LEAST, _MOST = 0.1, 10.0  # bounds of the factor on a level


@dataclass(frozen=True)
class Plans:
    """K plans that move units.

    values     K × N × T, NaN where nothing is planned or known
    usual      K × N, those that the level of the series holds already
    is_price   K, price cuts: a lower price never sells less
    """

    values: Float64Array
    usual: Float64Array
    is_price: BoolArray


def gather_plans(panel: DemandPanel) -> Plans:
    """Return the reach of each kind of promotion, and price cuts where there is a price list."""
    reach = panel.reach.astype(np.float64)
    recent = reach[:, :, max(panel.n_known - _MEMORY, 0) : panel.n_known]
    cuts = gather_price_cuts(panel)
    return Plans(
        values=np.concatenate([reach, cuts.values]),
        usual=np.concatenate([np.nan_to_num(recent).mean(axis=2), cuts.usual]),
        is_price=np.append(np.zeros(len(reach), bool), cuts.is_price),
    )


def gather_price_cuts(panel: DemandPanel) -> Plans:
    """Return how far log offer prices lie below those of the recent weeks; no plan without any."""
    if panel.offer_price is None:
        none = np.zeros((0, panel.n_series))
        return Plans(np.zeros((0, panel.n_series, len(panel.week_starts))), none, none[:, 0] > 0)
    log_price = np.log(panel.offer_price.astype(np.float64))
    recent = log_price[:, max(panel.n_known - PRICE_MEMORY, 0) : panel.n_known]
    n_known = np.isfinite(recent).sum(axis=1)
    usual_price = np.nan_to_num(recent).sum(axis=1) / np.where(n_known > 0, n_known, np.nan)
    cuts = usual_price[:, None] - log_price
    return Plans(cuts[None], np.zeros((1, panel.n_series)), np.ones(1, bool))


@dataclass(frozen=True)
class PlanEffects:
    """Effects of K plans, C × K by category, and the code of each of N series."""

    effects: Float64Array
    category: Int64Array

    def predict_factors(
        self, plans: Plans, panel: DemandPanel, steps: Sequence[int]
    ) -> Float64Array:
        """Return N × steps factors on the levels of the weeks after the panel's last known one."""
        weeks = panel.n_known - 1 + np.array(steps, np.int64)
        excess = np.nan_to_num(plans.values[:, :, weeks] - plans.usual[:, :, None])
        factor = 1 + np.einsum("nk,knh->nh", self.effects[self.category], excess)
        return np.asarray(np.clip(factor, _LEAST, _MOST), np.float64)


def forecast_by_plan(panel: DemandPanel, steps: Sequence[int]) -> Float64Array:
    """Return N × steps units of the weeks after the panel's last known one; TSB without plans."""
    level = tsb(panel.units.astype(np.float64))[:, None]
    return np.asarray(level * predict_plan_factors(panel, gather_plans(panel), steps), np.float64)


def predict_plan_factors(panel: DemandPanel, plans: Plans, steps: Sequence[int]) -> Float64Array:
    """Return N × steps: what plans multiply a level by; 1 without plans."""
    if not len(plans.values) or not panel.n_series:
        return np.ones((panel.n_series, len(steps)))
    return fit_plan_effects(panel, plans).predict_factors(plans, panel, steps)


def fit_plan_effects(panel: DemandPanel, plans: Plans) -> PlanEffects:
    """Fit by least squares, weighted by one over the level, on the panel's last known weeks."""
    weeks = slice(max(panel.n_known - _MEMORY, 0), panel.n_known)
    units = panel.units[:, weeks].astype(np.float64)
    known = np.nan_to_num(plans.values[:, :, weeks])
    n_plans = len(known)
    category = panel.groups[1]
    n_categories = int(category.max(initial=-1)) + 1
    level = units.mean(axis=1)
    excess = known - known.mean(axis=2, keepdims=True)
    gram = np.zeros((n_categories, n_plans, n_plans))
    moment = np.zeros((n_categories, n_plans))
    for row in range(n_plans):
        moved = (excess[row] * (units - level[:, None])).sum(axis=1)
        moment[:, row] = np.bincount(category, moved, n_categories)
        for column in range(n_plans):
            product = level * (excess[row] * excess[column]).sum(axis=1)
            gram[:, row, column] = np.bincount(category, product, n_categories)
    identity = np.eye(n_plans)
    shop = np.linalg.solve(gram.sum(axis=0) + _SHOP_STRENGTH * identity, moment.sum(axis=0))
    ridge = gram + _CATEGORY_STRENGTH * identity
    effects = np.linalg.solve(ridge, (moment + _CATEGORY_STRENGTH * shop)[:, :, None])[:, :, 0]
    effects = np.where(plans.is_price, np.maximum(effects, 0.0), effects)
    return PlanEffects(np.asarray(effects, np.float64), category)
