"""The slate rank by rank: diversity, caps, and draws whose logged chances are true."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.errors import BadInput
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery, Slate
from features.contracts.seeds import generator
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.ranking.slate.assemble import (
    Cap,
    Exploration,
    SlatePlan,
    compute_propensities,
    fill_slate,
)
from models.ranking.slate.diversity import CategorySimilarity, scale_to_relevance

RELEVANCE = np.array([1.0, 0.9, 0.6, 0.5, 0.2, 0.1])
PATHS = ["Food > Tea", "Food > Tea", "Food > Milk", "Home", "", "Home > Lamp"]
N_DRAWS = 4_000


def order_rows(plan: SlatePlan, count: int = 6) -> list[int]:
    return [choice.row for choice in fill_slate(plan, count)]


def test_similarity_is_the_share_of_levels_in_common() -> None:
    assert CategorySimilarity(PATHS).to_item(0).tolist() == [1, 1, 1 / 2, 0, 0, 0]
    assert CategorySimilarity(PATHS).to_item(5).tolist() == [0, 0, 0, 1 / 2, 0, 1]
    assert CategorySimilarity(["", ""]).to_item(0).tolist() == [0, 0]


def test_diversity_weighs_relevance_itself_and_not_only_ranks() -> None:
    similarity = CategorySimilarity(PATHS)
    assert order_rows(SlatePlan(RELEVANCE)) == [0, 1, 2, 3, 4, 5]
    # Half of .9 less half of the similarity 1 is below half of .5 less nothing, and half of .6
    # less a quarter.
    assert order_rows(SlatePlan(RELEVANCE, diversity=0.5, similarity=similarity), 3) == [0, 3, 4]
    # A tenth of similarity does not outweigh .9 against .6.
    assert order_rows(SlatePlan(RELEVANCE, diversity=0.1, similarity=similarity), 2) == [0, 1]


def test_relevance_keeps_the_order_of_scores_and_lies_between_0_and_1() -> None:
    for log_odds in (True, False):
        for scores in ([3.0, 1.0, -2.0], [0.0, 0.0], [-1.0, -5.0], [900.0, -900.0]):
            relevance = scale_to_relevance(np.array(scores), log_odds=log_odds)
            assert relevance[0] == 1
            assert ((relevance >= 0) & (relevance <= 1)).all()
            assert (np.diff(relevance) <= 0).all()
    assert len(scale_to_relevance(np.zeros(0), log_odds=True)) == 0


@settings(max_examples=60)
@given(
    st.integers(1, 8),
    st.lists(st.integers(-1, 2), min_size=6, max_size=6),
    st.integers(0, 2),
    st.dictionaries(st.integers(1, 9), st.integers(0, 5), max_size=2).filter(
        lambda pins: len(set(pins.values())) == len(pins)
    ),
    st.floats(0, 1),
    st.integers(0, 3),
)
def test_no_item_twice_no_cap_broken_every_pin_at_its_rank(
    count: int, group: list[int], n: int, pins: dict[int, int], diversity: float, explored: int
) -> None:
    plan = SlatePlan(
        RELEVANCE,
        pins=pins,
        caps=[Cap(np.array(group), n)],
        diversity=diversity,
        similarity=CategorySimilarity(PATHS),
        exploration=Exploration(places=explored, share=0.3),
        weights=RELEVANCE,
    )
    slate = fill_slate(plan, count, np.random.default_rng(3))
    chosen = [choice.row for choice in slate]
    assert len(set(chosen)) == len(chosen) <= count
    assert all(0 < choice.propensity <= 1 for choice in slate)
    propensities = [choice.propensity for choice in slate]
    assert compute_propensities(plan, chosen, count) == pytest.approx(propensities)
    pinned = {row for rank, row in pins.items() if rank <= count}
    assert pinned <= set(chosen)
    free = Counter(group[row] for row in chosen if row not in pinned)
    of_pins = Counter(group[row] for row in pinned)
    assert all(k < 0 or free[k] == 0 or free[k] + of_pins[k] <= n for k in free)


def test_a_pin_beyond_a_short_slate_stands_at_its_end() -> None:
    assert order_rows(SlatePlan(RELEVANCE[:2], pins={2: 1}), 5) == [0, 1]
    assert order_rows(SlatePlan(RELEVANCE[:2], pins={5: 0}), 5) == [1, 0]
    assert order_rows(SlatePlan(RELEVANCE[:2], pins={9: 0}), 5) == [0, 1]


def test_the_logged_chance_is_the_frequency_of_the_draw() -> None:
    exploration = Exploration(places=1, share=0.4, pool=3)
    weights = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    plan = SlatePlan(RELEVANCE, exploration=exploration, weights=weights)
    rng = generator(5, "draws")
    slates = [fill_slate(plan, 2, rng) for _ in range(N_DRAWS)]
    # The first rank: the best with .6, and .4 over the first three by weight.
    expected = {0: 0.6 + 0.4 / 6, 1: 0.4 * 2 / 6, 2: 0.4 * 3 / 6}
    counts = Counter(slate[0].row for slate in slates)
    assert {slate[0].row: slate[0].propensity for slate in slates} == pytest.approx(expected)
    for row, share in expected.items():
        assert abs(counts[row] / N_DRAWS - share) < 4 * np.sqrt(share * (1 - share) / N_DRAWS)
    assert all(slate[0].explored == (slate[0].row != 0) for slate in slates)
    # Inverse propensity weights of whole slates sum to one for each slate that can be.
    weights_by_slate = Counter()
    for slate in slates:
        weights_by_slate[tuple(choice.row for choice in slate)] += (
            1 / (slate[0].propensity * slate[1].propensity) / N_DRAWS
        )
    assert len(weights_by_slate) == 3 * 3
    assert all(abs(value - 1) < 0.35 for value in weights_by_slate.values())


def test_the_probabilities_of_all_slates_sum_to_one() -> None:
    exploration = Exploration(places=1, share=0.4, pool=2)
    plan = SlatePlan(
        RELEVANCE[:4],
        caps=[Cap(np.array([0, 0, 1, 1]), 1)],
        exploration=exploration,
        weights=np.array([1.0, 2.0, 3.0, 4.0]),
    )
    probabilities = [
        np.prod(compute_propensities(plan, rows, 2)) for rows in itertools.permutations(range(4), 2)
    ]
    # At the first rank 0 or 1; at the second 2 or 3, by weight: the groups of 0 and 1 are full.
    assert np.count_nonzero(probabilities) == 2 * 2
    assert np.sum(probabilities) == pytest.approx(1)


def test_nothing_is_drawn_without_a_generator_or_by_default() -> None:
    exploring = SlatePlan(RELEVANCE, exploration=Exploration(places=3), weights=RELEVANCE)
    assert [choice.propensity for choice in fill_slate(exploring, 6)] == [1.0] * 6
    assert order_rows(exploring) == [0, 1, 2, 3, 4, 5]
    assert not Exploration().on
    for wrong in ({"places": -1}, {"share": 1.5}, {"pool": 0}):
        with pytest.raises(BadInput):
            Exploration(**wrong)


# --- in a recommender ---


@pytest.fixture(scope="module")
def explore(
    model: RecommendationModel, items: ItemFeatures, history: Callable[..., UserHistory]
) -> Callable[..., Slate]:
    placements = {
        "plain": Placement("trending"),
        "places": Placement("trending", exploration=Exploration(places=2)),
        "home": Placement("all", exploration=Exploration(places=2)),
    }
    recommender = Recommender(model, items, placements)

    def ask(placement: str, draw: str | None, **query: Any) -> Slate:
        return recommender.recommend(
            [RecommendationQuery(history(None), placement, 6, draw=draw, **query)]
        )[0]

    return ask


def test_the_last_ranks_are_drawn_and_have_propensities(explore: Callable[..., Slate]) -> None:
    plain = explore("plain", "r1")
    assert {item.propensity for item in plain.items} == {None}
    drawn_slate = explore("places", "r1")
    assert [item.item_id for item in drawn_slate.items[:4]] == [
        item.item_id for item in plain.items[:4]
    ]
    assert [item.propensity for item in drawn_slate.items[:4]] == [1.0] * 4
    assert all(0 < (item.propensity or 0) < 1 for item in drawn_slate.items[4:])
    assert drawn_slate == explore("places", "r1")
    slates = [explore("places", f"r{n}") for n in range(60)]
    drawn = Counter(item.item_id for slate in slates for item in slate.items[4:])
    assert len(drawn) > 8
    assert {item.reason for slate in slates for item in slate.items[4:]} <= {
        Reason.EXPLORATION,
        Reason.TRENDING,
    }
    assert all(item.propensity is None for item in explore("places", None).items)


def test_an_item_that_no_ranker_knows_is_tried(explore: Callable[..., Slate]) -> None:
    # Nobody bought it, so it is not among the popular items of an unknown visitor's slate.
    slates = [explore("home", f"n{n}") for n in range(200)]
    assert all(item.item_id != "z-new" for slate in slates for item in slate.items[:4])
    drawn = [item for slate in slates for item in slate.items[4:] if item.item_id == "z-new"]
    assert drawn
    assert {item.reason for item in drawn} == {Reason.EXPLORATION}
