"""What all recommendations together bring, by the results of a holdout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.analysis.report import ExperimentReport


@dataclass(frozen=True)
class HoldoutEffect:
    """Relative change of the primary metric by the recommendations, with its interval.

    low, high   of 95 %; None where a bound is not known
    """

    metric: str
    change: float
    low: float | None
    high: float | None


def measure_holdout(report: ExperimentReport) -> HoldoutEffect | None:
    """Return what the recommendations bring; None while too little is known.

    The control of a holdout has the recommendations, the other variant none. With the change c
    from "all" to "none", that from "none" to "all" is 1 / (1 + c) - 1; the ends swap.
    """
    held_out = next(one for one in report.variants if one.name != report.control)
    relative = held_out.metrics[report.primary_metric].relative
    if relative is None:
        return None
    change = _invert(relative.value)
    if change is None:
        return None
    return HoldoutEffect(
        report.primary_metric, change, _invert(relative.high), _invert(relative.low)
    )


def _invert(change: float) -> float | None:
    return 1 / (1 + change) - 1 if change > -1 else None
