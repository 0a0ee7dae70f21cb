"""What price changes brought: their frozen forecasts against what sold, as of now.

Sums of sales by item and week are read, nothing about a person, and nothing here is read on the way
to a price. The readers of tables are imported by the first measurement: a server should be ready
before that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.calendar import add_weeks, find_week_start
from features.contracts.clock import Clock
from features.contracts.errors import Conflict, NotFound
from features.database import reading
from features.prices.ledger import Ledger
from models.demand.frozen_forecasts import MAX_WEEKS, FrozenForecasts
from serving.database.forecast_sets import ForecastSet, ForecastSets
from serving.effects.repository import BatchLook, ChangeFilter, Changes, Looks, PriceChange

if TYPE_CHECKING:
    from features.facts.facts import Facts
    from features.facts.weekly_sales import WeeklySales
    from serving.effects.measured import ChangeEffect, GroupEffect, MeasuredEffects
    from serving.effects.observation import ItemGroups

# A price that begins so long after midnight of Monday counts for the whole week.
LATE_START = timedelta(hours=12)
_FRESH = timedelta(minutes=10)  # for which sums that were read are used again
_MOST_READINGS = 8
_HALF_WEEK = timedelta(days=3.5)
_WARNED = timedelta(weeks=8)
_MOST_RUNS = 50


@dataclass(frozen=True)
class _Window:
    """Changes of one zone and set of forecasts whose first whole week is the same.

    week_starts   the week before, then the whole weeks that are over and whose sales are known
    """

    zone: str
    set_id: str
    week_starts: tuple[datetime, ...]
    changes: list[PriceChange]


@dataclass
class _Reading:
    """Sums of sales that were read, and until when they are used again."""

    sales: WeeklySales
    until: datetime


@dataclass(frozen=True)
class EffectService:
    """Measures price changes.

    settle   gives suggestions the status that time has given them
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    system_clock: Clock
    settle: Callable[[], None] = lambda: None
    _readings: dict[tuple[object, ...], _Reading] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def measure_change(self, price_id: str) -> MeasuredEffects:
        """Return the effect of one change. Raises NotFound, and Conflict for a price that did not
        come from the desk, or that has not begun."""
        self.settle()
        measured = self.measure(ChangeFilter(price_ids=(price_id,)))
        if measured.changes:
            return measured
        with reading(self.engine) as connection:
            price = Ledger(connection).find_by_id(price_id)
        if price is None:
            raise NotFound(f"no price change {price_id!r}", hint="See: GET /v1/price-changes")
        if price.suggestion_id is None:
            raise Conflict("it was not approved at the price desk, so nothing was forecast of it")
        raise Conflict("it is not live yet, or was withdrawn: it has no effect")

    def measure(self, criteria: ChangeFilter, max_weeks: int = MAX_WEEKS) -> MeasuredEffects:
        """Return the effects of the changes of a filter over their first weeks, the latest
        first."""
        from features.facts.facts import Facts

        with reading(self.engine) as connection:
            changes = Changes(connection).list_matching(criteria)
        facts = Facts(self.settings)
        known_until = facts.latest_event_at() if changes else None
        return self._measure(facts, changes, known_until, max_weeks)

    def list_warnings(self, zone: str | None = None) -> list[BatchLook]:
        """Return the looks of late that raised an alarm, of batches that are still live."""
        since = self.clock.now() - _WARNED
        with reading(self.engine) as connection:
            changes = Changes(connection)
            return [
                look
                for look in Looks(connection).list_alarms(zone, since)
                if changes.has_any(ChangeFilter(run_id=look.run_id, zone=look.zone, live_only=True))
            ]

    def list_runs(self, zone: str) -> list[str]:
        """Return the newest runs and proposals with live changes in a zone."""
        with reading(self.engine) as connection:
            return Changes(connection).list_runs(zone, _MOST_RUNS)

    def find_control(
        self,
        set_id: str,
        zone: str,
        item_ids: Sequence[str],
        since: datetime,
        until: datetime,
    ) -> tuple[str, float] | None:
        """Return which unchanged items stand for promoted ones, and by which factor they sold more
        than the frozen forecasts; None where no week that is known belongs to the time."""
        from features.facts.facts import Facts
        from serving.effects.observation import measure_shift

        facts = Facts(self.settings)
        timezone = self.settings.timezone
        first = find_week_start(since, timezone)
        weeks = self.list_known_weeks(first, facts.latest_event_at())
        inside = [
            week
            for week in weeks
            if min(add_weeks(week, 1, timezone), until) - max(week, since) >= _HALF_WEEK
        ]
        if not inside:
            return None
        window = _Window(zone, set_id, (add_weeks(inside[0], -1, timezone), *inside), [])
        frozen = self._read_forecasts(set_id)
        sales = self._read_sales(facts, frozen, window)
        return measure_shift(frozen, sales, item_ids, _read_groups(facts, frozen.item_ids))

    def find_first_week(self, change: PriceChange) -> datetime:
        """Return the start of the first whole week of a change."""
        timezone = self.settings.timezone
        week = find_week_start(change.begins_at, timezone)
        is_whole = change.begins_at - week <= LATE_START
        return week if is_whole else add_weeks(week, 1, timezone)

    def list_known_weeks(
        self, first: datetime, known_until: datetime | None, max_weeks: int = MAX_WEEKS
    ) -> list[datetime]:
        """Return the weeks from `first` on that are over and whose sales are known: a sale of a
        later week is known. At most `max_weeks`."""
        end = min(self.clock.now(), known_until or first)
        starts: list[datetime] = []
        week = first
        while len(starts) < max_weeks:
            following = add_weeks(week, 1, self.settings.timezone)
            if following > end:
                break
            starts.append(week)
            week = following
        return starts

    def _measure(
        self,
        facts: Facts,
        changes: Sequence[PriceChange],
        known_until: datetime | None,
        max_weeks: int,
    ) -> MeasuredEffects:
        from serving.effects.measured import MeasuredEffects, explain_unmeasured, measure_changes
        from serving.effects.observation import CountedWeeks, observe_changes

        nothing = CountedWeeks(0, 0, {})
        by_id: dict[str, ChangeEffect] = {}
        windows, rest = self._split(changes, known_until, max_weeks)
        by_id |= {change.price_id: explain_unmeasured(change, nothing) for change in rest}
        with reading(self.engine) as connection:
            named = {one.forecast_set_id for one in changes if one.forecast_set_id is not None}
            sets = {
                set_id: _require_set(ForecastSets(connection).get(set_id))
                for set_id in sorted(named)
            }
        for window in windows:
            frozen = self._read_forecasts(window.set_id)
            sales = self._read_sales(facts, frozen, window)
            groups = _read_groups(facts, frozen.item_ids)
            divisor = sets[window.set_id].tax_divisor
            observation = observe_changes(frozen, sales, window.changes, groups, divisor)
            for effect in measure_changes(window.changes, observation):
                by_id[effect.change.price_id] = effect
        effects = tuple(by_id[change.price_id] for change in changes)
        return MeasuredEffects(
            changes=effects,
            batches=_group(effects, lambda change: change.run_id),
            categories=_group(effects, lambda change: change.category),
            sets=sets,
            known_until=known_until,
        )

    def _split(
        self, changes: Sequence[PriceChange], known_until: datetime | None, max_weeks: int
    ) -> tuple[list[_Window], list[PriceChange]]:
        """Return the changes by zone, forecasts and first week, and those without a known week or
        forecasts."""
        grouped: dict[tuple[str, str, datetime], list[PriceChange]] = {}
        rest = []
        for change in changes:
            first = self.find_first_week(change)
            if change.forecast_set_id is None or not self.list_known_weeks(
                first, known_until, max_weeks
            ):
                rest.append(change)
            else:
                key = change.zone, change.forecast_set_id, first
                grouped.setdefault(key, []).append(change)
        windows = []
        for (zone, set_id, first), members in grouped.items():
            before = add_weeks(first, -1, self.settings.timezone)
            weeks = (before, *self.list_known_weeks(first, known_until, max_weeks))
            windows.append(_Window(zone, set_id, weeks, members))
        return windows, rest

    def _read_forecasts(self, set_id: str) -> FrozenForecasts:
        with reading(self.engine) as connection:
            return FrozenForecasts.from_bytes(ForecastSets(connection).read_content(set_id))

    def _read_sales(self, facts: Facts, frozen: FrozenForecasts, window: _Window) -> WeeklySales:
        """Return the weekly sums of the items of a set; those of a few minutes ago will do."""
        from features.facts.weekly_sales import read_weekly_sales

        key, now = (window.set_id, window.week_starts), self.system_clock.now()
        with self._lock:
            known = self._readings.get(key)
        if known is not None and known.until > now:
            return known.sales
        settings = self.settings
        foreign = [
            name for name, zone in settings.zones.items() if zone.currency != settings.currency
        ]
        sales = read_weekly_sales(
            facts, frozen.item_ids, window.zone, window.week_starts, settings.timezone, foreign
        )
        with self._lock:
            while len(self._readings) >= _MOST_READINGS:
                del self._readings[next(iter(self._readings))]
            self._readings[key] = _Reading(sales, now + _FRESH)
        return sales

    def forget_readings(self) -> None:
        """Read the sums again with the next measurement."""
        with self._lock:
            self._readings.clear()


def _require_set(found: ForecastSet | None) -> ForecastSet:
    if found is None:
        raise NotFound("the forecasts of an approval are missing", hint="Restore the database")
    return found


def _read_groups(facts: Facts, item_ids: Sequence[str]) -> ItemGroups:
    """Return category and family of items."""
    from serving.effects.observation import ItemGroups

    catalogue = facts.read("items")
    rows = catalogue.select("item_id", "category", "family_id").to_pyarrow().to_pylist()
    wanted = set(item_ids)
    known = [row for row in rows if row["item_id"] in wanted]
    return ItemGroups(
        category={row["item_id"]: row["category"] or "" for row in known},
        family={row["item_id"]: row["family_id"] or "" for row in known},
    )


def _group(
    effects: Sequence[ChangeEffect], name: Callable[[PriceChange], str]
) -> tuple[GroupEffect, ...]:
    """Return what the changes of each zone and name did together."""
    from serving.effects.measured import measure_group

    grouped: dict[tuple[str, str], list[ChangeEffect]] = {}
    for effect in effects:
        grouped.setdefault((effect.change.zone, name(effect.change)), []).append(effect)
    return tuple(measure_group(key[1], members) for key, members in grouped.items())
