"""What a training task hands back: figures beside baselines, and the model to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

M = TypeVar("M")
OURS = "Shopwright"  # how our row is called among the methods


@dataclass(frozen=True)
class Comparison:
    """One metric of ours beside the baselines, same data, same run.

    `p_value` is of a paired test against `strongest` (the baseline that ours must beat); None where
    none was made. `p_values` are of paired tests against every baseline, corrected for their
    number; `p_value` is one of them then. `intervals` are 95 % intervals by method, ours as OURS.
    """

    metric: str
    ours: float
    baselines: Mapping[str, float]
    better: Literal["higher", "lower"]
    strongest: str
    p_value: float | None = None
    p_values: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One figure of one method, with its 95 % interval, and the p-value of the paired test of ours
    against it."""

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class MetricTable:
    """Figures by method, ours first. `rows` and `n_users` (how many users, or what
    else is `counted`, a figure is the mean of) follow `columns`."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Cell, ...]]
    n_users: tuple[int, ...]
    note: str = ""
    counted: str = "users"


@dataclass(frozen=True)
class Evaluation:
    """A task's figures at one cut. `passed`: the model beats the baselines it must beat, so it may
    serve.

    `primary` names the comparison that decides between challenger and champion. `figures` are
    matplotlib figures. `slates` are the judged item ids by task and user, where the task makes
    slates. `tables` say more than the comparisons, and `data` is what was measured on, in words and
    counts.
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
    tables: tuple[MetricTable, ...] = ()
    data: Mapping[str, str | int] = field(default_factory=dict)

    def comparison(self, metric: str) -> Comparison:
        """The comparison on `metric`."""
        return next(c for c in self.comparisons if c.metric == metric)

    def table(self, title: str) -> MetricTable:
        """The table called `title`."""
        return next(table for table in self.tables if table.title == title)


@dataclass(frozen=True)
class Trained(Generic[M]):
    """A finished task: the figures at the cut, the model fitted there, and the same one refitted on
    all data."""

    evaluation: Evaluation
    evaluated: M
    served: M
