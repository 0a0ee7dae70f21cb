"""The verdict of an experiment: one line, a decision or why there is none yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from experiments.definition import Experiment, NonInferiority

IMBALANCE_LEVEL = 0.001
"""Below this p-value the variants differed before the experiment, and no verdict is given."""


_HARM = "{variant} changes {metric} by {change:+.1%}, beyond the margin of {margin:.1%}"
_HARM_FROM_NOTHING = "{variant} changes {metric} from nothing, beyond the margin of {margin:.1%}"
_TEXTS: Mapping[str, str] = {
    "sample_ratio": "no decision: sample ratio mismatch",
    "few_units": "no decision: fewer than two units in a variant",
    "differed_before": "no decision: the variants differed before the first exposure",
    "harm": f"stop: {_HARM}",
    "harm_from_nothing": f"stop: {_HARM_FROM_NOTHING}",
    "counts_until": "no decision: events count until {at:%Y-%m-%d %H:%M} UTC",
    "running": "no decision: still running",
    "first_look": "no decision: the first look is at {n:,} units",
    "beats": "{variant} beats {control} on {metric}",
    "not_worse": "{variant} is not worse than {control}: it loses less than {percent:.3g}% of "
    "{metric}",
    "keep": "keep {control}: better on {metric} than {variants}",
    "margin_open": "no decision: a loss of {percent:.3g}% of {metric} against {control} is not "
    "ruled out",
    "nothing_yet": "no decision yet: no difference in {metric} beyond chance",
    "nothing": "no decision: no difference in {metric} beyond chance",
    "few_clicks": "no decision: fewer than two units clicked",
    "no_preference": "no decision: no preference beyond chance",
    "preferred": "{variant} is preferred: clicks lead by {lead:.1%}",
}

Value = str | int | float | datetime


@dataclass(frozen=True)
class Verdict:
    """What an experiment says, as one of the kinds of _TEXTS, with the values of its text."""

    kind: str
    values: Mapping[str, Value] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The verdict in English."""
        return _TEXTS[self.kind].format(**self.values)


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


def find_verdict(experiment: Experiment, evidence: Evidence) -> Verdict:
    """Return who harms, who is better, who is not worse by the stated margin."""
    if experiment.allocation == "interleave":
        return _decide_preference(experiment, evidence.preference)
    return (
        _find_flaw(evidence)
        or _find_harm(evidence)
        or _find_wait(experiment, evidence)
        or _decide(experiment, evidence)
    )


def _find_flaw(evidence: Evidence) -> Verdict | None:
    """Return why the split cannot be trusted; None where it can."""
    if evidence.sample_ratio is not None and evidence.sample_ratio < SAMPLE_RATIO_LEVEL:
        return Verdict("sample_ratio")
    if any(n < 2 for n in evidence.counts.values()):
        return Verdict("few_units")
    if evidence.imbalance is not None and evidence.imbalance < IMBALANCE_LEVEL:
        return Verdict("differed_before")
    return None


def describe_harm(rail: GuardrailResult) -> str | None:
    """Return what a variant does to a guardrail where that is beyond the margin; None where it is
    not."""
    values = _list_harm(rail)
    if values is None:
        return None
    return (_HARM if "change" in values else _HARM_FROM_NOTHING).format(**values)


def _find_harm(evidence: Evidence) -> Verdict | None:
    for rail in evidence.guardrails:
        if (values := _list_harm(rail)) is not None:
            return Verdict("harm" if "change" in values else "harm_from_nothing", values)
    return None


def _list_harm(rail: GuardrailResult) -> dict[str, Value] | None:
    """Return the values of a harm, without a change where the control has nothing; None without
    one."""
    if rail.evidence is None or not rail.evidence.must_stop:
        return None
    values: dict[str, Value] = {
        "variant": rail.variant,
        "metric": rail.metric,
        "margin": rail.margin,
    }
    if math.isfinite(rail.evidence.change):
        values["change"] = rail.evidence.change
    return values


def _find_wait(experiment: Experiment, evidence: Evidence) -> Verdict | None:
    """Return why it is too early; None where the analysis may decide now.

    With a fixed analysis only an experiment that stopped, and whose events are all counted,
    decides: a test that is read again and again finds differences that are not there.
    """
    if evidence.ends_at is not None and evidence.counted_until < evidence.ends_at:
        return Verdict("counts_until", {"at": evidence.ends_at.astimezone(UTC)})
    if evidence.ends_at is not None:
        return None
    if experiment.allocation == "thompson":
        return Verdict("running")
    if experiment.analysis == "always_valid":
        return None
    if experiment.analysis == "group_sequential":
        n_units = sum(evidence.counts.values())
        if list_look_shares(experiment, n_units):
            return None
        due = round((experiment.planned_units or 0) / experiment.looks)
        return Verdict("first_look", {"n": due})
    return Verdict("running")


def _decide(experiment: Experiment, evidence: Evidence) -> Verdict:
    metric, control = experiment.primary_metric, experiment.control
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
        values = {"variant": max(winners)[1], "control": control, "metric": metric}
        return Verdict("beats", values)
    # The test of the margin is for one look, at the end.
    hypothesis = None if evidence.ends_at is None else experiment.non_inferiority
    not_worse = [
        (result.test.change, result.variant)
        for result in evidence.margins
        if result.test is not None and result.shown
    ]
    if hypothesis is not None and not_worse:
        return Verdict(
            "not_worse", {"variant": max(not_worse)[1], **_state(experiment, hypothesis)}
        )
    if len(losers) == len(evidence.primary) - 1:
        values = {"control": control, "metric": metric, "variants": ", ".join(losers)}
        return Verdict("keep", values)
    if hypothesis is not None:
        return Verdict("margin_open", _state(experiment, hypothesis))
    kind = "nothing_yet" if evidence.ends_at is None else "nothing"
    return Verdict(kind, {"metric": metric})


def _state(experiment: Experiment, hypothesis: NonInferiority) -> dict[str, Value]:
    """Return the values of the loss that a hypothesis accepts."""
    return {
        "control": experiment.control,
        "metric": hypothesis.metric,
        "margin": hypothesis.margin,
        "percent": hypothesis.margin * 100,
    }


def _decide_preference(experiment: Experiment, preference: Preference | None) -> Verdict:
    """Return which of two interleaved rankers is preferred; the second one is not the control."""
    second = next(one.name for one in experiment.variants if one.name != experiment.control)
    if preference is None:
        return Verdict("few_clicks")
    if experiment.running:
        return Verdict("running")
    if preference.p_value >= SIGNIFICANCE:
        return Verdict("no_preference")
    better = second if preference.lead > 0 else experiment.control
    return Verdict("preferred", {"variant": better, "lead": abs(preference.lead)})
