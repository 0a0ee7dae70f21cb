from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from features.contracts.arrays import Float64Array
from models.demand.daily import DaySales
from models.demand.learner import FitConfig, TreesConfig
from models.demand.panel import DemandPanel
from models.demand.uncertainty.counts import P10, P90
from tests.shops.demand_panels import make_panel
from training.demand.backtest import Backtest
from training.demand.catalogue_items import Catalogue
from training.demand.config import DemandConfig
from training.demand.data import DemandData
from training.demand.day_folds import evaluate_days
from training.demand.folds import choose_series, evaluate_origin
from training.demand.metrics import bias, interval_coverage, pinball
from training.demand.origins import calibration_origins, evaluation_origins
from training.demand.series_values import SeriesWindow

N_KNOWN = 36
CONFIG = DemandConfig(fit=FitConfig(max_rows=5_000, trees=TreesConfig(n_trees=5, min_rows=20)))


def make_backtest(panel: DemandPanel) -> Backtest:
    units = panel.units.astype(int)
    series, week = np.nonzero(units)
    days = DaySales(
        n_series=panel.n_series,
        n_known=panel.n_known,
        series=series.repeat(7),
        day=(week[:, None] * 7 + np.arange(7)).ravel(),
        units=np.repeat(units[series, week] / 7, 7),
        kinds=np.zeros((1, len(panel.week_starts), 7), np.int8),
        zones=np.zeros(panel.n_series, np.int64),
        groups=np.zeros(panel.n_series, np.int64),
    )
    items = Catalogue(
        panel.item_ids,
        panel.categories,
        panel.brands,
        np.full(panel.n_series, np.datetime64("NaT", "us")),
    )
    data = DemandData(
        panel=panel,
        revenue=np.ones((panel.n_series, N_KNOWN)),
        days=days,
        items=items,
        timezone="UTC",
        panel_planned_at=lambda _: panel,
    )
    return Backtest(data, CONFIG, 5, lambda _: None)


def forecasts_by_origin(
    panel: DemandPanel, origins: Sequence[int]
) -> dict[int, list[Float64Array]]:
    """Weekly and daily quantiles of each origin, asked for in the given order."""
    backtest = make_backtest(panel)
    series = choose_series(panel, min(origins), CONFIG)
    forecasts = {}
    for origin in origins:
        model = backtest.model_with_forecasts_at(origin)
        forecasts[origin] = [
            np.column_stack([table[name].to_numpy() for name in ("mean", "p10", "p90")])
            for table in (model.forecasts, model.daily)
        ]
        if origin < N_KNOWN:
            fold = evaluate_origin(backtest, origin, series)
            day_fold = evaluate_days(backtest, origin, series)
            assert day_fold is not None
            forecasts[origin] += [fold.quantiles, fold.pit, day_fold.quantiles, day_fold.pit]
    return forecasts


def test_forecasts_of_an_origin_do_not_depend_on_the_order_of_calls() -> None:
    panel = make_panel(n_series=60, n_known=N_KNOWN)
    origins = [*evaluation_origins(N_KNOWN, CONFIG), N_KNOWN]
    assert origins == [23, 27, 31, 36]
    assert calibration_origins(36, N_KNOWN, CONFIG) == [31, 27, 23]
    ascending = forecasts_by_origin(panel, origins)
    other_order = forecasts_by_origin(panel, [36, 23, 31, 27])
    for origin in origins:
        for expected, actual in zip(ascending[origin], other_order[origin], strict=True):
            assert len(expected) > 0
            assert np.array_equal(expected, actual), origin


def test_weeks_out_of_stock_are_not_evaluated() -> None:
    """What sold from empty shelves says nothing of a forecast of the demand."""
    panel = make_panel(n_series=60, n_known=N_KNOWN)
    in_stock = np.random.default_rng(3).random(panel.units.shape) > 0.3
    panel = replace(
        panel,
        units=(10 + panel.units) * in_stock.astype(np.float32),
        in_stock=in_stock.astype(np.float32),
    )
    backtest, origin = make_backtest(panel), 28
    series = choose_series(panel, origin, CONFIG)
    fold = evaluate_origin(backtest, origin, series)
    assert (fold.counted == in_stock[series.rows, origin : origin + CONFIG.horizon]).all()
    assert abs(bias(fold.actual, fold.means)) < 0.05
    assert bias(fold.actual, backtest.forecast_means(origin)[series.rows]) > 0.3
    assert (np.isnan(fold.pit) == (fold.counted == 0)).all()
    assert interval_coverage(fold.actual, fold.quantiles[..., P10], fold.quantiles[..., P90]) > 0.5
    assert np.isfinite(pinball(fold.actual, fold.quantiles[..., P10], 0.1))
    known = backtest.panel_at(origin)
    window = SeriesWindow(known, series.rows, fold.actual, fold.counted)
    deviations = window.measure(backtest.model_at(origin))["bias"]
    assert abs(deviations.amounts.sum()) < 0.05 * fold.actual.sum()
