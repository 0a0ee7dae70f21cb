"""The queue of the price desk as of now, and who decides on it at which time.

Decisions themselves are made inside one transaction: decisions.py and rollback.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, cached_property, partial
from pathlib import Path
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock, ClockWatch
from features.contracts.errors import BadInput, UnknownName
from features.contracts.local_times import parse_local_time
from features.contracts.pricing import PresentItem
from features.contracts.tables import DEFAULT_ZONE
from features.database import reading, transaction
from features.facts.off_sale import OffSaleItems
from features.prices.currencies import refuse_unknown_zone
from features.prices.reduction_rule import FindRules
from models.pricing.rules import CompetitorRule
from serving.access import Caller
from serving.database.activation_stops import ActivationStop, find_stop
from serving.database.audit_log import SYSTEM, Decider
from serving.price_desk.activation import settle_due
from serving.price_desk.approvals import Beginnings, refuse_past
from serving.price_desk.auto_approval import apply_rules
from serving.price_desk.controls_repository import Controls
from serving.price_desk.decisions import require_version
from serving.price_desk.filters import OLDEST_FIRST, SuggestionFilter, SuggestionSort
from serving.price_desk.lifecycle import supersede_off_sale
from serving.price_desk.preview import BulkPreview, preview_many
from serving.price_desk.repository import Suggestion, Suggestions
from serving.price_desk.sheets import tabulate_suggestions
from serving.price_desk.states import find_scope
from serving.pricing_rules.present_rules import PresentRules
from serving.spreadsheets import SheetFormat, write_sheet

FreezeForecasts = Callable[[sa.Connection, str], str | None]
ReadItems = Callable[
    [Settings, datetime, str, Sequence[str], CompetitorRule | None], Mapping[str, PresentItem]
]


@dataclass(frozen=True)
class SuggestionPage:
    """Some suggestions of a filter in the order asked for, and how many match in all."""

    suggestions: tuple[Suggestion, ...]
    total: int


@dataclass(frozen=True)
class PriceDeskService:
    """Reads suggestions with the status that time has given them.

    clock_watch   after a jump of the clock no status changes
    read_items    reads what is known of items at a time (`read_present_items`): cost, stock and
                  competitors are checked again by it; None where nothing is decided
    freeze        keeps the served forecasts of a zone at an approval (`ForecastFreezer`); None
                  where nothing is approved
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    system_clock: Clock
    find_rules: FindRules
    clock_watch: ClockWatch = field(default_factory=ClockWatch)
    read_items: ReadItems | None = None
    freeze: FreezeForecasts | None = None

    @cached_property
    def off_sale(self) -> OffSaleItems:
        """The items that get no new price."""
        return OffSaleItems(self.settings)

    def list_suggestions(
        self, criteria: SuggestionFilter, *, after: int, limit: int
    ) -> list[Suggestion]:
        """Return the suggestions of a filter after number `after`, oldest first.

        Raises UnknownName where none matches, for a zone or a category that nobody knows.
        """
        self.catch_up()
        with reading(self.engine) as connection:
            repository = Suggestions(connection)
            page = repository.matching(criteria, after=after, limit=limit)
            if not page and not after:
                self._refuse_unknown_names(connection, criteria)
            return page

    def read_page(
        self,
        criteria: SuggestionFilter,
        sort: SuggestionSort = OLDEST_FIRST,
        *,
        offset: int = 0,
        limit: int = 100,
    ) -> SuggestionPage:
        """Return the suggestions of a filter in an order, from position `offset` on.

        Raises UnknownName where none matches, for a zone or a category that nobody knows.
        """
        self.catch_up()
        with reading(self.engine) as connection:
            repository = Suggestions(connection)
            rows, total = repository.read_page(criteria, sort, offset=offset, limit=limit)
            if not total:
                self._refuse_unknown_names(connection, criteria)
            return SuggestionPage(tuple(rows), total)

    def count_suggestions(self, criteria: SuggestionFilter, by: str) -> dict[str, int]:
        """Return how many suggestions a filter matches by a column of filters.COUNTED, most first.

        Raises UnknownName for another column.
        """
        self.catch_up()
        with reading(self.engine) as connection:
            return Suggestions(connection).count_by(by, criteria)

    def write_suggestions(
        self, criteria: SuggestionFilter, path: Path, sheet_format: SheetFormat
    ) -> int:
        """Write all suggestions of a filter to a file, and return how many.

        Raises UnknownName for a zone that nobody knows.
        """
        self.catch_up()
        with reading(self.engine) as connection:
            if criteria.zone is not None:
                refuse_unknown_zone(self.settings, connection, criteria.zone)
            sheet = tabulate_suggestions(connection, self.settings, criteria)
            return write_sheet(sheet, path, sheet_format)

    def read_suggestion(self, suggestion_id: str) -> Suggestion:
        """Return one suggestion. Raises NotFound."""
        self.catch_up()
        with reading(self.engine) as connection:
            return require_version(Suggestions(connection).get(suggestion_id), suggestion_id, None)

    def decider(self, caller: Caller, scope: str, reason: str | None) -> Decider:
        """Return who decides now, where their scope reaches, under the price laws of the shop's
        zones. Raises Forbidden without the scope."""
        return replace(
            self._system(),
            actor=caller.id,
            reason=reason,
            areas=caller.require(scope),
        )

    def read_beginning(self, text: str | None) -> Beginnings | None:
        """Return when the prices of a decision begin by zone: an instant, or an hour of the clock
        in each zone. Raises BadInput for no time, and for one that has passed."""
        if text is None:
            return None
        now = self.clock.now()

        @cache
        def find_beginning(zone: str) -> datetime:
            timezone = self.settings.find_timezone(zone)
            moment = parse_local_time(text, now, timezone, where="effective_from")
            refuse_past(moment, now)
            return moment

        find_beginning(DEFAULT_ZONE)
        return find_beginning

    def preview(
        self,
        caller: Caller,
        action: str,
        *,
        ids: Sequence[str] | None = None,
        criteria: SuggestionFilter | None = None,
        effective_from: str | None = None,
    ) -> BulkPreview:
        """Return what `action` (submit, approve or reject) on many would do if this caller decided
        now. Raises Forbidden without the scope."""
        self.catch_up()
        decider = self.decider(caller, find_scope(action) or "", None)
        begins = self.read_beginning(effective_from)
        with reading(self.engine) as connection:
            return preview_many(
                connection, decider, action, ids=ids, criteria=criteria, begins=begins
            )

    def find_stop(self) -> ActivationStop | None:
        """Return the stop of activations that stands, None while they go on."""
        with reading(self.engine) as connection:
            return find_stop(connection)

    def approve_by_rules(self, since: datetime | None) -> int:
        """Let the approval rules approve what changed since, and return how many they approved."""
        with reading(self.engine) as connection:
            if not any(rule.enabled for rule in Controls(connection).list_rules()):
                return 0
            changed = SuggestionFilter(status=("submitted",), updated_since=since)
            if not Suggestions(connection).count(changed):
                return 0
        with transaction(self.engine) as connection:
            return apply_rules(connection, self._system(), since)

    def read_day(self, day: str, zone: str | None) -> tuple[datetime, datetime]:
        """Return the beginning and the end of a day of the calendar in a zone, or in the shop.

        Raises BadInput for no day.
        """
        timezone = self.settings.find_timezone(zone or DEFAULT_ZONE)
        now = self.clock.now()
        begin = parse_local_time(day, now, timezone, where="day")
        local = begin.astimezone(ZoneInfo(timezone)).date()
        if day.strip() != local.isoformat():
            raise BadInput(f"{day!r} is no day", where="day", hint="Write it like 2018-01-08")
        after = (local + timedelta(days=1)).isoformat()
        return begin, parse_local_time(after, now, timezone, where="day")

    def _system(self) -> Decider:
        """Return the time, and what prices are held against now."""
        now = self.clock.now()
        with reading(self.engine) as connection:
            present_rules = PresentRules.read(self.settings, connection)
        return Decider(
            actor=SYSTEM,
            now=now,
            at=self.system_clock.now(),
            find_rules=self.find_rules,
            off_sale=self.off_sale.find(now),
            find_pricing_rules=present_rules.find,
            find_present_items=None
            if self.read_items is None
            else partial(self.read_items, self.settings, now),
            freeze_forecasts=self.freeze,
        )

    def _refuse_unknown_names(self, connection: sa.Connection, criteria: SuggestionFilter) -> None:
        """Raise UnknownName for a zone or a category that nobody knows."""
        if criteria.zone is not None:
            refuse_unknown_zone(self.settings, connection, criteria.zone)
        if criteria.category is not None:
            known = Suggestions(connection).list_categories()
            if known and criteria.category not in known:
                raise UnknownName(criteria.category, known, kind="category")

    def catch_up(self) -> None:
        """Give suggestions the status that time has given them, before anything is read.

        `GET /v1/prices` does so too: a price that no longer holds is never served, however late the
        scheduler is.
        """
        if self.clock_watch.find_jump() is not None:
            return
        now: datetime = self.clock.now()
        with reading(self.engine) as connection:
            due = Suggestions(connection).is_due(now)
            off_sale = Suggestions(connection).open_of(self.off_sale.find(now))
        if due or off_sale:
            system = self._system()
            with transaction(self.engine) as connection:
                settle_due(connection, system)
                supersede_off_sale(connection, replace(system, reason="off sale"), off_sale)
