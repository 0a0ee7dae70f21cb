"""Spend and save on simulated orders of known spend and known stretching."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pricing.promotions.spend_threshold import (
    EDGES,
    PRIOR_STRETCH,
    PastOffer,
    SpendOffer,
    SpendOrders,
    learn_stretch,
)

ORDERS = SpendOrders.from_mean(2_000.0, 0.7)
OFFER = SpendOffer(threshold=3_000.0, saving=500.0)


def draw_spend(rng, n, stretch, offer=OFFER, shift=0.0):
    """Return the spend of n orders (n,) without and under an offer."""
    spend = np.exp(ORDERS.log_mean + shift + ORDERS.log_sd * rng.standard_normal(n))
    multiple = np.floor(spend / offer.threshold) + 1 if offer.repeats else np.ones(n)
    gap = multiple * offer.threshold - spend
    stretches = (gap > 0) & (rng.random(n) < np.exp(-np.maximum(gap, 0) / (stretch * offer.saving)))
    return spend, np.where(stretches, spend + gap, spend)


def count_bins(spend, offer=OFFER):
    return np.histogram(spend / offer.threshold, EDGES)[0]


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("stretch", [0.0, 0.3, 1.5])
def test_the_outcome_is_that_of_simulated_orders(stretch, repeats):
    rng, n = np.random.default_rng(3), 2_000_000
    offer = SpendOffer(OFFER.threshold, OFFER.saving, repeats)
    before, after = draw_spend(rng, n, max(stretch, 1e-9), offer)
    times = np.floor(after / offer.threshold + 1e-9)
    times = times if repeats else np.minimum(times, 1)
    outcome = ORDERS.apply_offer(offer, np.array([stretch]))
    # Tolerances: four standard errors of a mean over two million orders.
    reached = after >= offer.threshold
    stretched = reached & (before < offer.threshold)
    assert outcome.qualifying[0] == pytest.approx(reached.mean(), abs=4 * 0.5 / math.sqrt(n))
    assert outcome.stretching[0] == pytest.approx(stretched.mean(), abs=4 * 0.5 / math.sqrt(n))
    added = after - before
    assert outcome.added[0] == pytest.approx(
        added.mean(), abs=4 * added.std() / math.sqrt(n) + 1e-6
    )
    saved = offer.saving * times
    assert outcome.saved[0] == pytest.approx(saved.mean(), abs=4 * saved.std() / math.sqrt(n))


def test_without_stretching_the_lognormal_tail_qualifies():
    outcome = ORDERS.apply_offer(OFFER, np.array([0.0]))
    z = (math.log(3_000) - ORDERS.log_mean) / 0.7
    share = 0.5 * math.erfc(z / math.sqrt(2))
    assert outcome.qualifying[0] == pytest.approx(share)
    assert outcome.saved[0] == pytest.approx(500 * share)
    assert outcome.added[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("truth", [0.1, 0.5, 2.0])
def test_the_stretch_of_a_past_campaign_is_learnt(truth):
    rng = np.random.default_rng(5)
    z = []
    for _ in range(20):
        past = [PastOffer(OFFER, ORDERS, count_bins(draw_spend(rng, 3_000, truth)[1]))]
        learnt = learn_stretch(past)
        z.append((math.log(learnt.value) - math.log(truth)) / learnt.log_error)
        assert learnt.log_error < PRIOR_STRETCH.log_error
    # 20 posteriors: the mean of a standard normal has the standard error .22, allowed are three.
    assert abs(np.mean(z)) < 3 * 0.22 + 0.2
    assert 0.5 < np.std(z) < 1.6


def test_orders_that_spend_more_during_a_campaign_are_not_taken_for_stretching():
    rng = np.random.default_rng(6)
    spend = draw_spend(rng, 20_000, 1e-9, shift=0.2)[0]
    learnt = learn_stretch([PastOffer(OFFER, ORDERS, count_bins(spend))])
    assert learnt.value < 0.1
    naive = (spend >= OFFER.threshold).mean() - float(ORDERS.share_from(OFFER.threshold))
    assert naive > 0.04  # what looks like stretching by the share above the threshold alone


def test_several_campaigns_say_more_than_one_and_none_leaves_the_prior():
    rng = np.random.default_rng(7)
    repeating = SpendOffer(2_500.0, 400.0, repeats=True)
    past = [
        PastOffer(OFFER, ORDERS, count_bins(draw_spend(rng, 1_000, 0.8)[1])),
        PastOffer(
            repeating, ORDERS, count_bins(draw_spend(rng, 1_000, 0.8, repeating)[1], repeating)
        ),
    ]
    one, both = learn_stretch(past[:1]), learn_stretch(past)
    assert both.log_error < one.log_error
    assert abs(math.log(both.value / 0.8)) < 3 * both.log_error
    none = learn_stretch([])
    assert math.log(none.value) == pytest.approx(math.log(PRIOR_STRETCH.value), abs=0.05)


@settings(max_examples=60, deadline=None)
@given(
    mean=st.floats(100, 1e5),
    log_sd=st.floats(0.2, 1.5),
    ratio=st.floats(0.2, 5),
    saving=st.floats(0.01, 0.9),
    stretch=st.floats(0, 3),
    repeats=st.booleans(),
)
def test_more_stretching_means_more_orders_more_spend_and_more_given_away(
    mean, log_sd, ratio, saving, stretch, repeats
):
    orders = SpendOrders.from_mean(mean, log_sd)
    offer = SpendOffer(mean * ratio, mean * ratio * saving, repeats)
    outcome = orders.apply_offer(offer, np.array([0.0, stretch, stretch + 0.5]))
    for values in (outcome.qualifying, outcome.stretching, outcome.added, outcome.saved):
        assert np.all(np.diff(values) >= -1e-9 * mean) and np.all(values >= -1e-12)
    assert np.all(outcome.qualifying <= 1 + 1e-6)
    shares = orders.share_of_bins(offer, np.array([0.0, stretch]))
    assert shares.sum(1).tolist() == pytest.approx([1, 1])
