"""Results of a training task: metrics beside baselines, and the model to serve."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from training.non_inferiority import UnitValues

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEVEL = 0.05  # of a paired test
OURS = "Shopwright"  # the name of our row among the methods


class SavedModel(Protocol):
    """A fitted model that can be written as an artifact."""

    def save(self, folder: Path) -> None:
        """Write native text, npz or JSON files into `folder`, never pickle."""


M = TypeVar("M", bound=SavedModel, covariant=True)
Measure = Callable[[Path | None], Mapping[str, UnitValues]]


@dataclass(frozen=True)
class Comparison:
    """One metric of ours beside the baselines, on the same data in the same run.

    strongest   the baseline that ours must beat
    p_value     of a paired test against `strongest`; None without a test
    p_values    of paired tests against every baseline, corrected for their number; `p_value` is
                then one of them
    intervals   95 % intervals by method, ours as OURS
    """

    metric: str
    ours: float
    baselines: Mapping[str, float]
    better: Literal["higher", "lower"]
    strongest: str
    p_value: float | None = None
    p_values: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def is_behind(self) -> bool:
        """Whether the strongest baseline is better by more than chance."""
        gain = self.ours - self.baselines[self.strongest]
        is_worse = gain < 0 if self.better == "higher" else gain > 0
        return is_worse and self.p_value is not None and self.p_value < _LEVEL

    def describe(self) -> str:
        """Return our value beside that of the strongest baseline."""
        baseline = self.baselines[self.strongest]
        return f"{self.metric} {self.ours:.4f} against {baseline:.4f} of {self.strongest}"


@dataclass(frozen=True)
class Cell:
    """One value of one method: its 95 % interval, and the p-value of ours against it (paired)."""

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class MetricTable:
    """Metrics by method, ours first.

    rows      method -> one cell a column
    n_users   over how many users each column is a mean; `counted` names what is counted instead
    """

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Cell, ...]]
    n_users: tuple[int, ...]
    note: str = ""
    counted: str = "users"


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a task at one cut.

    primary       the metric of the comparison that decides between challenger and champion
    failed_bars   what the model must reach and does not, in words with both values
    comparisons   empty where the data leave nothing to evaluate on; the notes say why
    figures       plots by name
    slates        the evaluated item ids by ranking task and user, where the task makes slates
    tables        more detail than the comparisons
    data          what was measured on, in words and counts
    choices       what the training chose by the data, and why, by name
    """

    task: str
    cut: datetime
    primary: str
    comparisons: tuple[Comparison, ...]
    failed_bars: tuple[str, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    slates: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    tables: tuple[MetricTable, ...] = ()
    data: Mapping[str, str | int] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the model beats the baselines that it must beat, so that it may serve."""
        return not self.failed_bars

    def describe_result(self) -> str:
        """Return in one sentence whether the model may serve, and why."""
        if self.failed_bars:
            return f"Falls short: {'; '.join(self.failed_bars)}."
        if not self.comparisons:
            return "Not evaluated: it serves until the data allow a comparison."
        comparison = self.comparison(self.primary)
        if comparison.is_behind:
            return f"Serves although it is measurably behind: {comparison.describe()}."
        return f"Good enough to serve: {comparison.describe()}, the strongest baseline."

    @property
    def primary_value(self) -> float:
        """The primary metric of ours; NaN where nothing was evaluated."""
        return self.comparison(self.primary).ours if self.comparisons else math.nan

    def comparison(self, metric: str) -> Comparison:
        """Return the comparison on `metric`."""
        return next(c for c in self.comparisons if c.metric == metric)

    def table(self, title: str) -> MetricTable:
        """Return the table with this title."""
        return next(table for table in self.tables if table.title == title)


@dataclass(frozen=True)
class Trained(Generic[M]):
    """A finished training.

    evaluation     the metrics at the cut
    evaluated      the model that was fitted and evaluated at the cut
    served         the same configuration fitted on all data
    fitted_until   the instant before which `served` has seen the data
    measure        metrics by unit of the model saved in a folder, or of `evaluated` (None), on the
                   test window of this training; by the names of the gate's margins
    stands_in      whether it serves only until the data teach a better kind of model
    """

    evaluation: Evaluation
    evaluated: M
    served: M
    fitted_until: datetime
    measure: Measure
    stands_in: bool = False
