"""Pricing rules as versions: saved, compared, restored, exported, tried, and valid at once."""

from dataclasses import replace

import pytest
import yaml

from configs.loading import load
from features.contracts.errors import BadInput, Conflict, NotFound, UnknownName
from features.database import reading, transaction
from features.prices.reduction_rule import PLAIN_RULES
from models.pricing.rules import AssortmentPart, PricingRules, RuleScope
from serving.access import Caller
from serving.audit.repository import AuditFilter, AuditRecords
from serving.price_desk import decisions
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.price_desk.rule_trial import try_rules
from serving.price_desk.service import PriceDeskService
from serving.price_desk.suggest import suggest_prices
from serving.pricing_rules.present_rules import PresentRules
from serving.pricing_rules.service import PricingRulesService
from serving.versioned_rules import FILE, NewVersion
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.people import MovableClock
from tests.shops.price_desk import NOW
from tests.shops.three_items import RULES, make_forecasts, make_inputs, make_responses

DAIRY = AssortmentPart("Food > Dairy", "", "default", "")


@pytest.fixture
def rules(engine, settings):
    return PricingRulesService(settings, engine, MovableClock())


def save(service, name="default", based_on=None, author="dora", comment="a test", **changes):
    rule_set = service.read_set(name)
    new = NewVersion(
        name=name,
        values={**rule_set.values, **changes},
        comment=comment,
        based_on=rule_set.number if based_on is None else based_on,
    )
    with transaction(service.engine) as connection:
        return service.save(connection, new, author=author)


def restore(service, number, name="default"):
    with transaction(service.engine) as connection:
        return service.restore(connection, name, number, "back", author="dora")


def test_without_a_version_the_files_are_valid(rules, settings):
    present = rules.read_present()
    assert "default" in present.list_names()
    assert present.load("default") == load("pricing/default", PricingRules)
    assert rules.read_set("default").number == FILE
    assert rules.list_versions("default") == []


def test_a_saved_version_is_valid_at_once_and_says_who_changed_what_and_why(rules, engine):
    version = save(rules, max_change=0.05, comment="calmer")
    assert (version.number, version.author) == (1, "dora")
    assert rules.read_present().load("default").max_change == 0.05
    save(rules, author="carla", max_change=0.04, min_margin=0.1)
    first, second = rules.list_versions("default")
    assert [(each.path, each.before, each.after) for each in first.differences] == [
        ("max_change", 0.1, 0.05)
    ]
    assert [(each.path, each.before, each.after) for each in second.differences] == [
        ("max_change", 0.05, 0.04),
        ("min_margin", 0.05, 0.1),
    ]
    with reading(engine) as connection:
        log = AuditRecords(connection).page(AuditFilter(subject_id="default"))
        assert AuditRecords(connection).verify().intact
    assert [(entry.actor, entry.action) for entry in log] == [
        ("dora", "save_rules"),
        ("carla", "save_rules"),
    ]
    assert log[0].details["comment"] == "calmer"


def test_a_scope_by_category_is_saved_and_read_for_its_items(rules):
    save(rules, scopes=[{"category": "Food", "max_change": 0.02}])
    assert rules.read_effective("default", DAIRY).max_change == 0.02
    drinks = DAIRY._replace(category="Drinks")
    assert rules.read_effective("default", drinks).max_change == 0.1
    # The preset of a stage replaces the rules, and scopes apply over it.
    old = DAIRY._replace(category="Drinks", stage="decline")
    assert rules.read_effective("default", old).max_change == 0.25
    assert rules.read_effective("default", old._replace(category="Food")).max_change == 0.02


def test_restoring_is_a_new_version_with_the_old_values(rules):
    save(rules, max_change=0.05)
    save(rules, max_change=0.02)
    assert restore(rules, 1).number == 3
    assert rules.read_present().load("default").max_change == 0.05
    assert restore(rules, FILE).restored_from == FILE
    assert rules.read_present().load("default") == load("pricing/default", PricingRules)
    with pytest.raises(BadInput, match="already"):
        restore(rules, FILE)
    with pytest.raises(NotFound, match="no version 9"):
        restore(rules, 9)


