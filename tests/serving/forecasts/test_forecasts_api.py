"""Forecasts over HTTP, and how they follow the price."""

from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from scipy import stats

from features.contracts.errors import NotFound
from features.database import transaction
from features.prices.ledger import Ledger
from models.demand.lookup import ForecastTable
from serving.forecasts.service import ForecastService, Freq
from serving.price_desk.repository import Suggestions
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import FixedModels, make_suggestion
from tests.shops.served_shop import (
    NOW,
    add_price_response,
    make_daily_forecasts,
    make_price,
    make_weekly_forecasts,
    run_shop,
)


def test_a_forecast_begins_with_this_week(shared):
    answer = shared.client.get("/v1/forecasts/milk?horizon=2").json()
    assert answer["model"] == {"name": "demand", "version": "1"}
    assert answer["price_adjustment"] is None
    # Week 0 of the artifact ended when the clock started.
    assert answer["weeks"] == [
        {"week_start": "2018-01-01T05:00:00Z", "mean": 11.0, "p10": 5.5, "p50": 9.9, "p90": 22.0},
        {"week_start": "2018-01-08T05:00:00Z", "mean": 12.0, "p10": 6.0, "p50": 10.8, "p90": 24.0},
    ]
    both = 11 + 12
    p10, p50, p90 = (
        stats.nbinom.ppf(level, 1 / 0.15, 1 / (1 + 0.15 * both)) for level in (0.1, 0.5, 0.9)
    )
    assert answer["total"] == {"mean": both, "p10": p10, "p50": p50, "p90": p90}
    week = shared.client.get("/v1/forecasts/milk?horizon=1").json()
    assert week["weeks"] == [{"week_start": "2018-01-01T05:00:00Z", **week["total"]}]
    assert shared.client.get("/v1/forecasts/nope").status_code == 404
    assert shared.client.get("/v1/forecasts/milk?horizon=99").status_code == 422
    assert (
        shared.client.get("/v1/forecasts/milk?horizn=1").json()["hint"] == "Did you mean 'horizon'?"
    )
    assert shared.client.get("/v1/forecasts/milk?user_id=u00").status_code == 422


def test_a_dense_item_is_also_forecast_by_day(shared):
    answer = shared.client.get("/v1/forecasts/milk?freq=D").json()
    assert answer["weeks"] == []
    assert answer["total"] is None
    assert len(answer["days"]) == 28
    first, last = answer["days"][0], answer["days"][-1]
    assert (first["day_start"], last["day_start"]) == (
        "2018-01-01T05:00:00Z",
        "2018-01-28T05:00:00Z",
    )
    assert (first["mean"], last["p90"]) == pytest.approx((11 / 7, 2 * 14 / 7))
    refused = shared.client.get("/v1/forecasts/beer?freq=D")
    assert refused.status_code == 404
    assert "too few days" in refused.json()["detail"]
    assert "freq=W" in refused.text
    assert (
        "no forecast for item 'nope'"
        in shared.client.get("/v1/forecasts/nope?freq=D").json()["detail"]
    )
    assert shared.client.get("/v1/forecasts/milk?freq=H").status_code == 422


def test_a_horizon_beyond_the_forecasts_is_refused_and_not_cut(shared):
    assert len(shared.client.get("/v1/forecasts/milk?horizon=13").json()["weeks"]) == 13
    refused = shared.client.get("/v1/forecasts/milk?horizon=14")
    assert refused.status_code == 422
    assert "reach 13 weeks ahead, 14 were asked for" in refused.json()["detail"]
    assert "horizon" in refused.text and "shopwright train demand" in refused.text
    assert len(shared.client.get("/v1/forecasts/milk?horizon=91&freq=D").json()["days"]) == 91


