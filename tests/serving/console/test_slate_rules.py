"""Merchandising rules in the console: edited as a form, tried on a slate, saved, restored."""

import re

import pytest

from tests.shops.console_shop import choose_options

pytestmark = pytest.mark.browser

STRANGER = "Home shows a stranger"


def add_rule(page, name, action):
    page.get_by_role("button", name="Add a rule").click()
    form = page.get_by_role("dialog", name="New rule")
    form.get_by_label("Name of the rule").fill(name)
    choose_options(page, form.get_by_label("What it does"), action)
    return form


def choose_item(page, form, item):
    choose_options(page, form.get_by_label("Items (title or id)"), item, typed=item)


def read_slate(page, number):
    return page.locator(".slate").nth(number).locator(".product-title").all_inner_texts()


def test_a_rule_is_tried_saved_and_taken_back(visit):
    with visit("mia", "/slates") as page:
        page.get_by_role("heading", level=1, name=re.compile(STRANGER)).wait_for()
        before = read_slate(page, 0)
        form = add_rule(page, "first_wine", "Pin")
        form.get_by_label("Rank, from 1").fill("1")
        choose_item(page, form, "wine")
        form.get_by_role("button", name="Continue").click()
        page.get_by_text("1 change is not saved yet").wait_for()
        page.get_by_role("button", name="Try").click()
        page.get_by_role("heading", name="With this draft").wait_for()
        assert read_slate(page, 1) == before
        assert read_slate(page, 2)[0] == "wine" != before[0]
        page.get_by_label("What and why").fill("wine week")
        page.get_by_role("button", name="Save as a version").click()
        page.get_by_text("The rules families are saved").wait_for()
        page.get_by_role("heading", level=1, name=re.compile("led by wine")).wait_for()
        page.get_by_role("cell", name="wine week").wait_for()
        page.get_by_role("button", name="Undo").click()
        page.get_by_role("heading", level=1, name=re.compile(f"led by {before[0]}")).wait_for()


def test_a_new_set_names_its_placements_and_a_wrong_rule_is_refused_in_the_form(visit):
    with visit("mia", "/slates?placement=trending") as page:
        page.get_by_role("button", name="New set").click()
        page.get_by_label("Name of the set").fill("spring")
        page.get_by_role("button", name="Continue").click()
        page.get_by_text("The set has no rules yet.").wait_for()
        form = add_rule(page, "calm", "Boost")
        form.get_by_label("Relevance times").fill("0.5")
        form.get_by_role("button", name="Continue").click()
        form.get_by_text("the factor of a boost is above 1").wait_for()
        choose_options(page, form.get_by_label("What it does"), "Hide")
        choose_item(page, form, "bread")
        form.get_by_role("button", name="Continue").click()
        page.get_by_role("button", name="Try").click()
        page.get_by_text("Trending does not follow the set spring").wait_for()
        choose_options(page, page.get_by_label("Placements that follow it"), "Trending")
        page.get_by_text("2 changes are not saved yet").wait_for()
        page.get_by_role("button", name="Try").click()
        page.get_by_text("Come in: 0 · go out: 1").wait_for()
        page.get_by_role("button", name="Discard").click()
        page.get_by_text("The set has no rules yet.").wait_for()


def test_who_does_not_manage_slates_reads_the_rules_alone(visit):
    with visit("anna", "/slates") as page:
        page.get_by_role("heading", name="Merchandising rules of this placement").wait_for()
        page.get_by_text("families.").first.wait_for()
        assert page.get_by_text("Change a set of rules").count() == 0
