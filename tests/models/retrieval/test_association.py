"""Rules between items against arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from models.retrieval.association import Association, AssociationConfig, fit_association

# Of eight orders: bread in four, butter in four, both in three; soap in four, with bread in one.
BREAD, BUTTER, SOAP = 0, 1, 2
ORDERS = [(1, 1, 0), (1, 1, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (0, 0, 1), (0, 0, 1), (0, 0, 0)]


def fit(orders: list[tuple[int, ...]] = ORDERS, **options: float) -> Association:
    ids = np.array([f"i{n}" for n in range(len(orders[0]))], object)
    config = AssociationConfig(**({"min_pairs": 1, "prior": 2.0} | options))  # type: ignore[arg-type]
    return fit_association(ids, sparse.csr_matrix(np.array(orders, np.float32)), config)


def test_support_confidence_and_lift_are_shares_of_orders() -> None:
    evidence = fit().find_evidence(BREAD, BUTTER)
    assert evidence is not None
    assert evidence.support == pytest.approx(3 / 8)
    assert evidence.confidence == pytest.approx(3 / 4)
    assert evidence.lift == pytest.approx((3 / 4) / (4 / 8))


def test_the_score_is_shrunken_confidence_times_log_lift() -> None:
    confidence = (3 + 2 * 4 / 8) / (4 + 2)
    assert fit().score(np.array([BREAD]))[BUTTER] == pytest.approx(
        confidence * math.log(confidence / (4 / 8))
    )


def test_a_pair_rarer_than_chance_is_no_rule() -> None:
    assert fit().find_evidence(BREAD, SOAP) is None
    assert fit().score(np.array([BREAD]))[SOAP] == 0


def test_rules_of_several_items_add_up_and_the_strongest_is_returned() -> None:
    model = fit(
        [(1, 1, 1, 0), (1, 0, 1, 0), (0, 1, 1, 0), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 1)]
    )
    alone = [model.score(np.array([row]))[2] for row in (0, 1)]
    total, strongest = model.sum_and_strongest(np.array([0, 1]))
    assert (total[2], strongest[2]) == pytest.approx((sum(alone), max(alone)))


def test_one_common_order_does_not_outdo_many() -> None:
    """Item 0 met item 1 in its single order; item 2 met item 3 in nine of its ten."""
    orders = (
        [(1, 1, 0, 0)]
        + [(0, 0, 1, 1)] * 9
        + [(0, 0, 1, 0)]
        + [(0, 1, 0, 0)] * 8
        + [(0, 0, 0, 0)] * 20
    )
    model = fit(orders, prior=10.0)
    assert model.find_evidence(0, 1).confidence > model.find_evidence(2, 3).confidence  # type: ignore[union-attr]
    assert model.score(np.array([0]))[1] < model.score(np.array([2]))[3]


def test_too_few_orders_make_no_rule_and_only_the_strongest_are_kept() -> None:
    assert fit(min_pairs=4).pairs.nnz == 0
    orders = [(1, 1, 1)] * 3 + [(1, 1, 0)] * 2 + [(0, 0, 1)] * 2 + [(0, 0, 0)] * 5
    assert fit(orders, n_neighbors=1).pairs[0].indices.tolist() == [BUTTER]


def test_a_long_order_counts_by_evenly_spaced_lines() -> None:
    model = fit([(1,) * 9, *[(0,) * 9] * 3], max_lines=3)
    assert np.unique(model.pairs.nonzero()[0]).tolist() == [2, 5, 8]
    assert model.counts.tolist() == [1] * 9
