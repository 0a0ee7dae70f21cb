"""The panel of a shop that is known: prices of the list, weeks sold out, costs, families; and what
is learnt of it."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from configs.loading import load
from configs.settings import Settings
from experiments.price_panel import read_price_panel
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.shop import simulate_shop
from experiments.simulator.tables import end_of_history, write_shop
from features.contracts.seeds import generator
from features.contracts.tables import TABLES
from features.facts.facts import Facts
from features.sources.folder import import_folder
from models.pricing.response.fit import fit_elasticities
from tests.shops.event_tables import make_table
from training.pricing.baselines import OWN, fit_baseline_slopes
from training.pricing.task import PricingConfig

SHOP = ShopParameters(n_families=3, n_shoppers=100, stock_outs=0.05)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("simulated")
    shop = simulate_shop(SHOP, generator(301, "simulated shop"))
    write_shop(root / "tables", shop, generator(301, "simulated shoppers"), clicks=False)
    settings = Settings(home=root / "home", database_url=None)
    facts = Facts(settings)
    import_folder(
        root / "tables", facts, settings, now=end_of_history(shop), progress=lambda _: None
    )
    panel, starts = read_price_panel(facts, settings, end_of_history(shop))
    assert len(starts) == SHOP.n_weeks
    return shop, facts, settings, panel


def test_prices_are_those_of_the_list_and_weeks_sold_out_say_nothing(known) -> None:
    shop, _, _, panel = known
    assert panel.item_ids.tolist() == shop.item_ids
    assert panel.listed.all()
    out = shop.units == shop.available
    assert (np.isnan(panel.log_price) == out).all()
    assert np.exp(panel.log_price[~out]) == pytest.approx(shop.plan.offer[~out])
    assert (panel.units == shop.units).all()
    assert (panel.observed & (panel.units == 0)).any()  # weeks without a sale are known by the list
    assert np.exp(panel.log_cost) == pytest.approx(shop.plan.cost)
    display = panel.reach[panel.kinds.index("display")]
    assert display == pytest.approx(shop.plan.display, abs=1e-3)
    assert len(set(panel.family)) == 18  # three in each of six categories


def test_a_list_that_disagrees_with_what_was_paid_is_not_believed(known, tmp_path) -> None:
    shop, facts, _, _ = known
    settings = Settings(home=tmp_path, database_url=None)
    other = Facts(settings)
    dearer = facts.read("price_history").mutate(
        offer_price_minor=facts.read("price_history").list_price_minor * 2
    )
    schema = TABLES["price_history"].arrow
    tables = {name: facts.read(name).to_pyarrow() for name in ("events", "items", "promotions")}
    other.write({**tables, "price_history": pa.table(dearer.to_pyarrow()).cast(schema)})
    panel, _ = read_price_panel(other, settings, end_of_history(shop))
    assert not panel.listed.any()
    assert panel.log_cost is None
    sold = shop.units > 0
    assert (np.isfinite(panel.log_price) == sold).all()
    plain = sold & (shop.plan.coupon == 0)
    assert np.exp(panel.log_price[plain]) == pytest.approx(shop.plan.offer[plain])


def test_closed_weeks_say_nothing_about_prices(known, tmp_path) -> None:
    shop, facts, _, panel = known
    settings = Settings(home=tmp_path, database_url=None)
    shut = Facts(settings)
    end = end_of_history(shop)
    monday = end - timedelta(weeks=6)
    closure = {"zone": "default", "starts_at": monday, "ends_at": monday + timedelta(days=9)}
    names = ("events", "items", "promotions", "price_history", "stock")
    shut.write(
        {name: facts.read(name).to_pyarrow() for name in names}
        | {"closures": make_table("closures", [closure])}
    )
    shut_panel, _ = read_price_panel(shut, settings, end)
    closed = np.zeros(SHOP.n_weeks, bool)
    closed[-6:-4] = True  # all of the sixth, two days of the fifth from the end
    assert np.isnan(shut_panel.log_price[:, closed]).all()
    assert (
        np.isnan(shut_panel.log_price[:, ~closed]) == np.isnan(panel.log_price[:, ~closed])
    ).all()


def test_weeks_before_the_launch_and_after_the_end_of_an_item_say_nothing(known, tmp_path) -> None:
    shop, facts, _, panel = known
    settings = Settings(home=tmp_path, database_url=None)
    renewed = Facts(settings)
    events = facts.read("events").to_pyarrow()
    middle = end_of_history(shop) - timedelta(weeks=SHOP.n_weeks // 2)
    old, new = shop.item_ids[:2]  # the list keeps both
    is_gone = pc.and_(
        pc.equal(events["item_id"], old), pc.greater_equal(events["occurred_at"], middle)
    )
    is_early = pc.and_(pc.equal(events["item_id"], new), pc.less(events["occurred_at"], middle))
    events = events.filter(pc.invert(pc.or_(is_gone, is_early)))
    names = ("items", "promotions", "price_history", "stock", "costs")
    renewed.write({name: facts.read(name).to_pyarrow() for name in names} | {"events": events})
    changed, _ = read_price_panel(renewed, settings, end_of_history(shop))
    half = SHOP.n_weeks // 2
    assert np.isnan(changed.log_price[0, half:]).all()
    assert np.isnan(changed.log_price[1, :half]).all()
    assert np.isfinite(changed.log_price[0, : half - 4]).any()
    np.testing.assert_array_equal(changed.log_price[2:], panel.log_price[2:])


def test_weeks_after_the_end_are_unknown(known) -> None:
    shop, facts, settings, panel = known
    early, starts = read_price_panel(facts, settings, end_of_history(shop) - timedelta(weeks=10))
    assert len(starts) == SHOP.n_weeks - 10
    np.testing.assert_array_equal(early.units, panel.select_first_weeks(SHOP.n_weeks - 10).units)
    np.testing.assert_array_equal(
        early.log_price, panel.select_first_weeks(SHOP.n_weeks - 10).log_price
    )


def test_on_a_confounded_shop_least_squares_is_fooled_and_ours_is_not(known) -> None:
    shop, _, _, panel = known
    truth = np.diag(shop.compute_elasticities())
    plain = fit_baseline_slopes(panel)[OWN] - truth
    model = fit_elasticities(panel, load("models/pricing", PricingConfig).elasticity)
    ours = model.columns["elasticity"] - truth
    assert plain.mean() < -0.5
    assert abs(ours.mean()) < 0.25
    assert np.abs(ours).mean() < 0.35
    # 90 % of a normal lies within 1.645 standard errors; 72 draws: at least 58 with p > .99
    within = np.abs(ours) < 1.645 * model.columns["error"]
    assert within.sum() >= 58
    without = fit_elasticities(
        replace(panel, log_cost=None), load("models/pricing", PricingConfig).elasticity
    )
    assert abs(without.columns["elasticity"].mean() - model.columns["elasticity"].mean()) < 0.2
    lifts = model.find_lifts(shop.item_ids, "default")
    assert set(lifts) == {"coupon", "display", "mailer"}
    assert lifts["display"].mean() == pytest.approx(SHOP.display_lift, abs=0.08)
    assert lifts["mailer"].mean() == pytest.approx(SHOP.mailer_lift, abs=0.08)
