"""The value of another exploration: slates drawn by the product, clicks by known rates."""

import numpy as np
import pyarrow as pa
import pytest

from experiments.off_policy.exploration import evaluate_exploration
from features.contracts.errors import BadInput
from models.ranking.slate.assemble import Exploration, SlatePlan, fill_slate

RELEVANCE = np.array([1.0, 0.8, 0.5, 0.4])
CLICK_RATES = np.array([0.5, 0.4, 0.1, 0.1])
EXPLORING = Exploration(share=0.4, places=1, pool=4)
N = 4_000


def draw_rows(exploration, count=2, n=N, seed=1):
    """Logged slates, and the items that were clicked."""
    rng = np.random.default_rng(seed)
    plan = SlatePlan(RELEVANCE, exploration=exploration, weights=RELEVANCE)
    rows, clicked = [], set()
    for number in range(n):
        slate = fill_slate(plan, count, rng)
        name = f"s{number}"
        item_ids = [str(choice.row) for choice in slate]
        rows.append(
            {
                "recommendation_id": name,
                "unit_id": f"u{number % 2_000}" if number % 3 else None,
                "item_id": item_ids,
                "reason": ["exploration" if choice.explored else "popular" for choice in slate],
                "propensity": [choice.propensity for choice in slate],
            }
        )
        for choice, item_id in zip(slate, item_ids, strict=True):
            if rng.random() < CLICK_RATES[choice.row]:
                clicked.add((name, item_id))
    return pa.Table.from_pylist(rows), clicked


@pytest.fixture(scope="module")
def logged():
    return draw_rows(EXPLORING)


def test_without_exploration_the_best_items_are_shown(logged):
    value = evaluate_exploration(*logged, EXPLORING, Exploration(pool=4))
    truth = CLICK_RATES[0] + CLICK_RATES[1]
    assert value.other.low < truth < value.other.high
    assert value.shown < value.other.low


def test_another_share_is_what_it_would_have_earned(logged):
    other = Exploration(share=0.8, places=1, pool=4)
    rows, clicked = draw_rows(other, seed=2)
    truth = len(clicked) / rows.num_rows
    value = evaluate_exploration(*logged, EXPLORING, other)
    assert abs(value.other.value - truth) < 0.05  # four standard errors of both
    assert value.other.low < truth < value.other.high


def test_the_same_exploration_has_the_value_that_was_shown(logged):
    value = evaluate_exploration(*logged, EXPLORING, EXPLORING)
    rows, clicked = logged
    assert value.shown == pytest.approx(len(clicked) / rows.num_rows)
    assert value.other.value == pytest.approx(value.shown)
    assert value.other.overlap.effective_size == pytest.approx(rows.num_rows)


def test_slates_of_another_exploration_are_refused(logged):
    with pytest.raises(BadInput, match="under another exploration"):
        evaluate_exploration(*logged, Exploration(share=0.1, pool=4), Exploration(pool=4))
    with pytest.raises(BadInput, match="under another exploration"):
        evaluate_exploration(*logged, Exploration(places=1, pool=4), Exploration(pool=4))


def test_a_placement_that_explores_nothing_is_refused():
    rows, clicked = draw_rows(EXPLORING, n=5)
    certain = rows.set_column(4, "propensity", pa.nulls(5, pa.list_(pa.float64())))
    with pytest.raises(BadInput, match="no logged slate has propensities"):
        evaluate_exploration(certain, clicked, EXPLORING, Exploration())


def test_too_few_slates_are_refused():
    rows, clicked = draw_rows(EXPLORING, n=60)
    with pytest.raises(BadInput, match="counts as"):
        evaluate_exploration(rows, clicked, EXPLORING, Exploration(pool=4))
