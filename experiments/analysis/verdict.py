"""The verdict of an experiment: one line, a decision or why there is none yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from experiments.analysis.comparisons import (
    SIGNIFICANCE,
    GuardrailResult,
    MetricResult,
    NonInferiorityResult,
    list_look_shares,
)
from experiments.analysis.sample_ratio import SAMPLE_RATIO_LEVEL
from experiments.analysis.team_credit import Preference
from experiments.definition import Experiment

IMBALANCE_LEVEL = 0.001
"""Below this p-value the variants differed before the experiment, and no verdict is given."""


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made from, see ExperimentReport.

    counts    units by variant
    primary   results of the primary metric by variant
    ends_at   when the last events count; None while the experiment runs
    """

    counts: Mapping[str, int]
    primary: Mapping[str, MetricResult]
    margins: tuple[NonInferiorityResult, ...]
    guardrails: tuple[GuardrailResult, ...]
    sample_ratio: float | None
    imbalance: float | None
    preference: Preference | None
    counted_until: datetime
    ends_at: datetime | None


def find_verdict(experiment: Experiment, evidence: Evidence) -> str:
    """Return the verdict: who harms, who is better, who is not worse by the stated margin."""
    if experiment.allocation == "interleave":
        return _decide_preference(experiment, evidence.preference)
    return (
        _find_flaw(evidence)
        or _find_harm(evidence)
        or _find_wait(experiment, evidence)
        or _decide(experiment, evidence)
    )


def _find_flaw(evidence: Evidence) -> str | None:
    """Return why the split cannot be trusted; None where it can."""
    if evidence.sample_ratio is not None and evidence.sample_ratio < SAMPLE_RATIO_LEVEL:
        return "no decision: sample ratio mismatch"
    if any(n < 2 for n in evidence.counts.values()):
        return "no decision: fewer than two units in a variant"
    if evidence.imbalance is not None and evidence.imbalance < IMBALANCE_LEVEL:
        return "no decision: the variants differed before the first exposure"
    return None


def _find_harm(evidence: Evidence) -> str | None:
    harms = [rail.harm for rail in evidence.guardrails if rail.harm is not None]
    return f"stop: {harms[0]}" if harms else None


def _find_wait(experiment: Experiment, evidence: Evidence) -> str | None:
    """Return why it is too early; None where the analysis may decide now.

    With a fixed analysis only an experiment that stopped, and whose events are all counted,
    decides: a test that is read again and again finds differences that are not there.
    """
    if evidence.ends_at is not None and evidence.counted_until < evidence.ends_at:
        ends_at = evidence.ends_at.astimezone(UTC)
        return f"no decision: events count until {ends_at:%Y-%m-%d %H:%M} UTC"
    if evidence.ends_at is not None:
        return None
    if experiment.allocation == "thompson":
        return "no decision: still running"
    if experiment.analysis == "always_valid":
        return None
    if experiment.analysis == "group_sequential":
        n_units = sum(evidence.counts.values())
        if list_look_shares(experiment, n_units):
            return None
        due = round((experiment.planned_units or 0) / experiment.looks)
        return f"no decision: the first look is at {due:,} units"
    return "no decision: still running"


def _decide(experiment: Experiment, evidence: Evidence) -> str:
    metric = experiment.primary_metric
    winners: list[tuple[float, str]] = []
    losers: list[str] = []
    for name, result in evidence.primary.items():
        if result.difference is None or result.p_adjusted is None:
            continue
        if result.p_adjusted >= SIGNIFICANCE:
            continue
        gain = result.difference.value if result.better == "higher" else -result.difference.value
        if gain > 0:
            winners.append((gain, name))
        else:
            losers.append(name)
    if winners:
        return f"{max(winners)[1]} beats {experiment.control} on {metric}"
    # The test of the margin is for one look, at the end.
    hypothesis = None if evidence.ends_at is None else experiment.non_inferiority
    not_worse = [
        (result.test.change, result.variant)
        for result in evidence.margins
        if result.test is not None and result.shown
    ]
    if hypothesis is not None and not_worse:
        lost = f"{hypothesis.margin * 100:.3g}% of {hypothesis.metric}"
        return (
            f"{max(not_worse)[1]} is not worse than {experiment.control}: it loses less than {lost}"
        )
    if len(losers) == len(evidence.primary) - 1:
        return f"keep {experiment.control}: better on {metric} than {', '.join(losers)}"
    if hypothesis is not None:
        lost = f"{hypothesis.margin * 100:.3g}% of {hypothesis.metric}"
        return f"no decision: a loss of {lost} against {experiment.control} is not ruled out"
    if evidence.ends_at is None:
        return f"no decision yet: no difference in {metric} beyond chance"
    return f"no decision: no difference in {metric} beyond chance"


def _decide_preference(experiment: Experiment, preference: Preference | None) -> str:
    """Return which of two interleaved rankers is preferred; the second one is not the control."""
    second = next(one.name for one in experiment.variants if one.name != experiment.control)
    if preference is None:
        return "no decision: fewer than two units clicked"
    if experiment.running:
        return "no decision: still running"
    if preference.p_value >= SIGNIFICANCE:
        return "no decision: no preference beyond chance"
    better = second if preference.lead > 0 else experiment.control
    return f"{better} is preferred: clicks lead by {abs(preference.lead):.1%}"
