"""Locked prices, beneath the ledger: which prices may not change, until when, and why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from zoneinfo import ZoneInfo

from nicegui import ui

from features.contracts.errors import BadInput, ShopwrightError
from features.contracts.local_times import parse_local_time
from serving.catalogue.service import CatalogueItem
from serving.console.parts import (
    PAGE_ROWS,
    Column,
    ask,
    name_element,
    notify_done,
    notify_problem,
    show_form,
    show_heading,
    show_item_search,
    show_pager,
    show_table,
)
from serving.console.section import Section
from serving.console.visit import Visit
from serving.database.price_locks import EVERY_ZONE, PriceLock
from serving.price_desk.actions import LockActions
from serving.price_desk.locks import SCOPE, LockOrder

_ALL = 1_000_000
_USUAL_TIME = timedelta(weeks=4)


@dataclass(frozen=True)
class _Locks:
    """The locks of one page of the list, their items, and how many locks there are in all."""

    shown: Sequence[PriceLock]
    items: Mapping[str, CatalogueItem]
    total: int


class LockSection:
    """The locks that have not ended, and what sets and lifts one."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._actions = LockActions(visit.server.price_locks)
        self._first = 0
        self._item_ids: list[str] = []

    def build(self) -> None:
        """Build the heading, what a lock does, and the list."""
        visit, texts = self._visit, self._visit.texts
        show_heading(texts.get("locks.name"))
        ui.label(texts.get("locks.meaning")).classes("muted")
        self._section = Section(visit, self._read, self._show, skeleton_rows=2)
        if visit.may(SCOPE):
            ui.button(texts.get("locks.add"), on_click=self._add).props("outline")

    def _read(self) -> _Locks:
        server = self._visit.server
        newest_first = server.price_locks.list_locks(limit=_ALL)[::-1]
        shown = newest_first[self._first : self._first + PAGE_ROWS]
        items = server.catalogue.find({lock.item_id for lock in shown})
        return _Locks(shown, items, len(newest_first))

    def _show(self, locks: _Locks) -> None:
        visit, texts = self._visit, self._visit.texts
        if not locks.total:
            ui.label(texts.get("locks.none")).classes("muted")
            return
        columns = [
            Column(texts.get("locks.item"), lambda lock: locks.items[lock.item_id].name),
            Column(texts.get("locks.zone"), lambda lock: lock.zone or texts.get("locks.every")),
            Column(texts.get("locks.reason"), lambda lock: lock.reason),
            Column(texts.get("locks.since"), lambda lock: texts.time(lock.begins_at)),
            Column(texts.get("locks.until"), lambda lock: texts.time(lock.ends_at)),
            Column(texts.get("locks.by"), lambda lock: lock.locked_by),
        ]
        if visit.may(SCOPE):

            def add_lift(lock: PriceLock) -> None:
                name = locks.items[lock.item_id].name
                button = ui.button(
                    texts.get("locks.lift"), on_click=partial(self._lift, lock, name)
                )
                name_element(button.props("flat dense"), f"{texts.get('locks.lift')} {name}")

            columns.append(Column("", add_lift))
        show_table(locks.shown, columns, caption=texts.get("locks.name"))
        show_pager(visit, first=self._first, shown=len(locks.shown), total=locks.total, go=self._go)

    async def _go(self, first: int) -> None:
        self._first = first
        await self._section.refresh()

    async def _add(self) -> None:
        visit, texts = self._visit, self._visit.texts
        lock = await show_form(
            visit, texts.get("locks.add"), self._build_form, confirm=texts.get("locks.set")
        )
        if lock is None:
            return
        items = await visit.read(visit.server.catalogue.find, [lock.item_id])
        name = items[lock.item_id].name
        text = texts.get("locks.done", item=name, at=texts.time(lock.ends_at))
        notify_done(visit, text, partial(self._end, lock, name, texts.get("undo.reason")))
        await self._go(0)

    def _build_form(self) -> Callable[[], Awaitable[PriceLock]]:
        """Build the fields of a new lock; return what sets it."""
        visit, texts = self._visit, self._visit.texts
        timezone = visit.server.settings.timezone
        now = visit.server.clock.now()
        usual_end = (now + _USUAL_TIME).astimezone(ZoneInfo(timezone)).date()
        self._item_ids = []
        show_item_search(visit, texts.get("prices.item"), [], self._choose)
        zones = {**{zone: zone for zone in visit.zones}, EVERY_ZONE: texts.get("locks.every")}
        zone = ui.select(zones, value=visit.zone, label=texts.get("locks.zone"))
        zone.props("dense outlined options-dense")
        reason = ui.input(texts.get("locks.reason")).props("dense outlined maxlength=2000")
        until = ui.input(texts.get("locks.until"), value=f"{usual_end}T00:00")
        until.props("dense outlined type=datetime-local stack-label")
        ui.label(texts.get("locks.hint")).classes("muted")

        async def save() -> PriceLock:
            if not self._item_ids:
                raise BadInput(texts.get("locks.choose"))
            ends_at = parse_local_time(until.value or "", now, timezone, where="ends_at")
            order = LockOrder(self._item_ids[0], reason.value or "", ends_at, zone.value or None)
            return await visit.write(self._actions.set, visit.caller, order)

        return save

    async def _choose(self, item_ids: list[str]) -> None:
        self._item_ids = item_ids

    async def _lift(self, lock: PriceLock, name: str) -> None:
        visit, texts = self._visit, self._visit.texts
        reason = await ask(
            visit,
            texts.get("locks.ask_lift", item=name),
            texts.get("locks.explain_lift"),
            confirm=texts.get("locks.lift"),
            reason=True,
        )
        if reason is not None:
            await self._end(lock, name, reason or None)

    async def _end(self, lock: PriceLock, name: str, reason: str | None) -> None:
        visit = self._visit
        try:
            await visit.write(self._actions.end, visit.caller, lock.id, reason)
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        notify_done(visit, visit.texts.get("locks.lifted", item=name))
        await self._go(0)
