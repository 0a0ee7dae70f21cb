"""The results of an experiment: verdict, split, metrics, guardrails, segments, and days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nicegui import ui

from experiments.definition import Experiment
from serving.console.charts import ACCENT, BETTER, MUTED, SECOND, WORSE, Series, show_chart
from serving.console.forest_plot import ForestRow, show_forest
from serving.console.pages.experiment_words import (
    find_direction,
    name_metric,
    write_difference,
    write_direction,
    write_mean,
    write_p_value,
    write_relative,
    write_verdict,
)
from serving.console.parts import (
    Column,
    show_badge,
    show_heading,
    show_measure,
    show_notice,
    show_table,
)
from serving.console.visit import Visit

if TYPE_CHECKING:
    from experiments.analysis.comparisons import GuardrailResult, MetricResult
    from experiments.analysis.report import ExperimentReport, SegmentResult, VariantResult

_FLAW = 0.001  # p-values below it speak against the split, see experiments.analysis.verdict
_COLOURS = (ACCENT, SECOND, BETTER, WORSE, MUTED)


@dataclass(frozen=True)
class _MetricRow:
    """A metric of a variant, beside the control's."""

    name: str
    variant: str
    result: MetricResult
    control: MetricResult


def show_results(
    visit: Visit, experiment: Experiment, report: ExperimentReport, currency: str
) -> None:
    """Show the results of an experiment."""
    texts = visit.texts
    show_heading(texts.get("experiments.results"))
    with ui.element("div").classes("card verdict-card"):
        ui.label(write_verdict(visit, report.verdict)).classes("verdict-text")
        until = texts.time(report.counted_until)
        ui.label(texts.get("experiments.counted_until", at=until)).classes("muted")
        for line in _list_evidence(visit, report):
            ui.label(line)
    if report.other_currency:
        zones = ", ".join(report.other_currency)
        show_notice(texts.get("experiments.other_currency", zones=zones))
    _show_split(visit, experiment, report)
    _show_metrics(visit, experiment, report, currency)
    if report.guardrails:
        _show_guardrails(visit, report)
    if report.segments:
        _show_segments(visit, report)
    if report.days:
        _show_days(visit, report)


def _list_evidence(visit: Visit, report: ExperimentReport) -> list[str]:
    """Return what is known of a stated margin, and of the preference between two rankers."""
    texts, lines = visit.texts, []
    stated, preference = report.non_inferiority, report.preference
    for result in report.non_inferiority_results:
        if stated is not None and result.test is not None:
            line = texts.get(
                "experiments.margin_line",
                variant=result.variant,
                metric=name_metric(visit, stated.metric),
                change=texts.share(result.test.change, signed=True),
                low=texts.share(result.test.low, signed=True),
                margin=texts.share(stated.margin),
            )
            lines.append(line)
    if preference is not None:
        lead, low, high = (
            texts.share(one, signed=True)
            for one in (preference.lead, preference.low, preference.high)
        )
        line = texts.get(
            "experiments.preference", lead=lead, low=low, high=high, n=preference.n_units
        )
        lines.append(line)
    return lines


def _show_split(visit: Visit, experiment: Experiment, report: ExperimentReport) -> None:
    texts = visit.texts
    show_heading(texts.get("experiments.split"))
    for name, p_value in (
        ("sample_ratio", report.sample_ratio_p_value),
        ("imbalance", report.imbalance_p_value),
    ):
        if p_value is not None and p_value < _FLAW:
            with ui.element("div").classes("problem").props("role=alert"):
                ui.label(texts.get(f"experiments.{name}_broken")).classes("problem-title")
                ui.label(texts.get(f"experiments.about_{name}"))
    with ui.element("div").classes("strip"):
        for name, p_value in (
            ("sample_ratio", report.sample_ratio_p_value),
            ("imbalance", report.imbalance_p_value),
        ):
            is_broken = p_value is not None and p_value < _FLAW
            note = "experiments.p_broken" if is_broken else "experiments.p_fine"
            show_measure(
                texts.get(f"experiments.{name}"),
                f"p {write_p_value(p_value)}" if p_value is not None else "–",
                texts.get("experiments.not_known" if p_value is None else note),
                tone="worse" if is_broken else "",
            )
        explained = texts.share(report.explained_share, 0)
        show_measure(
            texts.get("experiments.explained"), explained, texts.get("experiments.about_explained")
        )
        show_measure(
            texts.get("experiments.mixed"),
            texts.number(report.n_mixed),
            texts.get("experiments.about_mixed"),
        )
    total = sum(variant.n for variant in report.variants)

    def write_share(variant: VariantResult) -> str:
        return texts.share(variant.n / total) if total else "–"

    def write_expected(variant: VariantResult) -> str:
        return texts.share(experiment.variant(variant.name).weight)

    columns = [
        Column(texts.get("experiments.variant"), lambda one: one.name),
        Column(texts.get("experiments.units"), lambda one: texts.number(one.n), is_number=True),
        Column(texts.get("experiments.new_units"), lambda one: texts.number(one.n_new), True),
        Column(texts.get("experiments.share"), write_share, is_number=True),
        Column(texts.get("experiments.expected_share"), write_expected, is_number=True),
    ]
    show_table(report.variants, columns, caption=texts.get("experiments.split"))


