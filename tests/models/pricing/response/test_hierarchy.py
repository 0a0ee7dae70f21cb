"""Posteriors over a tree of categories equal exact conditioning, and spreads are found again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pricing.response.hierarchy import (
    GroupEvidence,
    Messages,
    TreePrior,
    _smooth,
    fit_tree,
    list_parents,
)

NOTHING = GroupEvidence(1)


def make_messages(estimates, variances):
    """Messages of one coefficient from estimates and sampling variances (n,)."""
    precision = 1 / np.asarray(variances, float)
    return Messages(precision[:, None, None], (precision * np.asarray(estimates))[:, None])


def make_prior(mean, variance, spreads, strength=1e9):
    """A prior of one coefficient whose spreads (variances) the data cannot move."""
    return TreePrior(
        np.array([mean], float),
        np.array([[variance]], float),
        tuple(np.array([[spread]], float) for spread in spreads),
        (strength,) * len(spreads),
    )


def test_two_items_of_one_category_by_hand():
    # Estimates -1 and -3 of variance 1, spread 1 in the category, categories spread by 1 around a
    # shop of mean -2 and variance 1.
    messages = make_messages([-1.0, -3.0], [1.0, 1.0])
    parents = list_parents([np.array([0, 0])], 2)
    tree = fit_tree(messages, parents, make_prior(-2.0, 1.0, (1.0, 1.0)), NOTHING)
    items, category, shop = tree.levels
    # The category: prior variance 1 + 1, each item tells of it with variance 1 + 1.
    category_variance = 1 / (1 / 2 + 2 / 2)
    assert category.mean[0, 0] == pytest.approx(-2.0)
    assert category.covariance[0, 0, 0] == pytest.approx(category_variance, abs=1e-3)
    # The shop: the category tells of it with variance 2 / 2 + 1.
    assert shop.covariance[0, 0, 0] == pytest.approx(1 / (1 + 1 / 2), abs=1e-3)
    # What the category tells of an item leaves the item's own message out: the prior of variance 2
    # and the other item's message of variance 2 around -2 and the other's estimate.
    without_own = [(-2 / 2 + other / 2) / (1 / 2 + 1 / 2) for other in (-3.0, -1.0)]
    variance = 1 / (1 / 2 + 1 / 2) + 1  # and the item's own spread
    for item, own in enumerate((-1.0, -3.0)):
        expected = (own + without_own[item] / variance) / (1 + 1 / variance)
        assert items.mean[item, 0] == pytest.approx(expected, abs=1e-3)
        assert items.covariance[item, 0, 0] == pytest.approx(1 / (1 + 1 / variance), abs=1e-3)


def test_a_single_item_does_not_count_its_own_data_twice():
    parents = list_parents([np.array([0])], 1)
    prior = make_prior(-2.0, 1.0, (0.5, 0.5))
    tree = fit_tree(make_messages([-4.0], [2.0]), parents, prior, NOTHING)
    variance = 1.0 + 0.5 + 0.5
    assert tree.levels[0].mean[0, 0] == pytest.approx((-4.0 * variance - 2.0 * 2) / (2 + variance))
    assert tree.levels[0].covariance[0, 0, 0] == pytest.approx(1 / (1 / 2 + 1 / variance), abs=1e-3)


@st.composite
def trees(draw):
    """Items in categories in departments, with K coefficients; some know nothing of one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, k = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    category = np.unique(rng.integers(0, 3, n), return_inverse=True)[1].ravel()
    of_category = np.unique(rng.integers(0, 2, category.max() + 1), return_inverse=True)[1].ravel()
    return rng, n, k, [category, of_category[category]]


def draw_covariance(rng, k, scale=1.0):
    root = rng.normal(size=(k, k))
    return scale * (root @ root.T / k + 0.2 * np.eye(k))


def condition_directly(messages, levels, prior, spreads, shared=None):
    """Return means (S, K) and covariances (S, K, K) from the whole joint covariance of all items.

    Observations are estimates with precision J: `shared` (G, K, K) is an error in common of the
    finest groups.
    """
    n, k = messages.weighted.shape
    joint = np.tile(prior.covariance, (n, n))
    groupings = [np.arange(n), *levels]
    for spread, grouping in zip(spreads, groupings, strict=True):
        joint += np.kron(np.equal.outer(grouping, grouping), spread)
    noise = np.zeros((n * k, n * k))
    for item in range(n):
        rows = slice(item * k, (item + 1) * k)
        noise[rows, rows] = np.linalg.inv(messages.precision[item])
    if shared is not None:
        same = np.equal.outer(levels[0], levels[0])
        for i, j in zip(*np.nonzero(same), strict=True):
            noise[i * k : (i + 1) * k, j * k : (j + 1) * k] += shared[levels[0][i]]
    estimates = np.linalg.solve(messages.precision, messages.weighted[:, :, None])[:, :, 0]
    mean = np.tile(prior.mean, n)
    gain = joint @ np.linalg.inv(joint + noise)
    posterior = mean + gain @ (estimates.ravel() - mean)
    covariance = joint - gain @ joint
    blocks = [covariance[i * k : (i + 1) * k, i * k : (i + 1) * k] for i in range(n)]
    return posterior.reshape(n, k), np.stack(blocks)


