from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.contracts.errors import BadInput
from models.demand.blend import TREES, segment_series
from models.demand.censoring import fill_censored_weeks
from models.demand.features import build_features, summarize_history
from models.demand.learner import FitConfig, TreesConfig, fit_trees
from models.demand.lookup import load_forecasts
from models.demand.model import DemandModel, predict_all_methods
from models.demand.new_items import fit_item_rates
from models.demand.panel import DemandPanel, rolling_origins
from models.demand.uncertainty.backtest_calibration import PastForecasts, calibrate
from models.demand.week_effects import fit_week_effects
from tests.shops.demand_panels import make_panel

CONFIG = FitConfig(max_rows=20_000, trees=TreesConfig(n_trees=40, min_rows=20))


def fit_model(panel: DemandPanel, seed: int = 5) -> DemandModel:
    origin = max(panel.n_known - 4, 1)
    earlier = panel.truncate(origin)
    steps = range(1, panel.n_known - origin + 1)
    means = predict_all_methods(fit_trees(earlier, CONFIG, seed), earlier, steps)
    past = PastForecasts(
        origin=origin,
        steps=tuple(steps),
        segments=segment_series(earlier),
        means=means,
        actual=panel.units[:, origin:].astype(float),
    )
    trees = fit_trees(panel, CONFIG, seed)
    rates = fit_item_rates(panel, panel.take(np.arange(0)))
    calibration = calibrate([past], panel.n_known, np.random.default_rng(seed))
    return DemandModel(
        trees=trees,
        calibration=calibration,
        rates=rates,
        cut=panel.week_starts[panel.n_known],
        config=CONFIG,
    )


def test_refit_is_fit_and_load_is_save(tmp_path: Path) -> None:
    panel = make_panel()
    model = fit_model(panel)
    forecasts = model.predict(panel)
    assert fit_model(panel).predict(panel).equals(forecasts)
    model.with_forecasts(forecasts).save(tmp_path)
    loaded = DemandModel.load(tmp_path)
    assert loaded.predict(panel).equals(forecasts)
    assert loaded.forecasts.equals(forecasts)
    assert loaded.cut == panel.week_starts[panel.n_known]
    assert not list(tmp_path.glob("*.pkl"))


def test_quantiles_are_ordered_and_bias_is_small() -> None:
    whole = make_panel(n_series=300, n_known=40)
    panel = whole.truncate(30)
    forecasts = fit_model(panel).predict(panel, 4)
    p10, p50, p90 = (forecasts[name].to_numpy() for name in ("p10", "p50", "p90"))
    assert np.all(p10 <= p50)
    assert np.all(p50 <= p90)
    mean = forecasts["mean"].to_numpy().reshape(300, 4)
    actual = whole.units[:, 30:34]
    assert (
        abs(mean.sum() / actual.sum() - 1) < 0.06
    )  # 1,200 Poisson weeks of mean 3.6: standard error 1.5 %
    promoted = whole.reach[0, :, 30:34] > 0
    assert mean[promoted].mean() > 1.5 * mean[~promoted].mean()  # a mailer doubles what sells


def test_no_feature_reads_weeks_from_the_origin_on() -> None:
    panel = make_panel()
    units = panel.units.copy()
    units[:, 20:] = 999
    for step in (1, 4, 10):
        names, rows = build_features(panel, summarize_history(panel, 20), step)
        again = build_features(
            replace(panel, units=units), summarize_history(replace(panel, units=units), 20), step
        )
        assert names == again[0]
        assert np.array_equal(rows, again[1], equal_nan=True)


def test_an_item_without_history_gets_the_rate_of_its_category() -> None:
    panel = make_panel()
    model = fit_model(panel)
    units = panel.units.copy()
    units[0] = 0
    listed = np.where(
        np.arange(120) == 0, 30.0, -np.inf
    )  # it comes this week, so it does not wait for a first sale
    unsold = replace(panel, units=units, listed_week=listed)
    row = model.predict(unsold, 2).slice(0, 2)
    recent = panel.units[:, -13:].mean(axis=1)
    milk_south = [n for n in range(0, 120, 2) if n % 3 == 0]  # 20 items
    food = recent[
        ::2
    ].mean()  # all 60 of the south are food, so that drawing food to the whole changes nothing
    expected = (recent[milk_south].sum() + 5 * food) / (len(milk_south) + 5)
    assert row["mean"].to_pylist() == pytest.approx([expected, expected])
    assert model.rates.look_up("south", "Food > Milk > Oat") == pytest.approx(expected)
    assert model.rates.look_up("south", "Toys") == pytest.approx(recent[::2].mean(), rel=1e-5)


