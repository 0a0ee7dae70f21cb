"""The gate before a model goes live: it must beat its baselines, and not be worse than the
champion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.registry import Version
from training.results import Comparison, Evaluation


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger may become champion, and why."""

    promote: bool
    reason: str


@dataclass(frozen=True)
class Standing:
    """What a version was fitted and judged by, as its tags keep it: configuration and the part that
    judges."""

    config: Mapping[str, Any]
    protocol: Mapping[str, Any]


def decide(
    evaluation: Evaluation,
    standing: Standing,
    champion: Version | None,
    champion_standing: Standing | None,
    rejudge: Callable[[Standing], Evaluation],
    *,
    tolerance: float,
) -> Verdict:
    """Compares the challenger's primary metric with its baselines and with the champion's.

    The champion's figure counts as it stands when it was measured at the same cut by the same
    protocol. Otherwise the two figures lie on different data: a champion of another configuration
    is fitted and judged anew in the challenger's place (`rejudge`), one of the same configuration
    would only repeat the challenger. A challenger that was measured on older data than the champion
    is refused. `tolerance` is the share by which a challenger may fall short of the champion and
    still replace it, since it has seen newer data.
    """
    comparison = evaluation.comparison(evaluation.primary)
    if not evaluation.passed:
        return Verdict(False, _failed(comparison))
    if champion is None:
        return Verdict(
            True, "first model, and not measurably behind any baseline that it must beat"
        )
    cut = datetime.fromisoformat(champion.tags["cut"])
    if evaluation.cut < cut:
        return Verdict(
            False,
            f"measured on older data than champion {champion.version}, whose cut is {cut:%Y-%m-%d}",
        )
    same_protocol = (
        champion_standing is not None and champion_standing.protocol == standing.protocol
    )
    if evaluation.cut == cut and same_protocol:
        return _against(champion, float(champion.tags["primary"]), comparison, tolerance)
    if champion_standing is None:
        return Verdict(
            True,
            f"beats its baselines; the configuration of champion {champion.version} is not known here",
        )
    if _fitted(champion_standing) == _fitted(standing):
        return Verdict(
            True,
            f"beats its baselines, with the configuration of champion {champion.version} on newer data",
        )
    before = rejudge(champion_standing).comparison(evaluation.primary).ours
    return _against(champion, before, comparison, tolerance)


def _fitted(standing: Standing) -> dict[str, Any]:
    return {name: value for name, value in standing.config.items() if name not in standing.protocol}


def _against(champion: Version, before: float, comparison: Comparison, tolerance: float) -> Verdict:
    figures = f"{comparison.ours:.4f} against {before:.4f}"
    loss = before - comparison.ours if comparison.better == "higher" else comparison.ours - before
    if loss > tolerance * abs(before):
        return Verdict(False, f"worse than champion {champion.version}: {figures}")
    return Verdict(True, f"as good as champion {champion.version}: {figures}")


def _failed(comparison: Comparison) -> str:
    baseline = comparison.baselines[comparison.strongest]
    figures = f"{comparison.metric} {comparison.ours:.4f} against {baseline:.4f} of {comparison.strongest}"
    beaten = (
        comparison.ours > baseline if comparison.better == "higher" else comparison.ours < baseline
    )
    return (
        f"{'fails another bar of its task' if beaten else 'does not beat its baseline'}: {figures}"
    )
