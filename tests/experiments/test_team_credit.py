"""Credits of interleaved slates, and which ranker is better."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from experiments.analysis.team_credit import TeamCredits, compare_teams, credit_clicks

NAMES = ("recommendation_id", "unit_id", "item_id", "team")
SLATES = pa.Table.from_pylist(
    [
        dict(zip(NAMES, row, strict=True))
        for row in (
            ("s1", "anna", ["tea", "milk", "pin"], ["champion", "challenger", None]),
            ("s2", "anna", ["tea"], ["challenger"]),
            ("s3", None, ["oats"], ["champion"]),
            ("s4", "boris", ["oats"], None),
        )
    ]
)


def test_a_click_counts_for_the_team_that_gave_the_item():
    clicks = {("s1", "tea"), ("s1", "milk"), ("s2", "tea"), ("s3", "oats")}
    others = {("s1", "pin"), ("s1", "wine"), ("s4", "oats"), ("unknown", "tea")}
    credited = credit_clicks(SLATES, clicks | others, "challenger")
    rows = sorted(zip(credited.first.tolist(), credited.second.tolist(), strict=True))
    assert rows == [(1, 0), (1, 2)]  # s3, which has no unit, and anna


def test_without_clicks_there_is_no_preference():
    credited = credit_clicks(SLATES, set(), "challenger")
    assert len(credited.first) == 0
    assert compare_teams(credited) is None


def test_the_lead_is_the_mean_over_units():
    credited = TeamCredits(np.array([1, 0, 3, 0]), np.array([1, 2, 1, 5]))
    preference = compare_teams(credited)
    leads = np.array([0, 1, -0.5, 1])
    test = stats.ttest_1samp(leads, 0.0)
    interval = test.confidence_interval(0.95)
    assert preference.lead == pytest.approx(leads.mean())
    assert (preference.low, preference.high) == pytest.approx((interval.low, interval.high))
    assert preference.p_value == pytest.approx(test.pvalue)
    # Two of three units prefer the second team: p = 2 x (1/2)^3 x (3 + 1), at most 1.
    assert preference.sign_p_value == pytest.approx(1.0)
    assert preference.n_units == 4


def test_units_that_all_agree():
    always = compare_teams(TeamCredits(np.zeros(10, int), np.full(10, 2)))
    assert (always.lead, always.low, always.high) == (1.0, 1.0, 1.0)
    assert always.p_value == pytest.approx(2 * 0.5**10)
    never = compare_teams(TeamCredits(np.ones(10, int), np.ones(10, int)))
    assert (never.lead, never.p_value, never.sign_p_value) == (0.0, 1.0, 1.0)


def test_equal_rankers_are_called_different_in_one_case_of_twenty():
    rng = np.random.default_rng(8)
    n_runs, n_significant = 1_000, 0
    for _ in range(n_runs):
        clicks = rng.multinomial(2, [0.5, 0.5], 60)
        n_significant += compare_teams(TeamCredits(clicks[:, 0], clicks[:, 1])).p_value < 0.05
    # Four standard deviations of a binomial share.
    assert abs(n_significant / n_runs - 0.05) < 4 * np.sqrt(0.05 * 0.95 / n_runs)