def test_a_new_item_sells_like_its_brand_within_its_category() -> None:
    plain = make_panel(n_series=12, n_known=20)
    units = np.tile(np.where(np.arange(12) < 6, 10.0, 2.0)[:, None], 20).astype(np.float32)
    about = {"zones": np.full(12, "z", object), "categories": np.full(12, "Tea", object)}
    panel = replace(
        plain, units=units, brands=np.where(np.arange(12) < 6, "A", "B").astype(object), **about
    )
    rates = fit_item_rates(panel, panel.take(np.arange(0)))
    whole = (6 * 10 + 6 * 2) / 12
    tea = (72 + 5 * whole) / (12 + 5)
    assert rates.look_up("z", "Tea") == pytest.approx(tea)
    assert rates.look_up("z", "Tea", "A") == pytest.approx((60 + 5 * tea) / (6 + 5))
    assert rates.look_up("z", "Tea", "unheard of") == pytest.approx(tea)


def test_a_horizon_without_plans_is_refused() -> None:
    panel = make_panel(n_known=20, ahead=4)
    with pytest.raises(BadInput, match="horizon of 5 weeks"):
        fit_model(panel).predict(panel, 5)


def test_with_too_few_weeks_to_learn_from_simple_methods_forecast_alone(tmp_path: Path) -> None:
    panel = make_panel(n_known=4)
    model = fit_model(panel)
    assert model.trees.booster is None
    forecasts = model.predict(panel)
    assert np.isfinite(forecasts["mean"].to_numpy()).all()
    # 60 of 120 series sold 3 units a week and, a week in five, twice that: 3.6
    assert forecasts["mean"].to_numpy().mean() == pytest.approx(3.6, rel=0.25)
    model.with_forecasts(forecasts).save(tmp_path)
    assert DemandModel.load(tmp_path).predict(panel).equals(forecasts)


def test_planned_prices_reach_the_features_where_a_list_exists() -> None:
    panel = make_panel()
    price = np.full((120, 43), 200.0, np.float32)
    offer = price.copy()
    offer[:, 30] = 100.0
    priced = replace(panel, list_price=price, offer_price=offer)
    names, rows = build_features(priced, summarize_history(priced, 30), 1)
    assert rows[0, names.index("price_to_list")] == pytest.approx(np.log(100 / 200))
    assert rows[0, names.index("price_to_usual")] == pytest.approx(np.log(100 / 200))


def test_origins_are_rolling() -> None:
    assert rolling_origins(53, horizon=4, step=4, count=3, skip_last=1, earliest=9) == [40, 44, 48]
    assert rolling_origins(16, horizon=4, step=4, count=3, skip_last=1, earliest=9) == [11]
    assert rolling_origins(12, horizon=4, step=4, count=3, skip_last=1, earliest=9) == []


def test_a_loud_week_is_no_new_level() -> None:
    plain = make_panel(n_series=200, n_known=30)
    loud = (np.arange(43) % 4 == 1).astype(np.float32)
    zones = ("north", "south")
    signals = np.tile(loud, (1, 2, 1))
    units = np.round(plain.units * (1 + 0.5 * loud[:30])).astype(np.float32)
    panel = replace(plain, units=units, signal_names=("loud",), signal_zones=zones, signals=signals)
    slopes = fit_week_effects(panel).slopes.ravel()
    assert slopes == pytest.approx(
        np.log(1.5), abs=0.08
    )  # shrunk towards 0 a little by the penalty
    means = fit_trees(panel, CONFIG, 5).predict(panel, range(1, 9))[:, :, 0].sum(axis=0)
    quiet, busy = means[loud[30:38] == 0].mean(), means[loud[30:38] == 1].mean()
    assert busy / quiet == pytest.approx(1.5, rel=0.12)


def test_sold_out_weeks_are_not_low_demand() -> None:
    panel = make_panel(n_series=2, n_known=5)
    units = np.array([[4, 6, 0, 5, 0], [4, 6, 0, 5, 0]], np.float32)
    stock = np.array([[1, 1, 0, 1, 0.5], [1, 1, 1, 1, 1]], np.float32)
    filled = fill_censored_weeks(replace(panel, units=units, in_stock=stock)).units
    assert filled[0].tolist() == [4, 6, (4 + 6) / 2, 5, (4 + 6 + 5 + 5) / 4]
    assert filled[1].tolist() == [4, 6, 0, 5, 0]


