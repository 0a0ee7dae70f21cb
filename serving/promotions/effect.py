"""What a promotion did: its frozen what-if against what sold, baskets, conversion, buyers, return.

What happened is a fact. What would have happened without the promotion is the forecast that was
frozen when it was filed, with its interval; so the gain has one too. Whatever is not known is named
with the reason, never 0. Nothing here is read on the way to a price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import Conflict
from features.contracts.pricing import Band
from features.database import reading
from features.prices.ledger import Ledger
from models.pricing.effects.counterfactuals import ControlShift
from serving.promotions.decisions import require_version
from serving.promotions.documents import find_phase
from serving.promotions.outcomes import (
    MIN_GROUP,
    Compared,
    Sold,
    compare_means,
    compare_shares,
    compute_roi,
    judge,
    move_bands,
    read_bands,
    subtract,
)
from serving.promotions.repository import Promotion, Promotions

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from features.facts.facts import Facts
    from features.pipelines.promotion_outcomes import SoldSpan

# By set of frozen forecasts, zone, items and time.
FindControl = Callable[[str, str, Sequence[str], datetime, datetime], ControlShift | None]
FORECAST = "forecast"
RETURN_DAYS = 28  # a buyer who comes back does so within these


@dataclass(frozen=True)
class PromotionEffect:
    """The effect of a promotion; `unknown` says why a part of it is None, by its name.

    until      up to when sales count: its end, or now
    share      the share of its planned time that it ran, over which `expected` and `without` are
    expected, without, gain   units, revenue, profit
    roi        the gain in profit, with funding and less costs, over what was put in
    control    what `without` is from; control_factor: by which the unchanged items of the category
               moved it. Measured once all sales are known
    """

    promotion: Promotion
    verdict: str
    until: datetime
    share: float
    sold: Sold | None = None
    expected: Mapping[str, Band] | None = None
    without: Mapping[str, Band] | None = None
    gain: Mapping[str, Band] | None = None
    roi: Band | None = None
    baskets: Compared | None = None
    conversion: Compared | None = None
    returns: Compared | None = None
    control: str = FORECAST
    control_factor: float = 1.0
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PromotionEffectService:
    """Measures promotions from the facts, as of now.

    find_control   returns by which factor unchanged items moved since the approval, and which items
                   these are; None where the forecast alone is the control
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    find_control: FindControl | None = None

    def measure(self, promotion_id: str) -> PromotionEffect:
        """Return the effect of a promotion. Raises NotFound, and Conflict for one that never
        ran."""
        from features.facts.facts import Facts

        now = self.clock.now()
        with reading(self.engine) as connection:
            found = Promotions(connection).get(promotion_id)
        promotion = require_version(found, promotion_id, None)
        if find_phase(promotion) in ("planned", "dropped"):
            raise Conflict("it was never approved, so it has no effect")
        until = min(promotion.runs_until, now)
        facts = Facts(self.settings)
        latest = facts.find_latest_sales().get(promotion.zone)
        reason = _explain_too_early(promotion, now, latest)
        share = (until - promotion.starts_at) / (promotion.ends_at - promotion.starts_at)
        if reason is not None and until <= promotion.starts_at:
            return PromotionEffect(promotion, "too_early", until, 0.0, unknown={"all": reason})
        return self._measure_span(facts, promotion, until, share, reason)

    def _measure_span(
        self,
        facts: Facts,
        promotion: Promotion,
        until: datetime,
        share: float,
        too_early: str | None,
    ) -> PromotionEffect:
        from features.pipelines.promotion_outcomes import SoldSpan

        item_ids = [item.item_id for item in promotion.items]
        span = SoldSpan(item_ids, promotion.zone, promotion.starts_at, until)
        unknown: dict[str, str] = {}
        sold = self._read_sold(facts, promotion, span, unknown)
        expected, without = (
            read_bands(promotion.expected, name, share, promotion.currency)
            for name in ("expected", "without")
        )
        shift = None
        if too_early is None and without is not None:
            shift = self._find_control(promotion, until)
        moved, without = move_bands(expected, shift), move_bands(without, shift)
        gain = roi = None
        if too_early is not None:
            unknown["gain"] = too_early
        elif without is None:
            unknown["gain"] = "nothing was forecast when it was filed"
        else:
            gain = subtract(sold, without)
            roi = compute_roi(promotion, sold, gain)
        if roi is None:
            unknown["roi"] = unknown.get("gain") or unknown.get("profit") or "nothing was put in"
        baskets = _compare_baskets(facts, span)
        conversion = _compare_conversions(facts, span)
        returns = None
        if too_early is None and until + timedelta(days=RETURN_DAYS) <= self.clock.now():
            returns = _compare_returns(facts, span)
        else:
            unknown["repeat_purchase"] = f"{RETURN_DAYS} days have not passed since its end"
        compared = {
            "baskets": (baskets, "orders with an order_id"),
            "conversion": (conversion, "visits with views"),
            "repeat_purchase": (returns, "known buyers"),
        }
        for name, (value, noun) in compared.items():
            if value is None:
                few = f"fewer than {MIN_GROUP} {noun}, during it or before"
                unknown.setdefault(name, few)
        return PromotionEffect(
            promotion=promotion,
            verdict="too_early" if too_early is not None else judge(sold, moved),
            until=until,
            share=share,
            sold=sold,
            expected=expected,
            without=without,
            gain=gain,
            roi=roi,
            baskets=baskets,
            conversion=conversion,
            returns=returns,
            control=FORECAST if shift is None else shift.control,
            control_factor=1.0 if shift is None else shift.factor,
            unknown=unknown,
        )

    def _find_control(self, promotion: Promotion, until: datetime) -> ControlShift | None:
        """Return by which factor unchanged items moved; None where the forecast is the control."""
        if self.find_control is None or promotion.forecast_set_id is None:
            return None
        item_ids = [item.item_id for item in promotion.items]
        return self.find_control(
            promotion.forecast_set_id, promotion.zone, item_ids, promotion.starts_at, until
        )

    def _read_sold(
        self, facts: Facts, promotion: Promotion, span: SoldSpan, unknown: dict[str, str]
    ) -> Sold:
        """Return what the items sold in a span; `unknown` gets why the profit is not known."""
        from features.pipelines.promotion_outcomes import sum_sales
        from serving.pricing_inputs.item_facts import read_item_terms

        zone, begins_at = promotion.zone, promotion.starts_at
        rows = sum_sales(facts.read("events"), span).to_pyarrow().to_pylist()
        with reading(self.engine) as connection:
            item_ids = [item.item_id for item in promotion.items]
            prices = Ledger(connection).find_current(item_ids, zone, begins_at)
        costs = read_item_terms(facts, self.settings, prices, zone, begins_at)
        divisor = self.settings.zone(zone).tax_divisor
        usual = {item.item_id: item.current_price_minor for item in promotion.items}
        units = sum(row["units"] for row in rows)
        revenue = sum(row["amount_minor"] for row in rows) / divisor
        at_usual = sum(row["units"] * usual[row["item_id"]] for row in rows) / divisor
        assumed = sorted(item_id for item_id, cost in costs.items() if cost.cost_assumed)
        profit = None
        if assumed:
            unknown["profit"] = f"no cost is known of {', '.join(assumed[:5])}"
        else:
            profit = revenue - sum(
                row["units"] * costs[row["item_id"]].unit_cost_minor for row in rows
            )
        return Sold(units, revenue, profit, max(at_usual - revenue, 0.0))