def _list_rows(experiment: Experiment, report: ExperimentReport) -> list[_MetricRow]:
    """Return the metrics of the definition, then the others of the report, by variant."""
    control = next(one for one in report.variants if one.name == report.control)
    names = dict.fromkeys((*experiment.metrics, *control.metrics))
    return [
        _MetricRow(name, variant.name, variant.metrics[name], control.metrics[name])
        for name in names
        for variant in report.variants
        if variant.name != report.control and name in variant.metrics
    ]


def _show_metrics(
    visit: Visit, experiment: Experiment, report: ExperimentReport, currency: str
) -> None:
    texts, rows = visit.texts, _list_rows(experiment, report)
    show_heading(texts.get("experiments.metrics"))
    ui.label(texts.get(f"experiments.interval_{report.analysis}", n=experiment.looks)).classes(
        "muted"
    )
    is_several = len(report.variants) > 2
    drawn = [
        ForestRow(
            name=f"{name_metric(visit, row.name)} · {row.variant}"
            if is_several
            else name_metric(visit, row.name),
            value=100 * row.result.relative.value,
            low=100 * row.result.relative.low,
            high=100 * row.result.relative.high,
            direction=find_direction(row.result),
        )
        for row in rows
        if row.result.relative is not None
    ]
    if drawn:
        name = texts.get("experiments.forest", control=report.control)
        ui.label(name).classes("muted")
        show_forest(name, drawn)
    columns = [
        Column(texts.get("experiments.metric"), lambda row: _show_metric_name(visit, report, row)),
        Column(
            texts.get("experiments.of_control"),
            lambda row: write_mean(visit, row.control, currency),
            is_number=True,
        ),
        Column(
            texts.get("experiments.of_variant"),
            lambda row: write_mean(visit, row.result, currency),
            is_number=True,
        ),
        Column(
            texts.get("experiments.difference"),
            lambda row: write_difference(visit, row.result, currency),
            is_number=True,
        ),
        Column(
            texts.get("experiments.p_value"),
            lambda row: _write_p_values(row.result),
            is_number=True,
            hint=texts.get("experiments.about_p_value"),
        ),
        Column(
            texts.get("experiments.finding"),
            lambda row: (
                "–"
                if row.result.difference is None
                else write_direction(visit, find_direction(row.result))
            ),
        ),
    ]
    if is_several:
        columns.insert(1, Column(texts.get("experiments.variant"), lambda row: row.variant))
    show_table(rows, columns, caption=texts.get("experiments.metrics"))


def _show_metric_name(visit: Visit, report: ExperimentReport, row: _MetricRow) -> None:
    with ui.element("div").classes("badges"):
        ui.label(name_metric(visit, row.name))
        if row.name == report.primary_metric:
            show_badge(visit.texts.get("experiments.primary"))


def _write_p_values(result: MetricResult) -> str:
    if result.difference is None:
        return "–"
    if result.p_adjusted is None:
        return write_p_value(result.difference.p_value)
    return write_p_value(result.p_adjusted)


