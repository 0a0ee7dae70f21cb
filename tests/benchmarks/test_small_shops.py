from pathlib import Path

import numpy as np
import pytest

from configs.settings import Settings
from features.facts.facts import Facts
from features.sources.folder import import_folder
from tests.benchmarks.small_shops import ShopResult, evaluate_shop, targets
from tests.shops.demand_shops import END, KINDS, draw_shop
from training.demand.config import DemandConfig
from training.demand.panel import build_panel


def make_result(ours: float) -> ShopResult:
    return ShopResult(
        seed=1,
        kind="steady",
        n_series=10,
        n_weeks=30,
        ours=ours,
        bias=0.01,
        rmsse=0.7,
        coverage=0.85,
        methods={"TSB": 0.50, "SES": 0.49},
        chosen="TSB",
        seconds=3.0,
    )


def test_a_shop_is_near_its_chosen_and_its_best_method_or_missed() -> None:
    near, far = make_result(0.509), make_result(0.519)
    assert near.best == "SES"
    assert near.behind_chosen == pytest.approx(0.509 / 0.50 - 1)
    assert near.behind_best == pytest.approx(0.509 / 0.49 - 1)
    assert targets([near] * 18 + [far] * 2)[0].met
    assert not targets([near] * 17 + [far] * 3)[0].met


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawn_shop_has_items_and_orders_in_its_weeks(kind: str) -> None:
    shop = draw_shop(kind, 3)
    again = draw_shop(kind, 3)
    assert np.array_equal(shop.orders.minute, again.orders.minute)
    assert 5 <= shop.n_items <= 150
    assert 8 <= shop.n_weeks <= 170
    assert 0 <= shop.orders.item.min() <= shop.orders.item.max() < shop.n_items
    assert 0 <= shop.orders.minute.min() <= shop.orders.minute.max() < shop.n_weeks * 7 * 24 * 60
    assert shop.orders.units.min() >= 1
    assert not np.array_equal(draw_shop(kind, 4).orders.minute, shop.orders.minute)


def test_the_imported_panel_holds_what_was_drawn(tmp_path: Path) -> None:
    shop = draw_shop("promotions", 3)
    shop.write(tmp_path / "tables")
    settings = Settings(home=tmp_path / "home", database_url=None, clock_start=END)
    facts = Facts(settings)
    import_folder(tmp_path / "tables", facts, settings, now=END, progress=lambda _: None)
    panel = build_panel(facts, settings, until=None, ahead=13).panel
    assert panel.units.sum() == shop.orders.units.sum()
    assert panel.kinds == ("flyer",)
    assert shop.promotions is not None
    assert (panel.reach[0] > 0).sum() == shop.promotions.sum()


def test_a_shop_of_eight_weeks_is_evaluated() -> None:
    config = DemandConfig()
    seed = next(n for n in range(1, 4_000, len(KINDS)) if draw_shop("young", n).n_weeks == 8)
    result = evaluate_shop(seed, config)
    assert result.kind == "young"
    assert result.ours < 1.3 * result.methods["mean of 8 weeks"]
    assert np.isfinite(result.coverage)
