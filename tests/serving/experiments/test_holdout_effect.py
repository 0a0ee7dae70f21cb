"""What all recommendations bring: the change from a shop without them to one with them."""

from __future__ import annotations

import pytest

from experiments.analysis.comparisons import MetricResult
from experiments.analysis.report import ExperimentReport, VariantResult
from experiments.analysis.statistics import Difference
from experiments.analysis.verdict import Verdict
from serving.experiments.holdout_effect import measure_holdout
from tests.shops.served_shop import NOW


def make_report(relative: Difference | None) -> ExperimentReport:
    metrics = {"revenue_per_unit": MetricResult(1.0, relative, relative)}
    return ExperimentReport(
        experiment="holdout",
        status="running",
        as_of=NOW,
        stopped_at=None,
        counted_until=NOW,
        primary_metric="revenue_per_unit",
        control="all",
        variants=(VariantResult("all", 9, 0, {}), VariantResult("none", 9, 0, metrics)),
        other_currency=(),
        n_mixed=0,
        n_unknown=0,
        sample_ratio_p_value=None,
        verdict=Verdict("running"),
    )


def test_a_shop_that_loses_a_fifth_without_them_gains_a_quarter_by_them():
    effect = measure_holdout(make_report(Difference(-0.2, -0.5, 0.25, 0.1)))
    assert effect is not None
    assert effect.change == pytest.approx(1 / 0.8 - 1)
    assert effect.low == pytest.approx(1 / 1.25 - 1)
    assert effect.high == pytest.approx(1 / 0.5 - 1)


def test_nothing_is_said_while_too_little_is_known():
    assert measure_holdout(make_report(None)) is None
