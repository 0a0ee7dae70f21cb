"""What price changes brought: their frozen forecasts against what sold, as of now.

Sums of sales by item and week are read, nothing about a person, and nothing here is read on the way
to a price. The readers of tables are imported by the first measurement: a server should be ready
before that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.calendar import add_weeks, find_week_start
from features.contracts.clock import Clock
from features.contracts.errors import BadInput, Conflict, NotFound
from features.database import reading
from features.prices.currencies import refuse_unknown_zone
from features.prices.ledger import Ledger
from models.demand.frozen_forecasts import MAX_WEEKS, FrozenForecasts
from models.pricing.effects.counterfactuals import ControlShift
from serving.database.forecast_sets import ForecastSet, ForecastSets
from serving.effects.repository import BatchLook, ChangeFilter, Changes, Looks, PriceChange

if TYPE_CHECKING:
    from features.facts.facts import Facts
    from features.facts.weekly_sales import WeeklySales
    from serving.effects.measured import ChangeEffect, GroupEffect, MeasuredEffects
    from serving.effects.observation import ItemGroups

# A price that begins so long after midnight of Monday counts for the whole week.
LATE_START = timedelta(hours=12)
MOST_CHANGES = 10_000  # that one answer has
_FRESH = timedelta(minutes=10)  # for which sums that were read are used again
_MOST_READINGS = 8
_HALF_WEEK = timedelta(days=3.5)
_WARNED = timedelta(weeks=8)
_MOST_RUNS = 50


@dataclass(frozen=True)
class _Window:
    """Changes whose first whole week is the same.

    week_starts   the week before, then the whole weeks that are over and whose sales are known
    """

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

    def measure_listed(self, criteria: ChangeFilter) -> MeasuredEffects:
        """Return `measure` of a filter that somebody wrote.

        Raises UnknownName for a zone that nobody knows, and BadInput for more than MOST_CHANGES.
        """
        self.settle()
        with reading(self.engine) as connection:
            if criteria.zone is not None:
                refuse_unknown_zone(self.settings, connection, criteria.zone)
            n_changes = Changes(connection, self.clock.now()).count_matching(criteria)
        if n_changes > MOST_CHANGES:
            raise BadInput(
                f"{n_changes:,} price changes match, at most {MOST_CHANGES:,} are measured at once",
                hint="Give a later day, a zone, a category or a run",
            )
        return self.measure(criteria)

    def measure(self, criteria: ChangeFilter, max_weeks: int = MAX_WEEKS) -> MeasuredEffects:
        """Return the effects of the changes of a filter over their first weeks, the latest
        first."""
        from features.facts.facts import Facts

        with reading(self.engine) as connection:
            changes = Changes(connection, self.clock.now()).list_matching(criteria)
        facts = Facts(self.settings)
        known_until = facts.find_latest_sales() if changes else {}
        return self._measure(facts, changes, known_until, max_weeks)

    def list_warnings(self, zone: str | None = None) -> list[BatchLook]:
        """Return the looks of late that raised an alarm, of batches that are still live."""
        since = self.clock.now() - _WARNED
        with reading(self.engine) as connection:
            return Looks(connection).list_alarms(zone, since)

    def list_runs(self, zone: str) -> list[str]:
        """Return the newest runs and proposals with live changes in a zone."""
        with reading(self.engine) as connection:
            return Changes(connection, self.clock.now()).list_runs(zone, _MOST_RUNS)

    def find_latest_sales(self) -> dict[str, datetime]:
        """Return when the latest sale of each zone was that is known, by zone."""
        from features.facts.facts import Facts

        return Facts(self.settings).find_latest_sales()

    def find_control(
        self,
        set_id: str,
        zone: str,
        item_ids: Sequence[str],
        since: datetime,
        until: datetime,
    ) -> ControlShift | None:
        """Return by which factor unchanged items sold more than the frozen forecasts, for promoted
        ones; None where no week that is known belongs to the time."""
        from features.facts.facts import Facts
        from serving.effects.observation import measure_shift

        facts = Facts(self.settings)
        timezone = self.settings.timezone
        first = find_week_start(since, timezone)
        weeks = self.list_known_weeks(first, facts.find_latest_sales().get(zone))
        inside = [
            week
            for week in weeks
            if min(add_weeks(week, 1, timezone), until) - max(week, since) >= _HALF_WEEK
        ]
        if not inside:
            return None
        week_starts = add_weeks(inside[0], -1, timezone), *inside
        frozen = self._read_forecasts(set_id)
        sales = self._read_sales(facts, frozen, (zone, set_id), week_starts)
        return measure_shift(frozen, sales, item_ids, _read_groups(facts, frozen.item_ids))

    def find_first_week(self, begins_at: datetime) -> datetime:
        """Return the start of the first whole week of a change that begins at a time."""
        timezone = self.settings.timezone
        week = find_week_start(begins_at, timezone)
        is_whole = begins_at - week <= LATE_START
        return week if is_whole else add_weeks(week, 1, timezone)

    def list_known_weeks(
        self, first: datetime, known_until: datetime | None, max_weeks: int = MAX_WEEKS
    ) -> list[datetime]:
        """Return the weeks from `first` on that are over and whose sales are known: a sale of the
        zone in a later week is known. At most `max_weeks`."""
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
        known_until: Mapping[str, datetime],
        max_weeks: int,
    ) -> MeasuredEffects:
        from serving.effects.measured import MeasuredEffects, explain_unmeasured, measure_changes
        from serving.effects.observation import CountedWeeks, observe_changes

        nothing = CountedWeeks(0, 0, {})
        by_id: dict[str, ChangeEffect] = {}
        windows_of, rest = self._split(changes, known_until, max_weeks)
        by_id |= {change.price_id: explain_unmeasured(change, nothing) for change in rest}
        with reading(self.engine) as connection:
            named = {one.forecast_set_id for one in changes if one.forecast_set_id is not None}
            sets = {
                set_id: _require_set(ForecastSets(connection).get(set_id))
                for set_id in sorted(named)
            }
        for (zone, set_id), windows in windows_of.items():
            frozen = self._read_forecasts(set_id)
            weeks = self._span_weeks(windows)
            sales = self._read_sales(facts, frozen, (zone, set_id), weeks)
            groups = _read_groups(facts, frozen.item_ids)
            divisor = sets[set_id].tax_divisor
            for window in windows:
                observation = observe_changes(
                    frozen, sales.select_weeks(window.week_starts), window.changes, groups, divisor
                )
                for effect in measure_changes(window.changes, observation):
                    by_id[effect.change.price_id] = effect
        effects = tuple(by_id[change.price_id] for change in changes)
        zones = {change.zone for change in changes}
        return MeasuredEffects(
            changes=effects,
            batches=_group(effects, lambda change: change.run_id),
            categories=_group(effects, lambda change: change.category),
            sets=sets,
            known_until=min((known_until[zone] for zone in zones & set(known_until)), default=None),
        )

    def _split(
        self,
        changes: Sequence[PriceChange],
        known_until: Mapping[str, datetime],
        max_weeks: int,
    ) -> tuple[dict[tuple[str, str], list[_Window]], list[PriceChange]]:
        """Return the changes by first week, these by zone and forecasts, and the changes without a
        known week or forecasts."""
        grouped: dict[tuple[str, str], dict[datetime, _Window]] = {}
        rest = []
        for change in changes:
            first = self.find_first_week(change.begins_at)
            weeks = self.list_known_weeks(first, known_until.get(change.zone), max_weeks)
            if change.forecast_set_id is None or not weeks:
                rest.append(change)
                continue
            before = add_weeks(first, -1, self.settings.timezone)
            windows = grouped.setdefault((change.zone, change.forecast_set_id), {})
            window = windows.setdefault(first, _Window((before, *weeks), []))
            window.changes.append(change)
        return {key: list(windows.values()) for key, windows in grouped.items()}, rest

    def _span_weeks(self, windows: Sequence[_Window]) -> tuple[datetime, ...]:
        """Return all weeks from the first one of some windows to the last one."""
        last = max(window.week_starts[-1] for window in windows)
        weeks = [min(window.week_starts[0] for window in windows)]
        while weeks[-1] < last:
            weeks.append(add_weeks(weeks[-1], 1, self.settings.timezone))
        return tuple(weeks)

    def _read_forecasts(self, set_id: str) -> FrozenForecasts:
        with reading(self.engine) as connection:
            return FrozenForecasts.from_bytes(ForecastSets(connection).read_content(set_id))

    def _read_sales(
        self,
        facts: Facts,
        frozen: FrozenForecasts,
        zone_and_set: tuple[str, str],
        week_starts: tuple[datetime, ...],
    ) -> WeeklySales:
        """Return the weekly sums of the items of a set; those of a few minutes ago will do."""
        from features.facts.weekly_sales import read_weekly_sales

        key, now = (zone_and_set, week_starts), self.system_clock.now()
        with self._lock:
            known = self._readings.get(key)
        if known is not None and known.until > now:
            return known.sales
        settings = self.settings
        foreign = [
            name for name, zone in settings.zones.items() if zone.currency != settings.currency
        ]
        sales = read_weekly_sales(
            facts, frozen.item_ids, zone_and_set[0], week_starts, settings.timezone, foreign
        )
        with self._lock:
            while len(self._readings) >= _MOST_READINGS:
                del self._readings[next(iter(self._readings))]
            self._readings[key] = _Reading(sales, now + _FRESH)
        return sales


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
