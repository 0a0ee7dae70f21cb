"""Price tests in words: names, states, next steps, prices and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from nicegui import ui

from experiments.designs.portfolio import NO_BUDGET, NO_DECISION, TOO_DEAR, TOO_LITTLE
from experiments.designs.price_test import PriceTest
from experiments.designs.requested_tests import NEW_PRICE_FORBIDDEN, NOT_EVERYWHERE, TOO_MANY
from experiments.designs.tested_units import NO_FORECAST, NO_ROOM, SELLS_OUT
from features.prices.stored_tests import RUNNING, StoredTest
from serving.catalogue.service import CatalogueItem
from serving.console.parts import show_badge
from serving.console.visit import Visit
from serving.price_desk.price_test_batches import NextStep

SCOPE = "pricing.propose"
OVER = "over"  # a state that only pages know: a running test whose last week has passed
_Z95 = 1.96
_TONES = {"running": "better", OVER: "warn", "planned": "warn", "cancelled": ""}
_NAMED = 2  # items in the name of a test
_REASONS = {
    NO_BUDGET: "no_budget",
    NO_DECISION: "no_decision",
    TOO_LITTLE: "too_little",
    TOO_DEAR: "too_dear",
    NO_ROOM: "no_room",
    NO_FORECAST: "no_forecast",
    SELLS_OUT: "sells_out",
    NOT_EVERYWHERE: "not_everywhere",
    TOO_MANY: "too_many",
    NEW_PRICE_FORBIDDEN: "forbidden",
}


def find_state(stored: StoredTest, now: datetime) -> str:
    """Return the state as a page names it."""
    is_over = stored.ends_at is not None and stored.ends_at <= now
    return OVER if stored.state == RUNNING and is_over else stored.state


def show_state(visit: Visit, state: str) -> ui.label:
    """Show the state of a test."""
    return show_badge(visit.texts.get(f"tests.state_{state}"), _TONES.get(state, ""))


def list_items(stored: StoredTest) -> list[str]:
    """Return the items of a test, unit by unit; none of a plan without a test."""
    document = stored.document.get("test")
    return [] if document is None else PriceTest.from_document(document).item_ids


def name_test(visit: Visit, item_ids: list[str], names: Mapping[str, CatalogueItem]) -> str:
    """Return the name of a test: its first items, and how many more there are."""
    shown = ", ".join(names[item_id].name for item_id in item_ids[:_NAMED])
    n_more = len(item_ids) - _NAMED
    if n_more <= 0:
        return shown
    return visit.texts.get("tests.and_more", n=n_more, names=shown)


def write_period(visit: Visit, test: PriceTest, number: int) -> str:
    """Return the name of a period, counted from 0; the one after the last is the end, of a roll-out
    what is left of its last step."""
    texts, n_periods = visit.texts, test.periods.n_periods
    if number >= n_periods:
        return texts.get("tests.rest" if test.keeps_prices else "tests.end")
    return texts.get("tests.period", number=str(number + 1), n_periods=str(n_periods))


def write_step(visit: Visit, test: PriceTest, step: NextStep | None) -> str:
    """Return what is to be done next, and when: File period 2 of 2, it begins on 12 Feb."""
    texts = visit.texts
    if step is None:
        return "–"
    if step.action == "finish":
        key = "tests.step_finish" if step.is_due else "tests.step_wait"
        return texts.get(key, day=texts.day(step.at))
    period = write_period(visit, test, step.period)
    return texts.get("tests.step_file", period=period, day=texts.day(step.at))


def name_reason(visit: Visit, reason: str) -> str:
    """Return why a unit is not tested, in the language of the page where it is known there; after a
    colon stand the rules that a price breaks."""
    known, colon, rules = reason.partition(": ")
    key = _REASONS.get(known)
    return reason if key is None else visit.texts.get(f"tests.reason_{key}") + colon + rules


def find_margin(estimate: Mapping[str, float | None]) -> float | None:
    """Return half of the width of the 95 % interval of an estimate, None without an error; older
    results do not say it."""
    if "margin" in estimate:
        return estimate["margin"]
    error = estimate["error"]
    return None if error is None else _Z95 * error


def write_estimate(visit: Visit, estimate: Mapping[str, float | None]) -> str:
    """Return an elasticity with its 95 % interval; without an error alone."""
    texts, slope, margin = visit.texts, estimate["slope"], find_margin(estimate)
    if slope is None:
        return texts.get("tests.unknown")
    if margin is None:
        return write_decimal(visit, slope)
    low, high = slope - margin, slope + margin
    return (
        f"{write_decimal(visit, slope)} ({write_decimal(visit, low)} … "
        f"{write_decimal(visit, high)})"
    )


def write_decimal(visit: Visit, value: float) -> str:
    """Return a number with two digits after the point."""
    sign = "−" if round(value, 2) < 0 else ""
    return sign + visit.texts.number(abs(value), 2, fixed=True)