def test_weeks_before_a_zone_opened_are_none_without_sales() -> None:
    """The south opened 10 weeks ago; its items sell 6 a week, as do those of the north."""
    plain = make_panel(n_series=80, n_known=60)
    units = np.random.default_rng(2).poisson(6.0, (80, 60)).astype(np.float32)
    units[plain.zones == "south", :50] = 0
    panel = replace(plain, units=units, kinds=(), reach=plain.reach[:0])
    past = summarize_history(panel, 60)
    for zone in ("north", "south"):
        of_zone = panel.zones == zone
        assert past.base[of_zone].mean() == pytest.approx(6, rel=0.05)
        for name in ("mean_26", "decayed_0.1"):
            assert past.columns[name][of_zone].mean() == pytest.approx(1, rel=0.05)
    forecast = fit_trees(panel, CONFIG, 5).predict(panel, range(1, 9))[:, :, TREES]
    assert forecast[panel.zones == "south"].mean() == pytest.approx(6, rel=0.1)


def test_simple_methods_serve_where_no_week_was_in_stock() -> None:
    panel = replace(
        make_panel(n_series=12, n_known=30), in_stock=np.full((12, 30), 0.2, np.float32)
    )
    trees = fit_trees(panel, CONFIG, 5)
    assert trees.booster is None
    assert np.isnan(trees.predict(panel, [1, 13])[:, :, TREES]).all()
    assert np.isfinite(predict_all_methods(trees, panel, [1, 13])[:, :, TREES + 1 :]).all()


def test_forecasts_fall_as_a_planned_price_rises() -> None:
    plain = make_panel(n_series=150, n_known=30)
    rng = np.random.default_rng(9)
    offer = np.where(rng.random((150, 43)) < 0.3, 150.0, 200.0).astype(np.float32)
    units = rng.poisson(plain.units * (200 / offer[:, :30]) ** 2).astype(np.float32)
    panel = replace(
        plain, units=units, offer_price=offer, list_price=np.full((150, 43), 200, np.float32)
    )
    trees = fit_trees(panel, CONFIG, 5)
    at = []
    for price in (120, 150, 180, 200, 240):
        planned = offer.copy()
        planned[:, 30] = price
        at.append(trees.predict(replace(panel, offer_price=planned), [1])[:, 0, 0])
    assert np.all(np.diff(np.array(at), axis=0) <= 1e-9)  # of every item, at every step
    assert at[0].sum() > 1.3 * at[3].sum()


def test_a_forecast_assumes_the_planned_price_only_where_past_weeks_knew_one(
    tmp_path: Path,
) -> None:
    plain = make_panel(n_series=4, n_known=30)
    prices = np.full((4, 43), np.nan, np.float32)
    prices[0] = 200  # always listed
    prices[1, 29:] = 250  # decided a week ago: what sold before did so at a price that no plan has
    prices[2, 26:] = 300  # four of the last eight weeks
    prices[0, 31] = 150
    panel = replace(plain, offer_price=prices, list_price=prices)
    assumed = panel.forecast_prices(2)
    assert np.array_equal(
        assumed, [[200, 150], [np.nan] * 2, [300, 300], [np.nan] * 2], equal_nan=True
    )
    assert np.isnan(plain.forecast_prices(2)).all()
    forecasts = fit_model(panel).predict(panel, 2)
    assert forecasts["price_minor"].to_pylist() == [200, 150, None, None, 300, 300, None, None]
    model = fit_model(panel).with_forecasts(forecasts)
    model.save(tmp_path)
    assert [
        week.price_minor
        for week in load_forecasts(tmp_path).look_up("i000", "south", 2, panel.week_starts[30])
    ] == [
        200,
        150,
    ]


def test_saved_forecasts_without_assumed_prices_are_read_as_such(tmp_path: Path) -> None:
    panel = make_panel(n_series=3)
    model = fit_model(panel)
    model.with_forecasts(model.predict(panel)).save(tmp_path)
    file = tmp_path / "forecasts.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["price_minor"]), file)
    assert DemandModel.load(tmp_path).forecasts["price_minor"].null_count == 3 * 13
    assert (
        load_forecasts(tmp_path).look_up("i000", "south", 1, panel.week_starts[30])[0].price_minor
        is None
    )
