"""Rules that approve without a person: their thresholds, and what they leave to people."""

from dataclasses import replace

import pytest

from features.contracts.errors import BadInput
from features.contracts.pricing import EvidenceGrade
from features.database import reading, transaction
from serving.price_desk.auto_approval import apply_rules, save_rule
from serving.price_desk.controls_repository import ApprovalRule
from serving.price_desk.repository import Suggestions
from tests.shops.price_desk import NOW as BUSINESS_NOW
from tests.shops.price_desk import (
    SYSTEM_NOW,
    act_as_system,
    make_decider,
    make_suggestion,
    read_statuses,
    store_suggestions,
)

RULE = ApprovalRule("small", True, 0.05, EvidenceGrade.B, 1.0, ("Food",), "max", SYSTEM_NOW)


def gain(p10):
    values = {"p10": p10, "p50": 150.0, "p90": 300.0}
    return {"profit": {**values, "against_keeping": values}}


GOOD = {"evidence_grade": "B", "expected": gain(101.0)}


def apply(engine, rule=RULE):
    with transaction(engine) as connection:
        return save_rule(connection, make_decider(rule.changed_by), rule)


def test_nothing_is_approved_until_a_manager_saves_a_rule(engine):
    (key,) = store_suggestions(engine, make_suggestion("milk", 104, **GOOD))
    with transaction(engine) as connection:
        assert apply_rules(connection, act_as_system(BUSINESS_NOW), None) == 0
    assert apply(engine, replace(RULE, enabled=False)) == 0
    assert read_statuses(engine, [key]) == ["submitted"]
    assert apply(engine) == 1
    with reading(engine) as connection:
        suggestion = Suggestions(connection).get(key)
    assert (suggestion.status, suggestion.decided_by) == ("live", "rule:small")


@pytest.mark.parametrize(
    "values",
    [
        {"price": 106},
        {"evidence_grade": "C"},
        {"evidence_grade": None},
        {"expected": gain(100.0)},  # not above 1.00
        {"expected": None},
        {"category": "Toys"},
        {"category": "Foods"},
        {"proposed_by": "max"},
        {"details": {"flags": ["it would spoil a promotion"]}},
        {"status": "suggested"},
    ],
)
def test_what_lies_outside_a_threshold_waits_for_a_person(engine, values):
    given = {"price": 104, **GOOD, **values}
    (key,) = store_suggestions(engine, make_suggestion("milk", given.pop("price"), **given))
    assert apply(engine) == 0
    assert read_statuses(engine, [key]) == [given.get("status", "submitted")]


def test_a_rule_obeys_the_limits_of_people(engine):
    store_suggestions(engine, make_suggestion("milk", 104, **GOOD))
    for largest in (0.0, 0.51, -1.0):
        with pytest.raises(BadInput, match="without a person"):
            apply(engine, replace(RULE, max_change=largest))
