"""The shares that a bandit's results lead to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.settings import Settings
from experiments.analysis.comparisons import MetricResult
from experiments.analysis.report import ExperimentReport, VariantResult
from experiments.analysis.verdict import Verdict
from experiments.definition import Experiment, Variant
from experiments.metrics import load_metrics
from features.contracts.clock import SystemClock
from serving.experiments.running_looks import compute_shares

METRICS = load_metrics(Settings(home=Path("unused")))
ARMS = (Variant("old", 0.5), Variant("new", 0.5))
BANDIT = Experiment(
    "bandit", ("home",), ARMS, "old", "bandit", "?", unit="session", allocation="thompson"
)


def share(n: int, means: tuple[float, float]) -> dict[str, float]:
    """Return the shares after n units of each variant with these conversions."""
    variants = tuple(
        VariantResult(arm.name, n, 0, {"purchase_conversion": MetricResult(mean, None, error=0.0)})
        for arm, mean in zip(ARMS, means, strict=True)
    )
    now = SystemClock().now()
    report = ExperimentReport(
        experiment="bandit",
        status="running",
        as_of=now,
        stopped_at=None,
        counted_until=now,
        primary_metric="purchase_conversion",
        control="old",
        variants=variants,
        other_currency=(),
        n_mixed=0,
        n_unknown=0,
        sample_ratio_p_value=None,
        verdict=Verdict("running"),
    )
    rng = np.random.default_rng(3)
    return compute_shares(BANDIT, report, METRICS["purchase_conversion"], rng)


def test_while_nobody_bought_the_variants_stay_alike() -> None:
    """Both are Beta(1, 201): each is the better one with a chance of a half."""
    shares = share(200, (0.0, 0.0))
    assert shares["old"] == pytest.approx(0.5, abs=0.02)


def test_few_units_move_nothing() -> None:
    assert share(20, (0.0, 0.5)) == {"old": 0.5, "new": 0.5}


def test_a_clear_winner_gets_all_but_the_floor() -> None:
    assert share(1_000, (0.05, 0.2)) == {"old": 0.05, "new": 0.95}
