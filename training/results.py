"""What a training task hands back: figures beside baselines, and the model to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

M = TypeVar("M")


@dataclass(frozen=True)
class Comparison:
    """One metric of ours beside the baselines, same data, same run.

    `p_value` is of a paired test against `strongest` (the baseline that ours must beat); None where none was made.
    """

    metric: str
    ours: float
    baselines: Mapping[str, float]
    better: Literal["higher", "lower"]
    strongest: str
    p_value: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """A task's figures at one cut. `passed`: the model beats the baselines it must beat, so it may serve.

    `primary` names the comparison that decides between challenger and champion. `figures` are matplotlib figures.
    `slates` are the judged item ids by task and user, where the task makes slates.
    """

    task: str
    cut: datetime
    primary: str
    comparisons: tuple[Comparison, ...]
    passed: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    slates: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def comparison(self, metric: str) -> Comparison:
        """The comparison on `metric`."""
        return next(c for c in self.comparisons if c.metric == metric)


@dataclass(frozen=True)
class Trained(Generic[M]):
    """A finished task: the figures at the cut, the model fitted there, and the same one refitted on all data."""

    evaluation: Evaluation
    evaluated: M
    served: M
