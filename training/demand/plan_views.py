"""What a forecast made at a past origin knows of the plans: all, none, or those of its day."""

from __future__ import annotations

from enum import StrEnum

from models.demand.panel import DemandPanel
from models.demand.plan_horizon import PlanEnds, hide_unplanned_weeks


class PlanView(StrEnum):
    """Which plans of the weeks to come a forecast knows.

    FULL       all that were made, as if every promotion had been planned before the origin
    NONE       none
    AS_KNOWN   as many weeks ahead as the shop's plans reach beyond the end of its data: what
               the served forecasts know
    """

    FULL = "with the plan"
    NONE = "without a plan"
    AS_KNOWN = "as known at the origin"


def hide_plans_at(panel: DemandPanel, ends: PlanEnds, n_weeks: int, plans: PlanView) -> DemandPanel:
    """Return the panel with NaN for what a forecast from its last known week does not know.

    ends      of the plans as they are now, after `n_weeks` weeks of data
    """
    origin = panel.n_known
    if plans is PlanView.FULL or (plans is PlanView.AS_KNOWN and origin == n_weeks):
        return hide_unplanned_weeks(panel, ends)
    ahead = ends.count_weeks_ahead(n_weeks)
    known = ends.limit(ends.end_at_once() if plans is PlanView.NONE else ahead, origin)
    return hide_unplanned_weeks(panel, known, hide_plans=True)


def find_same_view(ends: PlanEnds, n_weeks: int, horizon: int, plans: PlanView) -> PlanView:
    """Return the first view that knows the same plans of the `horizon` weeks ahead.

    A shop without promotions has one view. One that never plans ahead has none as known at the
    origin, and one that has planned the whole horizon all.
    """
    if not ends.are_planned:
        return PlanView.FULL
    if plans is PlanView.AS_KNOWN:
        fewest, most = ends.count_weeks_ahead(n_weeks).range
        if fewest >= horizon:
            return PlanView.FULL
        if most == 0:
            return PlanView.NONE
    return plans
