"""The page of one price test: its state, what is to be done, its periods, prices and result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

from nicegui import ui

from experiments.designs.price_test import PriceTest
from features.contracts.errors import ShopwrightError
from features.prices.stored_tests import FINISHED, Json
from serving.catalogue.service import CatalogueItem
from serving.console.frame import Page
from serving.console.pages.price_test_parts import show_expectation, show_prices
from serving.console.pages.price_test_result import show_result
from serving.console.pages.price_test_words import (
    OVER,
    SCOPE,
    find_state,
    list_items,
    name_test,
    show_state,
    write_estimate,
    write_period,
    write_step,
)
from serving.console.parts import (
    Column,
    ask,
    notify_done,
    notify_problem,
    show_heading,
    show_notice,
    show_table,
)
from serving.console.section import Section
from serving.price_desk.price_experiments import PriceTestService
from serving.price_desk.price_test_batches import (
    may_be_cancelled,
    may_be_filed,
    may_be_finished,
)
from serving.price_desk.price_test_reading import PeriodView, PriceTestView
from serving.price_desk.proposals import FiledProposal

_WAITING = "submitted"
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Shown:
    """A test with the names of its items; `evidence` is what the price model of now says of them,
    where there is a result to compare it with."""

    view: PriceTestView
    names: Mapping[str, CatalogueItem]
    evidence: Json | None


class PriceTestPage:
    """The page as one person has it open."""

    def __init__(self, page: Page, test_id: str) -> None:
        self._page, self._visit, self._test_id = page, page.visit, test_id
        self._visit.path = f"/tests/{test_id}"
        self._server = page.visit.server
        self._tests: PriceTestService = self._server.price_tests

    def build(self) -> None:
        """Build the page; it is read anew after each step."""
        self._section = Section(self._visit, self._read, self._show)

    def _read(self) -> _Shown:
        view = self._tests.read(self._test_id)
        names = self._server.catalogue.find(list_items(view.stored))
        evidence = None
        if "result" in view.stored.document:
            evidence = self._tests.find_evidence(view.stored)
        return _Shown(view, names, evidence)

    def _show(self, shown: _Shown) -> None:
        visit, texts, view = self._visit, self._visit.texts, shown.view
        stored, test = view.stored, view.test
        self._page.actions.clear()
        if test is None or not stored.is_kept:
            self._page.set_title(texts.get("tests.title_draft"))
            if visit.may(SCOPE):
                ui.link(texts.get("tests.to_plan"), f"/tests/plan?plan={stored.test_id}").classes(
                    "link-button"
                )
            return
        state = find_state(stored, self._server.clock.now())
        self._page.set_title(self._write_title(shown, state))
        with self._page.actions:
            self._add_buttons(view)
        self._show_state(view, state)
        if view.next_step is not None and view.next_step.is_due:
            step = write_step(visit, test, view.next_step)
            show_notice(texts.get("tests.due_now", step=step))
        show_expectation(visit, stored)
        if "result" in stored.document:
            show_result(visit, stored, shown.names, shown.evidence)
        show_heading(texts.get("tests.periods"))
        self._show_periods(view.periods, shown, test)
        show_heading(texts.get("tests.prices"))
        show_prices(visit, stored, test, shown.names)

    def _write_title(self, shown: _Shown, state: str) -> str:
        """Return the state in one line: Milk, Tea: running until 12 Feb."""
        texts, stored = self._visit.texts, shown.view.stored
        name = name_test(self._visit, list_items(stored), shown.names)
        values: dict[str, object] = {
            "name": name,
            "begins": texts.day(stored.begins_at),
            "ends": texts.day(stored.ends_at),
        }
        if state == FINISHED:
            common = stored.document["result"]["common"]
            values["slope"] = write_estimate(self._visit, {**common, "margin": None})
        return texts.get(f"tests.title_{state}", **values)

    def _show_state(self, view: PriceTestView, state: str) -> None:
        visit, texts, stored = self._visit, self._visit.texts, view.stored
        zones = ", ".join(stored.zones)
        parts = [
            stored.test_id,
            texts.get(f"tests.design_{stored.design}"),
            texts.get("tests.in_zone", zone=zones),
        ]
        if stored.begins_at is not None:
            days = f"{texts.day(stored.begins_at)} – {texts.day(stored.ends_at)}"
            parts.append(days)
        if view.test is not None and state not in (OVER, FINISHED):
            step = view.next_step
            if step is not None and not step.is_due:
                parts.append(write_step(visit, view.test, step))
        with ui.element("div").classes("effect-line"):
            show_state(visit, state)
            ui.label(" · ".join(parts)).classes("muted")

    def _add_buttons(self, view: PriceTestView) -> None:
        """Add what may be done, for who may do it; what is due stands out."""
        visit, stored = self._visit, view.stored
        is_allowed = all(visit.caller.may_change(SCOPE, zone) for zone in stored.zones)
        if not is_allowed or view.test is None:
            return
        step = view.next_step
        now = self._server.clock.now()
        if may_be_cancelled(stored):
            self._add("cancel", self._cancel)
        if may_be_filed(stored) and step is not None:
            period = write_period(visit, view.test, step.period)
            is_main = step.action == "file" and step.is_due
            self._add("file", partial(self._file, period), is_main=is_main)
        if may_be_finished(stored, now):
            is_again = stored.state == FINISHED
            name = "finish_again" if is_again else "finish"
            self._add(name, self._finish, is_main=not is_again)

    def _add(
        self, name: str, on_click: Callable[[], Awaitable[None]], *, is_main: bool = False
    ) -> None:
        button = ui.button(self._visit.texts.get(f"tests.{name}"), on_click=on_click)
        button.props("unelevated" if is_main else "outline")

    def _show_periods(self, periods: Sequence[PeriodView], shown: _Shown, test: PriceTest) -> None:
        visit, texts = self._visit, self._visit.texts

        def show_what(period: PeriodView) -> None:
            if not period.is_filed:
                key = "tests.missed" if period.is_missed else "tests.not_filed"
                ui.label(texts.get(key)).classes("muted")
                return
            if period.proposal_id is None:
                key = "tests.none_filed" if period.refused else "tests.nothing_filed"
                ui.label(texts.get(key))
                return
            for status, n in period.statuses.items():
                name = texts.get(f"status.{status}")
                query = {
                    "zone": shown.view.stored.zone,
                    "status": status,
                    "run": period.proposal_id,
                }
                ui.link(f"{name}: {texts.number(n)}", f"/queue?{urlencode(query)}")
            if period.is_late:
                ui.label(texts.get("tests.late")).classes("badge warn")

        def show_refused(period: PeriodView) -> None:
            for item_id, reason in period.refused.items():
                item = shown.names.get(item_id)
                name = item_id if item is None else item.name
                ui.label(f"{name}: {reason}").classes("wrap")
            if not period.refused:
                ui.label("–")

        def write_approvers(period: PeriodView) -> str:
            if period.approved_by:
                return ", ".join(period.approved_by)
            return texts.get("tests.nobody_yet") if period.statuses.get(_WAITING) else "–"

        show_table(
            periods,
            [
                Column(
                    texts.get("tests.period_column"),
                    lambda period: write_period(visit, test, period.number),
                ),
                Column(texts.get("tests.begins"), lambda period: texts.day(period.starts_at)),
                Column(texts.get("tests.filed"), show_what),
                Column(texts.get("tests.approved_by"), write_approvers),
                Column(
                    texts.get("tests.refused"), show_refused, hint=texts.get("tests.refused_hint")
                ),
            ],
            caption=texts.get("tests.periods"),
        )

    async def _ask(self, step: str, **values: object) -> bool:
        """Return whether somebody confirms a step."""
        texts = self._visit.texts
        question, about = texts.get(f"tests.ask_{step}", **values), texts.get(f"tests.about_{step}")
        answer = await ask(self._visit, question, about, confirm=texts.get(f"tests.{step}"))
        return answer is not None

    async def _file(self, period: str) -> None:
        if not await self._ask("file", period=period):
            return
        done = await self._write(self._tests.file_next_period, self._visit.caller, self._test_id)
        if done is not None:
            await self._say_filed(done[1], "tests.done_filed")

    async def _cancel(self) -> None:
        if not await self._ask("cancel"):
            return
        done = await self._write(self._tests.cancel, self._visit.caller, self._test_id)
        if done is not None:
            await self._say_filed(done[1], "tests.done_cancelled")

    async def _say_filed(self, filed: FiledProposal, key: str) -> None:
        notify_done(self._visit, self._visit.texts.get(key, n=len(filed.ids)))
        await self._section.refresh()

    async def _finish(self) -> None:
        visit, texts = self._visit, self._visit.texts
        if not await self._ask("finish"):
            return
        ui.notify(texts.get("tests.analysing"), timeout=3_000)
        try:
            measured = await visit.check(self._tests.measure, visit.caller, self._test_id)
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        finish = self._tests.finish
        if await self._write(finish, visit.caller, measured.stored, measured.result) is not None:
            notify_done(visit, texts.get("tests.done_finished"))
            await self._section.refresh()

    async def _write(self, function: Callable[..., Result], *values: object) -> Result | None:
        """Return what a write returned; None where it was refused, which is said."""
        try:
            return await self._visit.write(function, *values)
        except ShopwrightError as error:
            notify_problem(self._visit, error)
            return None
