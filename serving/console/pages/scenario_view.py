"""Scenarios as they are shown: totals side by side, and the largest moves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.console.parts import Column, notify_problem, show_heading, show_notice, show_table
from serving.console.queue_rows import QUANTITIES, name_rule
from serving.console.section import show_error, show_skeleton
from serving.console.visit import Visit
from serving.price_desk.scenario_repository import FAILED, RUNNING, Scenario, ScenarioOrder
from serving.price_desk.scenario_types import PriceTotals, ScenarioMove, ScenarioOutcome

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Compared:
    """A column of a comparison: its heading, its totals and the new prices that are known of it.

    is_complete   an item without a new price keeps its own; else what it gets is not known any more
    """

    name: str
    totals: PriceTotals
    prices: Mapping[str, int]
    is_complete: bool = True


def name_scenario(visit: Visit, scenario: Scenario) -> str:
    """Return the title of a scenario, else when it was computed."""
    return scenario.order.title or visit.texts.time(scenario.created_at)


def show_totals(visit: Visit, columns: Sequence[Compared], outcome: ScenarioOutcome) -> None:
    """Show what prices together would do, one column each."""
    texts = visit.texts
    rules = sorted({rule for column in columns for rule in column.totals.forbidden})
    rows: list[tuple[str, Callable[[PriceTotals], str]]] = [
        (texts.get("scenarios.n_changes"), lambda totals: texts.number(totals.n_changes)),
        (texts.get("scenarios.n_rises"), lambda totals: texts.number(totals.n_rises)),
        *(
            (
                texts.get(f"suggestion.{name}"),
                lambda totals, name=name: _write_total(visit, name, totals, outcome.currency),
            )
            for name in QUANTITIES
        ),
        (texts.get("scenarios.n_unknown"), lambda totals: texts.number(totals.n_unknown)),
        *(
            (
                texts.get("scenarios.forbidden", rule=name_rule(rule, texts)),
                lambda totals, rule=rule: texts.number(totals.forbidden.get(rule, 0)),
            )
            for rule in rules
        ),
        (
            texts.get("scenarios.not_kept"),
            lambda totals: (
                ", ".join(name_rule(rule, texts) for rule in totals.not_kept)
                or texts.get("scenarios.none")
            ),
        ),
    ]
    show_table(
        rows,
        [
            Column(
                texts.get("scenarios.against", n=outcome.horizon_weeks),
                lambda row: row[0],
                hint=texts.get("suggestion.range_hint"),
            ),
            *(
                Column(column.name, partial(_write_cell, column.totals), is_number=True)
                for column in columns
            ),
        ],
        caption=texts.get("scenarios.totals"),
    )


def _write_cell(totals: PriceTotals, row: tuple[str, Callable[[PriceTotals], str]]) -> str:
    return row[1](totals)


def show_moves(
    visit: Visit,
    moves: Sequence[ScenarioMove],
    columns: Sequence[Compared],
    currency: str,
) -> None:
    """Show the largest moves: the price of now, the one that waits, and that of each column."""
    texts = visit.texts
    if not moves:
        ui.label(texts.get("scenarios.no_moves")).classes("muted")
        return

    def write(minor: int | None) -> str:
        return texts.money(minor, currency)

    def find(column: Compared, move: ScenarioMove) -> str:
        price = column.prices.get(move.item_id)
        if price is None and not column.is_complete:
            return texts.get("scenarios.gone")
        if price in (None, move.current_minor):
            return texts.get("scenarios.kept")
        arrow = "▲" if price > move.current_minor else "▼"
        return f"{arrow} {write(price)}"

    gone = [column.name for column in columns if not column.is_complete]
    if gone:
        show_notice(texts.get("scenarios.gone_hint", names=", ".join(gone)))
    show_table(
        moves,
        [
            Column(texts.get("queue.column_title"), lambda move: move.title or move.item_id),
            Column(
                texts.get("queue.column_now"),
                lambda move: write(move.current_minor),
                is_number=True,
            ),
            Column(
                texts.get("scenarios.waiting"),
                lambda move: write(move.waiting_minor),
                is_number=True,
                hint=texts.get("scenarios.waiting_hint"),
            ),
            *(Column(column.name, partial(find, column), is_number=True) for column in columns),
        ],
        caption=texts.get("scenarios.moves"),
    )


def show_outcome(visit: Visit, outcome: ScenarioOutcome, name: str) -> None:
    """Show one scenario beside what waits and beside the rules of today."""
    texts = visit.texts
    today = Compared(
        texts.get("scenarios.today"),
        outcome.today,
        {move.item_id: move.today_minor for move in outcome.moves},
    )
    shown = Compared(
        name, outcome.scenario, {move.item_id: move.new_minor for move in outcome.moves}
    )
    ui.label(
        texts.get("scenarios.different", n=outcome.n_different, items=outcome.n_items)
    ).classes("reason")
    for text in outcome.held:
        show_notice(text)
    waiting = Compared(texts.get("scenarios.waiting"), outcome.waiting, {})
    show_totals(visit, [waiting, today, shown], outcome)
    show_heading(texts.get("scenarios.moves"), 3)
    show_moves(visit, outcome.moves, [today, shown], outcome.currency)


async def run_scenario(
    visit: Visit,
    area: ui.element,
    order: ScenarioOrder,
    on_done: Callable[[Scenario], Awaitable[None]],
) -> None:
    """Compute a scenario; `area` shows that it is computed, or why it is not, then what `on_done`
    builds."""
    service, texts = visit.server.scenarios, visit.texts
    area.clear()
    try:
        started = await visit.write(service.start, visit.caller, order)
    except ShopwrightError as error:
        notify_problem(visit, error)
        return
    with area:
        shown = ui.element("div").classes("section trial")

    def show_computing() -> None:
        shown.clear()
        with shown:
            ui.label(texts.get("scenarios.computing")).classes("muted").props("role=status")
            show_skeleton(4, texts.get("frame.loading"))

    async def look_again() -> None:
        show_computing()
        timer.activate()

    async def look() -> None:
        try:
            scenario = await visit.read(service.read, started.id)
        except Exception as error:
            timer.deactivate()
            shown.clear()
            with shown:
                show_error(visit, error, look_again)
            return
        if scenario.status == RUNNING:
            return
        timer.deactivate()
        shown.clear()
        with shown:
            if scenario.status == FAILED:
                show_notice(texts.get("scenarios.problem", problem=scenario.problem or ""))
            await on_done(scenario)

    show_computing()
    with area:
        timer = ui.timer(_POLL_SECONDS, look)


def _write_total(visit: Visit, name: str, totals: PriceTotals, currency: str) -> str:
    band, texts = totals.effects.get(name), visit.texts
    if band is None:
        return texts.number(None if totals.n_changes else 0)
    return texts.band(band, None if name == "units" else currency, whole=True)
