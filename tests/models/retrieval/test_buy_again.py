"""Timing of repeated purchases against arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from features.contracts.calendar import SECONDS_PER_WEEK
from features.contracts.histories import UserHistory
from models.retrieval.buy_again import (
    TERMS,
    BuyAgain,
    BuyAgainConfig,
    Gaps,
    fit_buy_again,
    fit_gaps,
)

AS_OF = datetime(2024, 3, 4, tzinfo=UTC)
GAPS = Gaps(
    np.array(["milk"], object), np.array([2.0]), np.array([0.8]), usual_gap=4.0, usual_repeat=0.5
)


def history(bought: Mapping[str, tuple[int, float, float]], user_id: str = "u") -> UserHistory:
    """From `item: (orders, weeks since the first, weeks since the last)`."""
    n, first, last = (np.array(column) for column in zip(*bought.values(), strict=True))
    now = int(AS_OF.timestamp())
    return replace(
        UserHistory.unknown(AS_OF),
        user_id=user_id,
        item_ids=np.array(list(bought), object),
        n_orders=n.astype(np.float32),
        decayed_frequency=(n * 0.9**last).astype(np.float32),
        first_at=(now - first * SECONDS_PER_WEEK).astype(np.int64),
        last_at=(now - last * SECONDS_PER_WEEK).astype(np.int64),
    )


def make_model(**weights: float) -> BuyAgain:
    return BuyAgain(GAPS, np.array([weights.get(name, 0.0) for name in TERMS]))


def chance(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def test_the_rate_has_a_prior_of_one_purchase_a_gap() -> None:
    # Three orders, the first 9 weeks ago; the item is bought every 2 weeks: (3 + 1) / (9 + 2).
    score = make_model(log_rate=1.0).score(history({"milk": (3, 9.0, 1.0)}))
    assert score[0] == pytest.approx(chance(math.log(4 / 11)))


def test_due_is_the_time_since_the_last_purchase_over_the_shrunk_gap_of_the_visitor() -> None:
    # Span 8 weeks in two gaps, and one gap of 2 weeks more: (8 + 2) / 3; three weeks ago.
    score = make_model(log_due=1.0).score(history({"milk": (3, 11.0, 3.0)}))
    assert score[0] == pytest.approx(chance(math.log(3 / (10 / 3))))


def test_an_unknown_item_is_bought_again_as_the_usual_one() -> None:
    score = make_model(log_repeat=1.0).score(
        history({"ghost": (1, 3.0, 3.0), "milk": (1, 3.0, 3.0)})
    )
    assert score.tolist() == pytest.approx([chance(math.log(0.5)), chance(math.log(0.8))])


def test_gaps_and_repeat_shrink_to_the_category_and_that_to_the_shop() -> None:
    # Tea: one buyer, 3 orders in 6 weeks. Salt: one buyer, once. One prior gap and buyer each.
    histories = {"u": history({"salt": (1, 5.0, 5.0), "tea": (3, 7.0, 1.0)})}
    config = BuyAgainConfig(prior_gaps=1.0, prior_buyers=1.0)
    gaps = fit_gaps(histories, {"tea": "drinks", "salt": "food"}, config)
    usual_gap, usual_repeat = 6 / 2, (1 + 1) / (2 + 2)
    drinks, food = (6 + usual_gap) / (2 + 1), usual_gap
    assert gaps.item_ids.tolist() == ["salt", "tea"]
    assert gaps.gap_weeks.tolist() == pytest.approx([food, (6 + drinks) / (2 + 1)])
    repeat_drinks, repeat_food = (1 + usual_repeat) / 2, (0 + usual_repeat) / 2
    assert gaps.repeat.tolist() == pytest.approx([(0 + repeat_food) / 2, (1 + repeat_drinks) / 2])


def make_shoppers() -> tuple[dict[str, UserHistory], dict[str, frozenset[str]]]:
    """Return shoppers who bought milk five times, and who buys it again: those whose last purchase
    is two weeks ago or more."""
    histories, bought = {}, {}
    for n in range(200):
        since = 0.2 + 3.6 * n / 200
        histories[f"u{n:03}"] = history({"milk": (5, since + 8.0, since)}, f"u{n:03}")
        bought[f"u{n:03}"] = frozenset({"milk"} if since >= 2 else ())
    return histories, bought


def test_the_hazard_learns_that_what_is_due_is_bought_and_a_refit_equals_it() -> None:
    histories, bought = make_shoppers()
    weights = fit_buy_again(GAPS, histories, bought, BuyAgainConfig())
    model = BuyAgain(GAPS, weights)
    early, due = (
        model.score(history({"milk": (5, since + 8.0, since)}))[0] for since in (0.5, 3.5)
    )
    assert due > early + 0.5
    assert weights.tolist() == fit_buy_again(GAPS, histories, bought, BuyAgainConfig()).tolist()


def test_a_loaded_model_equals_the_saved_one(tmp_path: Path) -> None:
    histories, bought = make_shoppers()
    model = BuyAgain(GAPS, fit_buy_again(GAPS, histories, bought, BuyAgainConfig()))
    model.save(tmp_path)
    query = history({"ghost": (2, 5.0, 1.0), "milk": (3, 5.0, 0.0)})
    assert BuyAgain.load(tmp_path).score(query).tolist() == model.score(query).tolist()
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npz"}
