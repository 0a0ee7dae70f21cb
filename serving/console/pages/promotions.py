"""Promotions: what runs, what is planned, and what waits for a decision? A calendar and a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.console.frame import Console, Page
from serving.console.log_parts import name_author
from serving.console.pages.promotion_effect import add_promotion_effect
from serving.console.pages.promotion_view import (
    show_expected,
    show_items,
    show_phase,
    show_warnings,
    write_terms,
)
from serving.console.parts import (
    Column,
    ask,
    name_element,
    notify_done,
    notify_problem,
    show_heading,
    show_table,
)
from serving.console.section import Section, show_empty
from serving.console.visit import Visit
from serving.promotions.actions import SCOPES, PromotionActions
from serving.promotions.documents import PHASES, find_phase
from serving.promotions.repository import Promotion

_SPAN = timedelta(weeks=13)  # before today, and ahead
_BARS = 40
_TICK_WEEKS = 4
_BEGAN = ("live", "ended")
_STEPS = {"planned": ("approve", "reject", "cancel"), "approved": ("end",), "live": ("end",)}


def add_pages(console: Console) -> None:
    """Add the calendar of promotions, and the page of one."""

    @console.page("/promotions", "promotions")
    def list_promotions(page: Page) -> None:
        _PromotionList(page).build()

    @console.page("/promotions/{promotion_id}", "promotions")
    def show_promotion(page: Page) -> None:
        _PromotionPage(page, page.visit.parameters.pop("promotion_id")).build()


class _PromotionList:
    """The promotions of a zone around today, of the phases in the address."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit

    def build(self) -> None:
        """Build the filter and the calendar."""
        visit, texts = self._visit, self._visit.texts
        if visit.may("pricing.propose"):
            with self._page.actions:
                ui.link(texts.get("promotions.new"), "/promotions/new").classes("link-button")
        with ui.element("div").classes("filters"):
            ui.select(
                {phase: texts.get(f"promotions.phase_{phase}") for phase in PHASES},
                value=list(self._list_phases()),
                multiple=True,
                label=texts.get("promotions.show"),
                on_change=lambda event: self._choose(event.value),
            ).props("dense outlined options-dense").classes("wide")
        self._section = Section(visit, self._read, self._show)

    def _list_phases(self) -> tuple[str, ...]:
        chosen = self._visit.parameters.get("phase", "").split(",")
        return tuple(phase for phase in PHASES if phase in chosen) or PHASES[:-1]

    async def _choose(self, phases: list[str]) -> None:
        self._visit.set_parameters(phase=",".join(phases))
        await self._section.refresh()

    def _read(self) -> Sequence[Promotion]:
        visit = self._visit
        service = visit.server.promotions
        now = service.clock.now()
        return service.read_calendar(now - _SPAN, now + _SPAN, visit.zone, self._list_phases())[0]

    def _show(self, promotions: Sequence[Promotion]) -> None:
        visit, texts = self._visit, self._visit.texts
        phases = Counter(map(find_phase, promotions))
        if not promotions:
            self._page.set_title(texts.get("promotions.title_none"))
            show_empty(texts.get("promotions.empty"), texts.get("promotions.fill"))
            return
        self._page.set_title(
            texts.get("promotions.title", n=phases["live"], waiting=phases["planned"])
        )
        _show_calendar(visit, promotions[:_BARS])
        show_heading(texts.get("promotions.list"))

        def link(promotion: Promotion) -> None:
            ui.link(promotion.name, f"/promotions/{promotion.id}")

        def add_phase(promotion: Promotion) -> None:
            show_phase(visit, find_phase(promotion))

        show_table(
            promotions,
            [
                Column(texts.get("promotions.promotion"), link),
                Column(texts.get("promotions.offer"), partial(write_terms, visit)),
                Column(texts.get("prices.from"), lambda one: texts.time(one.starts_at)),
                Column(texts.get("prices.until"), lambda one: texts.time(one.runs_until)),
                Column(
                    texts.get("prices.items"),
                    lambda one: texts.number(one.n_items),
                    is_number=True,
                ),
                Column(texts.get("queue.column_status"), add_phase),
                Column(texts.get("promotions.by"), lambda one: name_author(texts, one.proposed_by)),
            ],
            caption=texts.get("promotions.list"),
        )


