"""Price responses shrunk over the tree of categories, with what is known before the data.

The published prior: 1,851 price elasticities have a mean of -2.62 (Bijmolt, van Heerde and Pieters,
New empirical generalizations on the determinants of price elasticity, Journal of Marketing Research
2005); they vary by about 1 between categories and shops, and by 2.2 in all. Announcements sell
beside the price (Inman, McAlister and Hoyer, Promotion signal, Journal of Consumer Research 1990).

How much the response to a regular price differs from the response to a reduction is learnt from the
shop: where they are the same on average they are taken to be nearly the same for each item, and
where reductions draw more buyers the ratio is one item's own matter too.

A shop's usual margins are evidence as well: prices that were set to earn fit the mean response of a
category (Lerner, The concept of monopoly, 1934), not that of each item. How well they fit is
learnt: where margins disagree with the sales they do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.response.hierarchy import (
    FittedTree,
    GroupEvidence,
    Messages,
    Posterior,
    TreePrior,
    fit_tree,
    list_parents,
)
from models.pricing.response.own_responses import (
    OwnResponses,
    measure_shared_errors,
)
from models.pricing.response.treatments import ANNOUNCED, DEPTH, REGULAR

PUBLISHED_MEAN = np.array([-2.62, -2.62, 0.1])
PUBLISHED_SPREAD = np.array([1.0, 1.2, 0.3])
_ITEM_SPREAD = np.array([0.45, 0.55, 0.12])
# Items do not differ by more than all published estimates do, the errors of these among it: slopes
# that seem to are those of something else that moved with the price.
_LARGEST_SPREAD = np.array([2.2, 2.2, 1.0])
_CORRELATION = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 1.0]])
# How many items, and categories or departments, the spreads above count as.
_ITEM_STRENGTH, _GROUP_STRENGTH = 10.0, 6.0
_ITEM_LEVEL, _GROUP_LEVEL = 0, 1  # of the tree
# Spread of an item's difference between its two slopes: a share of the mean difference, and a rest.
_SHARE_OF_DIFFERENCE, _LEAST_DIFFERENCE = 0.4, 0.02
_SHARE_OF_STEP, _LEAST_STEP = 0.3, 0.02
_GROUP_SHARE = 0.4  # of the spread of differences between items: that between categories
# Spread of implied slopes around the true ones before the data, and how many groups it counts as.
IMPLIED_SPREAD, IMPLIED_STRENGTH = 0.5, 2.0
_SMALLEST_RATIO, _LARGEST_RATIO = 0.2, 1.3


@dataclass(frozen=True)
class ShrunkenResponses:
    """Posterior means (S, 3) of the responses to `treatments`, and covariances (S, 3, 3).

    shop_error, category_error   (S,) parts of the standard errors of the regular responses: that
                                 common to all series, and the further one common to the series of
                                 the finest group
    """

    mean: Float64Array
    covariance: Float64Array
    shop_error: Float64Array
    category_error: Float64Array


def shrink_responses(
    own: OwnResponses, levels: Sequence[Int64Array], implied: Float64Array | None = None
) -> ShrunkenResponses:
    """Return the posteriors; `levels` hold group codes (S,), the finest level first.

    `implied` (G,) are the regular slopes that the groups' usual margins imply, NaN where unknown.
    """
    messages = own.messages
    n = len(own.estimate)
    parents = list_parents(levels, n)
    shared = measure_shared_errors(own, levels[0]) if levels else None
    shared_by_all = _measure_error_of_shop(own)
    of_groups = GroupEvidence(_GROUP_LEVEL, shared)
    first = fit_tree(messages, parents, _build_published_prior(len(parents)), of_groups)
    if implied is not None and levels:
        of_groups = GroupEvidence(
            _GROUP_LEVEL, shared, _read_implied_slopes(implied, first.levels[_GROUP_LEVEL])
        )
    shop = Posterior(first.levels[-1].mean[0], first.levels[-1].covariance[0])
    ratio = float(
        np.clip(shop.mean[REGULAR] / min(shop.mean[DEPTH], -0.3), _SMALLEST_RATIO, _LARGEST_RATIO)
    )
    # From here on the first coefficient is the regular slope less ratio × the depth slope.
    transform = np.eye(3)
    transform[REGULAR, DEPTH] = ratio
    tree = _fit_transformed(messages, parents, shop, transform, of_groups)
    items = tree.levels[_ITEM_LEVEL]
    covariance = transform @ items.covariance @ transform.T + shared_by_all
    of_group, of_shop = _measure_common_variances(tree, parents, transform[REGULAR])
    return ShrunkenResponses(
        mean=items.mean @ transform.T,
        covariance=covariance,
        shop_error=np.sqrt(of_shop + shared_by_all[REGULAR, REGULAR]),
        category_error=np.sqrt(np.maximum(of_group - of_shop, 0.0)),
    )


@dataclass(frozen=True)
class GroupSlopes:
    """Mean regular slopes of the G finest groups, as the sales say it.

    mean             (G,)
    own_variance     (G,) of the error of each
    common_variance  of the error that all have in common
    """

    mean: Float64Array
    own_variance: Float64Array
    common_variance: float


def find_group_slopes(own: OwnResponses, levels: Sequence[Int64Array]) -> GroupSlopes:
    """Return the mean slopes of the finest of at least one level; see `shrink_responses`."""
    parents = list_parents(levels, len(own.estimate))
    evidence = GroupEvidence(_GROUP_LEVEL, measure_shared_errors(own, levels[0]))
    tree = fit_tree(own.messages, parents, _build_published_prior(len(parents)), evidence)
    groups = tree.levels[_GROUP_LEVEL]
    variance = groups.covariance[:, REGULAR, REGULAR]
    of_shop = float(tree.levels[-1].covariance[0, REGULAR, REGULAR])
    common = min(of_shop, float(variance.min()))
    return GroupSlopes(
        mean=groups.mean[:, REGULAR],
        own_variance=variance - common,
        common_variance=common + float(_measure_error_of_shop(own)[REGULAR, REGULAR]),
    )


def _measure_common_variances(
    tree: FittedTree, parents: Sequence[Int64Array], combination: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return the variances (S,) that items have from their finest group, and from the shop.

    Of a `combination` (K,) of their coefficients.
    """
    ancestor = np.arange(len(parents[0]))
    loading = np.broadcast_to(combination, (len(ancestor), len(combination)))
    variances = []
    for level, parent in enumerate(parents):
        loading = np.einsum("sk,skl->sl", loading, tree.gains[level][ancestor])
        ancestor = parent[ancestor]
        covariance = tree.levels[level + 1].covariance[ancestor]
        variances.append(np.einsum("sk,skl,sl->s", loading, covariance, loading))
    return variances[0], variances[-1]


