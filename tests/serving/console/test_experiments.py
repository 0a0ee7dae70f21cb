"""An experiment in the console, from the form to the decision; and what a holdout shows."""

from __future__ import annotations

import re

import pytest

from configs.settings import Settings
from features.database import engine as open_engine
from tests.shops.accessibility import list_violations, wait_until_loaded
from tests.shops.console_shop import choose_options
from tests.shops.experiment_units import Arm, add_units
from tests.shops.served_shop import NOW

pytestmark = pytest.mark.browser


def wait_for_title(page, text):
    page.get_by_role("heading", level=1, name=text).wait_for()


def choose(page, scope, label, *options):
    choose_options(page, scope.get_by_label(label, exact=True), *options)


def confirm(page, button):
    page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()


def expose_units(console, experiment, *arms):
    """Write units of an experiment, and what they bought, into the shop."""
    engine = open_engine(Settings(home=console.process.home))
    add_units(engine, experiment, arms, NOW)
    engine.dispose()


def create_by_form(page):
    main = page.get_by_role("main")
    page.get_by_role("button", name="Save draft").click()
    page.get_by_text("This is needed").first.wait_for()
    page.get_by_label("Key", exact=True).fill("diverse")
    page.get_by_label("Hypothesis").fill("A more diverse list sells more.")
    page.get_by_label("Hypothesis").press("Tab")
    choose(page, main, "Placements", "Home", "Trending")  # takes the first one back
    choose(page, main, "Analysis", "May be read at any time")
    choose(page, main, "Primary metric", "Revenue per unit")
    page.get_by_text("At the present traffic").wait_for()
    choose(page, main, "Primary metric", "Purchase conversion")
    page.get_by_label("Takes part, % of all units").fill("50")
    treatment = page.get_by_role("group", name=re.compile("^Treatment"))
    treatment.get_by_label("Placement: diversity, 0 to 1").fill("0.4")
    page.get_by_role("button", name="Save draft").click()
    wait_for_title(page, "diverse is a draft")


def test_an_experiment_is_created_started_watched_stopped_and_decided(visit, console):
    expose_units(console, "earlier", Arm("champion", 200, 1.0))  # orders of various amounts
    with visit("mia", "/experiments/new") as page:
        create_by_form(page)
        page.get_by_role("button", name="Start", exact=True).click()
        confirm(page, "Start")
        wait_for_title(page, "diverse is running")
        page.get_by_text("50% of all units take part").wait_for()
        expose_units(console, "diverse", Arm("champion", 400, 0.2), Arm("new", 400, 0.6))
        page.get_by_role("button", name="Raise coverage").click()
        page.get_by_label("Share of all units, %").fill("80")
        confirm(page, "Raise coverage")
        page.get_by_text("80% of all units take part").wait_for()
        page.get_by_text("new beats champion on purchase_conversion").wait_for()
        page.get_by_role("heading", name="Difference over time").wait_for()
        wait_until_loaded(page)
        assert list_violations(page) == []
        page.get_by_role("button", name="Stop", exact=True).click()
        page.get_by_label("Reason").fill("clear enough")
        confirm(page, "Stop")
        wait_for_title(page, "diverse is stopped and waits for a decision")
        page.get_by_role("button", name="Decide").click()
        form = page.get_by_role("dialog")
        choose(page, form, "Variant", "new")
        form.get_by_text("Ship it").click()
        form.get_by_label("Comment").fill("it sells")
        confirm(page, "Decide")
        wait_for_title(page, "diverse is decided")
        page.get_by_text("placement trending").wait_for()
        page.goto("/experiments")
        row = page.get_by_role("row", name=re.compile("^diverse"))
        row.get_by_text("Decided for new").wait_for()
