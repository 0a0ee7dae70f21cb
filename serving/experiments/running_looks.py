"""The looks at running experiments: a broken guardrail stops one, and the shares of a bandit follow
its results."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from configs.settings import Settings
from experiments.definition import Experiment
from features.contracts.errors import Unavailable
from features.database import transaction
from serving.database.audit_log import WATCH
from serving.experiments.repository import ExperimentStates
from serving.experiments.service import ExperimentService

if TYPE_CHECKING:
    from experiments.analysis.comparisons import MetricResult
    from experiments.analysis.report import ExperimentReport
    from experiments.bandit import Posterior
    from experiments.metrics import Metric

log = logging.getLogger(__name__)
_PAUSE = timedelta(seconds=20)  # between two looks: a broken guardrail stops within a minute
_BANDIT_PAUSE = timedelta(minutes=15)
_LEAST_MOVE = 0.01
_LEAST_UNITS = 50


def _make_workers() -> Executor:
    return ThreadPoolExecutor(1, thread_name_prefix="experiments")


class ExperimentWatch:
    """Looks for one process. Of many processes one looks, and an experiment is stopped once.

    workers   one thread: a report reads the events since the start, and nothing waits for it
    problem   which experiments could not be looked at; None where all were
    """

    def __init__(
        self, experiments: ExperimentService, settings: Settings, workers: Executor | None = None
    ) -> None:
        self._experiments, self._seed = experiments, settings.seed
        self.workers = workers or _make_workers()
        self.problem: str | None = None
        self._look: Future[None] | None = None
        self._looked_at: datetime | None = None

    def tick(self, now: datetime) -> None:
        """Begin to look at what runs, every _PAUSE of system time. Raises Unavailable for what kept
        the last look from an experiment."""
        is_running = self._look is not None and not self._look.done()
        is_soon = self._looked_at is not None and now - self._looked_at < _PAUSE
        if not is_running and not is_soon and self._list_watched():
            self._looked_at = now
            self._look = self.workers.submit(self._look_in_turn, now)
        if self.problem is not None:
            raise Unavailable(self.problem)

    def look(self) -> None:
        """Look at every running experiment that has a guardrail or moves its shares."""
        self._look_at_all(self._look_at)

    def _look_in_turn(self, now: datetime) -> None:
        """Look at those at which no other process has looked since the last pause."""

        def look_at(experiment: Experiment) -> None:
            with transaction(self._experiments.engine) as connection:
                # A process ticks somewhat later each time: it must not miss its own turn.
                is_turn = ExperimentStates(connection).claim_look(experiment.key, now, _PAUSE / 2)
            if is_turn:
                self._look_at(experiment)

        self._look_at_all(look_at)

    def _look_at_all(self, look_at: Callable[[Experiment], None]) -> None:
        problems = []
        for experiment in self._list_watched():
            try:
                look_at(experiment)
            except Exception as error:  # the others are looked at all the same
                log.warning("experiment %s: %s", experiment.key, error, exc_info=True)
                problems.append(f"experiment {experiment.key}: {error}")
        self.problem = "; ".join(problems) or None

    def _list_watched(self) -> list[Experiment]:
        return [
            experiment
            for experiment in self._experiments.current.values()
            if experiment.running and (experiment.guardrails or experiment.allocation == "thompson")
        ]

    def _look_at(self, experiment: Experiment) -> None:
        from experiments.analysis.verdict import describe_harm

        report = self._experiments.report(experiment.key, is_look=True)
        harms = [harm for rail in report.guardrails if (harm := describe_harm(rail)) is not None]
        if harms:
            reason = "; ".join(harms)
            with transaction(self._experiments.engine) as connection:
                self._experiments.switch(
                    connection, experiment.key, "stopped", actor=WATCH, reason=reason
                )
            log.warning("experiment %s was stopped: %s", experiment.key, reason)
            self._experiments.refresh()
        elif experiment.allocation == "thompson":
            self._move_shares(experiment, report)

    def _move_shares(self, experiment: Experiment, report: ExperimentReport) -> None:
        """Store shares that follow the results, where they move by more than _LEAST_MOVE."""
        metric = self._experiments.metrics[experiment.primary_metric]
        rng = np.random.default_rng(self._seed)
        shares = compute_shares(experiment, report, metric, rng)
        if all(
            abs(shares[variant.name] - variant.weight) < _LEAST_MOVE
            for variant in experiment.variants
        ):
            return
        with transaction(self._experiments.engine) as connection:
            state = self._experiments.read_state(connection, experiment.key)
            begun = (state.started_at or self._experiments.now()).isoformat()
            first = {variant.name: variant.weight for variant in experiment.variants}
            weights = dict(state.weights or {begun: first})
            at = self._experiments.now()
            last = datetime.fromisoformat(max(weights))
            if state.status != "running" or (state.weights and at - last < _BANDIT_PAUSE):
                return
            state = replace(state, weights={**weights, at.isoformat(): shares})
            self._experiments.set_state(connection, experiment.key, state, "move_shares", WATCH)
        self._experiments.refresh()


def compute_shares(
    experiment: Experiment, report: ExperimentReport, metric: Metric, rng: np.random.Generator
) -> dict[str, float]:
    """Return the shares of a bandit's variants by their results, rounded to thousandths.

    While a variant has fewer than _LEAST_UNITS units, or values without any spread, all variants
    have the same chance.
    """
    from experiments.bandit import allocate_shares, compute_best_chances

    results = [variant.metrics[experiment.primary_metric] for variant in report.variants]
    posteriors = [
        _know(result, variant.n, metric)
        for result, variant in zip(results, report.variants, strict=True)
    ]
    if any(variant.n < _LEAST_UNITS for variant in report.variants):
        chances = np.full(len(results), 1 / len(results))
    else:
        chances = compute_best_chances(posteriors, rng)
    shares = allocate_shares(chances, experiment.floor).round(3)
    shares[int(np.argmax(shares))] += 1.0 - shares.sum()
    names = [variant.name for variant in report.variants]
    return dict(zip(names, shares.round(6).tolist(), strict=True))


def _know(result: MetricResult, n: int, metric: Metric) -> Posterior:
    """Return what is known of a variant's mean; of a share of units also where none or all did."""
    from experiments.bandit import BetaPosterior, NormalPosterior

    mean = result.mean or 0.0
    if metric.kind == "mean" and metric.quantity == "share" and metric.better == "higher":
        n_successes = round(mean * n)
        return BetaPosterior(n_successes, n - n_successes)
    sign = 1.0 if result.better == "higher" else -1.0
    return NormalPosterior(sign * mean, result.error or math.inf)
