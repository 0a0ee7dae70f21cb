"""The last ranks of slates: capacities, distinct items, and no dependence on order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from features.contracts.errors import BadInput
from features.contracts.recommendations import Reason
from models.ranking.placement import Placement
from models.ranking.scored_items import ScoredItems
from models.ranking.slate.assemble import Choice, Exploration
from models.ranking.slate.builder import DraftSlate
from models.ranking.slate.long_tail import (
    LongTail,
    SlateOptions,
    assign_last_places,
    choose_by_hash,
    fill_last_places,
)

SEEDS = st.integers(0, 10_000)


def draw_options(rng: np.random.Generator, n_users: int, n_items: int, count: int) -> SlateOptions:
    """Some users with distinct candidates; some of them pinned or no candidates."""
    lists = [rng.permutation(n_items)[: rng.integers(0, n_items + 1)] for _ in range(n_users)]
    relevance = [np.sort(rng.choice(np.linspace(0.05, 1, 12), len(items)))[::-1] for items in lists]
    return SlateOptions(
        user_ids=np.array([f"user {n}" for n in range(n_users)], object),
        starts=np.concatenate([[0], np.cumsum([len(items) for items in lists])]),
        items=np.concatenate([*lists, np.zeros(0, np.int64)]),
        relevance=np.concatenate([*relevance, np.zeros(0)]),
        open=rng.random(sum(map(len, lists))) < 0.9,
        count=count,
    )


def list_slates(options: SlateOptions, rows: np.ndarray) -> dict[str, list[int]]:
    """The items of each user's slate, by rank."""
    users = np.searchsorted(options.starts, rows, side="right") - 1
    slates: dict[str, list[int]] = {str(user): [] for user in options.user_ids}
    for user, row in zip(users.tolist(), rows.tolist(), strict=True):
        slates[str(options.user_ids[user])].append(int(options.items[row]))
    return slates


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 3))
def test_no_item_is_given_above_its_capacity(seed: int, max_users: int) -> None:
    options = draw_options(np.random.default_rng(seed), 8, 12, 6)
    long_tail = LongTail(places=3, max_users=max_users, min_relevance=0.3)
    rows = assign_last_places(options, long_tail)
    slates = list_slates(options, rows)
    usual = {}
    for number, (start, end) in enumerate(pairwise(options.starts.tolist())):
        user = str(options.user_ids[number])
        usual[user] = options.items[start:end][:6].tolist()
        assert len(slates[user]) == len(set(slates[user])) == min(6, end - start)
        assert slates[user][:3] == usual[user][:3]
        for rank in range(3, len(usual[user])):
            if not options.open[start + rank]:
                assert slates[user][rank] == usual[user][rank]
    # An item that came in from behind a slate is in no more slates than allowed.
    times = np.bincount([item for slate in slates.values() for item in slate], minlength=12)
    for user, slate in slates.items():
        for item in set(slate) - set(usual[user]):
            assert times[item] <= max_users + sum(item in other for other in usual.values())


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_the_order_of_the_users_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options, long_tail = draw_options(rng, 8, 12, 6), LongTail(places=4)
    order = rng.permutation(8)
    parts = [slice(options.starts[user], options.starts[user + 1]) for user in order]
    shuffled = replace(
        options,
        user_ids=options.user_ids[order],
        starts=np.concatenate([[0], np.cumsum([part.stop - part.start for part in parts])]),
        items=np.concatenate([options.items[part] for part in parts]),
        relevance=np.concatenate([options.relevance[part] for part in parts]),
        open=np.concatenate([options.open[part] for part in parts]),
    )
    assert list_slates(options, assign_last_places(options, long_tail)) == list_slates(
        shuffled, assign_last_places(shuffled, long_tail)
    )


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_the_relevance_given_is_at_least_half_of_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_users, n_items = 6, 7
    relevance = -np.sort(-rng.random((n_users, n_items)), axis=1)
    items = np.array([rng.permutation(n_items) for _ in range(n_users)])
    options = SlateOptions(
        user_ids=np.array([f"user {n}" for n in range(n_users)], object),
        starts=np.arange(0, n_users * n_items + 1, n_items),
        items=items.ravel(),
        relevance=relevance.ravel(),
        open=np.ones(n_users * n_items, bool),
        count=1,
    )
    rows = assign_last_places(options, LongTail(places=1, min_relevance=0))
    by_item = np.zeros((n_users, n_items))
    np.put_along_axis(by_item, items, relevance, 1)
    best = by_item[linear_sum_assignment(by_item, maximize=True)].sum()
    # Six users and seven items: everyone gets an item of the own.
    assert len(set(options.items[rows].tolist())) == n_users
    assert best / 2 - 1e-12 <= relevance.ravel()[rows].sum() <= best + 1e-12


