"""Audit: who did what and when, and whether the log is whole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.audit.repository import ALL_ACTIONS, AuditRecord, Verification
from serving.audit.service import AuditChoices
from serving.catalogue.service import CatalogueItem
from serving.console.frame import Console, Page
from serving.console.grid_data import read_audit_filter
from serving.console.log_parts import name_action, name_actor, show_subject, write_value
from serving.console.parts import (
    PAGE_ROWS,
    Column,
    notify_problem,
    show_badge,
    show_item_search,
    show_table,
)
from serving.console.section import Section, show_empty
from serving.database.audit_log import BUSINESS_TIME

_SCOPE = "audit.read"
_SHORT = 120  # letters of details that are shown at once


def add_pages(console: Console) -> None:
    """Add the page of the audit log."""

    @console.page("/audit", "audit", _SCOPE)
    async def show_audit(page: Page) -> None:
        await _AuditPage(page).build()


@dataclass(frozen=True)
class _Log:
    """A page of the log, newest first, and how many actions match, of how many."""

    records: list[AuditRecord]
    matched: int
    total: int


class _AuditPage:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._service = page.visit.server.audit
        self._section: Section[_Log]
        self._chain: ui.element
        self._exports: ui.element

    async def build(self) -> None:
        """Show the state of the chain, the filters, and the actions."""
        texts = self._visit.texts
        with self._page.actions:
            self._chain = ui.element("div").props("role=status")
            self._exports = ui.element("div").classes("actions")
            ui.button(texts.get("audit.verify"), icon="verified", on_click=self._verify).props(
                "outline"
            )
        filters = ui.element("div").classes("filters")
        choices = await self._visit.read(self._service.list_choices)
        item_id = self._visit.parameters.get("item")
        catalogue = self._visit.server.catalogue
        items = await self._visit.read(catalogue.find, [item_id] if item_id else [])
        with filters:
            self._show_filters(choices, list(items.values()))
        self._section = Section(self._visit, self._load, self._show)

    def _show_filters(self, choices: AuditChoices, items: list[CatalogueItem]) -> None:
        texts, parameters = self._visit.texts, self._visit.parameters
        actors = {"": texts.get("audit.everybody")} | {
            actor: self._name_actor(actor, name) for actor, name in choices.actors
        }
        actions = {"": texts.get("audit.every_action")} | {
            action: name_action(texts, action) for action in choices.actions
        }
        for name, options in (("actor", actors), ("action", actions)):
            chosen = parameters.get(name, "")
            select = ui.select(
                options if chosen in options else {**options, chosen: chosen},
                value=chosen,
                label=texts.get(f"audit.{name}"),
                with_input=True,
            ).props("dense outlined options-dense")
            select.on_value_change(partial(self._change, name))
        show_item_search(self._visit, texts.get("audit.item"), items, self._choose_item)
        about = ui.input(texts.get("audit.about"), value=parameters.get("about", ""))
        about.props("dense outlined clearable debounce=400")
        about.on_value_change(partial(self._change, "about"))
        for name in ("since", "until"):
            field = ui.input(texts.get(f"audit.{name}"), value=parameters.get(name, ""))
            field.props("dense outlined type=date stack-label")
            field.on_value_change(partial(self._change, name))

    async def _choose_item(self, item_ids: list[str]) -> None:
        self._visit.set_parameters(item=item_ids[0] if item_ids else None, before=None)
        await self._section.refresh()

    async def _change(self, name: str, event: object) -> None:
        value = getattr(event, "value", None)
        self._visit.set_parameters(**{name: value, "before": None})
        await self._section.refresh()

    async def _go(self, before: int | None) -> None:
        self._visit.set_parameters(before=None if before is None else str(before))
        await self._section.refresh()

    def _load(self) -> _Log:
        parameters = self._visit.parameters
        which = read_audit_filter(parameters, self._visit.texts.timezone)
        before = parameters.get("before", "")
        page = self._service.read_newest(
            which, before=int(before) if before.isdecimal() else None, limit=PAGE_ROWS
        )
        total = page.head.seq
        matched = total if which == ALL_ACTIONS else self._service.count(which)
        return _Log(page.records, matched, total)

    def _show(self, log: _Log) -> None:
        texts = self._visit.texts
        key = "audit.title" if log.matched == log.total else "audit.title_some"
        total = texts.number(log.total)
        self._page.set_title(texts.get(key, n=log.matched, total=total))
        self._show_exports()
        if not log.records:
            show_empty(texts.get("audit.empty"), texts.get("audit.empty_text"))
            self._show_pager(log)
            return
        columns = [
            Column(texts.get("audit.at"), self._show_times),
            Column(texts.get("audit.actor"), self._show_actor),
            Column(texts.get("audit.action"), lambda row: name_action(texts, row.action)),
            Column(texts.get("audit.subject"), lambda row: show_subject(texts, row)),
            Column(texts.get("audit.details"), self._show_details),
            Column(texts.get("audit.seq"), lambda row: texts.number(row.seq), is_number=True),
        ]
        show_table(log.records, columns, caption=texts.get("audit.name"))
        self._show_pager(log)

    def _show_pager(self, log: _Log) -> None:
        texts = self._visit.texts
        with ui.element("div").classes("pager"):
            if "before" in self._visit.parameters:
                newest = ui.button(texts.get("audit.newest"), on_click=lambda: self._go(None))
                newest.props("flat dense")
            if len(log.records) == PAGE_ROWS:
                oldest = log.records[-1].seq
                older = ui.button(texts.get("audit.older"), on_click=lambda: self._go(oldest))
                older.props("flat dense")

    def _show_exports(self) -> None:
        self._exports.clear()
        query = urlencode(self._visit.parameters)
        with self._exports:
            for kind in ("csv", "xlsx"):
                text = self._visit.texts.get("audit.export", kind=kind.upper())
                ui.link(text, f"/data/audit.{kind}?{query}").classes("link-button")

    def _show_times(self, row: AuditRecord) -> None:
        """Show when it was done, and the shop's time where that is another day."""
        texts = self._visit.texts
        ui.label(texts.time(row.at)).classes("at")
        if row.business_at is not None and texts.day(row.business_at) != texts.day(row.at):
            text = texts.get("audit.business_time", at=texts.time(row.business_at))
            ui.label(text).classes("muted")

    def _name_actor(self, actor: str, name: str) -> str:
        """Return who acted: a name, and the id where that is another text."""
        name = self._visit.texts.find(f"audit.actor_{actor}", name)
        return name if name == actor or not actor.startswith("key_") else f"{name} ({actor})"

    def _show_actor(self, row: AuditRecord) -> None:
        texts = self._visit.texts
        ui.label(name_actor(texts, row))
        if row.actor_kind in ("key", "rule"):
            ui.label(texts.get(f"audit.kind_{row.actor_kind}", id=row.actor)).classes("muted")

    def _show_details(self, row: AuditRecord) -> None:
        """Show the details as names and values; long ones open on request."""
        pairs = [
            f"{name.replace('_', ' ')}: {write_value(value)}"
            for name, value in row.details.items()
            if name != BUSINESS_TIME and value not in (None, "", [], {})
        ]
        text = " · ".join(pairs)
        if len(text) <= _SHORT:
            ui.label(text).classes("muted wrap")
            return
        with ui.element("details").classes("details"):
            with ui.element("summary"):
                ui.label(text[:_SHORT].rstrip() + "…").classes("muted wrap")
            for pair in pairs:
                ui.label(pair).classes("wrap")

    async def _verify(self) -> None:
        texts = self._visit.texts
        self._show_chain(texts.get("audit.verifying"), "")
        try:
            verification = await self._visit.read(self._service.verify)
        except ShopwrightError as error:
            self._chain.clear()
            notify_problem(self._visit, error)
            return
        self._show_verification(verification)

    def _show_verification(self, verification: Verification) -> None:
        texts = self._visit.texts
        if verification.intact:
            text = texts.get("audit.intact", n=verification.rows)
            self._show_chain(text, "better")
        else:
            text = texts.get("audit.broken", n=verification.broken_at or 0)
            self._show_chain(text, "worse")
        with self._chain:
            ui.tooltip(texts.get("audit.head", hash=verification.head.hash))

    def _show_chain(self, text: str, tone: str) -> None:
        self._chain.clear()
        with self._chain:
            show_badge(text, tone)
