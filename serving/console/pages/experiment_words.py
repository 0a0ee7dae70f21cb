"""Experiments in words: states, metrics, variants, intervals, and how sure a difference is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from nicegui import ui

from experiments.definition import CHAMPION, EVERY_PLACEMENT, Experiment, Variant
from experiments.metrics import Quantity
from serving.console.forest_plot import Direction
from serving.console.pages.slate_rule_words import name_placement
from serving.console.parts import show_badge
from serving.console.visit import Visit

if TYPE_CHECKING:
    from experiments.analysis.comparisons import MetricResult
    from experiments.analysis.statistics import Difference
    from experiments.analysis.verdict import Verdict

_TONES = {"running": "better", "stopped": "warn"}
_SIGNS: dict[Direction, str] = {"better": "▲", "worse": "▼", "unclear": "●"}


def name_metric(visit: Visit, name: str) -> str:
    """Return the name of a metric for people; that of a shop's own metric is its file's."""
    return visit.texts.find(f"experiments.metric_{name}", name.replace("_", " "))


def name_policy(visit: Visit, name: str) -> str:
    """Return the name of a policy for people."""
    if name == CHAMPION:
        return visit.texts.get("experiments.policy_champion")
    return visit.texts.get(f"slates.policy_{name}")


def show_status(visit: Visit, status: str) -> ui.label:
    """Show the state of an experiment."""
    return show_badge(visit.texts.get(f"experiments.status_{status}"), _TONES.get(status, ""))


def write_placements(visit: Visit, experiment: Experiment) -> str:
    """Return where an experiment runs."""
    if EVERY_PLACEMENT in experiment.placements:
        return visit.texts.get("experiments.every_placement")
    return ", ".join(name_placement(visit, name) for name in experiment.placements)


def write_split(visit: Visit, experiment: Experiment) -> str:
    """Return the variants with their shares: champion 50 %, v7 50 %."""
    texts = visit.texts
    return ", ".join(
        f"{variant.name} {texts.share(variant.weight, 0)}" for variant in experiment.variants
    )


def write_changes(visit: Visit, variant: Variant) -> str:
    """Return what a variant changes of what the shop serves."""
    texts = visit.texts
    changes = []
    if variant.model != CHAMPION:
        changes.append(texts.get("experiments.changes_model", model=variant.model))
    if variant.policy != CHAMPION:
        changes.append(name_policy(visit, variant.policy))
    changes += [f"{name}: {_write_plain(value)}" for name, value in variant.placement.items()]
    return ", ".join(changes) or texts.get("experiments.changes_nothing")


def write_targeting(visit: Visit, experiment: Experiment) -> str:
    """Return who takes part."""
    texts, target = visit.texts, experiment.targeting
    parts = []
    if target.zones:
        parts.append(texts.get("experiments.target_zones", zones=", ".join(target.zones)))
    if target.visitors != "any":
        parts.append(texts.get(f"experiments.visitors_{target.visitors}"))
    parts += [f"{name}: {', '.join(values)}" for name, values in target.attributes.items()]
    return "; ".join(parts) or texts.get("experiments.visitors_any")


def write_verdict(visit: Visit, verdict: Verdict) -> str:
    """Return a verdict in the language of the page."""
    texts = visit.texts
    values: dict[str, object] = {**verdict.values}
    if "metric" in values:
        values["metric"] = name_metric(visit, str(values["metric"]))
    if isinstance(percent := values.get("percent"), float):
        values["percent"] = f"{percent:.3g} %"
    for name in ("change", "margin", "lead"):
        share = values.get(name)
        if isinstance(share, int | float):
            values[name] = texts.share(share, signed=name == "change")
    if isinstance(at := values.get("at"), datetime):
        values["at"] = texts.time(at)
    return texts.get(f"experiments.verdict_{verdict.kind}", **values)


def write_mean(visit: Visit, result: MetricResult, currency: str) -> str:
    """Return the mean of a metric as its quantity is written."""
    return write_value(visit, result.mean, result.quantity, currency)


def write_value(
    visit: Visit, value: float | None, quantity: Quantity, currency: str, *, signed: bool = False
) -> str:
    """Return a value of a metric as its quantity is written."""
    texts = visit.texts
    if quantity == "share":
        return texts.share(value, 2, signed=signed)
    if quantity == "money":
        return texts.money(value, currency, signed=signed)
    if value is None:
        return "–"
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    if quantity == "milliseconds":
        return f"{sign}{texts.number(abs(value), 1)} ms"
    return sign + texts.number(abs(value), 3)


def write_difference(visit: Visit, result: MetricResult, currency: str) -> str:
    """Return the difference to the control with its interval: relative, or in the metric's own
    unit where the control's mean allows no share."""
    difference = result.difference
    if result.relative is not None or difference is None:
        return write_relative(visit, result.relative)
    value, low, high = (
        write_value(visit, one, result.quantity, currency, signed=True)
        for one in (difference.value, difference.low, difference.high)
    )
    return f"{value} ({low} … {high})"


def write_relative(visit: Visit, relative: Difference | None) -> str:
    """Return a relative difference with its interval."""
    if relative is None:
        return visit.texts.get("experiments.not_known")
    share = visit.texts.share
    low, high = share(relative.low, signed=True), share(relative.high, signed=True)
    return f"{share(relative.value, signed=True)} ({low} … {high})"


def write_p_value(p_value: float | None) -> str:
    """Return a p-value with three digits."""
    if p_value is None:
        return "–"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def find_direction(result: MetricResult) -> Direction:
    """Return whether a variant is better or worse beyond chance.

    By the p-value that knows of the other tests where there is one, else by the interval.
    """
    from experiments.analysis.comparisons import SIGNIFICANCE

    difference = result.difference
    if difference is None:
        return "unclear"
    if result.p_adjusted is not None:
        is_clear = result.p_adjusted < SIGNIFICANCE
    else:
        is_clear = difference.low > 0 or difference.high < 0
    if not is_clear:
        return "unclear"
    return "better" if (difference.value > 0) == (result.better == "higher") else "worse"


def write_direction(visit: Visit, direction: Direction) -> str:
    """Return a direction as sign and word."""
    return f"{_SIGNS[direction]} {visit.texts.get(f'experiments.{direction}')}"


def _write_plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_write_plain(inner)}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
