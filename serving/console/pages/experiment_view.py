"""The page of one experiment: its state, its results, its definition, and what can be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nicegui import ui

from experiments.definition import Experiment
from serving.console.frame import Page
from serving.console.log_parts import name_author
from serving.console.pages.experiment_dialogs import ExperimentDialogs
from serving.console.pages.experiment_results import show_course, show_results
from serving.console.pages.experiment_words import (
    name_metric,
    show_status,
    write_changes,
    write_placements,
    write_split,
    write_targeting,
    write_value,
)
from serving.console.pages.rules import write_differences
from serving.console.parts import Column, show_heading, show_notice, show_table
from serving.console.section import Section
from serving.console.visit import Visit
from serving.experiments.report_cache import ReportCache
from serving.experiments.repository import ExperimentState
from serving.versioned_rules import RuleChange


@dataclass(frozen=True)
class _Shown:
    """An experiment with its state and its versions, oldest first."""

    experiment: Experiment
    state: ExperimentState
    changes: Sequence[RuleChange]


class ExperimentPage:
    """The page as one person has it open."""

    def __init__(self, page: Page, key: str, reports: ReportCache) -> None:
        self._page, self._visit, self._key, self._reports = page, page.visit, key, reports
        self._visit.path = f"/experiments/{key}"
        self._experiments = page.visit.server.experiments
        self._dialogs = ExperimentDialogs(page.visit, key, self._refresh)

    def build(self) -> None:
        """Build state and definition, and below them the results, which take longer to read."""
        self._section = Section(self._visit, self._read, self._show)

    async def _refresh(self) -> None:
        await self._section.refresh()

    def _read(self) -> _Shown:
        self._experiments.refresh()
        experiment = self._experiments.get(self._key)
        default = ExperimentState(experiment.status, stopped_at=experiment.stopped_at)
        state = self._experiments.states.get(self._key, default)
        return _Shown(experiment, state, self._experiments.definitions.list_versions(self._key))

    def _show(self, shown: _Shown) -> None:
        visit, texts, experiment = self._visit, self._visit.texts, shown.experiment
        title = f"experiments.title_{experiment.status}"
        self._page.set_title(texts.get(title, name=self._key))
        self._page.actions.clear()
        with self._page.actions:
            self._dialogs.build(experiment)
        ui.label(experiment.hypothesis).classes("reason")
        self._show_state(shown)
        if shown.state.decision is not None:
            show_decision(visit, experiment, shown.state.decision)
        if experiment.status == "draft":
            show_notice(texts.get("experiments.draft_hint"))
        else:
            self._add_results(experiment)
        show_heading(texts.get("experiments.definition"))
        show_definition(visit, experiment)
        show_heading(texts.get("experiments.versions"))
        show_experiment_versions(visit, shown.changes)

    def _show_state(self, shown: _Shown) -> None:
        texts, state = self._visit.texts, shown.state
        parts = []
        if state.started_at is not None:
            parts.append(texts.get("experiments.started", at=texts.time(state.started_at)))
        if state.stopped_at is not None:
            parts.append(texts.get("experiments.stopped", at=texts.time(state.stopped_at)))
        if state.stop_reason:
            parts.append(f"{texts.get('frame.reason')}: {state.stop_reason}")
        if shown.experiment.running:
            coverage = shown.experiment.coverage_at(self._experiments.now())
            parts.append(texts.get("experiments.takes_part", share=texts.share(coverage, 0)))
        with ui.element("div").classes("effect-line"):
            show_status(self._visit, shown.experiment.status)
            ui.label(" · ".join(parts)).classes("muted")

    def _add_results(self, experiment: Experiment) -> None:
        visit = self._visit
        Section(
            visit,
            lambda: self._reports.read(self._key),
            lambda report: show_results(visit, experiment, report, self._experiments.currency),
        )
        if experiment.analysis == "always_valid":
            Section(
                visit,
                lambda: self._reports.read_course(self._key),
                lambda course: show_course(visit, experiment, course),
            )


def show_decision(visit: Visit, experiment: Experiment, decision: Mapping[str, object]) -> None:
    """Show what was decided, by whom, and what was shipped."""
    texts = visit.texts
    metric = str(decision.get("metric", experiment.primary_metric))
    at = decision.get("decided_at")
    facts = {
        "decided_variant": str(decision.get("variant")),
        "decided_verdict": str(decision.get("verdict")),
        "decided_effect": _write_effect(visit, decision, metric),
        "decided_shipped": str(decision.get("shipped") or texts.get("experiments.shipped_nothing")),
        "decided_comment": str(decision.get("comment") or "–"),
        "decided_by": str(decision.get("decided_by")),
        "decided_at": texts.time(datetime.fromisoformat(str(at))) if at else "–",
    }
    with ui.element("section").classes("card decision"):
        show_heading(texts.get("experiments.decision"))
        show_facts({texts.get(f"experiments.{name}"): text for name, text in facts.items()})


def _write_effect(visit: Visit, decision: Mapping[str, object], metric: str) -> str:
    """Return the difference of the primary metric, in points where it is a share."""
    values = [decision.get(name) for name in ("effect", "low", "high")]
    known = [value for value in values if isinstance(value, int | float)]
    if len(known) < len(values):
        return visit.texts.get("experiments.not_known")
    experiments = visit.server.experiments
    quantity, currency = experiments.metrics[metric].quantity, experiments.currency
    value, low, high = (write_value(visit, one, quantity, currency, signed=True) for one in known)
    return f"{name_metric(visit, metric)} {value} ({low} … {high})"


def show_definition(visit: Visit, experiment: Experiment) -> None:
    """Show a definition as a list of facts, and what each variant changes."""
    texts = visit.texts
    guardrails = [
        f"{name_metric(visit, rail.metric)} ({texts.share(rail.margin, 0)})"
        for rail in experiment.guardrails
    ]
    facts = {
        "placements": write_placements(visit, experiment),
        "unit": texts.get(f"experiments.unit_{experiment.unit}"),
        "split": write_split(visit, experiment),
        "coverage": _write_coverage(visit, experiment),
        "targeting": write_targeting(visit, experiment),
        "primary": name_metric(visit, experiment.primary_metric),
        "secondary": ", ".join(name_metric(visit, name) for name in experiment.secondary_metrics),
        "guardrails": ", ".join(guardrails),
        "analysis": texts.get(f"experiments.analysis_{experiment.analysis}", n=experiment.looks),
        "attribution": texts.get("experiments.days", n=round(experiment.attribution_days)),
    }
    if experiment.minimum_effect is not None:
        facts["minimum_effect"] = texts.share(experiment.minimum_effect)
    if experiment.planned_units is not None:
        facts["planned_units"] = texts.number(experiment.planned_units)
    if experiment.allocation != "fixed":
        facts["allocation"] = texts.get(f"experiments.allocation_{experiment.allocation}")
        if experiment.allocation == "thompson":
            facts["floor"] = texts.share(experiment.floor, 0)
    if experiment.segments:
        facts["segments"] = ", ".join(
            texts.get(f"experiments.cut_{name}") for name in experiment.segments
        )
    if experiment.layer is not None:
        layer = experiment.layer
        facts["layer"] = f"{layer.name}: {texts.share(layer.start, 0)}–{texts.share(layer.end, 0)}"
    if experiment.non_inferiority is not None:
        stated = experiment.non_inferiority
        facts["non_inferiority"] = texts.get(
            "experiments.loses_less",
            metric=name_metric(visit, stated.metric),
            margin=texts.share(stated.margin),
        )
    show_facts({texts.get(f"experiments.{name}"): text or "–" for name, text in facts.items()})
    columns = [
        Column(texts.get("experiments.variant"), lambda variant: variant.name),
        Column(
            texts.get("experiments.share"),
            lambda variant: texts.share(variant.weight, 0),
            is_number=True,
        ),
        Column(
            texts.get("experiments.role"),
            lambda variant: (
                texts.get("experiments.control")
                if variant.name == experiment.control
                else texts.get("experiments.treatment")
            ),
        ),
        Column(texts.get("experiments.changes"), lambda variant: write_changes(visit, variant)),
    ]
    show_table(experiment.variants, columns, caption=texts.get("experiments.variants"))


def _write_coverage(visit: Visit, experiment: Experiment) -> str:
    texts = visit.texts
    steps = [texts.share(experiment.coverage, 0)]
    steps += [
        texts.get(
            "experiments.ramp_step", share=texts.share(step.coverage, 0), at=texts.time(step.at)
        )
        for step in experiment.ramp
    ]
    return ", ".join(steps)


def show_facts(facts: Mapping[str, str]) -> None:
    """Show names with their values, one below the other."""
    with ui.element("dl").classes("facts"):
        for name, value in facts.items():
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)


def show_experiment_versions(visit: Visit, changes: Sequence[RuleChange]) -> None:
    """Show the versions of a definition, the newest first."""
    texts = visit.texts
    if not changes:
        ui.label(texts.get("experiments.no_versions")).classes("muted")
        return

    def show_change(change: RuleChange) -> None:
        is_first = all(one.before is None for one in change.differences)
        text = texts.get("experiments.first_version")
        if not is_first:
            text = write_differences(change.differences)
        ui.label(text).classes("wrap")

    columns = [
        Column(texts.get("rules.number"), lambda change: str(change.version.number)),
        Column(texts.get("rules.at"), lambda change: texts.time(change.version.created_at)),
        Column(texts.get("rules.author"), lambda change: name_author(texts, change.version.author)),
        Column(texts.get("rules.comment"), lambda change: change.version.comment or "–"),
        Column(texts.get("rules.changed"), show_change),
    ]
    show_table(list(reversed(changes)), columns, caption=texts.get("experiments.versions"))
