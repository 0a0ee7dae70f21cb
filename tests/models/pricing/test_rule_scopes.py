"""Rules of a part of the assortment: by category at any level, brand, zone and stage."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.loading import build
from features.contracts.errors import BadInput, UnknownName
from models.pricing.optimise.item_choices import find_choices
from models.pricing.rules import AssortmentPart, PricingRules, RuleScope
from tests.shops.priced_items import make_item


def part(category="Food > Dairy > Milk", brand="Alba", zone="north", stage="growth"):
    return AssortmentPart(category, brand, zone, stage)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ({"category": "Food"}, True),
        ({"category": "Food > Dairy"}, True),
        ({"category": "Food > Dairy > Milk"}, True),
        ({"category": "Food > Dai"}, False),
        ({"category": "Food > Dairy > Milk > Whole"}, False),
        ({"brand": "Alba"}, True),
        ({"brand": "Korn"}, False),
        ({"zone": "south"}, False),
        ({"stage": "growth"}, True),
        ({"category": "Food", "brand": "Alba", "zone": "north", "stage": "growth"}, True),
        ({"category": "Food", "brand": "Alba", "zone": "north", "stage": "decline"}, False),
    ],
)
def test_a_scope_covers_the_items_that_have_all_that_it_names(scope, covered):
    rules = PricingRules(max_change=0.1, scopes=(RuleScope(**scope, max_change=0.03),))
    assert rules.apply_scopes(part()).max_change == (0.03 if covered else 0.1)


def test_of_two_scopes_the_later_one_decides_and_both_apply():
    rules = PricingRules(
        scopes=(
            RuleScope(category="Food", max_change=0.04, min_margin=0.2),
            RuleScope(category="Food > Dairy", max_change=0.02),
        )
    )
    dairy = rules.apply_scopes(part())
    assert (dairy.max_change, dairy.min_margin, dairy.scopes) == (0.02, 0.2, ())
    assert rules.apply_scopes(part(category="Food > Bakery")).max_change == 0.04
    assert rules.apply_scopes(part(category="")).max_change == rules.max_change


def test_an_item_of_unknown_category_is_in_no_category():
    rules = PricingRules(scopes=(RuleScope(category="Food", max_change=0.03),))
    assert rules.apply_scopes(part(category="")) == replace(rules, scopes=())


def test_the_optimiser_prices_each_item_by_its_own_rules_over_its_preset():
    rules = PricingRules(max_change=0.1, scopes=(RuleScope(brand="Alba", max_change=0.03),))
    presets = {"decline": PricingRules(max_change=0.25, min_margin=-0.5)}
    items = [
        make_item(item_id="plain"),
        replace(make_item(item_id="alba"), brand="Alba"),
        replace(make_item(item_id="old"), stage="decline"),
        replace(make_item(item_id="old alba"), stage="decline", brand="Alba"),
    ]
    chosen = {each.item.item_id: each.rules for each in find_choices(items, rules, presets)}
    assert {key: each.max_change for key, each in chosen.items()} == {
        "plain": 0.1,
        "alba": 0.03,
        "old": 0.25,
        "old alba": 0.03,
    }
    assert chosen["old alba"].min_margin == -0.5


@pytest.mark.parametrize(
    ("scopes", "error", "message"),
    [
        ([{"max_change": 0.05}], BadInput, "names a category"),
        ([{"categry": "Food", "max_change": 0.05}], UnknownName, "categry"),
        ([{"category": "Food", "max_changes": 5}], UnknownName, "max_changes"),
        ([{"category": "Food", "max_change": 5}], BadInput, "max_change"),
        ([{"category": "Food", "max_change": "a lot"}], BadInput, "max_change"),
        ([{"zone": "north", "without_evidence": "competitor_index"}], BadInput, "competitor"),
    ],
)
def test_a_scope_that_cannot_be_used_is_refused_when_it_is_read(scopes, error, message):
    with pytest.raises(error, match=message):
        build({"scopes": scopes}, PricingRules, where="default.yaml")


def test_yaml_gives_scopes_as_a_list():
    values = {"scopes": [{"category": "Food", "endings": [".99"], "min_grade": "A"}]}
    rules = build(values, PricingRules, where="default.yaml")
    assert rules.apply_scopes(part()).endings == (".99",)


@given(st.lists(st.sampled_from(["Food", "Food > Dairy", "Drinks", "Food > Dairy > Milk"])))
def test_the_last_scope_that_covers_an_item_decides(categories):
    scopes = tuple(
        RuleScope(category=category, markup=float(n)) for n, category in enumerate(categories, 1)
    )
    covering = [n for n, name in enumerate(categories, 1) if name != "Drinks"]
    rules = PricingRules(markup=0.0, scopes=scopes)
    assert rules.apply_scopes(part()).markup == (float(covering[-1]) if covering else 0.0)
