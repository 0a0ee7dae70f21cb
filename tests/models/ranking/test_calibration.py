"""Scores of different sources as chances that compare."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.recommendations import RecommendationQuery
from models.ranking.calibration import SOURCES, Calibration, fit_calibration

NAMES = ("ease", "item_orders_4w")


def make_table(ease: list[float], orders: list[float]) -> np.ndarray:
    return np.array([ease, orders], np.float32).T


def test_between_two_knots_a_chance_is_interpolated_and_beyond_the_ends_that_of_the_end() -> None:
    calibration = Calibration(("EASE",), np.array([[0.0, 1.0, 3.0]]), np.array([[0.1, 0.2, 0.6]]))
    chances = calibration.chances_of(np.array([[-5, 0, 0.5, 2, 9, np.nan]], np.float32).T)
    # halfway from .1 to .2; halfway from .2 to .6; nothing is known of a missing score
    assert chances[:, 0].tolist() == pytest.approx([0.1, 0.1, 0.15, 0.4, 0.6, 0.0])


def test_chances_are_the_shares_that_were_bought_and_thinned_rows_count_for_those_left_out() -> (
    None
):
    rng = np.random.default_rng(4)
    n = 40_000
    ease, orders = rng.random(n), rng.random(n) * 100  # in units of their own
    bought = rng.random(n) < 0.02 + 0.1 * ease
    kept = bought | (rng.random(n) < 0.25)
    matrix = make_table(ease, orders)[kept]
    weights = np.where(bought[kept], 1.0, 4.0)
    chances = fit_calibration(matrix, bought[kept], weights, NAMES).chances_of(
        make_table([0.1, 0.5, 0.9], [50] * 3)
    )
    assert chances[:, 0] == pytest.approx([0.03, 0.07, 0.11], abs=0.015)
    assert chances[:, 1] == pytest.approx(
        [0.07] * 3, abs=0.015
    )  # popularity says nothing here: the mean


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3, width=32), st.booleans()), min_size=1, max_size=200),
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=20),
)
def test_a_higher_score_never_has_a_lower_chance(
    rows: list[tuple[float, bool]], scores: list[float]
) -> None:
    matrix = make_table([score for score, _ in rows], [np.nan] * len(rows))
    calibration = fit_calibration(
        matrix, np.array([label for _, label in rows]), np.ones(len(rows)), NAMES
    )
    assert calibration.sources == ("EASE",)  # a source that says nothing is none
    chances = calibration.chances_of(make_table(sorted(scores), [0] * len(scores))[:, :1])[:, 0]
    assert (np.diff(chances) >= -1e-9).all() and ((chances >= 0) & (chances <= 1)).all()
    assert np.array_equal(
        Calibration.from_meta(calibration.to_meta()).chances_of(matrix[:, :1]),
        calibration.chances_of(matrix[:, :1]),
    )


def test_the_source_of_the_highest_chance_is_the_reason(recommender, shoppers) -> None:
    (slate,) = recommender.recommend(
        [RecommendationQuery(shoppers["u01"], "new", 8, strict=True, explain=True)]
    )
    assert len(slate.items) == 8
    for item in slate.items:
        chance_by_source = {
            name.removeprefix("chance by "): p
            for name, p in item.contributions.items()
            if "chance by" in name
        }
        assert {"EASE", "popular"} <= chance_by_source.keys()
        assert (
            item.reason
            == SOURCES[max(chance_by_source, key=lambda source: chance_by_source[source])][1]
        )
