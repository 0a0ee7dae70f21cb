"""What serves in young shops that grow or shrink, and in one whose strong month is over."""

import pytest

from configs.loading import load
from features.contracts.arrays import Float64Array
from tests.benchmarks.young_shops import YoungShopResult, evaluate_young_shop
from tests.shops.growing_shops import draw_growing_shop, strong_month, trend_line
from training.demand.config import DemandConfig

CONFIG = load(
    "models/demand", DemandConfig, overrides={"fit.trees.n_trees": 20, "fit.max_rows": 20_000}
)
N_WEEKS = 16


def evaluate(line: Float64Array) -> YoungShopResult:
    return evaluate_young_shop(draw_growing_shop(line, seed=31, n_items=60), CONFIG)


@pytest.mark.parametrize("weekly", [0.04, -0.03])
def test_growth_takes_a_third_off_the_bias_of_a_mean_of_past_weeks(weekly: float) -> None:
    result = evaluate(trend_line(N_WEEKS, weekly))
    ours, usual = result.biases(result.ours), result.biases(result.mean_of_8)
    for our_bias, usual_bias in zip(ours, usual, strict=True):
        assert abs(our_bias) < 2 / 3 * abs(usual_bias)
    # The trend fades and is believed in part: it does not overshoot.
    assert all(bias * weekly < 0 for bias in ours[1:])


def test_a_strong_month_that_is_over_is_not_continued() -> None:
    result = evaluate(strong_month(N_WEEKS, 0.4, weeks_since=4))
    ours = result.biases(result.ours)
    assert ours[-1] - ours[0] == pytest.approx(0, abs=0.03)
    assert abs(ours[0]) < abs(result.biases(result.mean_of_8)[0])
