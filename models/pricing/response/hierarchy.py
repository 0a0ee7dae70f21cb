"""Empirical Bayes over a tree for several coefficients at once: item -> category -> ... -> shop.

The coefficients of an item are normal around those of its category, these around those of the
department, and so on up to a published prior. The covariances of each level are estimated by
expectation-maximisation (Dempster, Laird and Rubin, JRSS B 1977; Lindley and Smith, JRSS B 1972),
and posteriors are exact smoothing over the tree: what a category tells of an item never holds the
item's own data a second time.

S items, K coefficients, G groups of a level. Information form: a precision J (S, K, K) and
h = J × estimate (S, K), so that a coefficient about which an item knows nothing is no special case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array

_MAX_STEPS = 60
_MOST_ITEMS = 3_000  # of which spreads are estimated
_TOLERANCE = 1e-3  # relative change of the covariances at which their estimation ends
# Gauss-Hermite points and weights of a standard normal.
_POINTS = ((-np.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (np.sqrt(3.0), 1 / 6))


@dataclass(frozen=True)
class Messages:
    """What the data say of the coefficients of each of n nodes.

    precision   (n, K, K)
    weighted    (n, K) precision times estimate
    """

    precision: Float64Array
    weighted: Float64Array


@dataclass(frozen=True)
class GroupEvidence:
    """What is known of the groups of one level beside their children; None for nothing.

    level       number of the groups' level; the items are level 0
    shared      (G, K, K) covariance of an error that all estimates of a group have in common: it is
                in the group's mean as well as in each member
    messages    what other data say of the groups' own coefficients
    """

    level: int
    shared: Float64Array | None = None
    messages: Messages | None = None


@dataclass(frozen=True)
class TreePrior:
    """What is known before the data.

    mean, covariance   (K,), (K, K) of the coefficients of the whole shop
    spreads            per level, the lowest first: (K, K) covariance of a child around its parent
    strength           per level: how many children the prior spread counts as
    largest            (K,) standard deviation of a spread; what seems to exceed it is an error of
                       the data, larger than they state; None for no limit
    """

    mean: Float64Array
    covariance: Float64Array
    spreads: tuple[Float64Array, ...]
    strength: tuple[float, ...]
    largest: Float64Array | None = None


@dataclass(frozen=True)
class Posterior:
    """Posterior mean (n, K) and covariance (n, K, K) of each node."""

    mean: Float64Array
    covariance: Float64Array


@dataclass(frozen=True)
class FittedTree:
    """Posteriors of the nodes of each level, the shop last, and their spreads around parents.

    gains   per level below the shop, the lowest first: (n, K, K) by which a node's coefficients
            move with its parent's
    """

    levels: tuple[Posterior, ...]
    spreads: tuple[Float64Array, ...]
    gains: tuple[Float64Array, ...]


def list_parents(levels: Sequence[Int64Array], n: int) -> list[Int64Array]:
    """Return the parent of each node of each level, from group codes (S,) of nested levels.

    The n items are the lowest level, then the finest groups; above the coarsest is the whole shop.

    >>> [parents.tolist() for parents in list_parents([np.array([0, 0, 1])], 3)]
    [[0, 0, 1], [0, 0]]
    """
    parents = []
    finer_level = np.arange(n)
    for level in [*levels, np.zeros(n, np.int64)]:
        parent = np.zeros(int(finer_level.max()) + 1, np.int64)
        parent[finer_level] = level
        parents.append(parent)
        finer_level = level
    return parents


def fit_tree(
    messages: Messages,
    parents: Sequence[Int64Array],
    prior: TreePrior,
    of_groups: GroupEvidence,
) -> FittedTree:
    """Return the posteriors of all items.

    The spread of items within their groups is not known exactly: posteriors are averaged over it
    (three points of its approximate posterior), so their covariances contain this uncertainty.
    """
    # Spreads are known well from some thousand items; every so many of more stand for all.
    rows = slice(None, None, 1 + len(messages.weighted) // _MOST_ITEMS)
    some = Messages(messages.precision[rows], messages.weighted[rows])
    spreads = _estimate_spreads(some, [parents[0][rows], *parents[1:]], prior, of_groups)
    if prior.largest is not None:
        # What items seem to differ by beyond it is an error of their estimates.
        excess = np.diag(np.maximum(np.diag(spreads[0]) - prior.largest**2, 0.0))
        _, messages = _link(messages, excess)
        spreads = tuple(_limit_spread(spread, prior.largest) for spread in spreads)
    n_measured = _count_measured(messages, spreads[0])
    deviation = np.sqrt(2 / (prior.strength[0] + n_measured))
    smoothed = [
        _smooth(
            messages,
            parents,
            prior,
            of_groups,
            (spreads[0] * np.exp(z * deviation), *spreads[1:]),
        )
        for z, _ in _POINTS
    ]
    weights = [weight for _, weight in _POINTS]
    posteriors = [of_point.levels for of_point in smoothed]
    levels = tuple(_average(of_level, weights) for of_level in zip(*posteriors, strict=True))
    return FittedTree(levels, spreads, tuple(smoothed[len(_POINTS) // 2].gains))


def _average(posteriors: Sequence[Posterior], weights: Sequence[float]) -> Posterior:
    mean = sum(w * posterior.mean for w, posterior in zip(weights, posteriors, strict=True))
    covariance = np.zeros(posteriors[0].covariance.shape)
    for weight, posterior in zip(weights, posteriors, strict=True):
        distance = posterior.mean - mean
        covariance += weight * (posterior.covariance + _outer(distance))
    return Posterior(np.asarray(mean), covariance)


def _count_measured(messages: Messages, spread: Float64Array) -> float:
    """Return for how many items, in effect, the data say more than their group does."""
    n_coefficients = messages.weighted.shape[1]
    identity = np.eye(n_coefficients)
    gain: Float64Array = identity - np.linalg.inv(identity + spread @ messages.precision)
    return float(np.trace(gain, axis1=1, axis2=2).sum() / n_coefficients)


def _estimate_spreads(
    messages: Messages,
    parents: Sequence[Int64Array],
    prior: TreePrior,
    of_groups: GroupEvidence,
) -> tuple[Float64Array, ...]:
    """Return the covariance of each level (K, K), by expectation-maximisation."""
    spreads = prior.spreads
    for _ in range(_MAX_STEPS):
        moments = _smooth(messages, parents, prior, of_groups, spreads).moments
        updated = tuple(
            (strength * before + moment.sum(0)) / (strength + len(moment))
            for strength, before, moment in zip(prior.strength, prior.spreads, moments, strict=True)
        )
        change = max(
            float(np.abs(new - old).max()) / float(np.abs(old).max())
            for new, old in zip(updated, spreads, strict=True)
        )
        spreads = updated
        if change < _TOLERANCE:
            break
    return spreads


def _limit_spread(spread: Float64Array, largest: Float64Array) -> Float64Array:
    """Return a covariance (K, K) with standard deviations up to the `largest` (K,)."""
    scale = np.minimum(largest / np.sqrt(np.maximum(np.diag(spread), 1e-12)), 1.0)
    return np.asarray(spread * np.outer(scale, scale))


@dataclass(frozen=True)
class _Smoothed:
    """Posteriors, and per level the expected outer product of a child's deviation (n, K, K), and
    the gain of children on their parents."""

    levels: list[Posterior]
    moments: list[Float64Array]
    gains: list[Float64Array]


@dataclass(frozen=True)
class _Link:
    """A child given its parent: normal with mean gain × parent + offset, and a covariance."""

    gain: Float64Array
    offset: Float64Array
    covariance: Float64Array


def _link(messages: Messages, spread: Float64Array) -> tuple[_Link, Messages]:
    """Return the children given their parent, and what each tells of its parent.

    `spread` (K, K) or (n, K, K) is the covariance of a child around its parent.
    """
    identity = np.eye(messages.weighted.shape[1])
    gain = np.asarray(np.linalg.inv(identity + spread @ messages.precision), np.float64)
    covariance = np.asarray(gain @ spread, np.float64)
    offset = _multiply(covariance, messages.weighted)
    upward = Messages(
        messages.precision @ gain, _multiply(gain.transpose(0, 2, 1), messages.weighted)
    )
    return _Link(gain, offset, covariance), upward


def _sum_messages(messages: Messages, parent: Int64Array, n: int) -> Messages:
    k = messages.weighted.shape[1]
    precision, weighted = np.zeros((n, k, k)), np.zeros((n, k))
    np.add.at(precision, parent, messages.precision)
    np.add.at(weighted, parent, messages.weighted)
    return Messages(precision, weighted)


def _add_messages(messages: Messages, others: Messages) -> Messages:
    return Messages(messages.precision + others.precision, messages.weighted + others.weighted)


def _smooth(
    messages: Messages,
    parents: Sequence[Int64Array],
    prior: TreePrior,
    of_groups: GroupEvidence,
    spreads: Sequence[Float64Array],
) -> _Smoothed:
    """Pass messages up the tree, and posteriors down."""
    links: list[_Link] = []
    measured: _Link | None = None  # the measured group given the true one: shared error apart
    for level, parent in enumerate(parents):
        if level == of_groups.level and of_groups.shared is not None:
            measured, messages = _link(messages, of_groups.shared)
        if level == of_groups.level and of_groups.messages is not None:
            messages = _add_messages(messages, of_groups.messages)
        link, upward = _link(messages, spreads[level])
        links.append(link)
        n_above = len(parents[level + 1]) if level + 1 < len(parents) else 1
        messages = _sum_messages(upward, parent, n_above)
    prior_precision = np.linalg.inv(prior.covariance)
    covariance = np.linalg.inv(messages.precision + prior_precision)
    shop = Posterior(
        _multiply(covariance, messages.weighted + prior_precision @ prior.mean), covariance
    )
    levels, moments, gains = [shop], list[Float64Array](), list[Float64Array]()
    for level in reversed(range(len(parents))):
        above = Posterior(levels[-1].mean[parents[level]], levels[-1].covariance[parents[level]])
        link = links[level]
        if level == of_groups.level - 1 and measured is not None:
            link = _remove_shared_error(link, measured, parents[level])
        moments.append(_expect_deviation_products(link, above))
        levels.append(_follow(link, above))
        gains.append(link.gain)
    return _Smoothed(levels[::-1], moments[::-1], gains[::-1])


def _remove_shared_error(link: _Link, measured: _Link, parent: Int64Array) -> _Link:
    """Return the true items given their true group.

    `link` has the measured items given the measured group, `measured` the measured group given the
    true one. An item's deviation from its group is free of the error that the group shares.
    """
    deviation_gain = link.gain - np.eye(link.gain.shape[1])
    covariance = measured.covariance[parent]
    return _Link(
        gain=np.eye(link.gain.shape[1]) + deviation_gain @ measured.gain[parent],
        offset=link.offset + _multiply(deviation_gain, measured.offset[parent]),
        covariance=link.covariance
        + deviation_gain @ covariance @ deviation_gain.transpose(0, 2, 1),
    )


def _follow(link: _Link, above: Posterior) -> Posterior:
    """Return the posterior of children from that of their parents (n, ...)."""
    return Posterior(
        _multiply(link.gain, above.mean) + link.offset,
        link.gain @ above.covariance @ link.gain.transpose(0, 2, 1) + link.covariance,
    )


def _expect_deviation_products(link: _Link, above: Posterior) -> Float64Array:
    """Return the expected outer products (n, K, K) of the children's deviations from parents."""
    gain = link.gain - np.eye(link.gain.shape[1])
    deviation = _multiply(gain, above.mean) + link.offset
    spread = gain @ above.covariance @ gain.transpose(0, 2, 1) + link.covariance
    return np.asarray(_outer(deviation) + spread)


def _multiply(matrices: Float64Array, vectors: Float64Array) -> Float64Array:
    """Return matrices (n, K, K) times vectors (n, K)."""
    return np.asarray(np.einsum("nij,nj->ni", matrices, vectors))


def _outer(vectors: Float64Array) -> Float64Array:
    """Return the outer products (n, K, K) of vectors (n, K) with themselves."""
    return np.asarray(vectors[:, :, None] * vectors[:, None, :])
