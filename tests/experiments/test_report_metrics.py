"""Metrics of a report beyond conversion and revenue, on shops small enough to compute by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pytest

from configs.settings import Settings
from experiments.analysis.report import ExperimentReport, ReportInputs, build_report
from experiments.definition import Experiment, Guardrail, Variant
from experiments.metrics import Measure, Metric, load_metrics
from features.contracts.tables import EVENTS
from features.facts.exposures import SCHEMA
from features.facts.slates import ANSWERS

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
END = NOON + timedelta(days=20)
SHIPPED = load_metrics(Settings(home=Path("unused")))
TRIAL = Experiment(
    "trial",
    ("home",),
    (Variant("old", 0.5), Variant("new", 0.5)),
    "old",
    "trial",
    "the new one sells more",
    status="stopped",
    stopped_at=NOON + timedelta(days=5),
)


def event(user: str, kind: str = "purchase", hours: float = 1, **values: Any) -> dict[str, Any]:
    at = NOON + timedelta(hours=hours)
    defaults = {"item_id": "tea", "zone": "default", "quantity": 1.0, "line_amount_minor": 0}
    return defaults | {"event_type": kind, "occurred_at": at, "user_id": user} | values


def answer(unit: str, number: int, **values: Any) -> dict[str, Any]:
    defaults = {"placement": "home", "zone": "default", "latency_ms": 5.0, "degraded": 0}
    shown = {"fallback": 0, "n_items": 1, "item_id": ["tea"]}
    return defaults | shown | {"unit_id": unit, "recommendation_id": f"r{number}"} | values


def run(
    units: dict[str, str],
    events: list[dict[str, Any]],
    experiment: Experiment = TRIAL,
    answers: list[dict[str, Any]] | None = None,
    metrics: dict[str, Metric] = SHIPPED,
    later: tuple[str, ...] = (),
    **inputs: Any,
) -> ExperimentReport:
    """Return the report; units of `later` were exposed half an hour after the others."""
    rows = [
        {field.name: row.get(field.name) for field in EVENTS.arrow} | {"event_id": str(number)}
        for number, row in enumerate(events)
    ]
    exposures = [
        {
            "unit_id": unit,
            "variant": variant,
            "exposed_at": NOON + timedelta(minutes=30 * (unit in later)),
            "n_exposures": 1,
        }
        for unit, variant in units.items()
    ]
    given = ReportInputs(
        exposures=pa.Table.from_pylist(exposures, SCHEMA),
        events=ibis.memtable(pa.Table.from_pylist(rows, EVENTS.arrow)),
        answers=pa.Table.from_pylist(answers or [], ANSWERS),
        **inputs,
    )
    return build_report(experiment, given, metrics, as_of=END)


UNITS = {"a": "old", "b": "old", "c": "new", "d": "new"}


def means(report: ExperimentReport, metric: str) -> list[float | None]:
    return [variant.metrics[metric].mean for variant in report.variants]


def test_ratios_divide_sums_and_not_means_of_units() -> None:
    experiment = replace(TRIAL, secondary_metrics=("average_order_value", "items_per_order"))
    events = [
        event("a", line_amount_minor=100, order_id="1"),
        event("a", line_amount_minor=200, order_id="1"),
        event("b", line_amount_minor=600, order_id="2"),
        event("b", line_amount_minor=300, order_id="3"),
        event("c", line_amount_minor=500, order_id="4"),
    ]
    report = run(UNITS, events, experiment)
    assert means(report, "average_order_value") == [(100 + 200 + 600 + 300) / 3, 500]
    assert means(report, "items_per_order") == [pytest.approx(4 / 3), 1]


def test_margin_subtracts_the_unit_costs_of_the_catalogue() -> None:
    costs = ibis.memtable({"item_id": ["tea"], "unit_cost_minor": [30.0]})
    events = [
        event("a", line_amount_minor=100, quantity=2.0),
        event("b", line_amount_minor=500, item_id="gold"),  # of no known cost: no margin
    ]
    experiment = replace(TRIAL, secondary_metrics=("margin_per_unit",))
    report = run(UNITS, events, experiment, costs=costs)
    assert means(report, "margin_per_unit") == [(100 - 2 * 30) / 2, 0]


def test_clicks_count_by_the_answer_that_they_name_and_once_each() -> None:
    experiment = replace(TRIAL, secondary_metrics=("click_through_rate", "answer_time"))
    answers = [answer("a", 1, latency_ms=9.0), answer("a", 2), answer("b", 3), answer("c", 4)]
    events = [
        event("a", "select_item", recommendation_id="r1"),
        event("a", "view_item", recommendation_id="r1"),
        event("b", "view_item", recommendation_id="another experiment"),
        event("b", "view_item"),
        event("c", "select_item", recommendation_id="r4"),
    ]
    report = run(UNITS, events, experiment, answers)
    assert means(report, "click_through_rate") == [pytest.approx(1 / 3), 1]
    assert means(report, "answer_time") == [pytest.approx((9 + 5 + 5) / 3), 5]


def test_coverage_is_the_share_of_the_catalogue_that_was_shown() -> None:
    experiment = replace(TRIAL, secondary_metrics=("catalogue_coverage",))
    answers = [answer("a", 1, item_id=["tea", "gold"]), answer("b", 2), answer("c", 3)]
    report = run(UNITS, [], experiment, answers, n_items=4)
    assert means(report, "catalogue_coverage") == [0.5, 0.25]
    assert report.variants[1].metrics["catalogue_coverage"].difference is None


def test_a_window_and_a_filter_leave_events_out() -> None:
    week = Metric(
        "Purchases on phones in a week",
        Measure(("purchase",), "count", where={"device": ("phone",)}),
        window_days=2,
    )
    phone = {"attributes": '{"device": "phone"}'}
    events = [
        event("a", hours=1, **phone),
        event("a", hours=47, **phone),
        event("a", hours=49, **phone),
        event("b", hours=1, attributes='{"device": "desktop"}'),
        event("b", hours=1),
    ]
    experiment = replace(TRIAL, primary_metric="week")
    report = run(UNITS, events, experiment, metrics=SHIPPED | {"week": week})
    assert means(report, "week") == [1, 0]


def test_what_units_bought_before_makes_the_error_smaller_and_moves_no_mean() -> None:
    """Units repeat what they spent before, plus a little noise: the past explains nearly all."""
    rng = np.random.default_rng(8)
    usual = rng.integers(1_000, 9_000, 400)
    units = {f"u{number}": ("old", "new")[number % 2] for number in range(400)}
    events = []
    for number, amount in enumerate(usual):
        noise = int(rng.integers(-50, 50))
        events.append(event(f"u{number}", hours=-24, line_amount_minor=int(amount)))
        events.append(event(f"u{number}", hours=24, line_amount_minor=int(amount) + noise))
    experiment = replace(TRIAL, primary_metric="revenue_per_unit")
    with_past = run(units, events, experiment)
    without = run(units, [one for one in events if one["occurred_at"] > NOON], experiment)
    assert means(with_past, "revenue_per_unit") == means(without, "revenue_per_unit")
    widths = []
    for report in (with_past, without):
        difference = report.variants[1].metrics["revenue_per_unit"].difference
        assert difference is not None
        widths.append(difference.high - difference.low)
    assert widths[0] < 0.05 * widths[1]
    assert with_past.explained_share > 0.99
    assert [variant.n_new for variant in with_past.variants] == [0, 0]
    assert [variant.n_new for variant in without.variants] == [200, 200]


def test_variants_that_differed_before_the_exposure_get_no_verdict() -> None:
    units = {f"u{number}": ("old", "new")[number % 2] for number in range(200)}
    events = [
        event(f"u{number}", hours=-24, line_amount_minor=100 + 300 * (number % 2) + number % 7)
        for number in range(200)
    ]
    report = run(units, events, replace(TRIAL, primary_metric="revenue_per_unit"))
    assert report.verdict.text == "no decision: the variants differed before the first exposure"


def test_a_guardrail_that_is_broken_says_stop_while_the_experiment_runs() -> None:
    units = {f"u{number}": ("old", "new")[number % 2] for number in range(2_000)}
    buyers = [number for number in range(2_000) if number % 2 == 0 or number % 5 == 1]
    events = [event(f"u{number}", line_amount_minor=100) for number in buyers if number % 3]
    experiment = replace(
        TRIAL,
        status="running",
        stopped_at=None,
        primary_metric="revenue_per_unit",
        guardrails=(Guardrail("purchase_conversion", 0.05),),
    )
    report = run(units, events, experiment)
    (rail,) = report.guardrails
    assert rail.evidence is not None
    assert rail.evidence.must_stop
    assert report.verdict.text.startswith("stop: new changes purchase_conversion by -")


def test_an_analysis_that_is_always_valid_decides_while_it_runs_and_a_fixed_one_does_not() -> None:
    units = {f"u{number}": ("old", "new")[number % 2] for number in range(4_000)}
    events = [event(f"u{number}") for number in range(4_000) if number % 2 or number % 10 == 0]
    running = replace(TRIAL, status="running", stopped_at=None, planned_units=4_000)
    assert run(units, events, running).verdict.text == "no decision: still running"
    watched = replace(running, analysis="always_valid")
    assert run(units, events, watched).verdict.text == "new beats old on purchase_conversion"
    looks = replace(running, analysis="group_sequential", looks=4)
    assert run(units, events, looks).verdict.text == "new beats old on purchase_conversion"
    early = replace(looks, planned_units=40_000)
    assert (
        run(units, events, early).verdict.text == "no decision: the first look is at 10,000 units"
    )


def test_between_two_looks_the_units_that_came_since_change_nothing() -> None:
    planned = replace(TRIAL, status="running", stopped_at=None, planned_units=4_000, looks=4)
    experiment = replace(planned, analysis="group_sequential")
    units = {f"u{number:04}": ("old", "new")[number % 2] for number in range(1_000)}
    events = [event(unit) for number, unit in enumerate(units) if number % 3 == 0]
    more = {f"z{number:04}": ("old", "new")[number % 2] for number in range(500)}
    late = [event(unit) for number, unit in enumerate(more) if number % 2]
    first = run(units, events, experiment)
    later = run(units | more, events + late, experiment, later=tuple(more))
    differences = [
        report.variants[1].metrics["purchase_conversion"].difference for report in (first, later)
    ]
    assert differences[0] is not None
    assert differences[0] == differences[1]
    assert later.variants[1].n == 750


def test_a_relative_difference_has_the_interval_of_the_analysis() -> None:
    units = {f"u{number}": ("old", "new")[number % 2] for number in range(4_000)}
    events = [event(f"u{number}") for number in range(4_000) if number % 2 or number % 10 == 0]
    running = replace(TRIAL, status="running", stopped_at=None, planned_units=4_000)
    once, always = (
        run(units, events, replace(running, analysis=analysis)).variants
        for analysis in ("fixed", "always_valid")
    )
    once, always = (next(one for one in arms if one.name == "new") for arms in (once, always))
    first, second = (one.metrics["purchase_conversion"].relative for one in (once, always))
    assert first is not None and second is not None
    assert second.value == first.value
    assert second.low < first.low and second.high > first.high


def test_segments_are_cut_by_zone_and_by_what_was_known_of_the_unit() -> None:
    experiment = replace(TRIAL, segments=("zone", "visitor"))
    answers = [answer("a", 1, zone="north"), answer("c", 2, zone="north"), answer("b", 3)]
    events = [event("a", hours=-5, kind="view_item"), event("c")]
    report = run(UNITS, events, experiment, answers)
    parts = {(part.segment, part.value): part.n for part in report.segments}
    assert parts[("zone", "north")] == {"old": 1, "new": 1}
    assert parts[("visitor", "known")] == {"old": 1, "new": 0}
    assert parts[("visitor", "new")] == {"old": 1, "new": 2}
