"""Experiments: what runs, what waits for a decision, and what was decided? A list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nicegui import ui

from experiments.definition import EVERY_PLACEMENT, Experiment
from serving.console.frame import Console, Page
from serving.console.pages.experiment_view import ExperimentPage
from serving.console.pages.experiment_words import (
    name_metric,
    show_status,
    write_placements,
    write_verdict,
)
from serving.console.parts import Column, show_table
from serving.console.section import Section, show_empty
from serving.console.visit import Visit
from serving.experiments.holdout_effect import HoldoutEffect, measure_holdout
from serving.experiments.report_cache import ReportCache
from serving.experiments.repository import ExperimentState

if TYPE_CHECKING:
    from experiments.analysis.verdict import Verdict

SCOPE = "experiments.manage"
_ORDER = ("running", "stopped", "draft", "decided")
_DAY = timedelta(days=1)


def add_pages(console: Console) -> None:
    """Add the list of experiments, and the page of one."""
    reports = ReportCache(console.server.experiments)

    @console.page("/experiments", "experiments", SCOPE)
    def list_experiments(page: Page) -> None:
        _ExperimentList(page, reports).build()

    @console.page("/experiments/{key}", "experiments", SCOPE)
    def show_experiment(page: Page) -> None:
        ExperimentPage(page, page.visit.parameters.pop("key"), reports).build()


@dataclass(frozen=True)
class _Row:
    """An experiment with its state."""

    experiment: Experiment
    state: ExperimentState | None


@dataclass(frozen=True)
class _Results:
    """What a row shows of a report.

    days_left   until the planned units are there, at the pace so far; None: unknown
    """

    n_units: int
    days_left: float | None
    verdict: Verdict


class _ExperimentList:
    """The list as one person has it open; the results of each row load by themselves."""

    def __init__(self, page: Page, reports: ReportCache) -> None:
        self._page, self._visit, self._reports = page, page.visit, reports
        self._experiments = page.visit.server.experiments

    def build(self) -> None:
        """Build the way to a new experiment, and the list."""
        with self._page.actions:
            ui.link(self._visit.texts.get("experiments.new"), "/experiments/new").classes(
                "link-button"
            )
        self._section = Section(self._visit, self._read, self._show)

    def _read(self) -> Sequence[_Row]:
        self._experiments.refresh()
        states = self._experiments.states
        rows = [_Row(one, states.get(key)) for key, one in self._experiments.current.items()]
        return sorted(
            rows, key=lambda row: (_ORDER.index(row.experiment.status), row.experiment.key)
        )

    def _show(self, rows: Sequence[_Row]) -> None:
        texts = self._visit.texts
        if not rows:
            self._page.set_title(texts.get("experiments.title_none"))
            show_empty(texts.get("experiments.empty"), texts.get("experiments.empty_text"))
            return
        counts = Counter(row.experiment.status for row in rows)
        self._page.set_title(
            texts.get("experiments.title", n=counts["running"], waiting=counts["stopped"])
        )
        for row in rows:
            if row.experiment.holdout and row.experiment.running:
                self._show_holdout(row.experiment)
        show_table(rows, self._list_columns(), caption=texts.get("experiments.name"))

    def _show_holdout(self, experiment: Experiment) -> None:
        visit = self._visit
        Section(
            visit,
            lambda: measure_holdout(self._reports.read(experiment.key)),
            lambda effect: show_holdout_effect(visit, experiment, effect),
            skeleton_rows=1,
        )

    def _list_columns(self) -> list[Column]:
        visit, texts = self._visit, self._visit.texts

        def show_name(row: _Row) -> None:
            experiment = row.experiment
            ui.link(experiment.key, f"/experiments/{experiment.key}").classes("strong")
            ui.label(experiment.hypothesis).classes("muted clamp").tooltip(experiment.hypothesis)

        def show_split(row: _Row) -> None:
            for variant in row.experiment.variants:
                ui.label(f"{variant.name} {texts.share(variant.weight, 0)}").classes("nowrap-line")

        def show_state(row: _Row) -> None:
            show_status(visit, row.experiment.status)

        return [
            Column(texts.get("experiments.experiment"), show_name),
            Column(texts.get("experiments.state"), show_state),
            Column(
                texts.get("experiments.placements"),
                lambda row: write_placements(visit, row.experiment),
            ),
            Column(texts.get("experiments.variants"), show_split),
            Column(texts.get("experiments.time"), self._write_time),
            Column(texts.get("experiments.results"), self._add_results),
        ]

    def _write_time(self, row: _Row) -> str:
        texts, state = self._visit.texts, row.state
        if row.experiment.status == "draft" or state is None or state.started_at is None:
            return "–"
        if state.stopped_at is not None:
            return texts.get("experiments.ended", day=texts.day(state.stopped_at))
        days = count_days(state.started_at, self._experiments.now())
        return texts.get("experiments.days_running", n=days)

    def _add_results(self, row: _Row) -> str | None:
        visit, texts = self._visit, self._visit.texts
        experiment = row.experiment
        decision = row.state.decision if row.state is not None else None
        if decision is not None:
            return texts.get("experiments.decided_for", variant=decision.get("variant"))
        if experiment.status == "draft":
            return texts.get("experiments.not_started")

        def show(results: _Results) -> None:
            ui.label(write_verdict(visit, results.verdict)).classes("wrap verdict")
            parts = [texts.get("experiments.n_units", n=results.n_units)]
            if experiment.planned_units is not None:
                planned = texts.number(experiment.planned_units)
                parts = [texts.get("experiments.n_of", n=results.n_units, planned=planned)]
            if results.days_left is not None:
                parts.append(texts.get("experiments.days_left", n=round(results.days_left)))
            ui.label(" · ".join(parts)).classes("muted")

        Section(visit, lambda: self._read_results(row), show, skeleton_rows=1)
        return None

    def _read_results(self, row: _Row) -> _Results:
        report = self._reports.read(row.experiment.key)
        n_units = sum(variant.n for variant in report.variants)
        started_at = None if row.state is None else row.state.started_at
        days_left = None
        if row.experiment.running and started_at is not None:
            days_left = compute_days_left(
                n_units, row.experiment.planned_units, report.as_of - started_at
            )
        return _Results(n_units, days_left, report.verdict)


def show_holdout_effect(visit: Visit, experiment: Experiment, effect: HoldoutEffect | None) -> None:
    """Show what the recommendations bring together, all of them or those of placements, in one
    line."""
    texts = visit.texts
    heading = texts.get("experiments.holdout")
    if EVERY_PLACEMENT not in experiment.placements:
        placements = write_placements(visit, experiment)
        heading = texts.get("experiments.holdout_of", placements=placements)
    with ui.element("div").classes("holdout"):
        ui.label(heading).classes("strong")
        if effect is None:
            ui.label(texts.get("experiments.holdout_unknown")).classes("muted")
            return
        share = texts.share
        ui.label(
            texts.get(
                "experiments.holdout_effect",
                metric=name_metric(visit, effect.metric),
                change=share(effect.change, signed=True),
                low=share(effect.low, signed=True),
                high=share(effect.high, signed=True),
            )
        )


def compute_days_left(n_units: int, planned: int | None, spent: timedelta) -> float | None:
    """Return the days until the planned units are there at the pace so far; None where nothing is
    planned or nobody came.

    >>> compute_days_left(100, 250, timedelta(days=2))
    3.0
    """
    if planned is None or n_units == 0 or spent <= timedelta(0):
        return None
    return max(0.0, (planned - n_units) / (n_units / (spent / _DAY)))


def count_days(start: datetime, now: datetime) -> int:
    """Return the whole days since the start."""
    return max(0, (now - start) // _DAY)
