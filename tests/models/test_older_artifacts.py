"""Models that an earlier release wrote still load, and answer what they answered then."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery, ScoredItem
from models.demand.lookup import Forecast, load_forecasts
from models.demand.model import DemandModel
from models.demand.panel import DemandPanel
from models.pricing.response.elasticity import ElasticityModel
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
# Sums may differ in their last bits from processor to processor.
EXACT = 1e-12
# Columns of the ranker are sums of single precision, which another processor adds in another order.
SINGLE = 1e-5


def read_expected(kind: str) -> dict[str, Any]:
    """The inputs and answers that were written with a model."""
    document: dict[str, Any] = json.loads(
        (ARTIFACTS / kind / "expected.json").read_text(encoding="utf-8")
    )
    return document


def read_history(stored: dict[str, Any]) -> UserHistory:
    return UserHistory(
        user_id=stored["user_id"],
        as_of=datetime.fromisoformat(stored["as_of"]),
        item_ids=np.array(stored["item_ids"], object),
        n_orders=np.array(stored["n_orders"], np.float32),
        quantity=np.array(stored["quantity"], np.float32),
        decayed_frequency=np.array(stored["decayed_frequency"], np.float32),
        first_at=np.array(stored["first_at"], np.int64),
        last_at=np.array(stored["last_at"], np.int64),
        features=stored["features"],
        viewed_item_ids=tuple(stored["viewed_item_ids"]),
        viewed_at=tuple(stored["viewed_at"]),
    )


def read_items(stored: dict[str, Any]) -> ItemFeatures:
    columns = {name: np.array(values, np.float32) for name, values in stored["columns"].items()}
    return ItemFeatures(
        as_of=datetime.fromisoformat(stored["as_of"]),
        item_ids=np.array(stored["item_ids"], object),
        columns=columns,
        category=np.array(stored["category"], object),
        brand=np.array(stored["brand"], object),
    )


def read_panel(stored: dict[str, Any]) -> DemandPanel:
    return DemandPanel(
        item_ids=np.array(stored["item_ids"], object),
        zones=np.array(stored["zones"], object),
        categories=np.array(stored["categories"], object),
        week_starts=tuple(datetime.fromisoformat(start) for start in stored["week_starts"]),
        n_known=stored["n_known"],
        units=np.array(stored["units"], np.float32),
        kinds=tuple(stored["kinds"]),
        reach=np.array(stored["reach"], np.float32),
        depth=np.array(stored["depth"], np.float32),
        list_price=np.array(stored["list_price"], np.float32),
        offer_price=np.array(stored["offer_price"], np.float32),
        signal_names=tuple(stored["signal_names"]),
        signal_zones=tuple(stored["signal_zones"]),
        signals=np.array(stored["signals"], np.float32),
        in_stock=np.array(stored["in_stock"], np.float32),
        brands=np.array(stored["brands"], object),
        listed_week=np.array(stored["listed_week"], np.float64),
    )


def check_scored_item(item: ScoredItem, expected: dict[str, Any]) -> None:
    """Compare id, reason and the item behind it exactly, numbers but for their last bits."""
    assert item.item_id == expected["item_id"]
    assert item.reason.value == expected["reason"]
    assert item.because_item_id == expected["because_item_id"]
    assert item.score == pytest.approx(expected["score"], rel=EXACT)
    if "contributions" in expected:
        assert item.contributions == pytest.approx(expected["contributions"], rel=SINGLE)
    else:
        assert item.contributions is None


def check_forecast(forecast: Forecast, expected: dict[str, Any]) -> None:
    assert forecast.start == datetime.fromisoformat(expected["start"])
    assert forecast.price_minor == expected["price_minor"]
    for name in ("mean", "p10", "p50", "p90"):
        assert getattr(forecast, name) == pytest.approx(expected[name], rel=EXACT), name


def test_slates_of_an_older_recommendation_model() -> None:
    expected = read_expected("recommendations")
    model = RecommendationModel.load(ARTIFACTS / "recommendations" / "model")
    scorers = sorted({slate["placement"] for slate in expected["slates"]})
    placements = {name: Placement(name, exclude_purchased=name == "new") for name in scorers}
    recommender = Recommender(model, read_items(expected["items"]), placements)
    histories = {user: read_history(stored) for user, stored in expected["histories"].items()}
    assert len(expected["slates"]) == len(histories) * len(placements) == 8 * 8
    for stored in expected["slates"]:
        query = RecommendationQuery(
            histories[stored["user"]],
            stored["placement"],
            6,
            context_item_ids=tuple(stored["context_item_ids"]),
            explain=stored["explain"],
        )
        (slate,) = recommender.recommend([query])
        assert slate.fallback == stored["fallback"]
        for item, expected_item in zip(slate.items, stored["items"], strict=True):
            check_scored_item(item, expected_item)


def test_forecasts_of_an_older_demand_model() -> None:
    expected = read_expected("demand")
    model = DemandModel.load(ARTIFACTS / "demand" / "model")
    predictions = model.predict(read_panel(expected["panel"]), 6)
    assert predictions.column_names == list(expected["predictions"])
    for name, values in expected["predictions"].items():
        if name == "ds":
            starts = [datetime.fromisoformat(start) for start in values]
            assert predictions[name].to_pylist() == starts
        elif name in ("unique_id", "zone", "price_minor", "dense"):
            assert predictions[name].to_pylist() == values
        else:
            assert predictions[name].to_pylist() == pytest.approx(values, rel=EXACT), name
    for stored in expected["new_item_rates"]:
        rate = model.rates.look_up(stored["zone"], stored["category"], stored["brand"])
        assert rate == pytest.approx(stored["units"], rel=EXACT)
    for stored in expected["aggregates"]:
        spread = model.aggregates.levels[stored["level"]]
        quantiles = spread.quantiles(np.array(stored["mean"]), stored["weeks"])
        assert quantiles.tolist() == stored["quantiles"]


def test_lookups_in_an_older_demand_model() -> None:
    expected = read_expected("demand")
    table = load_forecasts(ARTIFACTS / "demand" / "model")
    now = datetime.fromisoformat(expected["now"])
    for stored in expected["lookups"]:
        series = stored["item_id"], stored["zone"]
        weeks = table.look_up(*series, 4, now)
        for week, expected_week in zip(weeks, stored["weeks"], strict=True):
            check_forecast(week, expected_week)
        total = table.sum_weeks(*series, weeks)
        assert total is not None
        check_forecast(total, stored["total"])
        assert table.daily is not None
        assert (series in table.daily) == (stored["days"] is not None)
        if stored["days"] is not None:
            days = table.daily.look_up(*series, 7, now)
            for day, expected_day in zip(days, stored["days"], strict=True):
                check_forecast(day, expected_day)


def test_responses_of_an_older_pricing_model() -> None:
    expected = read_expected("pricing")
    model = ElasticityModel.load(ARTIFACTS / "pricing" / "model")
    item_ids = expected["item_ids"]
    for stored in expected["answers"]:
        response = model.find_response(item_ids, stored["zone"])
        for name in ("elasticity", "error", "lowest_minor", "highest_minor"):
            values = getattr(response, name)
            assert np.array_equal(values, np.array(stored[name], np.float64), equal_nan=True), name
        assert [grade.value for grade in response.grade] == stored["grade"]
        lifts = model.find_lifts(item_ids, stored["zone"])
        assert lifts.keys() == stored["lifts"].keys()
        for kind, values in lifts.items():
            assert np.array_equal(values, np.array(stored["lifts"][kind]), equal_nan=True), kind
        cross = model.find_cross_elasticities(item_ids, stored["zone"])
        assert cross.units_of.tolist() == stored["cross"]["units_of"]
        assert cross.price_of.tolist() == stored["cross"]["price_of"]
        assert cross.elasticity.tolist() == stored["cross"]["elasticity"]
