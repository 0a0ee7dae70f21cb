"""Scenarios: what would other rules, another objective or horizon do, before anything is filed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from nicegui import ui

from features.contracts.errors import ShopwrightError
from features.contracts.pricing import DEFAULT_RULES, Objective
from serving.console.frame import Console, Page
from serving.console.log_parts import name_author
from serving.console.pages.rules import read_yaml
from serving.console.pages.scenario_view import (
    Compared,
    name_scenario,
    run_scenario,
    show_moves,
    show_outcome,
    show_totals,
)
from serving.console.parts import (
    Column,
    ask,
    notify_done,
    notify_problem,
    read_whole_number,
    show_badge,
    show_heading,
    show_table,
)
from serving.console.section import Section, show_empty
from serving.console.visit import Visit
from serving.price_desk.actions import ScenarioActions
from serving.price_desk.scenario_repository import DONE, Scenario, ScenarioOrder
from serving.price_desk.scenario_types import ScenarioMove, ScenarioOutcome

_SCOPE = "pricing.propose"
_SHOWN = 20
_MOST_COMPARED = 4


def add_pages(console: Console) -> None:
    """Add the page of scenarios."""

    @console.page("/scenarios", "runs")
    async def scenarios(page: Page) -> None:
        await _ScenariosPage(page).build()


@dataclass(frozen=True)
class _Shown:
    """The newest scenarios of a zone, and those that are compared with the prices they give; None
    where these are not kept any more."""

    scenarios: Sequence[Scenario]
    compared: Sequence[tuple[Scenario, dict[str, int] | None]]


class _ScenariosPage:
    """The page as one person has it open; the address names the scenarios that are compared."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit

    async def build(self) -> None:
        """Build the form, and the scenarios of the zone."""
        visit, texts = self._visit, self._visit.texts
        self._page.set_title(texts.get("scenarios.title"))
        ui.label(texts.get("scenarios.hint")).classes("muted")
        if visit.may(_SCOPE):
            rules = await visit.read(visit.server.pricing_rules.list_rules)
            self._build_form([each.name for each in rules])
        self._running = ui.element("div").classes("section").props("aria-live=polite")
        self._section = Section(visit, self._read, self._show)

    def _build_form(self, names: list[str]) -> None:
        texts = self._visit.texts
        show_heading(texts.get("scenarios.new"))
        with ui.element("div").classes("filters"):
            title = ui.input(texts.get("scenarios.name")).props("dense outlined maxlength=200")
            rules = ui.select(names, value=DEFAULT_RULES, label=texts.get("rules.choose"))
            objectives = {"": texts.get("scenarios.as_rules")} | {
                str(one): texts.find(f"suggestion.{one}", str(one)) for one in Objective
            }
            objective = ui.select(objectives, value="", label=texts.get("runs.objective"))
            weeks = ui.input(texts.get("rules.field_horizon_weeks"))
            for field in (rules, objective, weeks):
                field.props("dense outlined stack-label")
            weeks.props("inputmode=numeric").classes("filter-short")
        with ui.element("div").classes("scenario-changes"):
            changes = ui.textarea(texts.get("scenarios.changes")).props(
                "dense outlined autogrow stack-label placeholder='max_change: 0.05'"
            )
            changes.classes("yaml")
            ui.label(texts.get("scenarios.changes_hint")).classes("muted")

        async def compute() -> None:
            try:
                order = ScenarioOrder(
                    zone=self._visit.zone,
                    title=(title.value or "").strip(),
                    rules=rules.value,
                    objective=objective.value or None,
                    horizon_weeks=_read_weeks(weeks.value),
                    changes=read_yaml(changes.value) if (changes.value or "").strip() else {},
                )
            except ShopwrightError as error:
                notify_problem(self._visit, error)
                return
            await run_scenario(self._visit, self._running, order, self._show_new)

        ui.button(texts.get("scenarios.compute"), on_click=compute).props("unelevated")

    async def _show_new(self, scenario: Scenario) -> None:
        if scenario.status == DONE:
            self._visit.set_parameters(
                compare=",".join([*self._list_chosen(), scenario.id][-_MOST_COMPARED:])
            )
        await self._section.refresh()

    def _list_chosen(self) -> list[str]:
        return [key for key in self._visit.parameters.get("compare", "").split(",") if key]

    def _read(self) -> _Shown:
        service, visit = self._visit.server.scenarios, self._visit
        scenarios = service.list_scenarios(visit.zone, limit=_SHOWN)
        chosen = [
            scenario
            for scenario in scenarios
            if scenario.id in self._list_chosen() and scenario.outcome is not None
        ]
        if len(chosen) == 1:  # its own largest moves say all that is shown
            return _Shown(scenarios, [(chosen[0], {})])
        item_ids = [move.item_id for one in chosen if one.outcome for move in one.outcome.moves]
        return _Shown(
            scenarios, [(one, service.find_prices(one.id, item_ids)) for one in reversed(chosen)]
        )

    def _show(self, shown: _Shown) -> None:
        texts = self._visit.texts
        if not shown.scenarios:
            show_empty(texts.get("scenarios.empty"), texts.get("scenarios.fill"))
            return
        if shown.compared:
            self._show_compared(shown.compared)
        show_heading(texts.get("scenarios.list"))
        self._show_list(shown.scenarios)

    def _show_compared(self, compared: Sequence[tuple[Scenario, dict[str, int] | None]]) -> None:
        visit, texts = self._visit, self._visit.texts
        newest = compared[-1][0].outcome
        assert newest is not None  # noqa: S101 (only those with an outcome are compared)
        show_heading(" · ".join(name_scenario(visit, one) for one, _ in compared))
        if len(compared) == 1:
            show_outcome(visit, newest, name_scenario(visit, compared[0][0]))
            return
        columns = [
            _compare(name_scenario(visit, one), one.outcome, prices)
            for one, prices in compared
            if one.outcome is not None
        ]
        waiting = Compared(texts.get("scenarios.waiting"), newest.waiting, {})
        today = Compared(texts.get("scenarios.today"), newest.today, {})
        show_totals(visit, [waiting, today, *columns], newest)
        show_heading(texts.get("scenarios.moves"), 3)
        show_moves(visit, _merge_moves([one for one, _ in compared]), columns, newest.currency)

    def _show_list(self, scenarios: Sequence[Scenario]) -> None:
        visit, texts = self._visit, self._visit.texts
        chosen = self._list_chosen()

        def add_choice(scenario: Scenario) -> None:
            if scenario.outcome is None:
                return
            box = ui.checkbox(value=scenario.id in chosen)
            box.props["aria-label"] = texts.get(
                "scenarios.compare", name=name_scenario(visit, scenario)
            )
            box.on_value_change(partial(self._choose, scenario.id))

        def add_status(scenario: Scenario) -> None:
            show_badge(texts.get(f"scenarios.{scenario.status}"))
            if scenario.run_id:
                ui.link(texts.get("scenarios.run"), f"/runs/{scenario.run_id}")
            if scenario.problem:
                ui.label(scenario.problem).classes("muted")

        def write_gain(scenario: Scenario) -> str:
            if scenario.outcome is None:
                return texts.number(None)
            band = scenario.outcome.scenario.effects.get("profit")
            middle = None if band is None else band.p50
            return texts.whole_money(middle, scenario.outcome.currency, signed=True)

        def add_actions(scenario: Scenario) -> None:
            if scenario.status == DONE and visit.may(_SCOPE):
                ui.button(
                    texts.get("scenarios.file"), on_click=partial(self._file, scenario)
                ).props("outline dense")

        show_table(
            scenarios,
            [
                Column(texts.get("scenarios.beside"), add_choice),
                Column(texts.get("scenarios.name"), lambda one: name_scenario(visit, one)),
                Column(texts.get("scenarios.what"), lambda one: describe_order(visit, one.order)),
                Column(
                    texts.get("scenarios.n_changes"),
                    lambda one: texts.number(one.outcome and one.outcome.scenario.n_changes),
                    is_number=True,
                ),
                Column(texts.get("suggestion.profit"), write_gain, is_number=True),
                Column(texts.get("runs.at"), lambda one: texts.time(one.created_at)),
                Column(texts.get("rules.author"), lambda one: name_author(texts, one.created_by)),
                Column(texts.get("queue.column_status"), add_status),
                Column("", add_actions),
            ],
            caption=texts.get("scenarios.list"),
        )

    async def _choose(self, scenario_id: str) -> None:
        chosen = self._list_chosen()
        if scenario_id in chosen:
            chosen.remove(scenario_id)
        else:
            chosen = [*chosen, scenario_id][-_MOST_COMPARED:]
        self._visit.set_parameters(compare=",".join(chosen))
        await self._section.refresh()

    async def _file(self, scenario: Scenario) -> None:
        visit, texts = self._visit, self._visit.texts
        reason = await ask(
            visit,
            texts.get("scenarios.ask_file", name=name_scenario(visit, scenario)),
            texts.get("scenarios.file_hint"),
            confirm=texts.get("scenarios.file"),
            reason=True,
        )
        if reason is None:
            return
        try:
            filed = await visit.write(
                ScenarioActions(visit.server.scenarios).file,
                visit.caller,
                scenario.id,
                reason or None,
            )
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        n = filed.outcome.scenario.n_changes if filed.outcome else 0
        notify_done(visit, texts.get("propose.done", n=n))
        await self._section.refresh()


