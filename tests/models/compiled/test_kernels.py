"""Every compiled kernel computes what its numpy twin computes, on random inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compiled.candidate_columns import (
    PURCHASE_COLUMNS,
    SCORE_COLUMNS,
    make_candidate_columns,
    make_candidate_columns_numpy,
)
from models.compiled.factor_fold_in import fold_in_user, fold_in_user_numpy
from models.compiled.merge_candidates import merge_candidates, merge_candidates_numpy
from models.compiled.source_chances import (
    interpolate_chances,
    interpolate_chances_numpy,
    likeliest_sources,
    likeliest_sources_numpy,
)
from models.compiled.sparse_sums import add_rows, add_rows_in_pairs, add_rows_numpy
from models.compiled.top_items import (
    best_allowed_rows,
    best_allowed_rows_numpy,
    top_positions,
    top_positions_numpy,
)
from models.compiled.tree_scoring import add_tree_scores, add_tree_scores_numpy
from tests.shops.kernel_inputs import KernelInputs, SparseSums

SEEDS = st.integers(0, 10_000)
FEW_EXAMPLES = settings(max_examples=15)


def draw_inputs(seed: int, n_items: int = 300, n_bought: int = 20) -> KernelInputs:
    return KernelInputs(np.random.default_rng(seed), n_items, n_bought)


def sum_one_by_one(sums: SparseSums) -> np.ndarray:
    """Plain sums (n, columns), one addition at a time, in the order of the rows."""
    scores = np.zeros((len(sums.values), len(sums.pointers) - 1), np.float32)
    for weighting, values in enumerate(sums.values):
        for row, value in zip(sums.rows, values, strict=True):
            if row >= 0:
                for entry in range(sums.pointers[row], sums.pointers[row + 1]):
                    scores[weighting, sums.columns[entry]] += value * sums.data[entry]
    return scores


@FEW_EXAMPLES
@given(SEEDS, st.integers(1, 3), st.sampled_from([0, 1, 20]))
def test_sums_of_rows_equal_those_of_numpy_to_the_bit(
    seed: int, n_weightings: int, n_bought: int
) -> None:
    sums = draw_inputs(seed, n_bought=n_bought).sparse_sums(n_weightings, 40)
    assert np.array_equal(add_rows(*sums), add_rows_numpy(*sums))
    assert np.array_equal(add_rows(*sums), sum_one_by_one(sums))


@FEW_EXAMPLES
@given(SEEDS, st.sampled_from([0, 1, 20]))
def test_sums_in_pairs_equal_those_of_numpy(seed: int, n_bought: int) -> None:
    sums = draw_inputs(seed, n_bought=n_bought).sparse_sums(2, 40)
    pairs = add_rows_in_pairs(*sums)
    # A product and its addition may be rounded once instead of twice.
    assert pairs == pytest.approx(add_rows_numpy(*sums), rel=1e-5, abs=1e-5)
    assert pairs.flags.c_contiguous


@FEW_EXAMPLES
@given(SEEDS)
def test_sums_in_pairs_are_two_plain_sums_in_the_order_of_the_rows(seed: int) -> None:
    """Values are powers of two, so that products are exact and rounded once in either way; weights
    differ so much in size that another order of additions would give other bits."""
    sums = draw_inputs(seed).sparse_sums(2, 40)
    rng = np.random.default_rng(seed)
    powers = np.exp2(rng.integers(-20, 20, sums.data.shape)).astype(np.float32)
    mantissas = (1 + rng.integers(0, 2**22, sums.data.shape) / 2**22).astype(np.float32)
    values = rng.choice(np.array([-2.0, -0.5, 1.0, 4.0], np.float32), sums.values.shape)
    exact = sums._replace(values=values, data=powers * mantissas)
    assert np.array_equal(add_rows_in_pairs(*exact), sum_one_by_one(exact))
    reverse = exact._replace(rows=exact.rows[::-1], values=exact.values[:, ::-1])
    assert not np.array_equal(sum_one_by_one(reverse), sum_one_by_one(exact))


@FEW_EXAMPLES
@given(SEEDS, st.sampled_from([1, 7, 64]), st.sampled_from([0, 1, 20]))
def test_a_folded_in_user_solves_the_equations(seed: int, n_factors: int, n_bought: int) -> None:
    fold_in = draw_inputs(seed, n_bought=n_bought).fold_in(n_factors)
    assert fold_in_user(*fold_in) == pytest.approx(fold_in_user_numpy(*fold_in), rel=1e-3, abs=1e-4)


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 4), st.sampled_from([0, 1, 5, 300, 9_000]), st.integers(0, 250))
def test_the_top_positions_are_the_first_of_all_sorted(
    seed: int, n_digits: int, n: int, k: int
) -> None:
    scores = draw_inputs(seed).scores(n, n_digits)
    assert top_positions(scores, k).tolist() == top_positions_numpy(scores, k).tolist()


@given(SEEDS, st.integers(0, 2), st.integers(0, 40))
def test_the_best_allowed_rows_are_the_first_of_all_sorted(
    seed: int, n_digits: int, count: int
) -> None:
    inputs = draw_inputs(seed)
    positions = inputs.rng.permutation(inputs.n_items)[:100]
    scores = inputs.scores(len(positions), n_digits).astype(np.float64)
    allowed = inputs.rng.random(inputs.n_items) < 0.6
    expected = best_allowed_rows_numpy(positions, scores, allowed, count)
    assert best_allowed_rows(positions, scores, allowed, count).tolist() == expected.tolist()


@given(SEEDS, st.sampled_from([0, 1, 20]), st.sampled_from([0, 1, 200]))
def test_candidates_are_merged_as_sets(seed: int, n_bought: int, n_positions: int) -> None:
    inputs = draw_inputs(seed, n_bought=n_bought)
    bought = inputs.bought()
    again = bought[inputs.rng.random(n_bought) < 0.4]
    positions = np.concatenate([inputs.rng.integers(-1, 300, n_positions), again])
    expected = merge_candidates_numpy(positions, bought, again)
    assert merge_candidates(positions, bought, again).tolist() == expected.tolist()


@FEW_EXAMPLES
@given(SEEDS, st.sampled_from([0, 1, 20]), st.sampled_from([0, 1, 90]), st.booleans())
def test_columns_equal_those_of_numpy(
    seed: int, n_bought: int, n_candidates: int, ascending: bool
) -> None:
    inputs = draw_inputs(seed, n_bought=n_bought)
    columns = inputs.candidate_columns(n_candidates, 16)
    if not ascending:
        columns = columns._replace(candidates=inputs.rng.permutation(columns.candidates))
    table, expected = make_candidate_columns(*columns), make_candidate_columns_numpy(*columns)
    als = len(PURCHASE_COLUMNS) + SCORE_COLUMNS.index("als")
    # A product of factors is a sum in another order.
    assert table[:, als] == pytest.approx(expected[:, als], rel=1e-4, abs=1e-5)
    table[:, als] = expected[:, als]
    assert np.array_equal(table, expected, equal_nan=True)


@FEW_EXAMPLES
@given(SEEDS, st.sampled_from([2, 10, 64]), st.integers(0, 40))
def test_tree_scores_equal_those_of_numpy_to_the_bit(seed: int, n_leaves: int, n: int) -> None:
    inputs = draw_inputs(seed)
    trees, table = inputs.trees(12, n_leaves, 5), inputs.table(n, 5)
    scores = inputs.scores(n).astype(np.float64)
    expected = scores.copy()
    add_tree_scores(trees, table, scores)
    add_tree_scores_numpy(trees, table, expected)
    assert scores.tolist() == expected.tolist()


@FEW_EXAMPLES
@given(SEEDS, st.integers(0, 30))
def test_chances_equal_those_of_numpy(seed: int, n_rows: int) -> None:
    chances = draw_inputs(seed).chances(n_rows)
    scores = chances.matrix[:, chances.score_columns]
    # numpy multiplies slope and distance, the kernel share and rise.
    assert interpolate_chances(scores, *chances[-2:]) == pytest.approx(
        interpolate_chances_numpy(scores, *chances[-2:]), rel=1e-12
    )
    assert likeliest_sources(*chances).tolist() == likeliest_sources_numpy(*chances).tolist()