@settings(max_examples=60, deadline=None)
@given(trees(), st.booleans())
def test_smoothing_is_exact_conditioning(tree, has_shared_error):
    rng, n, k, levels = tree
    precision = np.stack([np.linalg.inv(draw_covariance(rng, k)) for _ in range(n)])
    estimates = rng.normal(-2, 1, (n, k))
    messages = Messages(precision, np.einsum("nij,nj->ni", precision, estimates))
    spreads = [draw_covariance(rng, k, 0.5) for _ in range(3)]
    prior = TreePrior(
        rng.normal(size=k), draw_covariance(rng, k), tuple(spreads), (1.0,) * len(spreads)
    )
    shared = None
    if has_shared_error:
        shared = np.stack([draw_covariance(rng, k, 0.3) for _ in range(levels[0].max() + 1)])
    parents = list_parents(levels, n)
    smoothed = _smooth(messages, parents, prior, GroupEvidence(1, shared), spreads)
    mean, covariance = condition_directly(messages, levels, prior, spreads, shared)
    assert smoothed.levels[0].mean == pytest.approx(mean, abs=1e-8)
    assert smoothed.levels[0].covariance == pytest.approx(covariance, abs=1e-8)


def test_an_item_that_knows_nothing_has_what_its_category_says():
    messages = Messages(np.array([[[4.0]], [[0.0]]]), np.array([[4 * -3.0], [0.0]]))
    prior = make_prior(-2.0, 1.0, (0.3, 0.3))
    tree = fit_tree(messages, list_parents([np.array([0, 0])], 2), prior, NOTHING)
    items, category, _ = tree.levels
    assert items.mean[1] == pytest.approx(category.mean[0])
    expected = category.covariance[0] + 0.3
    assert items.covariance[1] == pytest.approx(expected, rel=1e-3)


def test_what_is_known_of_a_group_moves_its_items():
    nothing = Messages(np.zeros((3, 1, 1)), np.zeros((3, 1)))
    of_groups = GroupEvidence(1, None, make_messages([-4.0, -1.0], [0.1, 1e6]))
    prior = make_prior(-2.0, 0.5, (0.2, 0.5))
    parents = list_parents([np.array([0, 0, 1])], 3)
    items = fit_tree(nothing, parents, prior, of_groups).levels[0]
    # Prior variance of a group 1, evidence of variance .1.
    expected = (-2.0 / 1.0 + -4.0 / 0.1) / (1 / 1.0 + 1 / 0.1)
    assert items.mean[:2, 0] == pytest.approx([expected] * 2, abs=1e-3)
    assert -4.0 < items.mean[2, 0] < -2.0  # by way of the shop


def test_spreads_are_found_again():
    # 60 categories of 20 items: standard deviation .3 of items, .7 of categories, error .4.
    rng = np.random.default_rng(8)
    category = np.repeat(np.arange(60), 20)
    truth = -2.0 + 0.7 * rng.normal(size=60)[category] + 0.3 * rng.normal(size=1200)
    messages = make_messages(truth + 0.4 * rng.normal(size=1200), np.full(1200, 0.16))
    prior = make_prior(-2.6, 1.0, (0.2, 0.2), strength=2.0)
    tree = fit_tree(messages, list_parents([category], 1200), prior, NOTHING)
    assert np.sqrt(tree.spreads[0][0, 0]) == pytest.approx(0.3, abs=0.04)
    assert np.sqrt(tree.spreads[1][0, 0]) == pytest.approx(0.7, abs=0.15)
    # 90 % intervals hold 87 to 93 %, three standard errors of 1,200 draws.
    error = np.abs(tree.levels[0].mean[:, 0] - truth)
    within = error < 1.645 * np.sqrt(tree.levels[0].covariance[:, 0, 0])
    assert 0.87 <= within.mean() <= 0.93


def test_what_items_differ_by_beyond_the_largest_spread_is_an_error_of_their_estimates():
    n = 80
    estimates = -2.0 + np.random.default_rng(4).normal(0, 20, n)
    messages, parents = make_messages(estimates, [0.25] * n), [np.zeros(n, np.int64)]
    prior = make_prior(-2.0, 1.0, (0.2,), strength=10.0)
    believed = fit_tree(messages, parents, prior, NOTHING).levels[0]
    assert np.abs(believed.mean[:, 0] + 2).max() > 30
    limited = replace(prior, largest=np.array([2.2]))
    doubted = fit_tree(messages, parents, limited, NOTHING).levels[0]
    # A spread of 2.2 beside errors of 20: estimates count 2.2² / 20² of their distance.
    assert np.abs(doubted.mean[:, 0] + 2).max() < 2
    assert np.sqrt(doubted.covariance[:, 0, 0]).min() > 2
    # Spreads below it are as they were.
    wide = replace(prior, largest=np.array([100.0]))
    same = fit_tree(messages, parents, wide, NOTHING).levels[0]
    assert same.mean == pytest.approx(believed.mean)
