"""The gate before a model goes live: better than its baselines, not worse than the champion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from models.registry import Version
from training.results import Comparison, Evaluation


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger becomes champion, and the reason."""

    promote: bool
    reason: str


@dataclass(frozen=True)
class EvaluatedConfig:
    """The configuration of a version as its tags keep it.

    protocol   the part of `config` that decides how the model is evaluated, not what is fitted
    """

    config: Mapping[str, object]
    protocol: Mapping[str, object]


def decide(
    evaluation: Evaluation,
    challenger: EvaluatedConfig,
    champion: Version | None,
    champion_config: EvaluatedConfig | None,
    evaluate_again: Callable[[EvaluatedConfig], Evaluation],
    *,
    tolerance: float,
) -> Verdict:
    """Compare the challenger's primary metric with its baselines' and with the champion's.

    The champion's value counts as it was measured when cut and protocol are the same. Otherwise the
    two values come from different data: a champion of another configuration is fitted and evaluated
    at the challenger's cut (`evaluate_again`); one of the same configuration would only repeat the
    challenger. A challenger that was measured on older data than the champion is refused.

    `tolerance` is the share by which a challenger may be worse than the champion and still replace
    it, since it has seen newer data.
    """
    comparison = evaluation.comparison(evaluation.primary)
    if not evaluation.passed:
        return Verdict(False, _describe_failure(comparison))
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
    same_protocol = champion_config is not None and champion_config.protocol == challenger.protocol
    if evaluation.cut == cut and same_protocol:
        champion_value = float(champion.tags["primary"])
        return _compare(champion, champion_value, comparison, tolerance)
    if champion_config is None:
        return Verdict(
            True,
            "beats its baselines; the configuration of champion "
            f"{champion.version} is not known here",
        )
    if _select_fitted(champion_config) == _select_fitted(challenger):
        return Verdict(
            True,
            "beats its baselines, with the configuration of champion "
            f"{champion.version} on newer data",
        )
    champion_value = evaluate_again(champion_config).comparison(evaluation.primary).ours
    return _compare(champion, champion_value, comparison, tolerance)


def _select_fitted(config: EvaluatedConfig) -> dict[str, object]:
    """Return the fields of a config that decide what is fitted."""
    return {name: value for name, value in config.config.items() if name not in config.protocol}


def _compare(
    champion: Version, champion_value: float, comparison: Comparison, tolerance: float
) -> Verdict:
    values = f"{comparison.ours:.4f} against {champion_value:.4f}"
    higher_is_better = comparison.better == "higher"
    gain = (
        comparison.ours - champion_value if higher_is_better else champion_value - comparison.ours
    )
    if -gain > tolerance * abs(champion_value):
        return Verdict(False, f"worse than champion {champion.version}: {values}")
    return Verdict(True, f"as good as champion {champion.version}: {values}")


def _describe_failure(comparison: Comparison) -> str:
    strongest = comparison.strongest
    baseline = comparison.baselines[strongest]
    values = f"{comparison.metric} {comparison.ours:.4f} against {baseline:.4f} of {strongest}"
    higher_is_better = comparison.better == "higher"
    beats = comparison.ours > baseline if higher_is_better else comparison.ours < baseline
    reason = "fails another bar of its task" if beats else "does not beat its baseline"
    return f"{reason}: {values}"
