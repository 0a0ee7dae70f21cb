"""The data that demand models are trained on and evaluated against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.facts.facts import Facts
from models.demand.daily import DaySales
from models.demand.panel import DemandPanel
from training.demand.calendar_signals import CALENDAR_SIGNALS
from training.demand.catalogue_items import Catalogue, read_catalogue
from training.demand.daily import build_day_sales
from training.demand.panel import add_plans, build_panel


@dataclass(frozen=True, kw_only=True)
class DemandData:
    """Weekly and daily demand of N series over T weeks.

    panel             with every plan that is known
    revenue           N × n_known, minor units
    days              units by day
    items             the catalogue, with items that never sold
    timezone          of the shop, in which its days begin
    panel_planned_at  the panel with the plans that were known at an origin
    """

    panel: DemandPanel
    revenue: Float64Array
    days: DaySales
    items: Catalogue
    timezone: str
    panel_planned_at: Callable[[int], DemandPanel]


def load_demand_data(
    facts: Facts, settings: Settings, *, until: datetime | None, ahead: int
) -> DemandData:
    """Load the whole weeks before `until`, with plans for `ahead` weeks more.

    Raises BadInput without sales.
    """
    panel, revenue = build_panel(facts, settings, until=until, ahead=ahead)
    calendar_only = set(panel.signal_names) <= CALENDAR_SIGNALS and panel.offer_price is None

    def panel_planned_at(origin: int) -> DemandPanel:
        if calendar_only:  # no price and no regressor that was not known yet
            return panel
        return add_plans(panel, facts, settings, known_at=panel.week_starts[origin])

    return DemandData(
        panel=panel,
        revenue=revenue,
        days=build_day_sales(panel, facts, settings),
        items=read_catalogue(facts),
        timezone=settings.timezone,
        panel_planned_at=panel_planned_at,
    )