def _measure_error_of_shop(own: OwnResponses) -> Float64Array:
    """Return the covariance (3, 3) of the error that the posterior means of all items share.

    Where the data say nothing, as of depth and step where all reductions are of one depth, the
    posterior follows the prior and not the error of the estimates.
    """
    total = own.messages.precision.sum(0)
    prior_precision = np.diag(1 / PUBLISHED_SPREAD**2)
    reaching = np.linalg.solve(total + prior_precision, total)
    shared = measure_shared_errors(own, np.zeros(len(own.estimate), np.int64))[0]
    return np.asarray(reaching @ shared @ reaching.T)


def _build_published_prior(n_levels: int) -> TreePrior:
    spread = np.outer(_ITEM_SPREAD, _ITEM_SPREAD) * _CORRELATION
    return TreePrior(
        mean=PUBLISHED_MEAN,
        covariance=np.outer(PUBLISHED_SPREAD, PUBLISHED_SPREAD) * _CORRELATION,
        spreads=(spread,) * n_levels,
        strength=(_ITEM_STRENGTH, *[_GROUP_STRENGTH] * (n_levels - 1)),
        largest=_LARGEST_SPREAD,
    )


def _fit_transformed(
    messages: Messages,
    parents: Sequence[Int64Array],
    shop: Posterior,
    transform: Float64Array,
    of_groups: GroupEvidence,
) -> FittedTree:
    """Fit the tree in coordinates theta' with theta = transform × theta'."""
    covariance = shop.covariance
    difference = np.sqrt(
        (shop.mean[REGULAR] - shop.mean[DEPTH]) ** 2
        + covariance[REGULAR, REGULAR]
        + covariance[DEPTH, DEPTH]
        - 2 * covariance[REGULAR, DEPTH]
    )
    step = np.sqrt(shop.mean[ANNOUNCED] ** 2 + covariance[ANNOUNCED, ANNOUNCED])
    spread = np.array(
        [
            _LEAST_DIFFERENCE + _SHARE_OF_DIFFERENCE * difference,
            _ITEM_SPREAD[DEPTH],
            _LEAST_STEP + _SHARE_OF_STEP * step,
        ]
    )
    published = _build_published_prior(len(parents))
    inverse = np.linalg.inv(transform)
    item_covariance = np.diag(spread**2)
    # Categories differ in how far their slopes differ by less than their items do.
    group_covariance = np.diag((spread * np.array([_GROUP_SHARE, 1.0, 1.0])) ** 2)
    prior = TreePrior(
        mean=inverse @ published.mean,
        covariance=inverse @ published.covariance @ inverse.T,
        spreads=(
            item_covariance,
            *[group_covariance] * (len(parents) - 1),
        ),
        strength=published.strength,
        largest=published.largest,
    )
    shared, implied = of_groups.shared, of_groups.messages
    return fit_tree(
        _transform(messages, transform),
        parents,
        prior,
        GroupEvidence(
            of_groups.level,
            None if shared is None else inverse @ shared @ inverse.T,
            None if implied is None else _transform(implied, transform),
        ),
    )


def _transform(messages: Messages, transform: Float64Array) -> Messages:
    return Messages(transform.T @ messages.precision @ transform, messages.weighted @ transform)


def _read_implied_slopes(implied: Float64Array, groups: Posterior) -> Messages:
    """Return what implied slopes (G,) say of the groups, given the groups' first posteriors.

    They count as observations with a variance that is estimated from how far they lie from what
    the sales say, beyond the uncertainty of that.
    """
    known = np.isfinite(implied)
    distance = np.where(known, implied - groups.mean[:, REGULAR], 0.0)
    excess = np.maximum(distance**2 - groups.covariance[:, REGULAR, REGULAR], 0.0)[known]
    prior_weight = IMPLIED_STRENGTH * IMPLIED_SPREAD**2
    variance = (prior_weight + float(excess.sum())) / (IMPLIED_STRENGTH + len(excess))
    n_groups, n_coefficients = groups.mean.shape
    precision = np.zeros((n_groups, n_coefficients, n_coefficients))
    precision[known, REGULAR, REGULAR] = 1 / variance
    weighted = np.zeros((n_groups, n_coefficients))
    weighted[known, REGULAR] = implied[known] / variance
    return Messages(precision, weighted)