def test_days_begin_with_today_and_end_with_the_table():
    table = ForecastTable(make_daily_forecasts(), timedelta(days=1))
    night = NOW + timedelta(days=3, hours=23, minutes=59)
    assert table.look_up("milk", "default", 1, night)[0].start == NOW + timedelta(days=3)
    assert table.look_up("milk", "default", 1, NOW + timedelta(days=4))[0].start == NOW + timedelta(
        days=4
    )
    end = NOW + timedelta(weeks=13)
    assert len(table.look_up("milk", "default", 5, end - timedelta(hours=1))) == 1
    assert table.look_up("milk", "default", 5, end) == []


def test_a_forecast_follows_a_price_approved_in_a_shop_without_a_price_history(tiny):
    add_price_response(tiny, milk=-2.0)
    with closing(run_shop(tiny)) as shops:
        shop = next(shops)
        # The ledger opens after the training, with what the price was in the sales that it learnt
        # from.
        opened = make_price("milk", 100, days=0)
        with transaction(shop.server.engine) as connection:
            Ledger(connection).append([opened])
            (key,) = Suggestions(connection).add(
                [make_suggestion("milk", 110, base=opened.content_id())]
            )
        before = shop.client.get("/v1/forecasts/milk?horizon=2").json()
        assert before["price_adjustment"] is None
        assert shop.client.post(f"/v1/price-suggestions/{key}/approve", json={}).status_code == 200
        after = shop.client.get("/v1/forecasts/milk?horizon=2").json()
        adjustment = after["price_adjustment"]
        assert (adjustment["price_then"], adjustment["price_now"], adjustment["currency"]) == (
            "1.00",
            "1.10",
            "EUR",
        )
        assert adjustment["elasticity"] == -2
        assert adjustment["factor"] == pytest.approx((110 / 100) ** -2)
        assert adjustment["week_factors"] == pytest.approx([(110 / 100) ** -2] * 2)
        means = [week["mean"] for week in after["weeks"]]
        assert means == pytest.approx([11 * 1.1**-2, 12 * 1.1**-2])
        moved = {name: value * 1.1**-2 for name, value in before["total"].items()}
        assert after["total"] == pytest.approx(moved)


def test_only_the_weeks_whose_price_differs_from_the_plan_are_adjusted(served):
    week = timedelta(weeks=1)
    table = ForecastTable(
        make_weekly_forecasts().append_column("price_minor", pa.array([100.0] * 2 * 42))
    )
    promotion = replace(make_price("milk", 50, days=7), valid_to=NOW + 2 * week)
    with transaction(served.server.engine) as connection:
        Ledger(connection).append(
            [make_price("milk", 90, days=-300), make_price("milk", 100, days=-30), promotion]
        )

    def service(elasticity, now=NOW):
        models = FixedModels(table, elasticity)
        return ForecastService(served.settings, served.server.engine, FixedClock(now), models)

    forecast = service(-1.0).forecast_item("milk", "default", 3)
    assert forecast.adjustment.week_factors == pytest.approx((1, 2, 1))  # (50 / 100) ** -1
    assert (forecast.adjustment.price_then_minor, forecast.adjustment.price_now_minor) == (100, 50)
    assert [period.mean for period in forecast.periods] == pytest.approx([11, 2 * 12, 13])
    by_day = ForecastTable(make_daily_forecasts(), timedelta(days=1))
    table.daily = by_day
    days = service(-1.0).forecast_item("milk", "default", 16, Freq.DAY)
    assert [period.mean for period in days.periods] == pytest.approx(
        [11 / 7] * 7 + [2 * 12 / 7] * 7 + [13 / 7] * 2
    )
    later = service(None, NOW + 3 * week).forecast_item("milk", "default", 1)
    assert later.adjustment is None


def test_an_item_without_forecasts_in_a_zone_names_those_that_have_some() -> None:
    table = ForecastTable(make_daily_forecasts(), timedelta(days=1))
    item_id = table.list_items("default")[0]
    with pytest.raises(NotFound) as refused:
        table.look_up(item_id, "north", 1, NOW)
    assert "It has forecasts in default" in str(refused.value)
    with pytest.raises(NotFound, match="Was it sold"):
        table.look_up("nope", "default", 1, NOW)
