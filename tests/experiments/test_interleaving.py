"""Team draft: what a slate holds, and that neither ranker gains from its position."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from experiments.interleaving import draft_teams

ITEMS = [f"item{number}" for number in range(8)]
RANKINGS = st.permutations(ITEMS).flatmap(
    lambda items: st.integers(0, len(items)).map(lambda n: items[:n])
)


@given(RANKINGS, RANKINGS, st.integers(0, 10), st.text(max_size=5))
def test_every_item_once_and_as_many_of_each_team_as_can_be(first, second, count, draw):
    slate = draft_teams(first, second, count, draw)
    assert len(set(slate.item_ids)) == len(slate.item_ids) == len(slate.teams)
    assert len(slate.item_ids) == min(count, len({*first, *second}))
    for item_id, team in zip(slate.item_ids, slate.teams, strict=True):
        assert item_id in {"first": first, "second": second}[team]
    # While both lists last, the teams differ by one item at most.
    n_fair = min(len(first), len(second))
    fair = slate.teams[:n_fair]
    assert abs(fair.count("first") - fair.count("second")) <= 1


def test_each_team_gives_its_best_remaining_item():
    for number in range(40):
        slate = draft_teams(["a", "b", "c", "d"], ["c", "a", "e", "f"], 4, str(number))
        left = {"first": ["a", "b", "c", "d"], "second": ["c", "a", "e", "f"]}
        for position, (item_id, team) in enumerate(zip(slate.item_ids, slate.teams, strict=True)):
            shown = slate.item_ids[:position]
            assert item_id == next(item for item in left[team] if item not in shown)


def test_the_same_draw_gives_the_same_slate_and_others_differ():
    slates = [draft_teams(ITEMS, ITEMS[::-1], 6, str(number)) for number in range(50)]
    assert slates == [draft_teams(ITEMS, ITEMS[::-1], 6, str(number)) for number in range(50)]
    assert len({slate.teams for slate in slates}) == 2**3  # three coins


def test_an_empty_list_leaves_the_slate_to_the_other():
    slate = draft_teams([], ["a", "b"], 5, "x")
    assert (slate.item_ids, slate.teams) == (("a", "b"), ("second", "second"))
    assert draft_teams([], [], 5, "x").item_ids == ()


def test_both_teams_have_each_rank_equally_often():
    """Of rankers with the same list, each gives the item at a rank in half of the slates."""
    n = 4_000
    teams = [draft_teams(ITEMS, ITEMS, 6, str(number)).teams for number in range(n)]
    shares = (np.array(teams) == "first").mean(0)
    assert np.all(np.abs(shares - 0.5) < 4 * np.sqrt(0.25 / n))
