from dataclasses import replace

import numpy as np
import pytest

from models.demand.baselines import tsb
from models.demand.planned_baseline import fit_promotion_effects
from tests.shops.demand_panels import make_panel


def test_the_effect_of_a_kind_is_learnt_and_applied_to_the_plan() -> None:
    panel = make_panel(n_series=600, n_known=40, seed=4)  # a mailer doubles the units of a week
    fitted = fit_promotion_effects(panel)
    # Over the usual week, in which a fifth of the items is promoted: 1 / 1.2.
    assert fitted.effects == pytest.approx(1 / 1.2, abs=0.08)
    always = replace(panel, reach=np.ones_like(panel.reach))
    never = replace(panel, reach=np.zeros_like(panel.reach))
    for planned, factor in ((always, 2.0), (never, 1.0)):
        reach = np.concatenate([panel.reach[:, :, :40], planned.reach[:, :, 40:]], axis=2)
        forecast = fitted.forecast(replace(panel, reach=reach), range(1, 5))
        # The level holds usual promotions, so the forecast is that of a week with or without one.
        assert forecast.sum() / (4 * tsb(panel.units.astype(float)).sum()) == pytest.approx(
            factor / 1.2, abs=0.06
        )


def test_without_a_plan_it_is_tsb() -> None:
    panel = make_panel()
    reach = panel.reach.copy()
    reach[:, :, panel.n_known :] = np.nan
    forecast = fit_promotion_effects(panel).forecast(replace(panel, reach=reach), [1, 2, 3])
    assert forecast == pytest.approx(np.repeat(tsb(panel.units.astype(float))[:, None], 3, axis=1))


def test_later_weeks_are_not_read() -> None:
    panel = make_panel(n_known=30)
    known = panel.truncate(20)
    units = panel.units.copy()
    units[:, 20:] = 999
    again = replace(panel, units=units).truncate(20)
    assert np.array_equal(
        fit_promotion_effects(known).effects, fit_promotion_effects(again).effects
    )
