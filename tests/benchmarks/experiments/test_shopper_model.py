"""The shoppers of the benchmarks: clicks have the means that are computed for them."""

import numpy as np
import pytest

from tests.benchmarks.experiments.shopper_model import (
    READINGS,
    ShownSlates,
    compute_mean_clicks,
    compute_visit_shares,
    draw_clicks,
    draw_visits,
)

N = 40_000
ATTRACTION, CATEGORY = np.array([0.3, 0.2, 0.4]), np.array([1, 1, 2])


def repeat(n):
    """The same slate for n shoppers of the same activity."""
    return ShownSlates(np.tile(ATTRACTION, (n, 1)), np.tile(CATEGORY, (n, 1))), np.ones(n)


@pytest.mark.parametrize("reading", READINGS)
def test_drawn_clicks_have_the_computed_means(reading):
    clicks = draw_clicks(*repeat(N), reading, np.random.default_rng(3))
    means = compute_mean_clicks(*repeat(1), reading)[0]
    assert np.all(np.abs(clicks.mean(0) - means) < 4 * np.sqrt(means * (1 - means) / N))


def test_means_of_a_shopper_who_reads_from_the_top_by_hand():
    means = compute_mean_clicks(*repeat(1), "from the top")[0]
    reads_second = 0.7 * 0.85 + 0.3 * 0.4
    second = 0.2 * 0.5  # tired of the category above
    reads_third = reads_second * ((1 - second) * 0.85 + second * 0.4)
    assert means == pytest.approx([0.3, reads_second * second, reads_third * 0.4])


def test_the_reward_of_a_rank_depends_on_the_ranks_below_where_all_are_compared():
    shown, activity = repeat(1)
    better_below = ShownSlates(np.array([[0.3, 0.2, 0.8]]), shown.category)
    means = compute_mean_clicks(shown, activity, "compares all")[0]
    others = compute_mean_clicks(better_below, activity, "compares all")[0]
    assert others[0] < means[0]
    from_the_top = [
        compute_mean_clicks(slates, activity, "from the top")[0, 0]
        for slates in (shown, better_below)
    ]
    assert from_the_top[0] == from_the_top[1]


def test_the_shares_of_visits_are_those_of_drawn_visits():
    visits = draw_visits(N, np.random.default_rng(4))
    shares = np.bincount(visits.kind) / len(visits.kind)
    assert shares == pytest.approx(compute_visit_shares(), abs=0.02)
    assert len(np.unique(visits.shopper)) == N
