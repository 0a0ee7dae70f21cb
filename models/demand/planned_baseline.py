"""A baseline that knows the plan: a series' level × the effect of each kind of promotion.

Units of a week = level × (1 + sum over kinds of effect × (planned reach - usual reach)). Effects
are by category, shrunk towards those of all series, and those towards 0; they are estimated from
weeks before the origin only. Where no plan is known, the forecast is the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.demand.baselines import tsb
from models.demand.panel import DemandPanel

NAME = "TSB × effects of the plan"
_MEMORY = 26  # weeks that effects are estimated from
_SHOP_STRENGTH = 20.0  # units × squared reach that count as observed with no effect
_CATEGORY_STRENGTH = 200.0  # and with the effect of all series
_LEAST, _MOST = 0.1, 10.0  # bounds of the factor on a level


@dataclass(frozen=True)
class PromotionEffects:
    """Effects of K kinds at full reach, C × K by category, and the code of each of N series."""

    effects: Float64Array
    category: Int64Array

    def forecast(self, panel: DemandPanel, steps: Sequence[int]) -> Float64Array:
        """Return N × steps units of the weeks after the panel's last known one."""
        level = tsb(panel.units.astype(np.float64))
        usual = _usual_reach(panel)
        weeks = panel.n_known - 1 + np.array(steps, np.int64)
        planned = panel.reach[:, :, weeks].astype(np.float64)
        excess = np.nan_to_num(planned - usual[:, :, None])
        factor = 1 + np.einsum("nk,knh->nh", self.effects[self.category], excess)
        return np.asarray(level[:, None] * np.clip(factor, _LEAST, _MOST), np.float64)


def forecast_by_plan(panel: DemandPanel, steps: Sequence[int]) -> Float64Array:
    """Return N × steps units of the weeks after the panel's last known one; TSB without kinds."""
    if not panel.kinds or not panel.n_series:
        level = tsb(panel.units.astype(np.float64))
        return np.repeat(level[:, None], len(steps), axis=1)
    return fit_promotion_effects(panel).forecast(panel, steps)


def fit_promotion_effects(panel: DemandPanel) -> PromotionEffects:
    """Fit by least squares, weighted by one over the level, on the panel's last known weeks."""
    weeks = slice(max(panel.n_known - _MEMORY, 0), panel.n_known)
    units = panel.units[:, weeks].astype(np.float64)
    reach = np.nan_to_num(panel.reach[:, :, weeks]).astype(np.float64)
    n_kinds = len(reach)
    category = panel.groups[1]
    n_categories = int(category.max(initial=-1)) + 1
    level = units.mean(axis=1)
    excess = reach - reach.mean(axis=2, keepdims=True)
    gram = np.zeros((n_categories, n_kinds, n_kinds))
    moment = np.zeros((n_categories, n_kinds))
    for row in range(n_kinds):
        moved = (excess[row] * (units - level[:, None])).sum(axis=1)
        moment[:, row] = np.bincount(category, moved, n_categories)
        for column in range(n_kinds):
            product = level * (excess[row] * excess[column]).sum(axis=1)
            gram[:, row, column] = np.bincount(category, product, n_categories)
    identity = np.eye(n_kinds)
    shop = np.linalg.solve(gram.sum(axis=0) + _SHOP_STRENGTH * identity, moment.sum(axis=0))
    ridge = gram + _CATEGORY_STRENGTH * identity
    effects = np.linalg.solve(ridge, (moment + _CATEGORY_STRENGTH * shop)[:, :, None])[:, :, 0]
    return PromotionEffects(np.asarray(effects, np.float64), category)


def _usual_reach(panel: DemandPanel) -> Float64Array:
    """Return K × N mean reach of the last known weeks."""
    recent = panel.reach[:, :, max(panel.n_known - _MEMORY, 0) : panel.n_known]
    return np.asarray(np.nan_to_num(recent).mean(axis=2), np.float64)
