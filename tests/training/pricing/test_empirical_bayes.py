import numpy as np
import pytest

from training.pricing.empirical_bayes import shrink_slopes


def test_two_items_meet_halfway_between_their_own_slope_and_the_mean():
    # Means -1 and -3, variances 1/2 each: the mean is -2, Q = 2 * (1 + 1) = 4, its expectation 1
    # and the scale 4 - 8 / 4 = 2, so the spread of true slopes is (4 - 1) / 2 = 3 / 2.
    mean, variance = shrink_slopes(np.array([-1.0, -3.0]), np.array([0.5, 0.5]), [])
    mean_error = (0.5 + 1.5) / 2  # variance of the mean of two draws
    prior = 1.5 + mean_error
    posterior = 1 / (1 / 0.5 + 1 / prior)
    assert variance == pytest.approx([posterior, posterior])
    assert mean == pytest.approx(
        [posterior * (-1 / 0.5 - 2 / prior), posterior * (-3 / 0.5 - 2 / prior)]
    )


def test_a_precise_slope_stays_and_a_vague_one_goes_to_its_category():
    rng = np.random.default_rng(3)
    truth = np.repeat([-1.0, -3.0], 200)
    estimates = truth + rng.normal(0, 0.3, 400)
    variances = np.full(400, 0.05)
    estimates[[0, 200]], variances[[0, 200]] = [5.0, -9.0], [1e4, 1e-6]
    mean, variance = shrink_slopes(estimates, variances, [np.repeat([0, 1], 200)])
    assert mean[0] == pytest.approx(-1.0, abs=0.1)
    assert mean[200] == pytest.approx(-9.0, abs=0.01)
    assert variance[200] < variance[1] < variance[0]


def test_a_category_of_one_is_drawn_to_its_department():
    estimates = np.array([-2.0, -2.1, -1.9, -2.0, 4.0])
    variances = np.array([0.1, 0.1, 0.1, 0.1, 10.0])
    category, department = np.array([0, 0, 1, 1, 2]), np.zeros(5, np.int64)
    mean, _ = shrink_slopes(estimates, variances, [category, department])
    assert -2.1 < mean[4] < -1.5


def test_the_order_of_items_does_not_matter():
    rng = np.random.default_rng(5)
    estimates, variances = rng.normal(-2, 1, 50), rng.uniform(0.1, 2, 50)
    codes, order = rng.integers(0, 4, 50), rng.permutation(50)
    codes[:4] = range(4)
    mean, variance = shrink_slopes(estimates, variances, [codes])
    again, variance_again = shrink_slopes(estimates[order], variances[order], [codes[order]])
    assert again == pytest.approx(mean[order])
    assert variance_again == pytest.approx(variance[order])
