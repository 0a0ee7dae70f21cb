"""What holds for every source of a visit's next items, and a known answer of each."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt
from pathlib import Path

import numpy as np
import pytest

from features.contracts.errors import BadInput
from models.retrieval.co_views import CoViewsConfig, fit_co_views
from models.retrieval.recent_views import RecentViewsConfig, fit_recent_views
from models.retrieval.sequential_rules import SequentialRulesConfig, fit_sequential_rules
from models.retrieval.session_knn import SessionKnnConfig, fit_session_knn
from models.retrieval.visit_sources import (
    SOURCES,
    VisitSources,
    VisitSourcesConfig,
    fit_visit_sources,
)
from tests.shops.browsed_shop import draw_chain, make_visits

RNG = np.random.default_rng(2)
MANY = make_visits([draw_chain(RNG) for _ in range(150)])
CONFIG = VisitSourcesConfig()


@pytest.mark.parametrize("name", SOURCES)
def test_a_refit_and_a_saved_copy_score_alike(name: str, tmp_path: Path) -> None:
    kind, config = SOURCES[name], getattr(CONFIG, name)
    model, again = kind.fit(MANY, config), kind.fit(MANY, config)
    model.save(tmp_path / name)
    loaded = kind.load(tmp_path / name)
    for viewed in (np.array([3]), np.array([15, 3, 40])):
        scores = model.score(viewed)
        assert scores.shape == (len(MANY.item_ids),)
        assert scores.dtype == np.float32
        assert (scores >= 0).all()
        assert scores.any()
        np.testing.assert_array_equal(scores, again.score(viewed))
        np.testing.assert_array_equal(scores, loaded.score(viewed))


@pytest.mark.parametrize("name", SOURCES)
def test_an_item_of_no_visit_scores_nothing_and_breaks_nothing(name: str) -> None:
    visits = make_visits([[0, 1], [1, 0]], n_items=4)
    scores = SOURCES[name].fit(visits, getattr(CONFIG, name)).score(np.array([3]))
    assert scores[2:].tolist() == [0, 0]
    assert name == "recent_views" or not scores.any()


def test_rules_are_shares_of_the_followers() -> None:
    visits = make_visits([[0, 1], [0, 1], [0, 2, 1]], n_items=3)
    following = fit_sequential_rules(visits, SequentialRulesConfig(max_steps=1, prior=0))
    np.testing.assert_allclose(following.score(np.array([0])), [0, 2 / 3, 1 / 3])
    later = fit_sequential_rules(visits, SequentialRulesConfig(max_steps=2, prior=1))
    # Item 1 came at once twice and after two steps once, item 2 once: 3.5 and an imagined one.
    np.testing.assert_allclose(later.score(np.array([0])), [0, 2.5 / 4.5, 1 / 4.5])


def test_rules_count_an_item_that_is_looked_at_again() -> None:
    rules = fit_sequential_rules(make_visits([[0, 0], [0, 1]], 2), SequentialRulesConfig(1, 9, 0))
    np.testing.assert_allclose(rules.score(np.array([0])), [1 / 2, 1 / 2])


def test_co_views_are_cosines_and_the_latest_item_counts_most() -> None:
    visits = make_visits([[0, 1], [0, 1], [2, 1]], n_items=3)
    model = fit_co_views(visits, CoViewsConfig(prior=0))
    np.testing.assert_allclose(model.score(np.array([0])), [0, 2 / sqrt(2 * 3), 0])
    expected = [0, 1 / sqrt(3) + 2 / sqrt(6) / 2, 0]
    np.testing.assert_allclose(model.score(np.array([2, 0])), expected, rtol=1e-6)


def test_a_robot_that_looks_at_everything_joins_nothing() -> None:
    visits = make_visits([[0, 1], list(range(30))], n_items=30)
    model = fit_co_views(visits, CoViewsConfig(max_items=20))
    assert np.flatnonzero(model.score(np.array([0]))).tolist() == [1]


def test_session_knn_sums_what_similar_visits_looked_at() -> None:
    visits = make_visits([[0, 1], [0, 2], [3, 4]], n_items=5)
    model = fit_session_knn(visits, SessionKnnConfig(idf_weight=1.0))
    # Both neighbours share the latest item: similarity 1 each. Item 0 is in two of three visits.
    expected = [2 * (1 + log(3 / 2)), 1 + log(3), 1 + log(3), 0, 0]
    np.testing.assert_allclose(model.score(np.array([0])), expected, rtol=1e-6)


def test_of_equal_neighbours_the_latest_visits_count() -> None:
    visits = make_visits([[0, 1], [0, 2], [0, 3]], n_items=4)
    for config in (SessionKnnConfig(n_neighbors=1), SessionKnnConfig(visits_per_item=1)):
        scores = fit_session_knn(visits, replace(config, idf_weight=0.0)).score(np.array([0]))
        assert scores.tolist() == [1, 0, 0, 1]


def test_what_was_looked_at_a_half_life_ago_counts_half() -> None:
    hour = 1 / 24
    visits = make_visits([[0], [1]], n_items=2)  # an hour apart
    model = fit_recent_views(visits, RecentViewsConfig(half_life_days=hour))
    np.testing.assert_allclose(model.score(np.array([0])), [1 / 3, 2 / 3], rtol=1e-6)


def test_a_source_without_candidates_is_not_fitted_and_an_unknown_one_is_refused(
    tmp_path: Path,
) -> None:
    config = VisitSourcesConfig(candidates={"session_knn": 10, "co_views": 0})
    fitted = fit_visit_sources(MANY, config)
    fitted.save(tmp_path)
    loaded = VisitSources.load(tmp_path)
    assert list(loaded.sources) == ["session_knn"]
    # Product pages are ranked by what was looked at together all the same.
    assert fitted.co_views is not None and loaded.co_views is not None
    viewed = np.array([0])
    assert fitted.co_views.score(viewed).tolist() == loaded.co_views.score(viewed).tolist()
    assert loaded.item_ids.tolist() == MANY.item_ids.tolist()
    with pytest.raises(BadInput, match="session_nn"):
        VisitSourcesConfig(candidates={"session_nn": 10})
