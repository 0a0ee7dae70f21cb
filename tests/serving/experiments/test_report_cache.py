"""Reports are computed once a minute for all who look, and anew where the experiment changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from experiments.definition import Experiment, Variant
from serving.experiments.report_cache import (
    KEEP_SECONDS,
    MAX_POINTS,
    ReportCache,
    list_instants,
)

START = datetime(2024, 5, 1, tzinfo=UTC)
TRIAL = Experiment(
    "trial", ("home",), (Variant("a", 0.5), Variant("b", 0.5)), "a", "trial", "they sell alike"
)


class Experiments:
    """Counts the reports that are asked for."""

    def __init__(self) -> None:
        self.experiment = TRIAL
        self.instants: list[datetime | None] = []

    def get(self, key: str) -> Experiment:
        return self.experiment

    def report(self, key: str, *, as_of: datetime | None = None) -> SimpleNamespace:
        self.instants.append(as_of)
        day = SimpleNamespace(day="2024-05-01")
        return SimpleNamespace(days=(day,), counted_until=START + timedelta(days=3, hours=6))


@pytest.fixture
def looked_at():
    experiments, seconds = Experiments(), [0.0]
    cache = ReportCache(experiments, lambda: seconds[0])  # type: ignore[arg-type]
    return SimpleNamespace(experiments=experiments, seconds=seconds, cache=cache)


def test_a_report_is_read_again_after_a_minute_or_a_change(looked_at):
    for _ in range(3):
        looked_at.cache.read("trial")
    assert len(looked_at.experiments.instants) == 1
    looked_at.seconds[0] = KEEP_SECONDS
    looked_at.cache.read("trial")
    assert len(looked_at.experiments.instants) == 2
    looked_at.experiments.experiment = replace(TRIAL, coverage=0.5)
    looked_at.cache.read("trial")
    assert len(looked_at.experiments.instants) == 3


def test_a_course_ends_with_the_report_of_now(looked_at):
    course = looked_at.cache.read_course("trial")
    ends = [START + timedelta(days=day) for day in (1, 2, 3)]
    assert looked_at.experiments.instants == [None, *ends]
    assert course[-1] is looked_at.cache.read("trial")


@pytest.mark.parametrize("n_days", [0, 1, 13, 14, 60, 365])
def test_instants_are_ends_of_days_in_order_and_few(n_days):
    instants = list_instants(START, START + timedelta(days=n_days, hours=1))
    assert len(instants) == min(n_days, MAX_POINTS - 1)
    assert instants == sorted(set(instants))
    assert all((at - START) % timedelta(days=1) == timedelta(0) for at in instants)
