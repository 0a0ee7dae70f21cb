"""The result of a price test: elasticities with their intervals, beside what was known before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nicegui import ui

from features.contracts.pricing import PriceTestDesign
from features.prices.stored_tests import Json, StoredTest
from serving.catalogue.service import CatalogueItem
from serving.console.forest_plot import ForestRow, show_forest
from serving.console.pages.price_test_words import find_margin, write_estimate
from serving.console.parts import Column, show_heading, show_notice, show_table
from serving.console.visit import Visit

_MOST_SHOWN = 12  # items in the chart; the table has all


@dataclass(frozen=True)
class _MeasuredRow:
    """What a test measured of an item, what was known before, and what the price model says now."""

    name: str
    measured: Json
    before: Json
    now: Json


def show_result(
    visit: Visit,
    stored: StoredTest,
    names: Mapping[str, CatalogueItem],
    evidence: Json | None,
) -> None:
    """Show what a test measured, and what that changed in what is known of its items."""
    texts, result = visit.texts, stored.document["result"]
    show_heading(texts.get("tests.result"))
    common = result["common"]
    ui.label(texts.get("tests.result_common", slope=write_estimate(visit, common))).classes(
        "reason"
    )
    chance = texts.share(result["p_value"])
    ui.label(texts.get("tests.result_chance", share=chance)).classes("muted")
    if common["slope"] is not None and find_margin(common) is None:
        show_notice(texts.get("tests.no_error"))
    rows = _list_rows(stored, names, evidence)
    _show_chart(visit, result, rows)
    if stored.design is PriceTestDesign.CROSSOVER:
        _show_evidence(visit, result, rows, evidence)
    else:
        show_notice(texts.get("tests.moved_together"))
    if stored.keeps_prices:
        show_notice(texts.get("tests.prices_stay"))
    _show_checks(visit, stored)


def _show_evidence(
    visit: Visit, result: Json, rows: list[_MeasuredRow], evidence: Json | None
) -> None:
    """Show what was measured of single items, and whether the price model knows it yet."""
    texts = visit.texts
    before = result.get("before") or {"version": None}
    version = None if evidence is None else evidence["version"]
    is_trained = version != before["version"]
    _show_items(visit, rows, is_trained=is_trained)
    if is_trained:
        ui.label(texts.get("tests.evidence_now", version=str(version))).classes("muted")
    else:
        show_notice(texts.get("tests.evidence_next"))


def _list_rows(
    stored: StoredTest,
    names: Mapping[str, CatalogueItem],
    evidence: Json | None,
) -> list[_MeasuredRow]:
    result = stored.document["result"]
    known_before = _index_items(stored, result.get("before"))
    known_now = _index_items(stored, evidence)
    has_zones = len(stored.zones) > 1
    rows = []
    for measured in result["items"]:
        key = item_id, zone = stored.find_key(measured)
        name = names[item_id].name if item_id in names else item_id
        if has_zones:
            name = f"{name} · {zone}"
        before, now = known_before.get(key, {}), known_now.get(key, {})
        rows.append(_MeasuredRow(name, measured, before, now))
    return rows


def _index_items(stored: StoredTest, evidence: Json | None) -> dict[tuple[str, str], Json]:
    return {} if evidence is None else {stored.find_key(item): item for item in evidence["items"]}


def _show_chart(visit: Visit, result: Json, rows: list[_MeasuredRow]) -> None:
    """Show the elasticities with their 95 % intervals, that of all items together first."""
    texts = visit.texts
    measured = [(texts.get("tests.all_items"), result["common"])]
    measured += [(row.name, row.measured) for row in rows[:_MOST_SHOWN]]
    shown = [
        ForestRow(name, value["slope"], value["slope"] - margin, value["slope"] + margin)
        for name, value in measured
        if value["slope"] is not None and (margin := find_margin(value)) is not None
    ]
    if shown:
        show_forest(texts.get("tests.chart"), shown, unit="")


def _show_items(visit: Visit, rows: list[_MeasuredRow], *, is_trained: bool) -> None:
    texts = visit.texts

    def write_known(known: Json) -> str:
        if known.get("slope") is None:
            return texts.get("tests.unknown")
        return f"{write_estimate(visit, known)} · {known['grade']}"

    columns = [
        Column(texts.get("queue.column_title"), lambda row: row.name),
        Column(
            texts.get("tests.known_before"),
            lambda row: write_known(row.before),
            is_number=True,
            hint=texts.get("tests.known_hint"),
        ),
        Column(
            texts.get("tests.measured"),
            lambda row: write_estimate(visit, row.measured),
            is_number=True,
            hint=texts.get("tests.measured_hint"),
        ),
    ]
    if is_trained:
        columns.append(
            Column(
                texts.get("tests.known_now"),
                lambda row: write_known(row.now),
                is_number=True,
                hint=texts.get("tests.known_hint"),
            )
        )
    show_table(rows, columns, caption=texts.get("tests.result"))


def _show_checks(visit: Visit, stored: StoredTest) -> None:
    """Show whether the test can be believed: what came later, and what other items did."""
    texts, result = visit.texts, stored.document["result"]
    all_weeks = result.get("all_weeks") or {"slope": None, "error": None}
    rows = [
        (texts.get("tests.all_weeks"), write_estimate(visit, all_weeks)),
        (texts.get("tests.carry_over"), _write_carry_over(visit, stored)),
        (
            texts.get("tests.interference"),
            texts.get("tests.no_others")
            if result["interference"] is None
            else _write_check(visit, result["interference"]),
        ),
        (texts.get("tests.left_out"), texts.number(result["n_weeks_left_out"])),
    ]
    show_heading(texts.get("tests.checks"), 3)
    show_table(
        rows,
        [
            Column(texts.get("tests.check"), lambda row: row[0]),
            Column(texts.get("tests.outcome"), lambda row: row[1]),
        ],
        caption=texts.get("tests.checks"),
    )


def _write_carry_over(visit: Visit, stored: StoredTest) -> str:
    texts, carry_over = visit.texts, stored.document["result"]["carry_over"]
    if carry_over is not None:
        return _write_check(visit, carry_over)
    has_two = stored.document["test"]["periods"]["n_periods"] == 2
    return texts.get("tests.not_with_two" if has_two else "tests.not_measurable")


def _write_check(visit: Visit, estimate: Mapping[str, float | None]) -> str:
    """Return an estimate with its interval, and whether that holds 0."""
    text, slope, margin = write_estimate(visit, estimate), estimate["slope"], find_margin(estimate)
    if slope is None or margin is None:
        return text
    key = "tests.near_zero" if abs(slope) <= margin else "tests.not_zero"
    return f"{text} · {visit.texts.get(key)}"
