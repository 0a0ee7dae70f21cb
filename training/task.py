"""What a training task is: the protocol that recommendations, demand and pricing follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from configs.settings import Settings
from features.facts.facts import Facts
from training.results import Evaluation, SavedModel, Trained

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
Progress = Callable[[str], None]
TIME = "time"  # the split that every task has: the last weeks are held out


class Task(Protocol[Config]):
    """How one kind of model is trained and evaluated, on the data before an instant."""

    @property
    def name(self) -> str:
        """The name of the registered model."""

    @property
    def config(self) -> type[Config]:
        """The type of configs/models/NAME.yaml."""

    @property
    def protocol(self) -> tuple[str, ...]:
        """Fields of the config that decide how a model is evaluated, not what is fitted."""

    @property
    def splits(self) -> tuple[str, ...]:
        """How test data can be held out: TIME, then others where the task has them."""

    @property
    def serves_behind(self) -> bool:
        """Whether a model that is behind a baseline serves where none does yet: a slate that ranks
        a little worse than it could is better than none."""

    def train(
        self,
        facts: Facts,
        settings: Settings,
        config: Config,
        *,
        until: datetime | None,
        refit: bool,
        progress: Progress,
    ) -> Trained[SavedModel]:
        """Fit and evaluate at the cut; then refit on all data before `until` when `refit` is set.

        Raises BadInput with too little data, saying how much there is and how much is needed.
        """

    def evaluate(
        self,
        facts: Facts,
        settings: Settings,
        config: Config,
        *,
        until: datetime | None,
        split: str,
        progress: Progress,
    ) -> Evaluation:
        """Return ours beside the baselines on the same data; nothing is refitted."""
