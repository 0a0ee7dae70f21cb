"""The data that demand models are trained on and evaluated against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.contracts.calendar import day_starts
from features.facts.closed_days import mark_open_days, read_closures
from features.facts.facts import Facts
from models.demand.daily import WEEKDAYS, DaySales
from models.demand.odd_sales import limit_odd_sales
from models.demand.panel import DemandPanel
from training.demand.calendar_signals import CALENDAR_SIGNALS
from training.demand.catalogue_items import Catalogue, read_catalogue
from training.demand.closures import (
    describe_closures,
    measure_open_shares,
    propose_closures,
)
from training.demand.daily import build_day_sales
from training.demand.panel import WeeklySales, add_plans, build_panel_of
from training.demand.sales_notes import (
    describe_odd_sales,
    describe_refunds,
    find_weeks_given_away,
)
from training.splits import SalesSpan, describe_gap, span_of_sales


@dataclass(frozen=True, kw_only=True)
class DemandData:
    """Weekly and daily demand of N series over T weeks.

    panel             with every plan that is known; single orders and weeks that outweigh all
                      others are limited in its units, in revenue and days
    revenue           N × n_known, minor units
    days              units by day
    items             the catalogue, with items that never sold
    timezone          of the shop, in which its days begin
    panel_planned_at  the panel with the plans that were known at an origin
    n_missing         whole weeks between the known ones and the present
    notes             what was noticed in the data, in words
    """

    panel: DemandPanel
    revenue: Float64Array
    days: DaySales
    items: Catalogue
    timezone: str
    panel_planned_at: Callable[[int], DemandPanel]
    n_missing: int = 0
    notes: tuple[str, ...] = ()


def load_demand_data(
    facts: Facts, settings: Settings, *, until: datetime | None, ahead: int
) -> DemandData:
    """Load the whole weeks before `until`, with plans for `ahead` weeks from then on.

    Raises BadInput without sales.
    """
    span = span_of_sales(facts, until, settings)
    sales = build_panel_of(facts, settings, span, ahead=ahead, known_at=until)
    days = build_day_sales(sales.panel, facts, settings)
    sales, days = _leave_out_closures(sales, days, facts, settings)
    panel, share_counted, odd_notes = _limit_odd_sales(sales)
    week_of_row = days.day // WEEKDAYS
    days = replace(days, units=days.units * share_counted[days.series, week_of_row])
    calendar_only = set(panel.signal_names) <= CALENDAR_SIGNALS and panel.offer_price is None

    def panel_planned_at(origin: int) -> DemandPanel:
        if calendar_only:  # no price and no regressor that was not known yet
            return panel
        return add_plans(panel, facts, settings, known_at=panel.week_starts[origin])

    return DemandData(
        panel=panel,
        revenue=sales.revenue * share_counted,
        days=days,
        items=read_catalogue(facts),
        timezone=settings.timezone,
        panel_planned_at=panel_planned_at,
        n_missing=span.n_missing,
        notes=(
            *describe_gap(span),
            *_describe_silence(facts, settings, span),
            *describe_refunds(facts, span),
            *odd_notes,
        ),
    )


def _describe_silence(facts: Facts, settings: Settings, span: SalesSpan) -> tuple[str, ...]:
    return describe_closures(propose_closures(facts, settings, span), span)


def _leave_out_closures(
    sales: WeeklySales, days: DaySales, facts: Facts, settings: Settings
) -> tuple[WeeklySales, DaySales]:
    """Return both with the open days of the table `closures`; as they are where it is empty."""
    closures, panel = read_closures(facts), sales.panel
    if not closures:
        return sales, days
    zones = sorted(set(panel.zones.tolist()))
    starts = [day for week in panel.week_starts for day in day_starts(week, settings.timezone)]
    shape = (len(zones), len(panel.week_starts), WEEKDAYS)
    is_open = mark_open_days(closures, zones, starts).reshape(shape)
    shares = measure_open_shares(is_open, days.sum_by_zone())
    panel = replace(panel, open_share=shares[days.zones])
    return sales._replace(panel=panel), replace(days, is_open=is_open)


def _limit_odd_sales(
    sales: WeeklySales,
) -> tuple[DemandPanel, Float64Array, tuple[str, ...]]:
    """Return the panel with odd sales limited, the share of units that counts, and sentences."""
    panel, sold = sales.panel, sales.panel.units.astype(np.float64)
    odd = limit_odd_sales(panel, sales.largest_order)
    share_counted = odd.units / np.where(sold > 0, sold, 1.0)
    in_stock = find_weeks_given_away(panel, sales.given_units)
    limited = replace(panel, units=odd.units.astype(np.float32), in_stock=in_stock)
    return limited, share_counted, describe_odd_sales(panel, odd, sales.given_units)
