"""Off-policy estimates: known answers, properties, and refusals."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.off_policy.estimators import (
    RewardModel,
    bootstrap_interval,
    estimate_value,
    measure_overlap,
)
from experiments.off_policy.logged_slates import LEVELS, LoggedSlates, compute_weights, pad_ranks
from features.contracts.errors import BadInput

N = 4_000


def make_slates(logged, target, reward, unit=None, shown=None):
    logged, target, reward = (np.asarray(values, float) for values in (logged, target, reward))
    return LoggedSlates(
        unit=np.arange(len(logged)) if unit is None else np.asarray(unit),
        shown=np.ones(logged.shape, bool) if shown is None else shown,
        logged=logged,
        target=target,
        reward=reward,
    )


def draw_one_rank(n=N, seed=1):
    """Slates of one rank: two items, clicked in 20 % and 50 %, logged 3 : 1, target 1 : 3."""
    rng = np.random.default_rng(seed)
    item = (rng.random(n) < 0.25).astype(int)
    reward = rng.random(n) < np.array([0.2, 0.5])[item]
    logged, target = np.array([0.75, 0.25])[item], np.array([0.25, 0.75])[item]
    return make_slates(logged[:, None], target[:, None], reward[:, None])


TRUTH = 0.25 * 0.2 + 0.75 * 0.5


def test_the_weights_of_each_level():
    slates = make_slates([[0.5, 0.25]], [[1.0, 0.5]], [[1, 1]])
    expected = {"slate": [2 * 2, 2 * 2], "cascade": [2, 2 * 2], "position": [2, 2]}
    before = {"slate": [1, 2], "cascade": [1, 2], "position": [1, 1]}
    for level in LEVELS:
        weights, earlier = compute_weights(slates, level)
        assert weights.tolist() == [expected[level]]
        assert earlier.tolist() == [before[level]]


def test_estimates_of_four_slates_by_hand(monkeypatch):
    monkeypatch.setattr("experiments.off_policy.estimators.MIN_EFFECTIVE_SIZE", 1)
    slates = make_slates(
        [[0.5], [0.5], [0.5], [0.5]], [[0.75], [0.75], [0.25], [0.25]], [[1], [0], [1], [1]]
    )
    # Weights 1.5, 1.5, .5, .5: their mean is 1.
    ips = estimate_value(slates, "ips")
    assert ips.value == pytest.approx((1.5 + 0.5 + 0.5) / 4)
    snips = estimate_value(slates, "snips")
    assert snips.value == pytest.approx(2.5 / 4)
    assert snips.overlap.effective_size == pytest.approx(4**2 / (2 * 1.5**2 + 2 * 0.5**2))
    model = RewardModel(np.full((4, 1), 0.5), np.full((4, 1), 0.6))
    robust = estimate_value(slates, "dr", model=model)
    assert robust.value == pytest.approx(0.6 + (1.5 * 0.5 - 1.5 * 0.5 + 2 * 0.5 * 0.5) / 4)


def test_the_target_that_was_logged_has_the_mean_reward():
    slates = draw_one_rank()
    same = make_slates(slates.logged, slates.logged, slates.reward)
    for method, level in itertools.product(("ips", "snips"), LEVELS):
        estimate = estimate_value(same, method, level)
        assert estimate.value == pytest.approx(slates.reward.mean())
        # The usual standard error of a mean; t with nearly 4,000 degrees of freedom. Clicks are
        # rarer than none, so a little more of the interval lies above.
        error = slates.reward.std(ddof=1) / np.sqrt(N)
        assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * error, rel=0.01)
        assert 1 < (estimate.high - estimate.value) / (estimate.value - estimate.low) < 1.1


def test_another_policy_is_estimated_from_what_was_logged():
    slates = draw_one_rank()
    model = RewardModel(np.full((N, 1), 0.3), np.full((N, 1), 0.3))
    for method in ("ips", "snips", "dr"):
        estimate = estimate_value(slates, method, model=model)
        assert estimate.low < TRUTH < estimate.high
        assert estimate.high - estimate.low < 0.12
    low, high = bootstrap_interval(slates, np.random.default_rng(3))
    snips = estimate_value(slates, "snips")
    assert (low, high) == pytest.approx((snips.low, snips.high), abs=0.01)


def test_a_right_model_makes_the_interval_narrower():
    slates = draw_one_rank()
    clicks = np.where(slates.logged == 0.75, 0.2, 0.5)
    model = RewardModel(clicks, np.full((N, 1), TRUTH))
    robust, plain = estimate_value(slates, "dr", model=model), estimate_value(slates, "ips")
    assert robust.high - robust.low < 0.8 * (plain.high - plain.low)


def test_slates_of_one_unit_count_as_one():
    slates = draw_one_rank(1_000)
    once = estimate_value(slates)
    again = [np.repeat(values, 4, axis=0) for values in (slates.logged, slates.target)]
    reward = np.repeat(slates.reward, 4, axis=0)
    unit = np.repeat(np.arange(1_000), 4)
    fourfold = estimate_value(make_slates(*again, reward, unit))
    assert (fourfold.n_slates, fourfold.n_units) == (4_000, 1_000)
    for name in ("value", "low", "high"):
        assert getattr(fourfold, name) == pytest.approx(getattr(once, name))


@given(st.integers(0, 2**32 - 1), st.sampled_from(LEVELS), st.integers(1, 4))
def test_the_order_of_slates_and_unused_ranks_change_nothing(seed, level, n_ranks):
    rng = np.random.default_rng(seed)
    shape = (400, n_ranks)
    logged = rng.uniform(0.4, 0.6, shape)
    target = logged * rng.choice([0.9, 1.1], shape)
    reward, unit = rng.random(shape), rng.integers(0, 300, 400)
    slates = make_slates(logged, target, reward, unit)
    expected = estimate_value(slates, level=level)
    order = rng.permutation(400)
    shown = np.hstack([np.ones(shape, bool), np.zeros((400, 1), bool)])
    unused = np.full((400, 1), 7.0)
    values = [np.hstack([array, unused])[order] for array in (logged, target, reward)]
    longer = make_slates(*values, unit[order], shown)
    assert estimate_value(longer, level=level).value == pytest.approx(expected.value)
    assert estimate_value(longer, level=level).high == pytest.approx(expected.high)


def test_lists_of_different_lengths_are_padded():
    padded, shown = pad_ranks([[0.5, 0.25], [], [1.0]])
    assert padded.tolist() == [[0.5, 0.25], [1, 1], [1, 1]]
    assert shown.tolist() == [[True, True], [False, False], [True, False]]


# --- refused ---


def test_a_log_without_a_slate_of_the_target_is_refused():
    slates = make_slates(np.full((500, 1), 0.5), np.zeros((500, 1)), np.ones((500, 1)))
    assert measure_overlap(slates).effective_size == 0
    with pytest.raises(BadInput, match="no slate that the target would show"):
        estimate_value(slates)


def test_items_that_the_log_cannot_show_are_refused():
    """The target shows a third item half of the time, which was never logged."""
    slates = draw_one_rank()
    partly = make_slates(slates.logged, slates.target / 2, slates.reward)
    with pytest.raises(BadInput, match=r"5\d% of what the target shows cannot occur|4\d%"):
        estimate_value(partly)


def test_probabilities_of_another_log_are_refused():
    slates = draw_one_rank()
    wrong = make_slates(slates.logged / 2, slates.target, slates.reward)
    with pytest.raises(BadInput, match="not those of the log"):
        estimate_value(wrong)


def test_few_heavy_weights_are_refused():
    rng = np.random.default_rng(4)
    is_rare = rng.random(N) < 0.02
    logged = np.where(is_rare, 0.02, 0.98)[:, None]
    target = np.where(is_rare, 0.98, 0.02)[:, None]
    with pytest.raises(BadInput, match=r"counts as 8\d slates"):
        estimate_value(make_slates(logged, target, np.ones((N, 1))))


@pytest.mark.parametrize(
    ("logged", "target", "message"),
    [(0.0, 0.5, "logged probability"), (1.2, 0.5, "logged probability"), (0.5, 1.2, "target")],
)
def test_values_that_are_no_probabilities_are_refused(logged, target, message):
    with pytest.raises(BadInput, match=message):
        make_slates([[logged]], [[target]], [[1]])


def test_arrays_of_different_shapes_are_refused():
    with pytest.raises(BadInput, match="target has not the shape"):
        make_slates([[0.5, 0.5]], [[0.5]], [[1, 1]])
    with pytest.raises(BadInput, match="one value per slate"):
        make_slates([[0.5]], [[0.5]], [[1]], unit=[1, 2])


def test_a_doubly_robust_estimate_needs_a_model():
    with pytest.raises(BadInput, match="reward model"):
        estimate_value(draw_one_rank(), "dr")
