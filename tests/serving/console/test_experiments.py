"""An experiment in the console, from the form to the decision; and what a holdout shows."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import reading, transaction
from serving.database.desk_tables import experiment_versions
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
        page.get_by_text("new beats champion: Purchase conversion").wait_for()
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


def save_draft(console, key, **values):
    """Store a draft as a program does: the form shows less than a definition can say."""
    engine = open_engine(Settings(home=console.process.home))
    with transaction(engine) as connection:
        connection.execute(
            experiment_versions.insert(),
            {
                "name": key,
                "number": 1,
                "values": {
                    "hypothesis": "Fewer repeats sell more.",
                    "placements": ["trending"],
                    "variants": [
                        {"name": "champion", "weight": 0.5},
                        {
                            "name": "new",
                            "weight": 0.5,
                            "placement": {"exploration": {"share": 0.1}},
                        },
                    ],
                    "control": "champion",
                    "salt": "its_own_salt",
                    **values,
                },
                "author": "mia",
                "comment": "",
                "created_at": NOW,
            },
        )
    engine.dispose()


def test_a_draft_is_changed_in_the_form_which_keeps_what_it_does_not_show(visit, console):
    save_draft(
        console,
        "fewer",
        guardrails=[{"metric": "refunds_per_unit", "margin": 0.02}],
        targeting={"attributes": {"plan": ["gold", "silver"], "city": ["Berlin, Mitte"]}},
        control="new",
    )
    with visit("mia", "/experiments/fewer") as page:
        page.get_by_role("link", name="Edit").click()
        wait_for_title(page, "Change the draft fewer")
        assert page.get_by_label("One of, with commas").first.input_value() == "gold,silver"
        page.get_by_role("button", name="Add a step").click()
        page.get_by_label("From", exact=True).fill("2018-01-08T06:00")
        page.get_by_label("Takes part, %", exact=True).fill("120")
        page.get_by_role("button", name="Save draft").click()
        page.get_by_text("coverage is 1.2, not in [0, 1]").first.wait_for()
        page.get_by_label("Takes part, % of all units").fill("10")
        page.get_by_label("Takes part, %", exact=True).fill("50")
        choose(page, page.get_by_role("main"), "Results also by", "Zone")
        page.get_by_label("May lose up to, %").fill("2")
        page.get_by_role("button", name="Add a guardrail").click()
        page.get_by_label("What changes and why").fill("slower, and for friends")
        wait_until_loaded(page)
        assert list_violations(page) == []
        page.get_by_role("button", name="Save draft").click()
        wait_for_title(page, "fewer is a draft")
        page.get_by_text("10%, 50% from").wait_for()
        page.get_by_text("plan: gold, silver").wait_for()
        page.get_by_text("Purchase conversion loses less than 2.0%").wait_for()
        page.get_by_role("cell", name="slower, and for friends").wait_for()
        page.get_by_role("cell", name="exploration: share 0.1", exact=True).wait_for()
    engine = open_engine(Settings(home=console.process.home))
    with reading(engine) as connection:
        table = experiment_versions.c
        query = sa.select(table["values"]).where(table.name == "fewer", table.number == 2)
        values = connection.execute(query).scalar_one()
    engine.dispose()
    assert values["salt"] == "its_own_salt"
    assert [one["metric"] for one in values["guardrails"]] == [
        "refunds_per_unit",
        "add_to_cart_rate",
    ]
    assert values["segments"] == ["zone"]
    assert values["control"] == "new"
    assert values["targeting"]["attributes"]["city"] == ["Berlin, Mitte"]
