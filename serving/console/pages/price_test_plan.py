"""A plan of price tests: which tests bring more than they cost, looked at before it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nicegui import ui

from experiments.designs.price_test import PriceTest
from features.contracts.errors import ShopwrightError
from features.prices.stored_tests import FAILED, PLANNING
from serving.catalogue.service import CatalogueItem
from serving.console.frame import Page
from serving.console.pages.price_test_form import PlanForm
from serving.console.pages.price_test_parts import show_expectation, show_prices
from serving.console.pages.price_test_words import list_items, name_reason
from serving.console.parts import (
    Column,
    is_untrained,
    notify_done,
    notify_problem,
    show_heading,
    show_notice,
    show_table,
    show_untrained,
)
from serving.console.section import show_error, show_skeleton
from serving.price_desk.actions import PriceTestActions
from serving.price_desk.price_test_reading import PriceTestView

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class _Shown:
    """A plan with the names of its items."""

    view: PriceTestView
    names: Mapping[str, CatalogueItem]


class PlanPage:
    """The page as one person has it open; the address names the plan that is shown."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._server = page.visit.server
        self._form = PlanForm(page.visit)

    def build(self) -> None:
        """Build the form, and the plan of the address beneath it."""
        visit, texts = self._visit, self._visit.texts
        if is_untrained(visit, "demand"):
            self._page.set_title(show_untrained(visit, "demand"))
            return
        self._page.set_title(texts.get("tests.title_plan"))
        ui.label(texts.get("tests.plan_hint")).classes("muted prose")
        self._build_form()
        self._area = ui.element("div").classes("section trial").props("aria-live=polite")
        if plan := visit.parameters.get("plan"):
            self._watch(plan)

    def _build_form(self) -> None:
        visit, texts = self._visit, self._visit.texts

        async def compute() -> None:
            try:
                start = self._server.price_test_planner.start
                stored = await visit.write(start, visit.caller, self._form.read())
            except ShopwrightError as error:
                notify_problem(visit, error)
                return
            visit.set_parameters(plan=stored.test_id)
            self._watch(stored.test_id)

        with ui.element("div").classes("filters"):
            self._form.build()
            ui.button(texts.get("tests.compute"), on_click=compute).props("unelevated")
        self._form.build_explanation()

    def _watch(self, test_id: str) -> None:
        """Show a plan as soon as it is there."""
        visit, texts = self._visit, self._visit.texts

        def show_computing() -> None:
            self._area.clear()
            with self._area:
                ui.label(texts.get("tests.computing")).classes("muted").props("role=status")
                show_skeleton(4, texts.get("frame.loading"))

        async def look() -> None:
            if visit.parameters.get("plan") != test_id:  # another one was ordered meanwhile
                timer.deactivate()
                return
            try:
                shown = await visit.read(self._read, test_id)
            except Exception as error:
                timer.deactivate()
                self._area.clear()
                with self._area:
                    show_error(visit, error)
                return
            if shown.view.stored.state == PLANNING:
                return
            timer.deactivate()
            self._area.clear()
            with self._area:
                self._show(shown)

        show_computing()
        timer = ui.timer(_POLL_SECONDS, look)

    def _read(self, test_id: str) -> _Shown:
        view = self._server.price_tests.read(test_id)
        return _Shown(view, self._server.catalogue.find(list_items(view.stored)))

    def _show(self, shown: _Shown) -> None:
        visit, texts = self._visit, self._visit.texts
        stored, test = shown.view.stored, shown.view.test
        if "order" in stored.document:
            self._form.fill(stored.document["order"])  # after a reload it would say something else
        if stored.state == FAILED:
            problem = stored.document.get("problem", "")
            show_notice(texts.get("scenarios.problem", problem=problem))
            return
        plan = stored.document["plan"]
        if test is None:
            zones = ", ".join(stored.zones)
            show_heading(texts.get(f"tests.none_{stored.design}"))
            ui.label(texts.get(f"tests.none_{stored.design}_text", zone=zones)).classes("prose")
        else:
            self._show_advised(shown, test)
        if plan["reasons"]:
            show_heading(texts.get("tests.not_tested"))
            show_table(
                list(plan["reasons"].items()),
                [
                    Column(texts.get("tests.why"), lambda row: name_reason(visit, row[0])),
                    Column(
                        texts.get("tests.units"), lambda row: texts.number(row[1]), is_number=True
                    ),
                ],
                caption=texts.get("tests.not_tested"),
            )

    def _show_advised(self, shown: _Shown, test: PriceTest) -> None:
        """Show a plan with a test, with the way to keep it."""
        visit, texts, stored = self._visit, self._visit.texts, shown.view.stored
        zones = ", ".join(stored.zones)
        show_heading(texts.get(f"tests.drafted_{stored.design}", zone=zones))
        show_expectation(visit, stored)
        with ui.element("div").classes("filters trial"):
            if stored.is_kept:
                ui.link(texts.get("tests.kept_already"), f"/tests/{stored.test_id}").classes(
                    "link-button"
                )
            else:

                async def keep() -> None:
                    await self._keep(stored.test_id)

                ui.button(texts.get("tests.keep"), on_click=keep).props("unelevated")
                ui.label(texts.get("tests.keep_hint")).classes("muted")
        show_heading(texts.get("tests.prices"))
        show_prices(visit, stored, test, shown.names)

    async def _keep(self, test_id: str) -> None:
        visit = self._visit
        try:
            keep = PriceTestActions(self._server.price_tests).keep
            await visit.write(keep, visit.caller, test_id)
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        notify_done(visit, visit.texts.get("tests.done_kept"))
        ui.navigate.to(f"/tests/{test_id}")
