"""Forecasts of many items together: sums of means, with a distribution of their own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from features.contracts.errors import NotFound

# Every item of the shop is expected to sell 10 + n units in week n, the week before this one is 0.
WEEKS = [10 + week for week in range(1, 5)]


def test_a_category_is_the_sum_of_its_items_and_of_those_below_it(shared: SimpleNamespace) -> None:
    forecasts = shared.server.forecasts
    dairy = forecasts.forecast_category("Food > Dairy", "default", 4)
    food = forecasts.forecast_category("Food", "default", 4)

    assert dairy.n_items == 3
    assert [week.mean for week in dairy.weeks] == [3 * units for units in WEEKS]
    assert food.n_items == 4
    assert food.total.mean == pytest.approx(4 * sum(WEEKS))


def test_the_zone_is_the_sum_of_all_items_and_its_quantiles_are_in_order(
    shared: SimpleNamespace,
) -> None:
    zone = shared.server.forecasts.forecast_category("", "default", 13)

    assert zone.n_items == 6
    assert len(zone.weeks) == 13
    assert zone.weeks[0].start.isoformat() == "2018-01-01T00:00:00+00:00"
    for period in [*zone.weeks, zone.total]:
        assert 0 < period.p10 < period.p50 < period.p90
        assert period.p10 < period.mean < period.p90
    # Weeks that sell well and badly even out: the sum is known better than its parts.
    widths = sum(week.p90 - week.p10 for week in zone.weeks[:4])
    assert zone.total.p90 - zone.total.p10 < widths


def test_a_category_without_forecasts_is_not_found(shared: SimpleNamespace) -> None:
    for category in ("Food > Dai", "Toys"):
        with pytest.raises(NotFound):
            shared.server.forecasts.forecast_category(category, "default", 4)
