"""The rule that stops an experiment which harms a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from experiments.analysis.moments import Moments
from experiments.analysis.sequential import (
    compute_one_sided_multiple,
    compute_one_sided_p_value,
    compute_standard_error,
    list_error_weights,
)
from features.contracts.errors import BadInput

HarmfulDirection = Literal["decrease", "increase"]


@dataclass(frozen=True)
class GuardrailRule:
    """What must not happen to a metric, fixed before the start.

    harmful         direction of harm: a decrease of conversion, an increase of latency
    margin          share of the control's mean that may be lost (0.02: 2 %)
    planned_units   units of both variants at which the bound is tightest. A guardrail watches the
                    beginning: a tenth of the planned size of the experiment fits
    level           probability of a stop, at any time, where the harm is no more than the margin
    """

    harmful: HarmfulDirection
    planned_units: int
    margin: float = 0.0
    level: float = 0.05

    def __post_init__(self) -> None:
        where = "guardrail"
        if self.planned_units <= 0:
            raise BadInput(f"{self.planned_units} planned units are no size", where=where)
        if not 0 <= self.margin < 1:
            raise BadInput(f"margin is {self.margin:g}, not in [0, 1)", where=where)
        if not 0 < self.level < 1:
            raise BadInput(f"level is {self.level:g}, not in (0, 1)", where=where)


@dataclass(frozen=True)
class GuardrailEvidence:
    """What is known about the harm to one metric of one variant.

    change        treatment / control - 1
    least_harm    the change is at least this harmful, at all times together with the probability
                  1 - level: an upper end for a decrease, a lower end for an increase; None: unknown
    p_value       always valid, of a harm within the margin
    must_stop     the harm is beyond the margin
    """

    change: float
    least_harm: float | None
    p_value: float
    must_stop: bool


def evaluate_guardrail(
    treatment: Moments, control: Moments, rule: GuardrailRule
) -> GuardrailEvidence | None:
    """Return whether a variant must stop: its mean lies beyond the margin of the control's.

    The score of (treatment - (1 -+ margin) control) is compared with the one-sided confidence
    sequence, so the rule may be read after every unit. None with fewer than two units on a side,
    without a spread, or where the control has nothing to lose. Where a harmful increase begins at 0
    the change is infinite.
    """
    if treatment.mean is None or control.mean is None or control.mean < 0:
        return None
    if control.mean == 0 and rule.harmful == "decrease":
        return None
    sign = -1.0 if rule.harmful == "decrease" else 1.0
    allowed = _scale(control, 1 + sign * rule.margin)
    error = compute_standard_error(treatment, allowed)
    if error is None or allowed.mean is None:
        return None
    harm = sign * (treatment.mean - allowed.mean)
    share = (treatment.n + control.n) / rule.planned_units
    multiple = compute_one_sided_multiple(share, rule.level)
    return GuardrailEvidence(
        change=treatment.mean / control.mean - 1 if control.mean else math.inf,
        least_harm=_find_least_harm(treatment, control, -sign * multiple),
        p_value=compute_one_sided_p_value(harm / error, share, rule.level),
        must_stop=harm > multiple * error,
    )


def _scale(moments: Moments, factor: float) -> Moments:
    """Return the moments of values that are multiplied by the factor."""
    if moments.mean is None or moments.variance is None:
        return moments
    return Moments(moments.n, factor * moments.mean, factor**2 * moments.variance)


def _find_least_harm(treatment: Moments, control: Moments, multiple: float) -> float | None:
    """Return the change at which the same test turns: an end of Fieller's interval.

    With s = change + 1 it solves (ours - s theirs)^2 = multiple^2 (square of ours + s^2 square of
    theirs); a positive multiple gives the upper end, a negative one the lower end. Of the two
    errors the one with the wider interval counts. None where the control's mean may be 0.
    """
    ours, theirs = treatment.mean or 0.0, control.mean or 0.0
    ends = []
    for weights in list_error_weights(treatment.n, control.n):
        square_of_ours = weights.treatment * (treatment.variance or 0.0)
        square_of_theirs = weights.control * (control.variance or 0.0)
        curvature = theirs**2 - multiple**2 * square_of_theirs
        if curvature <= 0:
            return None
        product = ours * theirs
        constant = ours**2 - multiple**2 * square_of_ours
        root = math.sqrt(max(product**2 - curvature * constant, 0.0))
        ends.append((product + math.copysign(root, multiple)) / curvature - 1)
    return max(ends) if multiple > 0 else min(ends)
