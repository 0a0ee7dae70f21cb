"""How much a match of the query counts, learnt from clicks on lists that were ranked by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from features.contracts.recommendations import QueryMatch
from features.database import engine as open_engine
from features.database import transaction
from features.database_tables import metadata
from features.facts.slates import LoggedSearch, LoggedSlate, ShownItems, append
from models.ranking.model import DEFAULT_QUERY_WEIGHT
from tests.shops.event_tables import make_event
from tests.shops.forty_shoppers import CONFIG, END, write_shop
from training.recommendations.query_weight import (
    MIN_SEARCHES,
    collect_clicks,
    learn_query_weight,
    read_clicks,
)
from training.recommendations.snapshots import TrainingContext

N_ITEMS = 12
DEGREES = np.array([0.0, 0.2, 0.5, 1.0])


def draw_clicks(weight, n_lists, seed, *, of_rank=-0.7, of_score=1.0):
    """Lists as the shipped weight ranks them, and clicks of visitors for whom a match is worth
    `weight`, and who see what stands first more often."""
    rng = np.random.default_rng(seed)
    searches, clicked = [], {}
    for number in range(n_lists):
        other = rng.normal(size=N_ITEMS)
        match = DEGREES[rng.integers(0, len(DEGREES), N_ITEMS)]
        order = np.argsort(-(other + DEFAULT_QUERY_WEIGHT * match), kind="stable")
        other, match = other[order], match[order]
        wish = of_score * (other + weight * match) + of_rank * np.log(np.arange(1, N_ITEMS + 1))
        item_ids = tuple(f"i{n}" for n in range(N_ITEMS))
        chosen = int(np.argmax(wish + rng.gumbel(size=N_ITEMS)))
        matches = tuple(QueryMatch(*pair) for pair in zip(match, other, strict=True))
        searches.append(LoggedSearch(f"r{number}", item_ids, matches))
        clicked[f"r{number}"] = {item_ids[chosen]}
    return collect_clicks(searches, clicked)


@pytest.mark.parametrize("weight", [2.0, 3.0])
def test_the_weight_of_those_who_click_is_learnt_whatever_stood_first(weight):
    learnt = [learn_query_weight(draw_clicks(weight, 1_500, seed)) for seed in range(3)]
    assert all(one.why.startswith("learnt: better than 8") for one in learnt)
    weights = [one.weight for one in learnt]
    # 1,500 choices leave a standard error of .15 to .3.
    assert np.mean(weights) == pytest.approx(weight, abs=0.4)


def test_the_shipped_weight_stays_where_it_is_right_or_nothing_can_be_learnt():
    right = [learn_query_weight(draw_clicks(DEFAULT_QUERY_WEIGHT, 600, seed)) for seed in range(5)]
    assert sum(one.weight == DEFAULT_QUERY_WEIGHT for one in right) >= 4  # 5 % are by chance
    first_only = draw_clicks(0.0, 600, 1, of_rank=-3.0, of_score=0.0)
    assert learn_query_weight(first_only).weight == DEFAULT_QUERY_WEIGHT
    noise = draw_clicks(4.0, 600, 2)
    shuffled = np.random.default_rng(3).permuted(noise.other, axis=1)
    assert learn_query_weight(replace(noise, other=shuffled)).weight == DEFAULT_QUERY_WEIGHT
    few = learn_query_weight(draw_clicks(2.0, MIN_SEARCHES - 1, 1))
    assert few.weight == DEFAULT_QUERY_WEIGHT
    assert few.why == "as shipped: 199 ranked lists with a query and a click, 200 are needed"


def test_clicks_are_those_on_ranked_lists_of_the_past_year(tmp_path: Path) -> None:
    def make_list(name, days_ago, matches):
        at = END - timedelta(days=days_ago)
        items = ShownItems(("a", "b", "c"), ("similar",) * 3, matches=matches)
        return LoggedSlate(name, "home", "default", None, at, at, items)

    def click(name, item_id, kind="select_item"):
        at = END - timedelta(hours=1)
        return make_event(None, item_id, at, kind, recommendation_id=name, visitor_id="v")

    found = (QueryMatch(0.5, 1.25), QueryMatch(0.0, 2.0), None)
    clicks = [
        click("searched", "b"),
        click("searched", "c"),  # no ranker scored it
        click("searched", "a", "view_item_list"),  # it was seen
        click("plain", "a"),
        click("old", "a"),
        click("bought", "a", "purchase"),
        click("bought", "b", "add_to_cart"),
    ]
    facts, settings = write_shop(tmp_path, clicks)
    context = TrainingContext(facts, settings, CONFIG, print)
    assert read_clicks(context, END) is None
    engine = open_engine(settings)
    metadata.create_all(engine)
    with transaction(engine) as connection:
        append(connection, [make_list("plain", 1, None), make_list("old", 400, found)])
    assert read_clicks(context, END) is None  # nobody searched
    with transaction(engine) as connection:
        named = ("searched", "not clicked", "bought")
        append(connection, [make_list(name, 2, found) for name in named])
    engine.dispose()
    read = read_clicks(context, END)
    assert read is not None
    assert read.clicked.tolist() == [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]
    assert read.known.tolist() == [[True, True, False]] * 2
    assert (read.match[0].tolist(), read.other[0].tolist()) == ([0.5, 0.0, 0.0], [1.25, 2.0, 0.0])
