"""Today: what needs me now? The last week in numbers, the queue, what went live, the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from nicegui import ui

from serving.audit.repository import AuditFilter, AuditRecord
from serving.console.effect_parts import (
    add_warnings,
    describe_control,
    read_effects,
    show_verdict,
)
from serving.console.frame import Console, Page
from serving.console.log_parts import name_action, name_actor, show_subject
from serving.console.measures import Measures
from serving.console.notices import Notice, read_notices
from serving.console.parts import Column, show_heading, show_table
from serving.console.queue_rows import WAITING, name_rule
from serving.console.section import Section, show_empty, show_error
from serving.price_desk.filters import SuggestionFilter, SuggestionSort
from serving.price_desk.repository import Suggestion

if TYPE_CHECKING:
    pass

_ACTIONS = 10  # of the audit log
_QUIET = ("sign_in", "sign_out")  # they would hide what was decided
_LIVE = 8
_LARGEST_GROUPS = 6
_PLANNED, _PLANNED_DAYS = 6, 7


def add_pages(console: Console) -> None:
    """Add the first page."""

    @console.page("/", "today")
    def today(page: Page) -> None:
        _Today(page).build()


@dataclass(frozen=True)
class _Waiting:
    """What waits in the queue: by category and by rule, and how much is scheduled or held back.

    due_tests   price tests of which somebody has to file or finish something now
    """

    total: int
    held_back: int
    scheduled: int
    by_category: dict[str, int]
    by_rule: dict[str, int]
    due_tests: int


@dataclass(frozen=True)
class _Planned:
    """What begins in the next days: when, what it is, and on how many items."""

    starts_at: datetime
    kind: str
    name: str
    n_items: int


class _Today:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit

    def build(self) -> None:
        """Build the sections; each loads by itself."""
        visit, texts = self._visit, self._visit.texts
        Measures(visit).build()
        with ui.element("div").classes("columns"):
            with ui.element("section"):
                show_heading(texts.get("today.waiting"))
                Section(visit, self._read_waiting, self._show_waiting)
                show_heading(texts.get("today.planned", n=_PLANNED_DAYS))
                Section(visit, self._read_planned, self._show_planned, skeleton_rows=3)
            with ui.element("section"):
                show_heading(texts.get("today.warnings")).props("id=warnings")
                add_warnings(visit)
                Section(
                    visit,
                    lambda: read_notices(visit.server, visit.zone),
                    self._show_warnings,
                    skeleton_rows=3,
                )
            with ui.element("section"):
                show_heading(texts.get("today.live"))
                Section(visit, self._read_live, self._show_live)
            if visit.may("audit.read"):
                with ui.element("section"):
                    show_heading(texts.get("today.log"))
                    Section(visit, self._read_log, self._show_log)

    def _read_planned(self) -> list[_Planned]:
        """Return what begins in the next days, the first first."""
        visit = self._visit
        now = visit.server.prices.now()
        promotions, changes = visit.server.promotions.read_calendar(
            now, now + timedelta(days=_PLANNED_DAYS), visit.zone
        )
        planned = [
            _Planned(one.starts_at, "promotion", one.name, one.n_items)
            for one in promotions
            if one.starts_at > now
        ] + [
            _Planned(one.starts_at, "change", ", ".join(one.item_ids), one.n_items)
            for one in changes
            if one.starts_at > now
        ]
        return sorted(planned, key=lambda one: one.starts_at)

    def _show_planned(self, planned: Sequence[_Planned]) -> None:
        texts = self._visit.texts
        if not planned:
            ui.label(texts.get("today.nothing_planned")).classes("muted")
            return
        show_table(
            planned[:_PLANNED],
            [
                Column(texts.get("prices.from"), lambda one: texts.time(one.starts_at)),
                Column(texts.get("prices.kind"), lambda one: texts.get(f"prices.{one.kind}")),
                Column(texts.get("prices.what"), lambda one: one.name),
                Column(
                    texts.get("prices.items"), lambda one: texts.number(one.n_items), is_number=True
                ),
            ],
            caption=texts.get("today.planned", n=_PLANNED_DAYS),
        )
        ui.link(texts.get("today.calendar"), "/prices")

    def _read_waiting(self) -> _Waiting:
        visit, desk = self._visit, self._visit.server.price_desk
        by_status = desk.count_suggestions(SuggestionFilter(zone=visit.zone), "status")
        waiting = SuggestionFilter(zone=visit.zone, status=(WAITING,))
        return _Waiting(
            total=by_status.get(WAITING, 0),
            held_back=by_status.get("suggested", 0),
            scheduled=by_status.get("scheduled", 0),
            by_category=_sum_departments(desk.count_suggestions(waiting, "category")),
            by_rule=desk.count_suggestions(waiting, "binding_rule"),
            due_tests=visit.server.price_tests.count_due(visit.zone),
        )

    def _show_waiting(self, waiting: _Waiting) -> None:
        texts = self._visit.texts
        self._page.set_title(self._write_title(waiting))
        if waiting.due_tests:
            ui.link(texts.get("today.tests", n=waiting.due_tests), "/tests")
        if not (waiting.total or waiting.held_back or waiting.scheduled or waiting.due_tests):
            show_empty(
                texts.get("today.nothing"), texts.get("today.fill"), "shopwright prices suggest"
            )
            return
        with ui.element("div").classes("links"):
            for status, n in (
                (WAITING, waiting.total),
                ("suggested", waiting.held_back),
                ("scheduled", waiting.scheduled),
            ):
                if n:
                    name = texts.get(f"status.{status}")
                    ui.link(f"{name}: {texts.number(n)}", f"/queue?status={status}")
        if waiting.total:
            self._show_counts("category", waiting.by_category, waiting.total)
            self._show_counts("rule", waiting.by_rule, waiting.total)

    def _write_title(self, waiting: _Waiting) -> str:
        """Return what waits first, in one line."""
        texts = self._visit.texts
        if waiting.total:
            return texts.get("today.title", n=waiting.total)
        if waiting.held_back:
            return texts.get("today.title_held", n=waiting.held_back)
        if waiting.due_tests:
            return texts.get("today.title_tests", n=waiting.due_tests)
        return texts.get("today.title_none")

    def _show_counts(self, parameter: str, counts: dict[str, int], total: int) -> None:
        """Show how many suggestions wait by a parameter of the queue, the others in one line."""
        texts = self._visit.texts
        heading = texts.get(f"today.by_{parameter}")
        named = [(key, n) for key, n in counts.items() if key]
        entries = named[:_LARGEST_GROUPS]
        n_others = total - sum(n for _, n in entries)
        is_complete = len(named) <= _LARGEST_GROUPS
        others = texts.get(f"today.no_{parameter}" if is_complete else "today.others")

        def link(entry: tuple[str, int]) -> None:
            key = entry[0]
            if not key:
                ui.label(others)
                return
            name = name_rule(key, texts) if parameter == "rule" else key
            ui.link(name, f"/queue?{urlencode({parameter: key})}")

        show_table(
            [*entries, *([("", n_others)] if n_others else [])],
            [
                Column(heading, link),
                Column(
                    texts.get("today.number"), lambda entry: texts.number(entry[1]), is_number=True
                ),
            ],
            caption=heading,
        )

    def _show_warnings(self, notices: Sequence[Notice]) -> None:
        texts = self._visit.texts
        if not notices:
            ui.label(texts.get("today.no_warnings")).classes("muted")
        for notice in notices:
            with ui.element("div").classes("notice").props("role=note"):
                ui.label(notice.write(texts))
                ui.link(texts.get("today.more"), notice.path)

    def _read_live(self) -> Sequence[Suggestion]:
        visit = self._visit
        criteria = SuggestionFilter(zone=visit.zone, status=("live",))
        order = SuggestionSort("decided", descending=True)
        return visit.server.price_desk.read_page(criteria, order, limit=_LIVE).suggestions

    def _show_live(self, suggestions: Sequence[Suggestion]) -> None:
        texts = self._visit.texts
        if not suggestions:
            ui.label(texts.get("today.nothing_live")).classes("muted")
            return

        def link(suggestion: Suggestion) -> None:
            ui.link(suggestion.title or suggestion.item_id, f"/queue/{suggestion.id}?status=live")

        cells: dict[str, ui.element] = {}

        def add_verdict(suggestion: Suggestion) -> None:
            cells[suggestion.id] = ui.element("div").classes("verdict")

        show_table(
            suggestions,
            [
                Column(texts.get("queue.column_title"), link),
                Column(
                    texts.get("queue.column_new"),
                    lambda one: texts.money(one.suggested_price_minor, one.currency),
                    is_number=True,
                ),
                Column(texts.get("today.since"), lambda one: texts.day(one.effective_from)),
                Column(texts.get("live.verdict"), add_verdict),
            ],
            caption=texts.get("today.live"),
        )
        problem = ui.element("div")
        ui.timer(0, partial(self._fill_verdicts, suggestions, cells, problem), once=True)

    async def _fill_verdicts(
        self, suggestions: Sequence[Suggestion], cells: dict[str, ui.element], problem: ui.element
    ) -> None:
        """Measure the changes that are shown: that takes longer than to list them."""
        visit, texts = self._visit, self._visit.texts
        problem.clear()
        try:
            effects = await visit.read(read_effects, visit, suggestions)
        except Exception as error:
            retry = partial(self._fill_verdicts, suggestions, cells, problem)
            with problem:
                show_error(visit, error, retry)
            return
        for suggestion_id, effect in effects.items():
            with cells[suggestion_id]:
                show_verdict(effect, texts, describe_control(effect, texts))

    def _read_log(self) -> list[AuditRecord]:
        which = AuditFilter(left_out=_QUIET)
        return self._visit.server.audit.read_newest(which, limit=_ACTIONS).records

    def _show_log(self, records: Sequence[AuditRecord]) -> None:
        texts, now = self._visit.texts, self._visit.server.system_clock.now()
        if not records:
            ui.label(texts.get("today.no_log")).classes("muted")
            return
        show_table(
            records,
            [
                Column(texts.get("suggestion.log_at"), lambda one: texts.ago(one.at, now)),
                Column(texts.get("suggestion.log_who"), lambda one: name_actor(texts, one)),
                Column(
                    texts.get("suggestion.log_what"), lambda one: name_action(texts, one.action)
                ),
                Column(texts.get("today.about"), lambda one: show_subject(texts, one)),
            ],
            caption=texts.get("today.log"),
        )


def _sum_departments(by_category: dict[str, int]) -> dict[str, int]:
    """Return the counts by the highest level of the categories, most first."""
    totals: dict[str, int] = {}
    for category, count in by_category.items():
        name = category.partition(" > ")[0]
        totals[name] = totals.get(name, 0) + count
    return dict(sorted(totals.items(), key=lambda entry: -entry[1]))
