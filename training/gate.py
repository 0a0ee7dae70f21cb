"""The gate before a model goes live: it must beat its baselines, and not be worse than the champion."""

from __future__ import annotations

from dataclasses import dataclass

from models.registry import Version
from training.results import Evaluation


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger may become champion, and why."""

    promote: bool
    reason: str


def decide(evaluation: Evaluation, champion: Version | None, *, tolerance: float) -> Verdict:
    """Compares the challenger's primary metric with its baselines and with the champion's.

    The champion's figure counts when it was measured at the same cut; at another cut the two figures lie on different
    data, and beating the baselines on the newest data decides. `tolerance` is the share by which a challenger may fall
    short of the champion and still replace it, since it has seen newer data.
    """
    comparison = evaluation.comparison(evaluation.primary)
    if not evaluation.passed:
        baseline = comparison.baselines[comparison.strongest]
        figures = f"{comparison.metric} {comparison.ours:.4f} against {baseline:.4f} of {comparison.strongest}"
        beaten = comparison.ours > baseline if comparison.better == "higher" else comparison.ours < baseline
        return Verdict(
            False, f"{'fails another bar of its task' if beaten else 'does not beat its baseline'}: {figures}"
        )
    if champion is None:
        return Verdict(True, "first model that beats its baselines")
    if champion.tags.get("cut") != evaluation.cut.isoformat():
        return Verdict(True, "beats its baselines on newer data than the champion was measured on")
    before = float(champion.tags["primary"])
    loss = before - comparison.ours if comparison.better == "higher" else comparison.ours - before
    if loss > tolerance * abs(before):
        return Verdict(False, f"worse than champion {champion.version}: {comparison.ours:.4f} against {before:.4f}")
    return Verdict(True, f"as good as champion {champion.version}: {comparison.ours:.4f} against {before:.4f}")
