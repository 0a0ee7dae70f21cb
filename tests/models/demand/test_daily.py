import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.demand.daily import (
    EVE,
    HOLIDAY,
    MONTH_BEGINS,
    USUAL,
    DayConfig,
    DaySales,
    fit_day_distributions,
    fit_profiles,
)

EVEN = np.full(7, 1 / 7)
FRIDAY = np.array([0.1, 0.1, 0.1, 0.1, 0.4, 0.1, 0.1])


def make_sales(
    units: np.ndarray, kinds: np.ndarray | None = None, groups: np.ndarray | None = None
) -> DaySales:
    """Return N × weeks × 7 units in one zone, without weeks to come."""
    n_series, n_weeks, _ = units.shape
    series, week, weekday = np.nonzero(units)
    return DaySales(
        n_series=n_series,
        n_known=n_weeks,
        series=series,
        day=week * 7 + weekday,
        units=units[series, week, weekday].astype(float),
        kinds=np.zeros((1, n_weeks, 7), np.int8) if kinds is None else kinds,
        zones=np.zeros(n_series, np.int64),
        groups=np.zeros(n_series, np.int64) if groups is None else groups,
    )


def draw_units(rates: np.ndarray, n_weeks: int = 30, seed: int = 4) -> np.ndarray:
    """Draw N × weeks × 7 Poisson units of N × 7 daily rates."""
    return np.random.default_rng(seed).poisson(np.repeat(rates[:, None], n_weeks, axis=1))


@settings(max_examples=40, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9))
def test_the_days_of_a_week_sum_to_its_mean(seed: int, n_series: int, n_weeks: int) -> None:
    rng = np.random.default_rng(seed)
    units = rng.poisson(rng.gamma(0.5, 2.0, (n_series, 1, 7)), (n_series, n_weeks, 7))
    kinds = rng.integers(0, 4, (1, n_weeks, 7)).astype(np.int8)
    known = make_sales(units, kinds, rng.integers(0, 2, n_series))
    shares = fit_profiles(known, np.arange(n_series)).weekday_shares(
        known, np.arange(n_series), np.arange(n_weeks)
    )
    assert shares.shape == (n_series, n_weeks, 7)
    assert np.all(shares > 0)
    assert shares.sum(axis=2) == pytest.approx(np.ones((n_series, n_weeks)))


def test_dense_series_sold_on_enough_of_the_last_days() -> None:
    units = np.zeros((3, 10, 7))
    units[0, -2:, :3] = 5  # 6 of the last 14 days
    units[1, -2:, :4] = 1  # 8
    units[2, :-2] = 9  # sold before, and no more
    assert make_sales(units).find_dense(DayConfig(min_share_days=0.5, weeks=2)).tolist() == [1]
    assert make_sales(units).find_dense(DayConfig(min_share_days=0.4, weeks=2)).tolist() == [0, 1]
    assert make_sales(units).truncate(8).find_dense(
        DayConfig(min_share_days=0.4, weeks=2)
    ).tolist() == [2]
    assert make_sales(np.zeros((2, 3, 7))).find_dense(DayConfig(min_share_days=0.0)).tolist() == []


def test_a_profile_is_shrunk_towards_its_category_and_that_towards_the_zone() -> None:
    units = np.zeros((2, 1, 7))  # one week: no week is held out, so strengths are the largest
    units[0, 0, 0], units[1, 0, 6] = 70, 30
    profiles = fit_profiles(make_sales(units, groups=np.array([0, 1])), np.array([0, 1]))
    zone = (70 + 1 / 7) / 101  # Monday; one unit is spread evenly
    category = (70 + 10_000 * zone) / (70 + 10_000)
    assert profiles.shares[0, 0] == pytest.approx((70 + 10_000 * category) / (70 + 10_000))


def test_true_differences_of_weekdays_are_kept() -> None:
    rates = 10 * np.where(np.arange(60)[:, None] % 2 == 0, FRIDAY, EVEN)
    own = fit_profiles(make_sales(draw_units(rates)), np.arange(60)).shares
    # 260 units in 26 weeks are shrunk half-way at most; the category's Friday is (.4 + 1/7) / 2 =
    # .27.
    assert own[::2, 4].mean() == pytest.approx(0.4, abs=0.03)
    assert own[1::2, 4].mean() == pytest.approx(1 / 7, abs=0.03)


def test_random_differences_are_shrunk_away() -> None:
    rates = np.tile(2 * FRIDAY, (200, 1))
    shares = fit_profiles(make_sales(draw_units(rates)), np.arange(200)).shares
    plain = draw_units(rates)[:, -26:].sum(axis=1) / 52
    assert np.abs(shares - FRIDAY).mean() < 0.2 * np.abs(plain - FRIDAY).mean()


def test_a_kind_of_day_has_a_factor_by_the_usual_days_of_its_week() -> None:
    units = np.tile(10 * FRIDAY * 7, (1, 8, 1))
    kinds = np.zeros((1, 8, 7), np.int8)
    kinds[0, 2, 4], kinds[0, 2, 3], kinds[0, 5, 0] = HOLIDAY, EVE, HOLIDAY
    kinds[0, 7] = MONTH_BEGINS  # a whole week of them says nothing
    units[0, 2, 4], units[0, 5, 0], units[0, 2, 3] = 0.0, 3.5, 14.0  # closed; half of 7; twice 7
    factors = fit_profiles(make_sales(units, kinds), np.array([0])).factors[0]
    assert factors[[USUAL, MONTH_BEGINS]].tolist() == [1, 1]
    assert factors[HOLIDAY] == pytest.approx((0 + 0.5 + 2) / (2 + 2))
    assert factors[EVE] == pytest.approx((2 + 2) / (1 + 2))


def test_later_sales_change_nothing() -> None:
    units = draw_units(np.tile(5 * FRIDAY, (10, 1)), 20)
    louder = units.copy()
    louder[:, 12:] *= 9
    first, second = (make_sales(sold).truncate(12) for sold in (units, louder))
    profiles = [fit_profiles(part, part.find_dense(DayConfig())) for part in (first, second)]
    assert np.array_equal(profiles[0].shares, profiles[1].shares)


def test_days_of_some_series_are_what_they_sold() -> None:
    units = np.random.default_rng(1).poisson(1.0, (5, 6, 7))
    day_sales = make_sales(units)
    assert np.array_equal(day_sales.by_day(np.array([3, 1]), 2, 5), units[[3, 1], 2:5])
    assert np.array_equal(day_sales.sum_by_weekday(2, 5), units[:, 2:5].sum(axis=1))


def test_day_distributions_are_calibrated() -> None:
    rng = np.random.default_rng(8)
    means = rng.gamma(2.0, 3.0, 40_000)
    steps = np.repeat([1, 9], 20_000)
    alpha = np.where(steps == 1, 0.1, 1.0)
    days = rng.negative_binomial(1 / alpha, 1 / (1 + alpha * means)).astype(float)
    distributions = fit_day_distributions(days, means, steps, rng)
    for step in (1, 9):
        rows = steps == step
        pit = distributions.at_step(step).pit(days[rows], means[rows], rng)
        assert (
            np.abs(np.sort(pit) - np.linspace(0, 1, 20_000)).max() < 0.02
        )  # 1.36 / sqrt(20,000) = .010 at p = .05