def _show_guardrails(visit: Visit, report: ExperimentReport) -> None:
    texts = visit.texts

    def show_known(rail: GuardrailResult) -> None:
        if rail.evidence is None:
            ui.label(texts.get("experiments.too_few_units"))
        elif rail.evidence.must_stop:
            show_badge(f"▼ {texts.get('experiments.beyond_margin')}", "worse")
        else:
            ui.label(texts.get("experiments.within_margin"))

    def write_harm(rail: GuardrailResult) -> str:
        harm = None if rail.evidence is None else rail.evidence.least_harm
        return texts.share(harm, signed=True)

    columns = [
        Column(texts.get("experiments.metric"), lambda one: name_metric(visit, one.metric)),
        Column(texts.get("experiments.variant"), lambda one: one.variant),
        Column(texts.get("experiments.margin"), lambda one: texts.share(one.margin), True),
        Column(
            texts.get("experiments.change"),
            lambda one: texts.share(one.evidence and one.evidence.change, signed=True),
            is_number=True,
        ),
        Column(
            texts.get("experiments.bound"),
            write_harm,
            is_number=True,
            hint=texts.get("experiments.about_bound"),
        ),
        Column(texts.get("experiments.known"), show_known),
    ]
    show_heading(texts.get("experiments.guardrails"))
    show_table(report.guardrails, columns, caption=texts.get("experiments.guardrails"))


def _show_segments(visit: Visit, report: ExperimentReport) -> None:
    texts = visit.texts
    rows = [
        (part, variant.name)
        for part in report.segments
        for variant in report.variants
        if variant.name != report.control
    ]

    def write_segment(row: tuple[SegmentResult, str]) -> str:
        part, _ = row
        if part.segment == "visitor":
            return texts.get(f"experiments.segment_{part.value}")
        return texts.get("experiments.segment_zone", zone=part.value or "–")

    columns = [
        Column(texts.get("experiments.segment"), write_segment),
        Column(texts.get("experiments.variant"), lambda row: row[1]),
        Column(
            texts.get("experiments.units"), lambda row: texts.number(sum(row[0].n.values())), True
        ),
        Column(
            texts.get("experiments.difference"),
            lambda row: write_relative(visit, row[0].metrics[row[1]].relative),
            is_number=True,
        ),
    ]
    show_heading(texts.get("experiments.segments"))
    ui.label(
        texts.get("experiments.about_segments", metric=name_metric(visit, report.primary_metric))
    ).classes("muted")
    show_table(rows, columns, caption=texts.get("experiments.segments"))


def _show_days(visit: Visit, report: ExperimentReport) -> None:
    texts = visit.texts
    show_heading(texts.get("experiments.by_day"))
    labels = [_write_day(visit, one.day) for one in report.days]
    series = []
    for place, variant in enumerate(report.variants):
        counts = [one.n[variant.name] for one in report.days]
        before = [0, *counts[:-1]]
        came = [float(now - then) for now, then in zip(counts, before, strict=True)]
        colour = _COLOURS[place % len(_COLOURS)]
        series.append(Series(variant.name, came, kind="bar", color=colour))
    show_chart(visit, texts.get("experiments.by_day"), labels, series, height=220, digits=0)


def show_course(visit: Visit, experiment: Experiment, course: Sequence[ExperimentReport]) -> None:
    """Show the difference of the primary metric over time, with the band that holds always."""
    texts = visit.texts
    show_heading(texts.get("experiments.course"))
    ui.label(texts.get("experiments.about_course")).classes("muted")
    labels = [_write_instant(visit, report) for report in course]
    for variant in experiment.variants:
        if variant.name == experiment.control:
            continue
        values: list[float | None] = []
        low: list[float | None] = []
        high: list[float | None] = []
        for report in course:
            result = next(one for one in report.variants if one.name == variant.name)
            relative = result.metrics[experiment.primary_metric].relative
            values.append(None if relative is None else round(100 * relative.value, 3))
            low.append(None if relative is None else round(100 * relative.low, 3))
            high.append(None if relative is None else round(100 * relative.high, 3))
        if all(value is None for value in values):
            ui.label(texts.get("experiments.not_known")).classes("muted")
            continue
        metric = name_metric(visit, experiment.primary_metric)
        name = texts.get("experiments.course_of", metric=metric, variant=variant.name)
        show_chart(visit, name, labels, [Series(name, values, band=(low, high))], height=260)


def _write_day(visit: Visit, day: str) -> str:
    return visit.texts.day(datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC))


def _write_instant(visit: Visit, report: ExperimentReport) -> str:
    """Return the day that ends, or that goes on, at the instant of a report."""
    return visit.texts.day(report.counted_until - timedelta(seconds=1))
