"""What counts as a change of a regular price, and which grade follows from it."""

import numpy as np
import pytest

from features.contracts.pricing import EvidenceGrade
from models.pricing.response.evidence import (
    PriceEvidence,
    count_regular_changes,
    grade_evidence,
    measure_evidence,
)
from models.pricing.response.fit import ElasticityConfig, fit_elasticities
from models.pricing.response.panel import infer_list_prices
from models.pricing.response.treatments import build_treatments, combine_treatments
from tests.shops.price_panels import draw_price_panel, make_price_panel

GRADES = tuple(EvidenceGrade)


def count(*prices):
    return count_regular_changes(np.log([prices])).tolist()


def test_a_list_price_has_moved_where_it_stays_for_four_weeks_on_both_sides():
    assert count(*[2.0] * 10) == [0]
    assert count(*[2.0] * 5, *[2.2] * 5) == [1]
    assert count(*[2.0] * 5, *[2.2] * 5, *[2.0] * 5) == [2]
    assert count(*[2.0] * 5, *[2.2] * 3, *[2.0] * 5) == [0]  # and back: a reduction, or an error
    assert count(*[2.0] * 5, *[2.01] * 5) == [0]  # less than a percent
    assert count(*[2.0] * 5, *[np.nan] * 2, *[2.2] * 5) == [0]  # when it moved is unknown


def make_evidence(*n_changes):
    n = len(n_changes)
    return PriceEvidence(
        np.array(n_changes), np.full(n, 20, np.int64), np.full(n, 100.0), np.full(n, 200.0)
    )


@pytest.mark.parametrize(
    ("n_changes", "error", "grade"),
    [
        (6, 0.3, "A"),
        (5, 0.3, "B"),
        (6, 0.4, "B"),
        (1, 0.6, "B"),
        (0, 0.05, "C"),  # reductions alone, however well known
        (1, 0.7, "C"),
        (9, 1.3, "D"),
    ],
)
def test_grades_need_changes_and_a_narrow_interval(n_changes, error, grade):
    grades = grade_evidence(np.array([-2.0]), np.array([error]), make_evidence(n_changes))
    assert GRADES[grades[0]] == EvidenceGrade[grade]


def test_a_response_whose_interval_reaches_0_is_of_grade_d():
    # An 80 % interval ends 1.2816 standard errors from its mean.
    elasticity, error = np.array([-0.39, -0.38]), np.array([0.3, 0.3])
    grades = grade_evidence(elasticity, error, make_evidence(9, 9))
    assert [GRADES[grade] for grade in grades] == [EvidenceGrade.A, EvidenceGrade.D]


def test_evidence_of_a_panel():
    regular = np.array([[200.0] * 10 + [220.0] * 10])
    price = regular.copy()
    price[0, [3, 12]] = [150.0, 216.0]  # the second is no reduction: less than 5 %
    evidence = measure_evidence(make_price_panel(price, np.ones((1, 20)), list_price=regular), 0.05)
    assert evidence.n_regular_changes.tolist() == [1]
    assert evidence.n_reductions.tolist() == [1]
    assert (evidence.lowest[0], evidence.highest[0]) == pytest.approx((150.0, 220.0))


def test_usual_prices_stand_for_list_prices_that_nobody_recorded():
    usual = np.array([2.0] * 8 + [2.4] * 8)
    price = usual.copy()
    price[[3, 10, 11]] = [1.5, 1.9, 1.9]
    price[5] = np.nan
    inferred = np.exp(infer_list_prices(np.log(price[None]))[0])
    known = np.isfinite(price)
    assert inferred[known] == pytest.approx(usual[known])
    # Never below the price: a single dear week is its own list price.
    dear = np.array([[2.0, 2.0, 2.6, 2.0, 2.0]])
    assert np.exp(infer_list_prices(np.log(dear))) == pytest.approx(dear)


def test_reductions_that_follow_on_each_other_are_seldom_taken_for_regular_prices():
    # A reduction in a fifth of the weeks, and no list price recorded.
    rng = np.random.default_rng(1)
    price = np.where(rng.random((300, 80)) < 0.2, 350.0, 500.0)
    n_changes = count_regular_changes(infer_list_prices(np.log(price)))
    assert (n_changes > 0).mean() < 0.06


def test_treatments_are_regular_price_depth_and_announcement():
    regular = np.array([[200.0, 200.0, 250.0, 250.0]])
    price = np.array([[200.0, 150.0, 250.0, np.nan]])
    panel = make_price_panel(price, np.ones((1, 4)), list_price=regular)
    treatments = build_treatments(panel)
    assert treatments[0, 0] == pytest.approx([np.log(200), np.log(200), np.log(250), 0])
    assert treatments[1, 0] == pytest.approx([0, np.log(150 / 200), 0, 0])
    assert treatments[2, 0].tolist() == [0, 1, 0, 0]
    whole = combine_treatments(np.array([[-2.0, -3.0, 0.2]]), treatments)
    assert whole[0, 1] == pytest.approx(-2 * np.log(200) - 3 * np.log(0.75) + 0.2)


def test_what_an_announcement_sells_is_no_response_to_the_regular_price():
    """Announced reductions that lift sales by 30 % beside their price, in 120 items."""
    truth = np.random.default_rng(5).normal(-2.1, 0.4, 120)
    panel = draw_price_panel(truth, n_weeks=104, lift=np.log(1.3), regular_moves=6)
    columns = fit_elasticities(panel, ElasticityConfig()).columns
    assert abs((columns["elasticity"] - truth).mean()) <= 0.15
    assert columns["announced"].mean() == pytest.approx(np.log(1.3), abs=0.08)
    # 90 % of a normal lies within 1.645 standard errors; 120 draws: at least 99 with p > .99
    within = np.abs(columns["elasticity"] - truth) < 1.645 * columns["error"]
    assert within.sum() >= 99


def test_where_regular_prices_never_moved_every_grade_is_c_or_d():
    truth = np.random.default_rng(5).normal(-2.1, 0.4, 120)
    panel = draw_price_panel(truth, n_weeks=104, lift=np.log(1.3))
    model = fit_elasticities(panel, ElasticityConfig())
    response = model.find_response(panel.item_ids, "default")
    assert set(response.grade) <= {EvidenceGrade.C, EvidenceGrade.D}
    assert (response.n_changes == 0).all()
    # Nor is the response taken for as well known as the depth's: its interval holds the truth.
    within = np.abs(response.elasticity - truth) < 1.645 * response.error
    assert within.sum() >= 99
