import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.demand.inventory import (
    Policy,
    classify_abc,
    classify_xyz,
    days_of_cover,
    expect_units,
    find_slow_movers,
    replenish,
)
from models.demand.outlook import Outlook
from models.demand.uncertainty.aggregates import AggregateDistributions, ItemSpread
from models.demand.uncertainty.counts import CountDistribution

NONE = np.array([np.nan])  # on order: not known


def outlook(mean: list[list[float]], alpha: float = 0.2, total: float = 0.1) -> Outlook:
    """Return forecasts whose sums over one week have dispersion `alpha`.

    Over two weeks they have 3/4 of it, over four and eight `total`.
    """
    n = len(mean)
    counts = [
        CountDistribution((1.0,), (dispersion, dispersion), ((), ()))
        for dispersion in (alpha, 0.75 * alpha, total, total)
    ]
    return Outlook(
        np.array(mean),
        np.full(n, alpha),
        np.ones(n, bool),
        AggregateDistributions(tuple(ItemSpread(c, c) for c in counts), {}),
    )


def policy(lead: float, review: float, level: float = 0.95, n: int = 1) -> Policy:
    return Policy(np.full(n, lead), np.full(n, review), np.full(n, level))


def test_the_reorder_point_covers_lead_time_and_review_at_the_service_level() -> None:
    plan = replenish(outlook([[10.0] * 4]), policy(21, 7), np.array([30.0]), NONE)
    expected = 10 * (21 + 7) / 7
    point = stats.nbinom.ppf(
        0.95, 1 / 0.1, 1 / (1 + 0.1 * expected)
    )  # four weeks: the dispersion of the total
    assert plan.expected[0] == expected == 40
    assert plan.reorder_point[0] == point
    assert plan.safety_stock[0] == point - 40
    assert plan.order_up_to[0] == point + 10  # what sells in the seven days until the next look
    assert plan.order[0] == point + 10 - 30
    assert plan.days_of_cover[0] == 21


def test_one_week_has_the_spread_of_a_week_and_three_lie_between_two_and_four() -> None:
    week = replenish(outlook([[10.0] * 4]), policy(7, 0), np.array([np.nan]), NONE)
    assert week.reorder_point[0] == stats.nbinom.ppf(0.95, 1 / 0.2, 1 / (1 + 0.2 * 10))
    three = replenish(outlook([[10.0] * 4]), policy(21, 0), np.array([np.nan]), NONE)
    of_two, of_four = (
        stats.nbinom.ppf(0.95, 1 / alpha, 1 / (1 + alpha * 30)) for alpha in (0.15, 0.1)
    )
    share = np.log(3 / 2) / np.log(4 / 2)
    assert three.reorder_point[0] == np.ceil((1 - share) * of_two + share * of_four)


def test_items_with_terms_of_their_own_are_looked_up_by_them() -> None:
    terms = Policy(np.array([7.0, 21, 21]), np.array([0.0, 7, 7]), np.array([0.95, 0.95, 0.5]))
    points = replenish(
        outlook([[10.0] * 4] * 3), terms, np.full(3, np.nan), np.full(3, np.nan)
    ).reorder_point
    one, four = (
        stats.nbinom.ppf(0.95, 1 / a, 1 / (1 + a * mean)) for a, mean in ((0.2, 10), (0.1, 40))
    )
    assert points.tolist() == [one, four, stats.nbinom.ppf(0.5, 1 / 0.1, 1 / (1 + 0.1 * 40))]


def test_a_reorder_point_holds_at_its_service_level() -> None:
    rng = np.random.default_rng(3)
    plan = replenish(outlook([[10.0] * 4]), policy(28, 0, 0.9), np.array([0.0]), NONE)
    sold = rng.negative_binomial(1 / 0.1, 1 / (1 + 0.1 * 40), 100_000)
    assert (sold <= plan.reorder_point[0]).mean() == pytest.approx(
        0.9, abs=0.015
    )  # counts come in whole units