def _explain_too_early(promotion: Promotion, now: datetime, latest: datetime | None) -> str | None:
    """Return why not all sales of a promotion are known yet; None where they are.

    latest   when the latest sale of its zone was that is known
    """
    end = promotion.runs_until
    if end > now:
        return f"it runs until {end.isoformat()}"
    if latest is None or latest < end:
        known = (
            "no sales are known" if latest is None else f"sales are known until {latest:%Y-%m-%d}"
        )
        return f"{known}, and it ended on {end:%Y-%m-%d}"
    return None


def _read_row(table: ir.Table) -> dict[str, float]:
    row: dict[str, float] = table.to_pyarrow().to_pylist()[0]
    return row


def _compare_baskets(facts: Facts, span: SoldSpan) -> Compared | None:
    """Return the mean spend of orders with any of the items, and that of as long a time before."""
    from features.pipelines.promotion_outcomes import measure_baskets

    events = facts.read("events")
    during = _read_row(measure_baskets(events, span))
    before = _read_row(measure_baskets(events, span.move(-span.length)))
    if min(during["n_orders"], before["n_orders"]) < MIN_GROUP:
        return None
    variances = (row["sd_minor"] ** 2 / row["n_orders"] for row in (during, before))
    return compare_means(
        during["mean_minor"],
        before["mean_minor"],
        math.sqrt(sum(variances)),
        int(during["n_orders"]),
        int(before["n_orders"]),
    )


def _compare_conversions(facts: Facts, span: SoldSpan) -> Compared | None:
    """Return the share of visits that looked at an item and bought one, and that before."""
    from features.pipelines.promotion_outcomes import count_conversions

    events = facts.read("events")
    rows = [_read_row(count_conversions(events, some)) for some in (span, span.move(-span.length))]
    counts = [int(row[name]) for row in rows for name in ("n_visits", "n_bought")]
    return compare_shares(*counts)


def _compare_returns(facts: Facts, span: SoldSpan) -> Compared | None:
    """Return the share of buyers who came back, and of those of a time before whose days to come
    back were over when the promotion began."""
    from features.pipelines.promotion_outcomes import count_returns

    within, events = timedelta(days=RETURN_DAYS), facts.read("events")
    earlier = span.move(-span.length - within)
    rows = [_read_row(count_returns(events, some, within)) for some in (span, earlier)]
    counts = [int(row[name]) for row in rows for name in ("n_buyers", "n_returned")]
    return compare_shares(*counts)
