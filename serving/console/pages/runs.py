"""Runs: what did each run of `prices suggest` decide, and why did items keep their price?"""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from serving.console.charts import Bar, show_bars
from serving.console.frame import Console, Page
from serving.console.pages.run_comparison import RunComparisonPage, build_choice
from serving.console.parts import (
    Column,
    show_badge,
    show_heading,
    show_item_search,
    show_measure,
    show_notice,
    show_table,
)
from serving.console.section import Section, show_empty
from serving.console.visit import Visit
from serving.price_desk.run_outcomes import PricingRun, RunItem, RunItemFilter
from serving.price_desk.runs import ItemOutcomes

_RUNS = 50
_ITEMS = 100


def add_pages(console: Console) -> None:
    """Add the list of runs, and the page of one."""

    @console.page("/runs", "runs")
    def list_runs(page: Page) -> None:
        _RunList(page).build()

    @console.page("/runs/compare", "runs")
    def compare_runs(page: Page) -> None:
        RunComparisonPage(page).build()

    @console.page("/runs/{run_id}", "runs")
    def show_run(page: Page) -> None:
        _RunPage(page, page.visit.parameters.pop("run_id")).build()


class _RunList:
    """The runs of a zone, newest first; two can be compared."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit

    def build(self) -> None:
        """Build the list, and the search for an item that keeps its price."""
        visit, texts = self._visit, self._visit.texts
        with self._page.actions:
            ui.link(texts.get("scenarios.name_of_page"), "/scenarios").classes("link-button")
        runs = visit.server.pricing_runs
        Section(visit, lambda: runs.list_runs(visit.zone, before=None, limit=_RUNS), self._show)
        show_heading(texts.get("runs.why_not"))
        ui.label(texts.get("runs.why_not_hint")).classes("muted")
        show_item_search(visit, texts.get("runs.item"), [], self._explain)
        self._answer = ui.element("div").classes("section").props("aria-live=polite")

    def _show(self, runs: Sequence[PricingRun]) -> None:
        texts = self._visit.texts
        if not runs:
            show_empty(texts.get("runs.none"), texts.get("runs.fill"), "shopwright prices suggest")
            return
        self._page.set_title(
            texts.get(
                "runs.title",
                n=int(runs[0].totals["n_suggested"]),
                day=texts.day(runs[0].created_at),
            )
        )
        if len(runs) > 1:
            build_choice(self._visit, runs, runs[1].id, runs[0].id)
        show_table(runs, _list_columns(self._visit), caption=texts.get("runs.name"))

    async def _explain(self, item_ids: list[str]) -> None:
        visit = self._visit
        self._answer.clear()
        if not item_ids:
            return
        with self._answer:
            Section(
                visit,
                lambda: visit.server.pricing_runs.explain_item(item_ids[0], visit.zone),
                self._show_outcomes,
                skeleton_rows=3,
            )

    def _show_outcomes(self, outcomes: ItemOutcomes) -> None:
        texts = self._visit.texts
        for text in outcomes.absent.values():
            show_notice(text)
        show_table(
            outcomes.outcomes,
            [
                Column(texts.get("runs.at"), lambda pair: texts.time(pair[0].created_at)),
                Column(
                    texts.get("runs.outcome"), lambda pair: texts.get(f"runs.{pair[1].outcome}")
                ),
                Column(texts.get("runs.reason"), lambda pair: pair[1].reason or ""),
                Column(
                    texts.get("queue.column_now"),
                    lambda pair: texts.money(pair[1].current_price_minor, pair[0].currency),
                    is_number=True,
                ),
                Column(
                    texts.get("queue.column_new"),
                    lambda pair: texts.money(pair[1].suggested_price_minor, pair[0].currency),
                    is_number=True,
                ),
            ],
            caption=texts.get("runs.why_not"),
        )


def _list_columns(visit: Visit) -> list[Column]:
    texts = visit.texts

    def link(run: PricingRun) -> None:
        ui.link(texts.time(run.created_at), f"/runs/{run.id}")

    def number(name: str) -> Column:
        return Column(
            texts.get(f"runs.{name}"), lambda run: texts.number(run.totals[name]), is_number=True
        )

    def name_state(run: PricingRun) -> str:
        state = run.status if run.totals["n_suggested"] else "empty"
        return texts.get(f"runs.state_{state}")

    return [
        Column(texts.get("runs.at"), link),
        Column(
            texts.get("runs.objective"),
            lambda run: texts.find(f"suggestion.{run.objective}", run.objective),
        ),
        Column(texts.get("runs.rules"), lambda run: run.rules),
        number("n_forecast"),
        number("n_suggested"),
        number("n_flagged"),
        Column(
            texts.get("runs.gain"),
            lambda run: texts.money(run.totals["profit_gain_minor"], run.currency, signed=True),
            is_number=True,
        ),
        Column(
            texts.get("runs.gap"),
            lambda run: texts.share(run.totals["gap"], 2),
            is_number=True,
            hint=texts.get("runs.gap_hint"),
        ),
        Column(texts.get("queue.column_status"), name_state),
    ]


class _RunPage:
    """One run: totals, reasons, and the items of a reason."""

    def __init__(self, page: Page, run_id: str) -> None:
        self._page, self._visit, self._run_id = page, page.visit, run_id
        self._visit.path = f"/runs/{run_id}"

    def build(self) -> None:
        """Build the totals; the items follow the reason that is chosen."""
        visit = self._visit
        Section(visit, lambda: visit.server.pricing_runs.read_run(self._run_id), self._show)

    def _show(self, run: PricingRun) -> None:
        visit, texts = self._visit, self._visit.texts
        totals, currency = run.totals, run.currency
        self._page.set_title(
            texts.get("runs.title", n=int(totals["n_suggested"]), day=texts.day(run.created_at))
        )
        for text in run.held:
            show_notice(text)
        if totals["n_assumed_rises"]:
            show_notice(
                texts.get(
                    "runs.assumed", n=int(totals["n_assumed_rises"]), rises=int(totals["n_rises"])
                )
            )
        with ui.element("div").classes("strip"):
            for name in ("n_forecast", "n_suggested", "n_rises", "n_superseded"):
                show_measure(texts.get(f"runs.{name}"), texts.number(totals[name]))
            gain = texts.money(totals["profit_gain_minor"], currency, signed=True)
            show_measure(texts.get("runs.gain"), gain, texts.get("runs.weeks", n=run.horizon_weeks))
            show_measure(
                texts.get("runs.gap"), texts.share(totals["gap"], 2), texts.get("runs.gap_hint")
            )
        ui.link(texts.get("runs.open_queue"), "/queue")
        show_heading(texts.get("runs.kept_heading", n=sum(run.kept.values())))
        if not run.kept:
            ui.label(texts.get("runs.none_kept")).classes("muted")
        else:
            reasons = sorted(run.kept.items(), key=lambda entry: -entry[1])
            bars = [Bar(reason, float(n)) for reason, n in reasons]
            show_bars(visit, texts.get("runs.kept_items"), bars, digits=0)
            reason = visit.parameters.get("reason")
            ui.select(
                {name: f"{name} ({n})" for name, n in reasons},
                value=reason if reason in run.kept else None,
                label=texts.get("runs.reason"),
                clearable=True,
                on_change=lambda event: self._choose(run, event.value),
            ).props("dense outlined").classes("wide")
            self._items = ui.element("div").classes("section")
            self._show_items(run, reason)
        if run.notes or run.broken_rules:
            show_heading(texts.get("runs.notes"))
            for rule in run.broken_rules:
                show_badge(rule, "warn")
            for note in run.notes:
                ui.label(note)

    def _choose(self, run: PricingRun, reason: str | None) -> None:
        self._visit.set_parameters(reason=reason)
        self._show_items(run, reason)

    def _show_items(self, run: PricingRun, reason: str | None) -> None:
        visit, texts = self._visit, self._visit.texts
        self._items.clear()
        if reason is None:
            return

        def load() -> list[RunItem]:
            criteria = RunItemFilter(outcome="kept", reason=reason)
            service = visit.server.pricing_runs
            return service.list_items(run.id, criteria, after="", limit=_ITEMS)[1]

        def build(items: Sequence[RunItem]) -> None:
            show_table(
                items,
                [
                    Column(
                        texts.get("queue.column_title"), lambda item: item.title or item.item_id
                    ),
                    Column(texts.get("queue.column_category"), lambda item: item.category),
                    Column(
                        texts.get("queue.column_now"),
                        lambda item: texts.money(item.current_price_minor, run.currency),
                        is_number=True,
                    ),
                ],
                caption=reason or "",
            )
            if len(items) == _ITEMS:
                ui.label(texts.get("runs.first_items", n=_ITEMS)).classes("muted")

        with self._items:
            Section(visit, load, build)