def test_nothing_is_ordered_above_the_reorder_point_nor_where_no_stock_is_known() -> None:
    plan = replenish(
        outlook([[10.0] * 4] * 2), policy(7, 7, n=2), np.array([1_000.0, np.nan]), np.zeros(2)
    )
    assert plan.order[0] == 0
    assert np.isnan(plan.order[1]) and np.isnan(plan.days_of_cover[1])


def test_what_is_on_order_is_not_ordered_again_and_does_not_cover_a_day() -> None:
    on_hand, on_order = np.array([30.0] * 4), np.array([np.nan, 12.0, 40.0, 1_000.0])
    plan = replenish(outlook([[10.0] * 4] * 4), policy(21, 7, n=4), on_hand, on_order)
    point = stats.nbinom.ppf(0.95, 1 / 0.1, 1 / (1 + 0.1 * 40))
    assert 30 + 12 < point < 30 + 40
    assert plan.order.tolist() == [point + 10 - 30, point + 10 - (30 + 12), 0, 0]
    assert plan.days_of_cover.tolist() == [21] * 4
    assert plan.reorder_point.tolist() == [point] * 4


@given(on_hand=st.floats(0, 100), on_order=st.floats(0, 100), weekly=st.floats(0.1, 50))
def test_after_the_order_is_placed_no_more_is_ordered(
    on_hand: float, on_order: float, weekly: float
) -> None:
    def order(hand: float, coming: float) -> float:
        forecasts = outlook([[weekly] * 4])
        return float(
            replenish(forecasts, policy(14, 7), np.array([hand]), np.array([coming])).order[0]
        )

    first = order(on_hand, on_order)
    assert first == order(on_hand + on_order, 0.0)  # the position counts, not where it lies
    assert order(on_hand, on_order + first) == 0


def test_weeks_beyond_the_forecast_are_like_its_last_one() -> None:
    mean = np.array([[7.0, 14.0]])
    assert expect_units(mean, np.array([3.5]))[0] == 7 / 2
    assert expect_units(mean, np.array([21.0]))[0] == 7 + 14 + 14
    cover = days_of_cover(np.repeat(mean, 4, axis=0), np.array([3.5, 14, 35, 0]))
    assert cover.tolist() == [3.5, 7 + 3.5, 14 + 7, 0]


def test_a_closed_last_week_says_nothing_about_the_weeks_beyond_the_forecast() -> None:
    mean = np.array([[7.0, 14.0, 0.0], [7.0, 0.0, 0.0]])  # the second item fades, the shop shuts
    assert expect_units(mean, np.array([28.0, 28.0])).tolist() == [7 + 14 + 0 + 14, 7]
    cover = days_of_cover(mean, np.array([35.0, 8.0]))
    assert cover.tolist() == [3 * 7 + 7, np.inf]


def test_stock_of_what_never_sells_lasts_for_ever() -> None:
    assert days_of_cover(np.zeros((1, 2)), np.array([5.0]))[0] == np.inf
    assert (
        replenish(outlook([[0.0, 0.0]]), policy(7, 7), np.array([5.0]), NONE).reorder_point[0] == 0
    )


def test_classes() -> None:
    assert classify_abc(np.array([50.0, 30.0, 15.0, 5.0, 0.0])).tolist() == [
        "A",
        "A",
        "B",
        "C",
        "C",
    ]
    steady, wild = outlook([[100.0], [4.0], [0.5]], alpha=0.01), outlook([[100.0]], alpha=4.0)
    # spreads: sqrt(.01 + .01) = .14, sqrt(.25 + .01) = .51, sqrt(2 + .01) = 1.42; sqrt(.01 + 4) =
    # 2.0
    assert classify_xyz(steady).tolist() == ["X", "Y", "Z"]
    assert classify_xyz(wild).tolist() == ["Z"]


def test_slow_movers_hardly_sell_or_lie_for_half_a_year() -> None:
    forecasts = outlook([[0.2] * 4, [10.0] * 4, [10.0] * 4])
    assert find_slow_movers(forecasts, np.array([np.nan, 181.0, 179.0])).tolist() == [
        True,
        True,
        False,
    ]