def test_of_two_people_who_save_the_second_looks_again(rules):
    save(rules, max_change=0.05)
    with pytest.raises(Conflict, match="at version 1, not 0"):
        save(rules, max_change=0.02, based_on=0)
    assert rules.read_set("default").number == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"max_change": 3}, BadInput),
        ({"max_chnge": 0.1}, UnknownName),
        ({"stages": {"decline": "declne"}}, UnknownName),
        ({"scopes": [{"max_change": 0.1}]}, BadInput),
        ({}, BadInput),
    ],
)
def test_rules_that_cannot_be_used_are_not_saved(rules, changes, error):
    with pytest.raises(error):
        save(rules, **changes)
    assert rules.list_versions("default") == []


def test_a_name_of_the_shops_own_is_a_strategy_like_any_other(rules):
    new = NewVersion("calm", {"max_change": 0.01}, "for Lent", FILE)
    with transaction(rules.engine) as connection:
        rules.save(connection, new, author="dora")
    assert "calm" in [each.name for each in rules.list_rules()]
    assert rules.read_present().load("calm").max_change == 0.01
    with transaction(rules.engine) as connection, pytest.raises(BadInput, match="no name"):
        rules.save(connection, replace(new, name="../calm"), author="dora")


def test_an_exported_version_is_a_file_that_gives_the_same_rules(rules, settings, tmp_path):
    save(rules, max_change=0.07, scopes=[{"brand": "Käserei", "min_margin": 0.2}])
    folder = tmp_path / "own" / "pricing"
    folder.mkdir(parents=True)
    (folder / "default.yaml").write_text(rules.export_yaml("default"), encoding="utf-8")
    assert "by dora" in rules.export_yaml("default")
    own = settings.model_copy(update={"config_dir": tmp_path / "own"})
    assert PresentRules(own, {}).load("default") == rules.read_present().load("default")
    assert yaml.safe_load(rules.export_yaml("default", FILE))["max_change"] == 0.1


def suggest(three_items, rules=RULES):
    inputs = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"), rules)
    return suggest_prices(inputs, SYSTEM_CLOCK)


def test_an_approval_is_held_against_the_version_of_today(three_items, rules):
    """Milk goes from 1.00 to 0.96: more than the 1 % that dairy may move since this morning."""
    _, engine, settings = three_items
    suggest(three_items)
    clock = FixedClock(NOW)
    desk = PriceDeskService(settings, engine, clock, SYSTEM_CLOCK, PLAIN_RULES)
    caller = Caller("ben", "Ben B", frozenset({"pricing.approve"}))
    with reading(engine) as connection:
        (milk,) = Suggestions(connection).matching(SuggestionFilter())
    save(rules, max_over_list=0.5, scopes=[{"category": "Food > Dairy", "max_change": 0.01}])
    with transaction(engine) as connection, pytest.raises(Conflict, match=r"0\.99"):
        decisions.approve(connection, desk.decider(caller, "pricing.approve", None), milk.id)
    save(rules, scopes=[{"category": "Drinks", "max_change": 0.01}])
    decider = desk.decider(caller, "pricing.approve", None)
    with transaction(engine) as connection:
        assert decisions.approve(connection, decider, milk.id).status == "live"


def test_a_trial_shows_both_rules_on_the_same_items_and_writes_nothing(three_items):
    """The best price of milk is .96: keeping everything forgoes it, and 2 % reaches .98."""
    _, engine, _ = three_items
    inputs = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"), RULES)
    draft = replace(RULES, scopes=(RuleScope(category="Food", max_change=0.02),))
    trial = try_rules(inputs, "default", draft, {})
    assert (trial.n_items, trial.n_different) == (1, 1)
    (move,) = trial.moves
    assert (move.item_id, move.title) == ("milk", "Milk")
    assert (move.current_minor, move.present_minor, move.draft_minor) == (100, 96, 98)
    assert (trial.present.n_changes, trial.draft.n_changes, trial.draft.n_rises) == (1, 1, 0)
    assert trial.present.profit_minor > trial.draft.profit_minor > 0
    assert trial.present.units > trial.draft.units > 0
    assert trial.draft.forbidden == {}
    # At a margin of 30 % the net price is at least .72 / .7: the price of today is below that.
    costly = try_rules(inputs, "default", replace(RULES, min_margin=0.3), {})
    assert costly.draft.forbidden == {"margin floor": 1}
    assert costly.present.forbidden == {}
    with reading(engine) as connection:
        assert Suggestions(connection).matching(SuggestionFilter()) == []
