"""How far a shop's plans reach: after the last planned week of a kind its reach is unknown, not 0.

A plan is complete up to the last week that the shop has planned as it usually does. Weeks without
a promotion before that week are planned to have none. What is unknown is NaN in a panel's plans.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from models.demand.panel import DemandPanel

_SHARE = 0.25  # of the usual plans of a week, below which a week is not planned yet
_REDUCED = 1 - 1e-6  # offer over list price below which a price is reduced
_NEVER = np.iinfo(np.int64).max  # a kind that the zone never plans: it is known to have none


@dataclass(frozen=True)
class PlanEnds:
    """The first weeks of which plans are not known, by position in the panel's weeks.

    promotions   K × N, by kind
    reductions   N, of offer prices below the list price
    """

    promotions: Int64Array
    reductions: Int64Array

    @property
    def are_planned(self) -> bool:
        """Whether the shop plans anything that may be unknown."""
        return bool((self._flat < _NEVER).any())

    @property
    def range(self) -> tuple[int, int]:
        """The first and the last end, of what is planned at all."""
        planned = self._flat[self._flat < _NEVER]
        return int(planned.min()), int(planned.max())

    @property
    def _flat(self) -> Int64Array:
        return np.concatenate([self.promotions.ravel(), self.reductions])

    def count_weeks_ahead(self, origin: int) -> PlanEnds:
        """Return how many weeks the plans reach beyond `origin`, none below 0."""
        return PlanEnds(_subtract(self.promotions, origin), _subtract(self.reductions, origin))

    def limit(self, ahead: PlanEnds, origin: int) -> PlanEnds:
        """Return the ends if plans reached at most `ahead` weeks beyond `origin`.

        A zone that never plans a kind is known to have none all the same.
        """
        return PlanEnds(
            _limit(self.promotions, ahead.promotions, origin),
            _limit(self.reductions, ahead.reductions, origin),
        )

    def end_at_once(self) -> PlanEnds:
        """Return no weeks ahead, for `limit`."""
        return PlanEnds(np.zeros_like(self.promotions), np.zeros_like(self.reductions))


def _limit(ends: Int64Array, ahead: Int64Array, origin: int) -> Int64Array:
    latest = np.where(ahead == _NEVER, _NEVER, np.minimum(ahead, _NEVER - origin) + origin)
    return np.where(ends == _NEVER, _NEVER, np.minimum(ends, latest)).astype(np.int64)


def _subtract(ends: Int64Array, origin: int) -> Int64Array:
    return np.where(ends == _NEVER, _NEVER, np.maximum(ends - origin, 0)).astype(np.int64)


def find_plan_ends(panel: DemandPanel) -> PlanEnds:
    """Return how far the plans of each zone reach, for each kind and for reductions of prices.

    They reach to the last week with a usual number of plans, as long as no pause before it is
    longer than the longest pause of the known weeks: one early plan for Christmas does not make
    the weeks before it planned. A zone that never plans a kind is known to have none.
    """
    promotions = np.full((len(panel.kinds), panel.n_series), _NEVER)
    reductions = np.full(panel.n_series, _NEVER)
    reduced = find_reduced_weeks(panel)
    for zone in sorted(set(panel.zones.tolist())):
        series = np.flatnonzero(panel.zones == zone)
        for kind, reach in enumerate(panel.reach):
            weekly = np.nan_to_num(reach[series]).sum(axis=0, dtype=np.float64)
            promotions[kind, series] = _find_end(weekly, panel.n_known)
        if reduced is not None:
            weekly = reduced[series].sum(axis=0).astype(np.float64)
            reductions[series] = _find_end(weekly, panel.n_known)
    return PlanEnds(promotions, reductions)


def find_reduced_weeks(panel: DemandPanel) -> BoolArray | None:
    """Return N × T: weeks with an offer price below the list price; None without a price list."""
    if panel.offer_price is None or panel.list_price is None:
        return None
    with np.errstate(invalid="ignore"):
        return np.asarray(panel.offer_price < _REDUCED * panel.list_price)


def _find_end(weekly: Float64Array, n_known: int) -> int:
    """Return the week after the last planned one, from the size of a zone's plans by week."""
    active = weekly > 0
    if not active.any():
        return _NEVER
    known = weekly[:n_known][active[:n_known]]
    usual = float(np.median(known if len(known) else weekly[active]))
    planned = np.flatnonzero(weekly >= max(_SHARE * usual, np.finfo(np.float64).tiny))
    pauses = np.diff(planned[planned < n_known])
    longest = int(pauses.max()) if len(pauses) else len(weekly)
    last = int(planned[planned < n_known].max(initial=planned[0]))
    for week in planned[planned > last].tolist():
        if week - last > longest:
            break
        last = week
    return last + 1


def hide_unplanned_weeks(
    panel: DemandPanel, ends: PlanEnds, *, hide_plans: bool = False
) -> DemandPanel:
    """Return the panel with NaN for the plans of weeks to come from their ends on.

    A promotion that is planned for such a week all the same is kept, unless `hide_plans` says that
    it was not planned yet.
    """
    weeks = np.arange(len(panel.week_starts))
    ahead = weeks >= panel.n_known
    unknown = ahead & (weeks >= ends.promotions[:, :, None])
    hidden = unknown if hide_plans else unknown & ~(panel.reach > 0)
    if not hidden.any() and not (ahead & (weeks >= ends.reductions[:, None])).any():
        return panel
    depth = panel.depth
    if depth is not None:
        depth = np.where(hidden.any(axis=0) & hide_plans, np.nan, depth)
    return replace(
        panel,
        reach=np.where(hidden, np.nan, panel.reach).astype(np.float32),
        depth=None if depth is None else depth.astype(np.float32),
        offer_price=_hide_reductions(
            panel, ahead & (weeks >= ends.reductions[:, None]), hide_plans
        ),
    )


def _hide_reductions(
    panel: DemandPanel, unknown: BoolArray, hide_plans: bool
) -> Float32Array | None:
    reduced = find_reduced_weeks(panel)
    if reduced is None or panel.offer_price is None:
        return panel.offer_price
    hidden = unknown if hide_plans else unknown & ~reduced
    return np.where(hidden, np.nan, panel.offer_price).astype(np.float32)


def hide_target_week(
    panel: DemandPanel, kinds: Collection[int], first: int, target: int
) -> DemandPanel:
    """Return the panel in which plans of some kinds are unknown from week `first` to `target`.

    Features of the week `target` read these plans of it and of the week before. Depth and reduced
    prices are hidden with any kind.
    """
    weeks = slice(max(first, target - 1), target + 1)
    reach = panel.reach.copy()
    for kind in kinds:
        reach[kind, :, weeks] = np.nan
    depth, offer = panel.depth, panel.offer_price
    if depth is not None:
        depth = depth.copy()
        depth[:, target] = np.nan
    if offer is not None:
        offer = offer.copy()
        offer[:, target] = np.nan
    return panel.replace_plans(reach, depth, offer)