def _show_calendar(visit: Visit, promotions: Sequence[Promotion]) -> None:
    """Show a bar for each promotion, and where today is; the table beneath has the same times."""
    texts = visit.texts
    now = visit.server.promotions.clock.now()
    first, last = now - _SPAN, now + _SPAN

    def place(at: datetime) -> float:
        share = (min(max(at, first), last) - first) / (last - first)
        return round(100 * share, 2)

    with ui.element("div").classes("timeline").props("role=img") as timeline:
        name_element(timeline, texts.get("promotions.calendar"))
        ui.element("div")
        with ui.element("div").classes("timeline-track timeline-axis"):
            for week in range(0, (last - first).days // 7, _TICK_WEEKS):
                at = first + timedelta(weeks=week)
                ui.label(texts.day(at)).classes("timeline-tick").style(f"left: {place(at)}%")
        for promotion in promotions:
            ui.label(promotion.name).classes("timeline-name")
            with ui.element("div").classes("timeline-track"):
                begin, end = place(promotion.starts_at), place(promotion.runs_until)
                bar = ui.label(write_terms(visit, promotion))
                bar.classes(f"timeline-bar phase-{find_phase(promotion)}")
                bar.style(f"left: {begin}%; width: {max(end - begin, 0.6)}%")
                bar.tooltip(
                    f"{texts.time(promotion.starts_at)} – {texts.time(promotion.runs_until)}"
                )
                ui.element("div").classes("timeline-now").style(f"left: {place(now)}%")


class _PromotionPage:
    """One promotion: what it offers, what it should bring, and what can be decided about it."""

    def __init__(self, page: Page, promotion_id: str) -> None:
        self._page, self._visit, self._id = page, page.visit, promotion_id
        self._visit.path = f"/promotions/{promotion_id}"

    def build(self) -> None:
        """Build the promotion."""
        service = self._visit.server.promotions
        self._section = Section(self._visit, lambda: service.read_promotion(self._id), self._show)

    def _show(self, promotion: Promotion) -> None:
        visit, texts = self._visit, self._visit.texts
        phase = find_phase(promotion)
        self._page.set_title(
            texts.get(
                "promotions.title_of", name=promotion.name, offer=write_terms(visit, promotion)
            )
        )
        with ui.element("div").classes("price-line"):
            show_phase(visit, phase)
            ui.label(f"{texts.time(promotion.starts_at)} – {texts.time(promotion.runs_until)}")
        names = {"proposer": name_author(texts, promotion.proposed_by), "zone": promotion.zone}
        lines = [texts.get("promotions.proposed", **names)]
        if promotion.decided_by is not None:
            decided = {
                "name": name_author(texts, promotion.decided_by),
                "at": texts.time(promotion.decided_at),
            }
            lines.append(texts.get("promotions.decided", **decided))
        if promotion.ended_by is not None:
            lines.append(texts.get("promotions.ended", name=promotion.ended_by))
        if promotion.reason:
            lines.append(f"{texts.get('frame.reason')}: {promotion.reason}")
        if promotion.support:
            kinds = ", ".join(promotion.support)
            lines.append(texts.get("promotions.supported", kinds=kinds))
        for line in lines:
            ui.label(line).classes("muted")
        with ui.element("div").classes("actions decide"):
            self._build_actions(promotion, phase)
        show_warnings(promotion)
        if phase in _BEGAN:
            add_promotion_effect(visit, promotion.id)
        show_expected(visit, promotion)
        show_items(visit, promotion)

    def _build_actions(self, promotion: Promotion, phase: str) -> None:
        visit, texts = self._visit, self._visit.texts
        is_own = visit.person.name == promotion.proposed_by
        for step in _STEPS.get(phase, ()):
            if not visit.may(SCOPES[step]) or (step == "cancel" and not is_own):
                continue
            button = ui.button(
                texts.get(f"promotions.{step}"), on_click=partial(self._decide, step, promotion)
            )
            button.props("unelevated" if step == "approve" else "outline")
            if step == "approve" and is_own:
                button.disable()
                ui.label(texts.get("promotions.own")).classes("warn")

    async def _decide(self, step: str, promotion: Promotion) -> None:
        visit, texts = self._visit, self._visit.texts
        reason = await ask(
            visit,
            texts.get(f"promotions.ask_{step}", name=promotion.name),
            texts.get(f"promotions.explain_{step}"),
            confirm=texts.get(f"promotions.{step}"),
            reason=True,
        )
        if reason is None:
            return
        try:
            await visit.write(
                PromotionActions(visit.server.promotions).decide,
                visit.caller,
                step,
                promotion.id,
                promotion.version,
                reason or None,
            )
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        notify_done(visit, texts.get(f"promotions.done_{step}", name=promotion.name))
        await self._section.refresh()
