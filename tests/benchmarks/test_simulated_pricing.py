"""What the pricing benchmark computes on simulated shops."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from experiments.price_panel import read_price_panel
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.shop import SimulatedShop, simulate_shop
from experiments.simulator.tables import end_of_history
from features.contracts.pricing import EvidenceGrade, PricingItem
from features.contracts.seeds import generator
from features.facts.facts import Facts
from features.sources.folder import import_folder
from models.pricing.response.panel import PricePanel
from tests.benchmarks.simulated_pricing import (
    EMPIRICAL_BAYES,
    LEAST_SQUARES,
    OURS,
    ZONE,
    EffectResult,
    ShopResult,
    SuggestionResult,
    compute_item_gains,
    evaluate_suggestions,
    let_all_be_priced,
    replace_slopes,
    tell_true_response,
)
from tests.benchmarks.simulated_pricing_targets import Series, list_targets, list_world_targets
from tests.benchmarks.simulated_shop_data import (
    forget_costs,
    ignore_progress,
    import_shop,
)

SMALL = ShopParameters(n_families=2, family_size=3, n_weeks=40, n_shoppers=60)


def shop(**changes: object) -> SimulatedShop:
    return simulate_shop(replace(SMALL, **changes), generator(3, "simulated shop"))


def build_true_items(simulated: SimulatedShop) -> list[PricingItem]:
    """Return the items of a shop that knows its true demand."""
    units = simulated.predict_units(simulated.current_minor[:, None])[:, 0]
    items = [
        PricingItem(
            item_id=item_id,
            zone=ZONE,
            currency="USD",
            list_price_minor=int(simulated.current_minor[n]),
            current_price_minor=int(simulated.current_minor[n]),
            unit_cost_minor=float(simulated.unit_cost_minor[n]),
            cost_source="known",
            tax_divisor=1.0,
            units_mean=float(units[n]),
            units_p10=float(units[n]),
            units_p50=float(units[n]),
            units_p90=float(units[n]),
            elasticity=-2.0,
            elasticity_error=0.1,
            evidence_grade=EvidenceGrade.A,
            lowest_tried_minor=int(simulated.plan.offer[n].min()),
            highest_tried_minor=int(simulated.plan.offer[n].max()),
        )
        for n, item_id in enumerate(simulated.item_ids)
    ]
    return tell_true_response(items, simulated)


@pytest.mark.parametrize("form", ["loglinear", "choice"])
def test_a_shop_that_knows_its_demand_gains_nearly_all(form: str) -> None:
    simulated = shop(form=form)
    items = build_true_items(simulated)
    told = evaluate_suggestions(simulated, items)
    assert told.bias == told.bias_suggested == pytest.approx(0.0)
    assert told.n_suggested > 10
    # Some still lose: the optimiser takes the prices of the rest of a family to stay.
    assert told.n_losing <= 0.2 * told.n_suggested
    assert 0.9 < told.captured <= 1.0
    assert told.captured_of_all == told.captured
    # Three too steep: many prices fall that should not.
    steep = evaluate_suggestions(simulated, [replace(of, elasticity=-6.0) for of in items])
    assert steep.bias < -3
    assert steep.n_losing > 0.3 * steep.n_suggested
    assert steep.captured < told.captured - 0.3


def test_a_shop_without_evidence_keeps_its_prices_and_gains_nothing_of_what_it_could() -> None:
    simulated = shop()
    items = [replace(of, evidence_grade=EvidenceGrade.D) for of in build_true_items(simulated)]
    kept = evaluate_suggestions(simulated, items)
    assert (kept.n_suggested, kept.n_losing, kept.gained) == (0, 0, 0.0)
    assert np.isnan(kept.captured)  # ladders of one price allow no gain
    assert kept.captured_of_all == 0.0
    assert all(of.evidence_grade is EvidenceGrade.A for of in let_all_be_priced(items))


def test_what_a_suggestion_adds_is_told_with_all_others_as_suggested() -> None:
    simulated = shop(cross=0.0)
    suggested = simulated.current_minor.copy()
    suggested[[1, 4]] += [50, -30]
    gains = compute_item_gains(simulated, suggested)
    units = simulated.predict_units(np.stack([simulated.current_minor, suggested], axis=1))
    prices = np.stack([simulated.current_minor, suggested], axis=1)
    profit = (prices - simulated.unit_cost_minor[:, None]) * units
    assert gains == pytest.approx(profit[:, 1] - profit[:, 0], abs=1e-6)
    # With cross effects an item's change also moves the sales of its family, at the margins there.
    family = shop(cross=0.6)
    changed = family.current_minor.copy()
    changed[1] += 50
    both = family.predict_profit(np.stack([changed, family.current_minor], axis=1))
    assert compute_item_gains(family, changed)[1] == pytest.approx(both[0] - both[1])


def test_slopes_of_baselines_are_taken_as_they_are() -> None:
    items = build_true_items(shop())
    slopes = np.linspace(-3, 0.4, len(items))
    replaced = replace_slopes(items, slopes)
    assert [of.elasticity for of in replaced] == pytest.approx(slopes.tolist())
    assert {of.cross_profit_minor for of in replaced} == {0.0}
    assert all(
        (of.evidence_grade is EvidenceGrade.D) == (slope >= 0)
        for of, slope in zip(replaced, slopes, strict=True)
    )


def test_forgotten_costs_are_those_that_were_never_imported(tmp_path: Path) -> None:
    simulated = shop(n_departments=1, n_categories=1, n_weeks=12)
    end = end_of_history(simulated)
    facts, settings = import_shop(tmp_path, simulated, 3)
    with_costs, _ = read_price_panel(facts, settings, end)
    assert with_costs.log_cost is not None
    tables = tmp_path / "tables"
    next(tables.glob("costs*")).unlink()
    own_settings = settings.model_copy(update={"home": tmp_path / "today"})
    own_facts = Facts(own_settings)
    import_folder(tables, own_facts, own_settings, now=end, progress=ignore_progress)
    without, _ = read_price_panel(own_facts, own_settings, end)
    forgotten = forget_costs(with_costs, simulated, "today")
    for field in fields(PricePanel):
        one, other = getattr(forgotten, field.name), getattr(without, field.name)
        if isinstance(one, np.ndarray):
            is_number = one.dtype.kind == "f"
            compare = np.testing.assert_allclose if is_number else np.testing.assert_array_equal
            compare(one, other)
        else:
            assert one == other
    assert forget_costs(with_costs, simulated, "none").margin is None


def make_result(seed: int, **changes: float) -> ShopResult:
    """Return a shop where every target of the real world is met, with changes."""
    ours = SuggestionResult(
        bias=0.1,
        bias_suggested=-0.1,
        n_suggested=10,
        n_losing=2,
        gained=0.012,
        best=0.02,
        best_of_all=0.022,
        prices={},
    )
    covered = np.arange(100) < 90
    return ShopResult(
        seed=seed,
        results={
            OURS: replace(ours, **changes),
            LEAST_SQUARES: replace(ours, bias=-1.0),
            EMPIRICAL_BAYES: ours,
        },
        covered=covered,
        reductions={},
        covered_suggested=covered,
        grades=Counter(A=96),
        wmape=0.05,
        wmape_response=0.05,
        wmape_forecast=0.1,
    )


def test_effects_are_compared_where_they_are_known():
    effect, error = np.array([-2.0, np.nan, -1.0]), np.array([0.5, np.nan, 0.1])
    result = EffectResult.compare(effect, error, np.array([-2.5, -2.0, -2.0]))
    assert result.bias == pytest.approx(0.75)
    assert result.covered.tolist() == [True, False]


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"bias": 0.25}, ["bias, all items"]),  # the mean of .1 and .25 is .175
        ({"bias": 0.19}, []),
        ({"bias_suggested": -0.25}, ["bias, items with a suggestion"]),
        ({"n_losing": 4}, ["suggestions that lose"]),  # 6 of 20
        ({"best_of_all": 0.027}, ["every item's ladder"]),  # 24 of 49
        ({"best_of_all": 0.026}, []),  # 24 of 48
        ({"best": 0.029, "best_of_all": 0.03}, ["same ladders", "every item's ladder"]),
        (
            {"gained": -0.004},
            ["same ladders", "every item's ladder", "true profit at least"],
        ),
    ],
)
def test_each_target_is_missed_for_its_own_reason(
    changes: dict[str, float], missed: list[str]
) -> None:
    series = Series(
        "real", "choice", costs="history", shops=[make_result(1), make_result(2, **changes)]
    )
    names = [target.name for target in list_targets(series) if not target.met]
    assert len(names) == len(missed)
    assert all(part in name for part, name in zip(missed, names, strict=True))


def test_intervals_of_a_world_hold_for_both_forms_together() -> None:
    good = make_result(1)
    wide = replace(good, covered=np.ones(100, bool))
    series = Series("real", "choice", costs="history", shops=[good, good])
    too_wide = Series("real", "loglinear", costs="history", shops=[wide, wide])
    assert list_world_targets([series])[0].met
    assert not list_world_targets([series, too_wide])[0].met  # 95 %
    assert not any("hold" in target.name and target.met for target in list_targets(too_wide))


def test_a_model_that_suggests_nothing_misses_what_needs_suggestions() -> None:
    silent = {"n_suggested": 0, "n_losing": 0, "bias_suggested": np.nan, "gained": 0.0}
    shop_of_keeping = make_result(1, **silent, best=0.0)
    series = Series("real", "choice", costs="history", shops=[shop_of_keeping])
    missed = [target.name for target in list_targets(series) if not target.met]
    parts = ("with a suggestion", "that lose", "same ladders", "every item's ladder")
    assert len(missed) == len(parts)
    assert all(part in name for part, name in zip(parts, missed, strict=True))


def test_without_costs_less_of_the_gain_is_asked_for() -> None:
    shops = [make_result(1, gained=0.006)]  # .3 and .27 of the best
    with_costs, without = (
        list_targets(Series("real", "choice", costs=costs, shops=shops))
        for costs in ("history", "none")
    )
    assert sum(target.met for target in without) == sum(target.met for target in with_costs) + 2