def describe_order(visit: Visit, order: ScenarioOrder) -> str:
    """Return what a scenario changes: default · revenue · max_change 0.05."""
    texts = visit.texts
    parts = [order.rules]
    if order.objective:
        parts.append(texts.find(f"suggestion.{order.objective}", order.objective))
    if order.horizon_weeks:
        parts.append(texts.get("runs.weeks", n=order.horizon_weeks))
    if order.values is not None:
        parts.append(texts.get("scenarios.draft"))
    parts += [f"{name} {value}" for name, value in order.changes.items()]
    return " · ".join(parts)


def _compare(name: str, outcome: ScenarioOutcome, prices: dict[str, int] | None) -> Compared:
    """Return the column of a scenario; of one whose prices are gone the largest moves are known."""
    largest = {move.item_id: move.new_minor for move in outcome.moves}
    return Compared(name, outcome.scenario, largest | (prices or {}), prices is not None)


def _merge_moves(scenarios: Sequence[Scenario]) -> list[ScenarioMove]:
    """Return the largest moves of all scenarios, each item once."""
    moves = {
        move.item_id: move
        for scenario in scenarios
        if scenario.outcome is not None
        for move in scenario.outcome.moves
    }
    return sorted(
        moves.values(), key=lambda move: -abs(move.new_minor / max(move.current_minor, 1) - 1)
    )


def _read_weeks(text: str | None) -> int | None:
    """Return a number of weeks, None for an empty text. Raises BadInput."""
    if not (text or "").strip():
        return None
    return read_whole_number(text, "horizon_weeks")
