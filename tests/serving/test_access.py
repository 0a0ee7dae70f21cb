"""Roles, areas and callers: who has which scope, and where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.errors import Forbidden
from serving.access import (
    EVERYWHERE,
    ROLE_SCOPES,
    ROLES,
    SCOPES,
    Area,
    Caller,
    Grant,
    compute_areas,
    find_objection,
)

PARTS = st.sampled_from(["Food", "Dairy", "Milk", "Foodstuff", "Dairy free"])
CATEGORIES = st.lists(PARTS, min_size=1, max_size=3).map(" > ".join)
ZONES = st.sampled_from(["north", "south", "default"])
AREAS = st.builds(Area, st.just("") | CATEGORIES, st.just("") | ZONES)
GRANTS = st.lists(st.builds(Grant, st.sampled_from(ROLES), AREAS), max_size=4)


def test_each_role_gives_what_it_says_and_no_role_passes_the_admins():
    assert "pricing.propose" in ROLE_SCOPES["analyst"]
    assert "pricing.approve" not in ROLE_SCOPES["analyst"]
    assert "pricing.approve" in ROLE_SCOPES["approver"]
    assert not {"pricing.rollback", "pricing.manage"} & {
        *ROLE_SCOPES["analyst"],
        *ROLE_SCOPES["approver"],
    }
    assert {"pricing.rollback", "pricing.manage"} <= {*ROLE_SCOPES["manager"]}
    assert {role for role in ROLES if "people.manage" in ROLE_SCOPES[role]} == {"admin"}
    for scopes in ROLE_SCOPES.values():
        assert {*scopes} <= {*SCOPES} & {*ROLE_SCOPES["admin"]}


@pytest.mark.parametrize(
    ("area", "category", "zone", "inside"),
    [
        (Area(), "Food > Dairy", "north", True),
        (Area(), None, "north", True),
        (Area("Food"), "Food > Dairy > Milk", "north", True),
        (Area("Food > Dairy"), "Food > Dairy", "north", True),
        (Area("Food > Dairy"), "Food > Dairy free", "north", False),
        (Area("Food > Dairy"), "Food", "north", False),
        (Area("Food"), None, "north", False),
        (Area(zone="north"), None, "north", True),
        (Area("Food", "north"), "Food > Dairy", "south", False),
    ],
)
def test_an_area_contains_its_category_and_all_below_it(area, category, zone, inside):
    assert area.contains(category, zone) is inside


@given(GRANTS, CATEGORIES, ZONES)
def test_a_scope_reaches_exactly_as_far_as_the_roles_that_give_it(grants, category, zone):
    areas = compute_areas(grants)
    for scope in SCOPES:
        expected = any(
            scope in ROLE_SCOPES[grant.role] and grant.area.contains(category, zone)
            for grant in grants
        )
        reached = scope in areas and find_objection(areas[scope], category, zone) is None
        assert reached == expected


@given(st.lists(AREAS, max_size=3), AREAS, CATEGORIES, ZONES)
def test_another_area_never_takes_anything_away(areas, more, category, zone):
    if find_objection(areas, category, zone) is None:
        assert find_objection([*areas, more], category, zone) is None


def test_a_caller_without_the_scope_is_refused_in_words():
    key = Caller("key_1", "shop", frozenset({"events"}))
    anna = Caller("anna", "Anna", frozenset({"pricing.propose"}), is_person=True)
    with pytest.raises(Forbidden, match=r"this key lacks the scope pricing\.approve"):
        key.require("pricing.approve")
    with pytest.raises(Forbidden, match=r"your roles do not give .*approver, manager, admin"):
        anna.require("pricing.approve")
    assert key.require("events") == anna.require("pricing.propose") == EVERYWHERE


def test_what_lies_outside_is_refused_with_what_lies_inside():
    error = find_objection((Area("Food", "north"), Area(zone="south")), "Drinks", "north")
    assert str(error).startswith(
        "your role covers Food in north; every category in south, not Drinks in north"
    )
