"""The compiled trees answer what LightGBM answers, to the bit, and early exit loses nothing of the
best."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.errors import BadInput
from models.compiled.tree_scoring import add_tree_scores
from models.ranking.lambdarank import GroupedRows, Ranker, RankerConfig, fit_ranker
from models.ranking.trees import parse_trees

N_COLUMNS = 6


def table(seed: int, n: int, *, missing: float) -> np.ndarray:
    """Rows with ties, missing values, zeros and infinities."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, N_COLUMNS)).astype(np.float32)
    matrix[:, 1] = rng.integers(0, 4, n)
    matrix[rng.random(matrix.shape) < missing] = np.nan
    matrix[rng.random(matrix.shape) < 0.05] = 0
    matrix[rng.random(matrix.shape) < 0.01] = np.inf
    return matrix


def ranker(seed: int, *, n_leaves: int = 15, missing: float = 0.2, n_trees: int = 30) -> Ranker:
    matrix = table(seed, 3_000, missing=missing)
    wanted = np.nan_to_num(matrix[:, 0], posinf=1) + np.nan_to_num(matrix[:, 1]) > 1.5
    config = RankerConfig(n_trees=n_trees, n_leaves=n_leaves, min_rows_in_leaf=20)
    return fit_ranker(
        GroupedRows(matrix, wanted, np.full(100, 30), tuple("abcdef")), config, seed=seed
    )


@settings(max_examples=12)
@given(
    seed=st.integers(0, 1_000),
    n_leaves=st.sampled_from([2, 7, 31, 64]),
    missing=st.sampled_from([0.0, 0.3]),
    asked_missing=st.sampled_from([0.0, 0.5, 1.0]),
    n=st.integers(1, 70),
)
def test_scores_are_lightgbms_to_the_bit(
    seed: int, n_leaves: int, missing: float, asked_missing: float, n: int
) -> None:
    fitted = ranker(seed, n_leaves=n_leaves, missing=missing)
    asked = table(seed + 1, n, missing=asked_missing)
    assert fitted.score(asked).tolist() == fitted.booster.predict(asked).tolist()


def test_a_tree_without_a_split_adds_its_only_leaf() -> None:
    constant = fit_ranker(
        GroupedRows(np.zeros((40, 1), np.float32), np.arange(40) % 2 == 0, np.full(4, 10), ("a",)),
        RankerConfig(),
        seed=1,
    )
    asked = np.zeros((3, 1), np.float32)
    assert constant.score(asked).tolist() == constant.booster.predict(asked).tolist()


def test_the_best_after_early_exit_are_scored_in_full_and_stand_above_the_rest() -> None:
    fitted, asked = ranker(5), table(6, 300, missing=0.2)
    whole, early = fitted.score(asked), fitted.score(asked, best=50)
    gone_on = early == whole
    assert gone_on.sum() == 50
    assert early[gone_on].min() > early[~gone_on].max()
    first = np.zeros(300)
    add_tree_scores(parse_trees(fitted.booster.model_to_string(), end=10), asked, first)
    assert (
        np.argsort(-first[~gone_on], kind="stable") == np.argsort(-early[~gone_on], kind="stable")
    ).all()
    assert first[gone_on].min() >= first[~gone_on].max()


def test_as_many_as_there_are_candidates_go_through_every_tree() -> None:
    fitted, asked = ranker(5), table(6, 40, missing=0.2)
    assert fitted.score(asked, best=40).tolist() == fitted.score(asked).tolist()


def test_a_categorical_split_is_refused() -> None:
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 5, 500)
    data = lightgbm.Dataset(kinds[:, None].astype(float), kinds % 2, categorical_feature=[0])
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1, "min_data_in_leaf": 5}, data, num_boost_round=2
    )
    with pytest.raises(BadInput, match="categorical"):
        parse_trees(booster.model_to_string())


def test_more_leaves_than_a_word_has_bits_are_refused() -> None:
    with pytest.raises(BadInput, match="64"):
        RankerConfig(n_leaves=65)
    rng = np.random.default_rng(1)
    asked = rng.normal(size=(2_000, 1))
    data = lightgbm.Dataset(asked, asked[:, 0] ** 3)
    settings = {"objective": "regression", "verbose": -1, "num_leaves": 70, "min_data_in_leaf": 5}
    with pytest.raises(BadInput, match="Lower n_leaves"):
        parse_trees(lightgbm.train(settings, data, num_boost_round=1).model_to_string())
