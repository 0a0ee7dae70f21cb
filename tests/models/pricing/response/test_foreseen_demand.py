"""Promotions that are planned for weeks in which an item sells well anyway owe a part to that."""

import numpy as np
import pytest

from models.pricing.response.elasticity import predict_log_units
from models.pricing.response.fit import ElasticityConfig, fit_elasticities
from models.pricing.response.treatments import ANNOUNCED
from tests.shops.price_panels import draw_regular_moves, make_price_panel

CONFIG = ElasticityConfig()
N_ITEMS, N_WEEKS = 120, 104
STEP, SHOCK = 0.2, 0.25


def fit_shop(foresight, *, memory, waiting=0.0, depths=(0.1, 0.3)):
    """The model of a shop whose items have shocks of demand that fade week by week, and whose
    promotions may foresee them; before a promotion shoppers may wait."""
    rng = np.random.default_rng(7)
    shock = np.zeros((N_ITEMS, N_WEEKS))
    for week in range(1, N_WEEKS):
        fresh = rng.normal(0, SHOCK * np.sqrt(1 - memory**2), N_ITEMS)
        shock[:, week] = memory * shock[:, week - 1] + fresh
    promoted = rng.normal(size=shock.shape) + foresight * shock / SHOCK > 1.4
    regular = draw_regular_moves(N_ITEMS, N_WEEKS, 6, rng)
    price = np.log(500) + regular - promoted * rng.uniform(*depths, promoted.shape)
    units = 3.5 - 2.0 * (price - np.log(500)) + STEP * promoted + shock
    units[:, :-1] -= waiting * promoted[:, 1:]
    units += 0.1 * rng.normal(size=shock.shape)
    panel = make_price_panel(np.exp(price), np.exp(units), list_price=np.exp(np.log(500) + regular))
    return fit_elasticities(panel, CONFIG), panel


def test_what_was_foreseen_is_taken_from_the_step_and_stays_in_what_predicts():
    model, panel = fit_shop(1.0, memory=0.6)
    as_sold = model.columns["responses"][:, ANNOUNCED].mean()
    step, error = model.columns["announced"].mean(), model.columns["announced_error"].mean()
    assert as_sold > STEP + 0.2
    assert abs(step - STEP) < (as_sold - STEP) / 2
    assert abs(step - STEP) < 1.64 * error
    # Promotions that are planned as those before sell what those sold.
    by_price, _ = predict_log_units(model, panel)
    rise = by_price[panel.announced > 0].mean() - by_price[panel.announced == 0].mean()
    assert rise > as_sold


def test_how_long_demand_lasts_is_not_known_and_the_error_says_so():
    for memory in (0.45, 0.8):
        model, _ = fit_shop(1.0, memory=memory)
        step, error = model.columns["announced"].mean(), model.columns["announced_error"].mean()
        as_sold = model.columns["responses"][:, ANNOUNCED].mean()
        assert abs(step - STEP) < abs(as_sold - STEP)
        assert abs(step - STEP) < 1.96 * error


@pytest.mark.parametrize("waiting", [0.0, 0.1])
def test_nothing_is_taken_where_nothing_was_foreseen_or_shoppers_wait(waiting):
    model, _ = fit_shop(0.0, memory=0.6, waiting=waiting)
    as_sold = model.columns["responses"][:, ANNOUNCED].mean()
    step = model.columns["announced"].mean()
    assert step == pytest.approx(as_sold, abs=0.01)
    assert step == pytest.approx(STEP, abs=0.04)


def test_where_all_reductions_are_of_one_depth_the_errors_stay_those_of_other_shops():
    model, _ = fit_shop(0.0, memory=0.6, depths=(0.2, 0.2005))  # cents are rounded
    depth_error, step_error = model.columns["depth_error"], model.columns["announced_error"]
    # What the tree of categories does not know, and what foreseen demand may be: a prior of each.
    assert depth_error.max() < np.hypot(2.2, 1.2)
    assert step_error.max() < np.hypot(1.0, 0.3)
    # Depth and step are known together: what the usual reduction sells.
    usual = -0.2 * model.columns["depth"] + model.columns["announced"]
    assert usual.mean() == pytest.approx(0.2 * 2.0 + STEP, abs=0.04)
