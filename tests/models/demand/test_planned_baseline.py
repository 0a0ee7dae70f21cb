from dataclasses import replace

import numpy as np
import pytest

from models.demand.baselines import tsb
from models.demand.planned_baseline import (
    fit_plan_effects,
    forecast_by_plan,
    gather_plans,
    gather_price_cuts,
    predict_plan_factors,
)
from tests.shops.demand_panels import make_panel


def test_the_effect_of_a_kind_is_learnt_and_applied_to_the_plan() -> None:
    panel = make_panel(n_series=600, n_known=40, seed=4)  # a mailer doubles the units of a week
    fitted = fit_plan_effects(panel, gather_plans(panel))
    # Over the usual week, in which a fifth of the items is promoted: 1 / 1.2.
    assert fitted.effects == pytest.approx(1 / 1.2, abs=0.08)
    always = replace(panel, reach=np.ones_like(panel.reach))
    never = replace(panel, reach=np.zeros_like(panel.reach))
    for planned, factor in ((always, 2.0), (never, 1.0)):
        reach = np.concatenate([panel.reach[:, :, :40], planned.reach[:, :, 40:]], axis=2)
        forecast = forecast_by_plan(replace(panel, reach=reach), range(1, 5))
        # The level holds usual promotions, so the forecast is that of a week with or without one.
        assert forecast.sum() / (4 * tsb(panel.units.astype(float)).sum()) == pytest.approx(
            factor / 1.2, abs=0.06
        )


def test_without_a_plan_it_is_tsb() -> None:
    panel = make_panel()
    reach = panel.reach.copy()
    reach[:, :, panel.n_known :] = np.nan
    forecast = forecast_by_plan(replace(panel, reach=reach), [1, 2, 3])
    assert forecast == pytest.approx(np.repeat(tsb(panel.units.astype(float))[:, None], 3, axis=1))


def test_later_weeks_are_not_read() -> None:
    panel = make_panel(n_known=30)
    known = panel.truncate(20)
    units = panel.units.copy()
    units[:, 20:] = 999
    again = replace(panel, units=units).truncate(20)
    assert np.array_equal(
        fit_plan_effects(known, gather_plans(known)).effects,
        fit_plan_effects(again, gather_plans(again)).effects,
    )


def test_a_planned_price_moves_every_level_by_the_effect_that_past_prices_had() -> None:
    panel = make_panel(n_series=300, n_known=40, seed=5)
    rng = np.random.default_rng(5)
    price = np.where(rng.random((300, panel.reach.shape[2])) < 0.3, 80.0, 100.0)
    price[:, 32:] = 100.0  # so the usual price of the recent weeks is 100
    units = rng.poisson(5.0 * (1 + 3.0 * np.log(100 / price[:, :40]))).astype(np.float32)
    planned = price.copy()
    planned[:, 40:] = [80.0] * (price.shape[1] - 40)
    shop = replace(
        panel,
        units=units,
        kinds=(),
        reach=np.zeros((0, 300, price.shape[1]), np.float32),
        offer_price=planned.astype(np.float32),
    )
    factors = predict_plan_factors(shop, gather_price_cuts(shop), [1, 2])
    # Units over the mean of weeks of which about a seventh is reduced: 3 / (1 + 3 × .1 × .223).
    assert factors.mean() == pytest.approx(1 + 0.223 * 3 / 1.06, abs=0.08)
    dearer = replace(shop, offer_price=np.where(np.arange(price.shape[1]) < 40, planned, 120.0))
    assert (predict_plan_factors(dearer, gather_price_cuts(dearer), [1, 2]) < 1).all()
    unknown = replace(shop, offer_price=np.where(np.arange(price.shape[1]) < 40, planned, np.nan))
    assert (predict_plan_factors(unknown, gather_price_cuts(unknown), [1, 2]) == 1).all()
