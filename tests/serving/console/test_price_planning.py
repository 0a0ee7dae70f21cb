"""What is looked at before it is filed: rules, scenarios, runs; in a real browser."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import transaction
from serving.price_desk.run_outcomes import NewRun, PricingRuns, RunItem
from serving.price_desk.scenario_repository import NewScenario, ScenarioOrder, Scenarios
from tests.shops.served_shop import NOW

pytestmark = pytest.mark.browser

TOTALS = (
    "n_forecast",
    "n_suggested",
    "n_flagged",
    "n_rises",
    "n_superseded",
    "n_assumed_rises",
    "profit_gain_minor",
    "gap",
)


def test_rules_are_tried_beside_the_queue_then_saved(visit):
    with visit("mia", "/rules") as page:
        # What the rules do not name is valid as shipped, and shown so.
        expect(page.get_by_label("Largest untested change, %")).to_have_value("5")
        expect(page.get_by_label("Expected losers, at most %")).to_have_value("10")
        page.get_by_role("button", name="Try", exact=True).click()
        page.get_by_text("These are the rules of today").wait_for()
        page.get_by_label("Lowest margin, %").fill("90")
        page.get_by_role("button", name="Try", exact=True).click()
        page.get_by_role("heading", name="What this draft would do").wait_for()
        totals = page.get_by_role("region", name="Totals")
        # Six prices wait; none of today reaches a margin of 90 %.
        expect(totals.get_by_role("row", name="New prices")).to_contain_text("6")
        expect(totals.get_by_role("row", name="margin")).to_contain_text("6")
        moves = page.get_by_role("region", name="Largest differences from the queue")
        expect(moves.get_by_role("row", name="milk")).to_contain_text("€1.09")
        page.get_by_label("Lowest margin, %").fill("3")
        page.get_by_label("What and why").fill("tried before")
        page.get_by_role("button", name="Save as a version").click()
        page.get_by_text("The rules default are saved").wait_for()
        saved = page.get_by_role("row", name="tried before")
        expect(saved).to_contain_text("min_margin 0.05 → 0.03")
        expect(saved).not_to_contain_text("untested_step")


def fail_a_scenario(console):
    engine = open_engine(Settings(home=console.process.home))
    with transaction(engine) as connection:
        scenario = NewScenario(
            id="scenario_failed",
            order=ScenarioOrder(title="broken"),
            created_by="anna",
            process="another:1:x",
            created_at=NOW,
            begun_at=NOW,
        )
        Scenarios(connection).add(scenario)
        Scenarios(connection).fail("scenario_failed", "the server that computed it was stopped")
    engine.dispose()


def test_scenarios_stand_beside_each_other_and_one_is_filed(visit, console):
    fail_a_scenario(console)
    with visit("anna", "/runs") as page:
        page.get_by_role("link", name="Scenarios").click()
        row = page.get_by_role("row", name="broken")
        expect(row).to_contain_text("Failed")
        expect(row).to_contain_text("the server that computed it was stopped")
        for name, weeks in (("bold", "4"), ("short", "2")):
            page.get_by_label("Name", exact=True).fill(name)
            page.get_by_label("Weeks ahead").fill(weeks)
            page.get_by_label("Changed values").fill("objective: revenue\nmax_change: 0.1")
            page.get_by_role("button", name="Compute").click()
            page.get_by_role("checkbox", name=f"Compare {name}").wait_for()
        page.get_by_role("heading", name="bold · short").wait_for()
        expect(page.get_by_role("region", name="Totals")).to_contain_text("Waits now")
        page.reload()
        page.get_by_role("heading", name="bold · short").wait_for()
        row = page.get_by_role("row", name="Compare bold")
        row.get_by_role("button", name="File").click()
        page.get_by_role("dialog").get_by_label("Reason").fill("agreed in the meeting")
        page.get_by_role("dialog").get_by_role("button", name="File").click()
        page.get_by_text("prices wait for approval").wait_for()
        row.get_by_role("link", name="its run").click()
        page.get_by_role("heading", level=1, name="suggested 6 prices").wait_for()
        page.get_by_text("Superseded").wait_for()
        page.goto("/queue")
        page.get_by_role("heading", level=1, name="6 suggestions wait").wait_for()
        expect(page.locator("[row-index='0'] [col-id=change]")).to_contain_text("▼")


def test_a_manager_stops_everything_and_lets_a_rule_approve_small_steps(visit):
    with visit("mia", "/rules") as page:
        page.get_by_role("button", name="Stop every activation").click()
        page.get_by_role("dialog").get_by_label("Reason").fill("wrong costs")
        page.get_by_role("dialog").get_by_role("button", name="Stop every activation").click()
        page.get_by_text("mia stopped every activation").wait_for()
        page.get_by_role("button", name="Add a rule").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("small steps")
        dialog.get_by_label("Largest change, %").fill("60")
        dialog.get_by_role("button", name="Save").click()
        dialog.get_by_text("60% is not approved without a person").wait_for()
        dialog.get_by_label("Largest change, %").fill("2")
        dialog.get_by_role("button", name="Save").click()
        page.get_by_role("row", name="small steps").get_by_text("On", exact=True).wait_for()
    with visit("ben", "/rules") as page:
        page.get_by_text("mia stopped every activation").wait_for()
        expect(page.get_by_role("button", name="Let activations go on")).to_have_count(0)
    with visit("mia", "/rules") as page:
        page.get_by_role("button", name="Let activations go on").click()
        page.get_by_role("dialog").get_by_role("button", name="Let activations go on").click()
        page.get_by_text("Activations go on: what is approved").wait_for()


def file_runs(console):
    """File two runs of the tiny shop that differ in tea and in why rye keeps its price."""
    engine = open_engine(Settings(home=console.process.home))
    with transaction(engine) as connection:
        for number, (tea, reason) in enumerate(((105, "moved lately"), (121, "no forecast"))):
            run = NewRun(
                id=f"run_{number}",
                zone="default",
                currency="EUR",
                objective="profit",
                horizon_weeks=4,
                rules="default",
                status="submitted",
                created_at=NOW + timedelta(hours=number),
                recorded_at=NOW,
                totals=dict.fromkeys(TOTALS, 1.0),
                kept={reason: 1},
            )
            items = [
                RunItem("tea", "suggested", None, "Drinks", "<i>Tea</i>", 100, tea),
                RunItem("rye", "kept", reason, "Food", "Rye", 100),
            ]
            PricingRuns(connection).add(run, items)
    engine.dispose()


def test_two_runs_stand_side_by_side_with_what_differs_most(visit, console):
    file_runs(console)
    with visit("anna", "/runs") as page:
        page.get_by_role("button", name="Compare", exact=True).click()
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_have_text("The two runs differ in 1 of 2 items")
        row = page.get_by_role("row").filter(has_text="<i>Tea</i>")
        expect(row).to_contain_text("€1.05")
        expect(row).to_contain_text("▲ 15.2%")
        expect(page.get_by_text("moved lately").first).to_be_visible()
        page.goto("/runs/compare?first=run_0&second=run_0")
        page.get_by_text("a run is compared with another one").wait_for()
