from dataclasses import replace

import numpy as np
import pytest

from models.demand.blend import METHODS, SEGMENTS, TREES, TSB, Blend, segment_series
from models.demand.learner import FitConfig, TreesConfig, fit_trees
from models.demand.model import DemandModel
from models.demand.new_items import fit_item_rates
from models.demand.uncertainty.backtest_calibration import calibrate
from tests.shops.demand_panels import make_panel
from training.demand.served_weights import describe_weights, tabulate_weights


def model_with(learner: float, scale: float) -> DemandModel:
    """Return a model that blends the learner with TSB."""
    weights = np.zeros(len(METHODS))
    weights[[TREES, TSB]] = scale * learner, scale * (1 - learner)
    panel = make_panel(n_series=20, n_known=36)
    config = FitConfig(trees=TreesConfig(n_trees=2))
    blend = Blend((tuple(weights.tolist()),) * len(SEGMENTS))
    return DemandModel(
        trees=fit_trees(panel, config, 1),
        calibration=replace(calibrate([], 36, np.random.default_rng(1)), blend=blend),
        rates=fit_item_rates(panel, panel.take(np.arange(0))),
        cut=panel.week_starts[36],
        config=config,
    )


def test_weights_are_shares_without_the_factor_on_all() -> None:
    panel = make_panel(n_series=20, n_known=36)
    table = tabulate_weights(model_with(0.7, 1.1), panel)
    assert len(table.columns) == len(np.unique(segment_series(panel).codes))
    assert [cell.value for cell in table.rows["learner"]] == pytest.approx(
        [0.7] * len(table.columns)
    )
    assert [cell.value for cell in table.rows["TSB"]] == pytest.approx([0.3] * len(table.columns))
    assert sum(table.n_users) == 20


def test_what_serves_is_said_in_words() -> None:
    panel = make_panel(n_series=20, n_known=36)
    first, *_ = describe_weights(model_with(0.7, 1.1), panel)
    assert first == "what serves, by units sold: learner 70%, TSB 30%"
    *_, last = describe_weights(model_with(0.05, 1.0), panel)
    assert "do not show the learner better" in last
