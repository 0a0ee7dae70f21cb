"""A shop whose prices never moved, or teach nothing, has a price response all the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.pricing import EvidenceGrade
from models.pricing.response.elasticity import ElasticityModel
from tests.shops.event_tables import make_event
from tests.shops.steady_sales import open_shop, sell, week
from training.pricing import task
from training.pricing.task import PricingConfig
from training.results import Trained

ITEMS = tuple(f"i{n}" for n in range(6))


def train(home: Path, events: list[dict[str, Any]], n_weeks: int) -> Trained[ElasticityModel]:
    settings = Settings(home=home)
    facts = open_shop(settings, events, ITEMS)
    return task.train(
        facts, settings, PricingConfig(), until=week(n_weeks), progress=lambda _: None
    )


def reprice(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lower every price by a fifth in one week of four, without any effect on sales."""
    return [
        {**event, "line_amount_minor": 800 if event["occurred_at"].day <= 7 else 1000}
        for event in events
    ]


def test_prices_that_never_moved_leave_the_usual_responses(tmp_path: Path) -> None:
    trained = train(tmp_path, sell(range(20), items=ITEMS), 20)
    response = trained.served.find_response(ITEMS, "default")
    assert np.allclose(response.elasticity, -2.62, atol=0.3)  # the mean of published ones
    assert set(response.grade) == {EvidenceGrade.D}  # far too little is known to act on it
    assert trained.evaluation.passed and not trained.evaluation.comparisons
    assert "none changed its price" in trained.evaluation.notes[0]
    assert "cost_plus" in trained.evaluation.notes[0]


def test_a_shop_of_a_week_has_a_model_that_knows_no_item(tmp_path: Path) -> None:
    trained = train(tmp_path, sell(range(1), items=ITEMS), 1)
    trained.served.save(tmp_path)
    loaded = ElasticityModel.load(tmp_path)
    response = loaded.find_response(ITEMS, "default")
    assert np.isnan(response.elasticity).all()
    assert set(response.grade) == {EvidenceGrade.D}
    assert response.n_changes.tolist() == [0] * len(ITEMS)
    assert len(loaded.find_cross_elasticities(ITEMS, "default").elasticity) == 0


def test_responses_that_predict_badly_give_way_to_the_usual_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = task.add_placebo_tests
    monkeypatch.setattr(
        task,
        "add_placebo_tests",
        lambda *each: replace(evaluate(*each), failed_bars=("it is behind",)),
    )
    trained = train(tmp_path, reprice(sell(range(24), items=ITEMS)), 24)
    assert trained.evaluation.passed
    assert trained.evaluation.comparisons
    assert "responses that are usual in other shops" in trained.evaluation.notes[-1]
    response = trained.served.find_response(ITEMS, "default")
    assert np.allclose(response.elasticity, -2.62, atol=0.3)
    assert set(trained.measure(None)) == {"r2"}


def test_a_slip_and_a_wholesalers_order_teach_no_response(tmp_path: Path) -> None:
    events = reprice(sell(range(24), items=ITEMS))
    plain = train(tmp_path / "plain", events, 24)
    slip = [
        {**event, "line_amount_minor": 1, "quantity": 50.0}
        if event["item_id"] == "i1" and week(10) <= event["occurred_at"] < week(11)
        else event
        for event in events
    ]
    order = make_event(
        "w", "i2", week(20), quantity=4_000.0, line_amount_minor=4_000_000, order_id="bulk"
    )
    odd = train(tmp_path / "odd", [*slip, order], 24)
    expected, found = (
        trained.served.find_response(ITEMS, "default").elasticity for trained in (plain, odd)
    )
    assert np.allclose(found, expected, atol=0.25)
