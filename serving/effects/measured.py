"""What price changes did, as records: of one change, and of several together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from features.contracts.pricing import Effect
from features.contracts.seeds import generator
from models.pricing.effects.counterfactuals import ControlGroup
from models.pricing.effects.estimate import (
    ObservedChanges,
    Verdict,
    decide_verdict,
    decide_verdicts,
    draw_units,
    estimate_effects,
    estimate_sum,
)
from models.pricing.effects.looks import FIRST_LOOK
from models.pricing.effects.pooling import MIN_POOLED, PooledChanges, pool_changes
from serving.database.forecast_sets import ForecastSet
from serving.effects.observation import CountedWeeks, Observation
from serving.effects.repository import PriceChange

_SEED = 0  # the same change has the same interval, however it is asked for


@dataclass(frozen=True)
class Quantities:
    """Units, and net revenue and profit in minor units; profit is None where no cost is known."""

    units: float
    revenue: float
    profit: float | None


@dataclass(frozen=True, kw_only=True)
class ChangeEffect:
    """What a change did against keeping its price.

    sold, keeping, predicted   over the weeks that count; predicted: sold less keeping, as the
                  approval expected it; None where nothing is known
    effect        with intervals of 80 %
    control       what keeping is from: the forecast, or unchanged items, of the weeks from
                  `first_week` on
    unknown       why there is no effect, or no verdict
    """

    change: PriceChange
    weeks: CountedWeeks
    verdict: Verdict
    sold: Quantities | None = None
    keeping: Quantities | None = None
    predicted: Quantities | None = None
    effect: Effect | None = None
    control: ControlGroup | None = None
    first_week: datetime | None = None
    unknown: str | None = None
    observed: ObservedChanges | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class GroupEffect:
    """What several changes did together, each shrunk towards their mean where there are enough.

    name        of the run or proposal, or of the category
    n_measured  those with a week that counts; of them are effect and verdict
    pooled      None where too few were measured
    """

    name: str
    zone: str
    currency: str
    n_changes: int
    n_measured: int
    verdict: Verdict
    sold: Quantities | None = None
    keeping: Quantities | None = None
    predicted: Quantities | None = None
    effect: Effect | None = None
    controls: tuple[str, ...] = ()
    unknown: str | None = None
    pooled: PooledChanges | None = None


@dataclass(frozen=True)
class MeasuredEffects:
    """Changes of a filter with their effects, and together by batch and category.

    sets   the frozen forecasts by id
    known_until   when the latest known sale was, of several zones in that where it was first; None
                  without sales
    """

    changes: tuple[ChangeEffect, ...]
    batches: tuple[GroupEffect, ...]
    categories: tuple[GroupEffect, ...]
    sets: Mapping[str, ForecastSet]
    known_until: datetime | None


def measure_changes(changes: Sequence[PriceChange], observation: Observation) -> list[ChangeEffect]:
    """Return the effect of each observed change."""
    effects = []
    index_of = {row: index for index, row in enumerate(observation.rows)}
    for row, change in enumerate(changes):
        index = index_of.get(row)
        weeks = observation.weeks[row]
        if index is None or observation.changes is None or observation.control is None:
            effects.append(explain_unmeasured(change, weeks))
            continue
        one = observation.changes.select(np.array([index]))
        group = observation.control.groups[int(observation.control.group[index])]
        effect = _measure_one(change, weeks, one)
        effects.append(replace(effect, control=group, first_week=observation.first_week))
    return effects


def _measure_one(change: PriceChange, weeks: CountedWeeks, one: ObservedChanges) -> ChangeEffect:
    # Draws count groups from 0: of one change there is one.
    one = _renumber(one)
    draws = draw_units(one, generator(_SEED, change.price_id))
    verdict, unknown = decide_verdicts(draws)[0], None
    if verdict is Verdict.UNKNOWN:
        unknown = "nothing was predicted when it was approved"
    elif weeks.n_counted < FIRST_LOOK and change.status == "live":
        verdict = Verdict.TOO_EARLY
        unknown = f"{weeks.n_counted} of {FIRST_LOOK} weeks count so far"
    return ChangeEffect(
        change=change,
        weeks=weeks,
        verdict=verdict,
        sold=_sum_sold(one),
        keeping=_sum_keeping(one),
        predicted=_sum_predicted(one),
        effect=estimate_effects(one, draws)[0],
        unknown=unknown,
        observed=one,
    )


def explain_unmeasured(change: PriceChange, weeks: CountedWeeks) -> ChangeEffect:
    """Return a change of which no week counts: it is too early, or nothing can be known."""
    if change.forecast_set_id is None:
        reason = "no forecast was served when it was approved"
        return ChangeEffect(change=change, weeks=weeks, verdict=Verdict.UNKNOWN, unknown=reason)
    if weeks.n_over and change.status == "live" and weeks.left_out.keys() <= {"no forecast"}:
        reason = "the forecasts of its approval do not have it, or not these weeks"
        return ChangeEffect(change=change, weeks=weeks, verdict=Verdict.UNKNOWN, unknown=reason)
    if change.status == "live":
        reason = "no whole week is over and its sales known"
        if weeks.left_out:
            reason = f"no week counts so far: {describe_left_out(weeks)}"
        return ChangeEffect(change=change, weeks=weeks, verdict=Verdict.TOO_EARLY, unknown=reason)
    reason = "it ended before a whole week counted"
    return ChangeEffect(change=change, weeks=weeks, verdict=Verdict.UNKNOWN, unknown=reason)


def describe_left_out(weeks: CountedWeeks) -> str:
    """Return why weeks do not count, in words."""
    return "; ".join(f"{reason} in {n}" for reason, n in weeks.left_out.items())


def measure_group(name: str, effects: Sequence[ChangeEffect]) -> GroupEffect:
    """Return what changes of one zone, at least one, did together."""
    measured = [effect for effect in effects if effect.observed is not None]
    change = effects[0].change
    about = {
        "name": name,
        "zone": change.zone,
        "currency": change.currency,
        "n_changes": len(effects),
        "n_measured": len(measured),
    }
    if not measured:
        verdicts = {effect.verdict for effect in effects}
        verdict = Verdict.UNKNOWN if verdicts == {Verdict.UNKNOWN} else Verdict.TOO_EARLY
        return GroupEffect(verdict=verdict, unknown=effects[0].unknown, **about)  # type: ignore[arg-type]
    observed = _join(measured)
    pooled = None
    if len(measured) >= MIN_POOLED:
        pooled = pool_changes(observed)
        effect, below = pooled.effect, pooled.share_below
    else:
        draws = draw_units(observed, generator(_SEED, name))
        effect = estimate_sum(observed, draws)
        predicted = np.where(np.isnan(draws.predicted), draws.keeping, draws.predicted)
        below = float((draws.sold.sum(axis=1) < predicted.sum(axis=1)).mean())
    verdict, unknown = decide_verdict(below), None
    if all(one.verdict is Verdict.TOO_EARLY for one in measured):
        verdict, unknown = Verdict.TOO_EARLY, measured[0].unknown
    elif np.isnan(observed.predicted).all():
        verdict, unknown = Verdict.UNKNOWN, measured[0].unknown
    controls = {one.control.describe() for one in measured if one.control is not None}
    return GroupEffect(
        verdict=verdict,
        sold=_sum_sold(observed),
        keeping=_sum_keeping(observed),
        predicted=_sum_predicted(observed),
        effect=effect,
        controls=tuple(sorted(controls)),
        unknown=unknown,
        pooled=pooled,
        **about,  # type: ignore[arg-type]
    )


def _join(measured: Sequence[ChangeEffect]) -> ObservedChanges:
    """Return the changes of one zone together.

    Those with unchanged items of the same category and week share the error of their control.
    """
    numbers: dict[object, int] = {}
    controls = [(one.control and one.control.category, one.first_week) for one in measured]
    group = [numbers.setdefault(control, len(numbers)) for control in controls]
    parts = [one.observed for one in measured if one.observed is not None]
    fields = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ObservedChanges.__dataclass_fields__
    }
    return ObservedChanges(**{**fields, "group": np.array(group, np.int64)})


def _renumber(one: ObservedChanges) -> ObservedChanges:
    fields = {name: getattr(one, name) for name in ObservedChanges.__dataclass_fields__}
    return ObservedChanges(**{**fields, "group": np.zeros(1, np.int64)})


def _sum_sold(changes: ObservedChanges) -> Quantities:
    sold, after = changes.sold, changes.net_after
    profit = float(((after - changes.unit_cost) * sold).sum())
    return Quantities(float(sold.sum()), float((after * sold).sum()), _drop_nan(profit))


def _sum_keeping(changes: ObservedChanges) -> Quantities:
    keeping, before = changes.keeping, changes.net_before
    profit = float(((before - changes.unit_cost) * keeping).sum())
    return Quantities(float(keeping.sum()), float((before * keeping).sum()), _drop_nan(profit))


def _sum_predicted(changes: ObservedChanges) -> Quantities | None:
    """Return what the approval expected: units at the new price less those of keeping."""
    if np.isnan(changes.predicted).any():
        return None
    units = changes.keeping * np.exp(changes.predicted)
    gained = {
        name: float((after * units - before * changes.keeping).sum())
        for name, (after, before) in changes.values().items()
    }
    return Quantities(gained["units"], gained["revenue"], _drop_nan(gained["profit"]))


def _drop_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
