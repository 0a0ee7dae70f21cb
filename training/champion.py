"""The versions that a candidate is compared with, measured on the candidate's test window."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from features.contracts.errors import ShopwrightError
from models.registry import EVALUATED, SERVED, Registry, Version
from training.gate import (
    GateConfig,
    Reference,
    Verdict,
    carry_over,
    decide,
    read_carried,
    renew,
    replace_stand_in,
    write_carried,
)
from training.non_inferiority import PairedLoss, UnitValues, measure_loss
from training.results import SavedModel, Trained
from training.task import Progress

Refit = Callable[[Version], Mapping[str, UnitValues] | None]


@dataclass(frozen=True)
class Candidate:
    """A finished training, and how the gate compares it.

    refit   fits a version's configuration at the candidate's cut and measures it there; None where
            the configuration is unknown, or is the candidate's own
    """

    task: str
    trained: Trained[SavedModel]
    config: GateConfig
    refit: Refit
    progress: Progress


@dataclass(frozen=True)
class _Measured:
    """Metrics by unit of a version, and what was measured, in words."""

    values: Mapping[str, UnitValues]
    note: str


def compare_with_champion(candidate: Candidate, champion: Version, registry: Registry) -> Verdict:
    """Return the verdict on a candidate beside the champion and the best champion before it."""
    if _is_older(candidate.trained, champion):
        return Verdict(
            False,
            f"measured on older data than champion {champion.version}, whose cut is "
            f"{datetime.fromisoformat(champion.tags['cut']):%Y-%m-%d}",
        )
    candidate.progress(f"version {champion.version} on the same test data")
    measured = _measure_version(candidate, champion, registry)
    stands_in = not _has_same_metric(candidate.trained, champion) or _was_never_measured(champion)
    if measured is None:
        verdict = Verdict(
            True,
            f"not behind its baselines; champion {champion.version} cannot be measured here and "
            "has the same configuration, or one that is not known",
            anchor=champion.tags.get("anchor") or champion.version,
            carried=read_carried(champion.tags.get("carried")),
        )
        return replace_stand_in(verdict) if stands_in else verdict
    ours = candidate.trained.measure(None)
    beside = Reference(champion.version, _measure_losses(ours, measured.values))
    anchor = _measure_anchor(candidate, champion, beside, registry, ours)
    verdict = decide(candidate.task, beside, anchor, candidate.config)
    verdict = replace_stand_in(verdict) if stands_in else _renew(candidate, champion, verdict)
    return replace(verdict, reason=f"{verdict.reason} [{measured.note}]")


def decide_unmeasured(
    candidate: Candidate, champion: Version | None, *, is_same_config: bool
) -> Verdict:
    """Return the verdict on a candidate of data that leave nothing to evaluate on.

    It replaces a champion that was measured only with the same configuration, fitted on newer data,
    or where the champion's forecasts run out.
    """
    if champion is None or _was_never_measured(champion):
        return Verdict(True, "too little data to compare it with anything else")
    if _is_older(candidate.trained, champion):
        return Verdict(False, f"fitted on older data than champion {champion.version}")
    nothing = f"nothing can be evaluated on these data; champion {champion.version} was measured"
    verdict = Verdict(
        is_same_config,
        f"{nothing}, with the same configuration"
        if is_same_config
        else f"{nothing}, with another configuration: keep it, or promote this one by hand",
        anchor=champion.tags.get("anchor") or champion.version,
        carried=read_carried(champion.tags.get("carried")),
    )
    return _renew(candidate, champion, verdict)


def _renew(candidate: Candidate, champion: Version, verdict: Verdict) -> Verdict:
    """Return the verdict where a demand champion may be of data so old that forecasts run out."""
    if candidate.task != "demand" or (known := champion.tags.get("fitted_until")) is None:
        return verdict
    newer = candidate.trained.fitted_until - datetime.fromisoformat(known)
    return renew(verdict, newer / timedelta(weeks=1), candidate.config)


def _is_older(trained: Trained[SavedModel], champion: Version) -> bool:
    """Return whether a candidate was measured on older data than the champion.

    Evaluations by the same metric hold out as much, so their cuts compare; others hold out another
    part of the data, or none, so the ends of the data do.
    """
    are_measured = trained.evaluation.comparisons and not _is_unmeasured(champion)
    if are_measured and _has_same_metric(trained, champion):
        return trained.evaluation.cut < datetime.fromisoformat(champion.tags["cut"])
    ends = champion.tags.get("fitted_until", champion.tags["cut"])
    return trained.fitted_until < datetime.fromisoformat(ends)


def _has_same_metric(trained: Trained[SavedModel], champion: Version) -> bool:
    """Return whether both were evaluated by one metric, as all models but a stand-in are."""
    return champion.tags.get("metric", trained.evaluation.primary) == trained.evaluation.primary


def _is_unmeasured(champion: Version) -> bool:
    """Return whether nothing was held out for a champion, since its data were too few."""
    return math.isnan(float(champion.tags.get("primary", 0)))


def _was_never_measured(champion: Version) -> bool:
    """Return whether neither a champion nor one before it with its configuration was measured."""
    return _is_unmeasured(champion) and "anchor" not in champion.tags


def describe_carried(verdict: Verdict) -> dict[str, str]:
    """Return the tags with which a version carries its losses on; the anchor only where it is
    another version."""
    if verdict.anchor is None:
        return {}
    return {"anchor": verdict.anchor, "carried": write_carried(verdict)}


def _measure_anchor(
    candidate: Candidate,
    champion: Version,
    beside: Reference,
    registry: Registry,
    ours: Mapping[str, UnitValues],
) -> Reference:
    """Return the losses to the best champion so far; in sum where it cannot be measured."""
    number = champion.tags.get("anchor") or champion.version
    if number == champion.version:
        return beside
    try:
        version = registry.find_version(candidate.task, number)
        candidate.progress(f"version {number} on the same test data")
        measured = _measure_files(candidate, version, registry)
    except ShopwrightError:
        measured = None
    if measured is None:
        return carry_over(beside, read_carried(champion.tags.get("carried")), number)
    return Reference(number, _measure_losses(ours, measured.values))


def _measure_version(
    candidate: Candidate, version: Version, registry: Registry
) -> _Measured | None:
    """Measure a version's files, else its configuration fitted at the candidate's cut."""
    measured = _measure_files(candidate, version, registry)
    if measured is not None:
        return measured
    values = candidate.refit(version)
    if values is None:
        return None
    note = f"version {version.version}: its configuration fitted at the same cut"
    return _Measured(values, note)


def _measure_files(candidate: Candidate, version: Version, registry: Registry) -> _Measured | None:
    """Measure the model that served where it has not seen the test window, else its twin.

    The twin has the same configuration, and was fitted before its own test window. Against the
    candidate's, which is fitted at the cut, it is older by as much as the served ones differ.
    None where neither can be read, or was fitted before the test window.
    """
    cut = candidate.trained.evaluation.cut
    parts = []
    if (until := version.tags.get("fitted_until")) and datetime.fromisoformat(until) <= cut:
        parts.append((SERVED, f"version {version.version} as it serves"))
    if datetime.fromisoformat(version.tags["cut"]) <= cut:
        note = (
            f"version {version.version} as fitted before {version.tags['cut'][:10]}: the one that "
            "serves has seen the test data"
        )
        parts.append((EVALUATED, note))
    for part, note in parts:
        try:
            folder: Path = registry.fetch_files(version, part)
            return _Measured(candidate.trained.measure(folder), note)
        except ShopwrightError:
            continue
    return None


def _measure_losses(
    ours: Mapping[str, UnitValues], theirs: Mapping[str, UnitValues]
) -> dict[str, PairedLoss]:
    """Return the loss in each metric that both have on this window."""
    losses = {
        name: measure_loss(values, theirs[name]) for name, values in ours.items() if name in theirs
    }
    return {name: loss for name, loss in losses.items() if not math.isnan(loss.loss)}
