"""Two runs side by side: their totals, and the items whose prices differ most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import urlencode

from nicegui import ui

from serving.console.charts import Bar, show_bars
from serving.console.frame import Page
from serving.console.parts import Column, show_heading, show_notice, show_table
from serving.console.section import Section
from serving.console.visit import Visit
from serving.price_desk.run_outcomes import PricingRun, RunDifference, RunItem
from serving.price_desk.runs import RunComparison

_SHOWN = 50
_NUMBERS = ("n_forecast", "n_suggested", "n_rises", "n_flagged", "n_superseded")
_REASONS = 8  # of which the change is drawn


def build_choice(visit: Visit, runs: Sequence[PricingRun], first: str, second: str) -> None:
    """Build the choice of two runs, which leads to their comparison."""
    texts = visit.texts
    names = {run.id: _name_run(visit, run) for run in runs}
    with ui.element("div").classes("filters"):
        fields = [
            ui.select(names, value=run_id if run_id in names else None, label=texts.get(key))
            .props("dense outlined options-dense")
            .classes("wide")
            for run_id, key in ((first, "runs.compare"), (second, "runs.with"))
        ]

        def go() -> None:
            chosen = [field.value for field in fields]
            if None not in chosen:
                query = urlencode({"first": chosen[0], "second": chosen[1], "zone": visit.zone})
                ui.navigate.to(f"/runs/compare?{query}")

        ui.button(texts.get("runs.show_comparison"), on_click=go).props("outline")


def _name_run(visit: Visit, run: PricingRun) -> str:
    texts = visit.texts
    objective = texts.find(f"suggestion.{run.objective}", run.objective)
    n = texts.number(run.totals["n_suggested"])
    return f"{texts.time(run.created_at)} · {objective} · {run.rules} · {n}"


class RunComparisonPage:
    """The page of two runs; the address names them."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit

    def build(self) -> None:
        """Build the totals side by side, the reasons, and the items that differ most."""
        visit = self._visit
        first, second = (visit.parameters.get(name, "") for name in ("first", "second"))
        runs = visit.server.pricing_runs
        with self._page.actions:
            ui.link(visit.texts.get("runs.name"), "/runs").classes("link-button")
        Section(visit, lambda: runs.compare_runs(first, second, _SHOWN), self._show)

    def _show(self, comparison: RunComparison) -> None:
        texts = self._visit.texts
        first, second = comparison.first, comparison.second
        names = [texts.time(run.created_at) for run in (first, second)]
        if comparison.shared is None:
            self._page.set_title(texts.get("runs.compared", first=names[0], second=names[1]))
        else:
            self._page.set_title(
                texts.get("runs.compared_title", n=comparison.n_different, items=comparison.shared)
            )
        self._show_totals(first, second)
        self._show_reasons(comparison)
        show_heading(texts.get("runs.differ_most"))
        if comparison.shared is None:
            show_notice(texts.get("runs.items_gone"))
        elif not comparison.largest:
            ui.label(texts.get("runs.no_difference")).classes("muted")
        else:
            self._show_items(comparison.largest, first.currency)
            if comparison.n_different > len(comparison.largest):
                ui.label(texts.get("runs.first_items", n=len(comparison.largest))).classes("muted")

    def _show_totals(self, first: PricingRun, second: PricingRun) -> None:
        texts = self._visit.texts

        def write_number(name: str, run: PricingRun) -> str:
            return texts.number(run.totals.get(name))

        rows: list[tuple[str, Callable[[PricingRun], str]]] = [
            (texts.get("runs.at"), lambda run: texts.time(run.created_at)),
            (
                texts.get("runs.objective"),
                lambda run: texts.find(f"suggestion.{run.objective}", run.objective),
            ),
            (texts.get("runs.rules"), lambda run: run.rules),
            (
                texts.get("runs.horizon"),
                lambda run: texts.get("runs.weeks", n=run.horizon_weeks),
            ),
            *((texts.get(f"runs.{name}"), partial(write_number, name)) for name in _NUMBERS),
            (
                texts.get("runs.gain"),
                lambda run: texts.money(
                    run.totals.get("profit_gain_minor"), run.currency, signed=True
                ),
            ),
            (texts.get("runs.gap"), lambda run: texts.share(run.totals.get("gap"), 2)),
            (texts.get("runs.broken"), lambda run: ", ".join(run.broken_rules) or "–"),
        ]

        def write_cell(run: PricingRun, row: tuple[str, Callable[[PricingRun], str]]) -> str:
            return row[1](run)

        def link(run: PricingRun) -> Column:
            name = texts.time(run.created_at)
            return Column(name, partial(write_cell, run), is_number=True)

        show_table(
            rows,
            [Column(texts.get("runs.total"), lambda row: row[0]), link(first), link(second)],
            caption=texts.get("runs.totals"),
        )

    def _show_reasons(self, comparison: RunComparison) -> None:
        """Show of how many more or fewer items each reason keeps the price in the second run."""
        texts = self._visit.texts
        changes = list(comparison.kept_change.items())
        bars = [Bar(reason, float(change)) for reason, change in changes[:_REASONS]]
        show_heading(texts.get("runs.kept_change"))
        if bars:
            show_bars(self._visit, texts.get("runs.kept_change"), bars, digits=0)
        else:
            ui.label(texts.get("runs.same_reasons")).classes("muted")

    def _show_items(self, differences: Sequence[RunDifference], currency: str) -> None:
        texts = self._visit.texts

        def show_price(item: RunItem) -> str:
            if item.suggested_price_minor is None:
                return texts.get("runs.kept_because", reason=item.reason or "")
            return texts.money(item.suggested_price_minor, currency)

        def write_change(difference: RunDifference) -> str:
            before, after = difference.prices_minor
            return f"{'▲' if after > before else '▼'} {texts.share(abs(after / before - 1))}"

        show_table(
            differences,
            [
                Column(texts.get("queue.column_title"), lambda one: one.title or one.item_id),
                Column(texts.get("queue.column_category"), lambda one: one.category),
                Column(
                    texts.get("queue.column_now"),
                    lambda one: texts.money(one.second.current_price_minor, currency),
                    is_number=True,
                ),
                Column(texts.get("runs.first"), lambda one: show_price(one.first)),
                Column(texts.get("runs.second"), lambda one: show_price(one.second)),
                Column(texts.get("runs.difference"), write_change, is_number=True),
            ],
            caption=texts.get("runs.differ_most"),
        )