def make_two_users() -> SlateOptions:
    """Both want item 0 first; user b likes it more against the own best item."""
    return SlateOptions(
        user_ids=np.array(["a", "b"], object),
        starts=np.array([0, 4, 8]),
        items=np.array([5, 0, 1, 2, 6, 0, 1, 3]),
        relevance=np.array([1.0, 0.5, 0.4, 0.3, 1.0, 0.6, 0.5, 0.1]),
        open=np.ones(8, bool),
        count=2,
    )


def test_an_item_is_for_the_user_of_the_highest_relevance() -> None:
    rows = assign_last_places(make_two_users(), LongTail(places=1))
    assert list_slates(make_two_users(), rows) == {"a": [5, 1], "b": [6, 0]}


def test_two_users_may_share_an_item_where_two_are_allowed() -> None:
    rows = assign_last_places(make_two_users(), LongTail(places=1, max_users=2))
    assert list_slates(make_two_users(), rows) == {"a": [5, 0], "b": [6, 0]}


def test_items_below_the_floor_are_not_given() -> None:
    # 0.4 of user a is below nine tenths of 0.5: the usual item stays.
    rows = assign_last_places(make_two_users(), LongTail(places=1, min_relevance=0.9))
    assert list_slates(make_two_users(), rows) == {"a": [5, 0], "b": [6, 0]}


def test_pins_and_fillers_keep_their_ranks() -> None:
    is_open = np.array([True, True, False, True, True])
    given = np.array([False, False, False, False, True])
    assert fill_last_places(is_open, given, 4, 1).tolist() == [0, 4, 2, 1]


def test_a_hash_opens_an_item_to_the_share_of_users_that_follows_from_its_buyers() -> None:
    items = np.array(["rare", "usual"], object)
    chosen = np.array(
        [choose_by_hash(f"user {n}", items, np.array([0.0, 9.0]), LongTail()) for n in range(2_000)]
    )
    assert chosen[:, 0].all()
    # A tenth of 2,000, within four standard deviations of a binomial: sqrt(2000 × .1 × .9) = 13.4.
    assert abs(chosen[:, 1].sum() - 200) < 4 * 13.4
    again = choose_by_hash("user 7", items, np.array([0.0, 9.0]), LongTail())
    assert again.tolist() == chosen[7].tolist()


def test_a_slate_is_either_explored_or_filled_from_the_long_tail() -> None:
    with pytest.raises(BadInput, match="choose one"):
        Placement("all", exploration=Exploration(places=1), long_tail=LongTail(places=1))


def test_a_pin_of_a_low_score_does_not_lower_the_relevance_of_the_items_below() -> None:
    scored = ScoredItems.with_reason(np.arange(3), np.array([4.0, 2.0, 0.0]), Reason.POPULAR)
    draft = DraftSlate(
        scored=scored,
        choices=(Choice(2, 1.0), Choice(0, 1.0), Choice(1, 1.0)),
        reasons=(Reason.PROMOTED, Reason.POPULAR, Reason.POPULAR),
        rules=((), (), ()),
        fixed=np.array([True, False, False]),
    )
    assert draft.measure_relevance().tolist() == [1, 1, 2 / 4]
    assert draft.select(np.array([1, 2])).reasons == (Reason.POPULAR, Reason.POPULAR)


@pytest.mark.parametrize(
    "values", [{"places": -1}, {"pool": 0}, {"max_users": 0}, {"min_relevance": 1.5}]
)
def test_senseless_settings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        LongTail(**values)  # type: ignore[arg-type]
