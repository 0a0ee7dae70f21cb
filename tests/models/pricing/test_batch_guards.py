"""A run of suggestions that looks wrong as a whole is recognised, and a small one is not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from features.contracts.errors import BadInput
from features.contracts.pricing import EvidenceGrade, PriceSuggestion, PricingItem
from models.pricing.optimise.batch_guards import (
    BatchGuards,
    find_batch_problems,
    find_least_share,
    measure_weekly_move,
)
from models.pricing.rules import CHANGE, ENDING

GUARDS = BatchGuards()
NO_MOVE_LIMIT = BatchGuards(max_weekly_move=1.0)


def suggest(
    number: int, price: int, *, rule: str | None = None, elasticity: float = -2.0
) -> PriceSuggestion:
    return PriceSuggestion(
        item_id=str(number),
        zone="default",
        currency="EUR",
        list_price_minor=100,
        current_price_minor=100,
        suggested_price_minor=price,
        expected=None,
        against_keeping=None,
        evidence_grade=EvidenceGrade.A,
        elasticity=elasticity,
        elasticity_error=0.1,
        unit_cost_minor=60.0,
        cost_source="known",
        binding_rule=rule,
        waterfall=(),
    )


def item(number: int, *, units: float = 10.0) -> PricingItem:
    return PricingItem(
        item_id=str(number),
        zone="default",
        currency="EUR",
        list_price_minor=100,
        current_price_minor=100,
        unit_cost_minor=60.0,
        cost_source="known",
        tax_divisor=1.0,
        units_p10=units,
        units_p50=units,
        units_p90=units,
        units_mean=units,
        elasticity=-2.0,
        elasticity_error=0.1,
        evidence_grade=EvidenceGrade.A,
        lowest_tried_minor=80,
        highest_tried_minor=120,
    )


def problems(suggestions: list[PriceSuggestion], guards: BatchGuards = NO_MOVE_LIMIT) -> str:
    items = [item(number) for number in range(len(suggestions))]
    return "; ".join(find_batch_problems(suggestions, items, {}, guards))


def a_batch(n: int, n_raises: int, **values: object) -> list[PriceSuggestion]:
    return [suggest(k, 105 if k < n_raises else 95, **values) for k in range(n)]  # type: ignore[arg-type]


def test_a_mixed_batch_trips_nothing() -> None:
    assert problems(a_batch(1000, 600), GUARDS) == ""
    assert problems([]) == ""


def test_all_but_two_rises_that_a_rule_stops_trip_two_guards() -> None:
    text = problems(a_batch(1267, 1265, rule=CHANGE))
    assert "1,265 of 1,267 suggestions raise the price (max_share_one_way is 0.9)" in text
    assert "1,267 of 1,267 suggestions are stopped by a rule" in text


def test_cuts_are_one_way_too() -> None:
    assert "1,000 of 1,000 suggestions lower the price" in problems(a_batch(1000, 0))


def test_a_rounded_price_is_not_stopped_by_a_rule() -> None:
    assert problems(a_batch(1000, 500, rule=ENDING)) == ""


def test_inelastic_items_trip_and_unknown_elasticities_do_not_count() -> None:
    batch = [
        *a_batch(100, 50, elasticity=-0.5),
        *a_batch(150, 75, elasticity=-2.0),
        *a_batch(500, 250, elasticity=math.nan),
    ]
    assert "100 of 250 suggestions have an elasticity above -1" in problems(batch)


@pytest.mark.parametrize("n", [1, 5, 20, 43])
def test_a_small_batch_does_not_trip_by_chance(n: int) -> None:
    # All of n raise: the lower bound is .01 ** (1 / n), below .9 until n = 43.7
    assert "raise the price" not in problems(a_batch(n, n))


def test_the_smallest_batch_that_can_trip() -> None:
    assert 0.01 ** (1 / 44) > 0.9
    assert "44 of 44 suggestions raise the price" in problems(a_batch(44, 44))


def test_the_bound_is_the_share_at_which_so_many_have_a_chance_of_one_percent() -> None:
    share = find_least_share(9, 10)
    # P(9 or 10 of 10) = 10 p^9 (1 - p) + p^10
    assert 10 * share**9 * (1 - share) + share**10 == pytest.approx(0.01)


def test_the_weekly_move_is_weighted_by_revenue_and_counts_what_was_approved_lately() -> None:
    items = [item(0, units=30.0), item(1, units=10.0)]
    moves = [suggest(0, 104)]
    # (30 * .04 + 10 * 0) / 40
    assert measure_weekly_move(moves, items, {}) == pytest.approx(0.03)
    # the second was raised from 80 to 100 in the week: (30 * .04 + 10 * .25) / 40
    assert measure_weekly_move(moves, items, {"1": 80}) == pytest.approx(0.0925)


def test_a_promotion_that_ended_in_the_week_is_no_move() -> None:
    promoted = replace(item(0), current_price_minor=80)  # the list price of 100 is as before
    assert measure_weekly_move([], [promoted], {"0": 100}) == 0.0


def test_a_move_beyond_the_weekly_cap_trips_from_ten_suggestions_on() -> None:
    mixed = [suggest(k, 115 if k % 2 else 95) for k in range(10)]  # mean +5 %
    text = problems(mixed, GUARDS)
    assert "prices would move by +5.0% within a week" in text
    assert problems(mixed[:9], GUARDS) == ""


def test_limits_out_of_range_are_refused() -> None:
    with pytest.raises(BadInput, match="guards"):
        BatchGuards(max_share_bound=1.5)
