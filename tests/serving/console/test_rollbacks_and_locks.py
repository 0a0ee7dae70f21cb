"""What pricing teams do when prices must go back, or must stay: rollback of a selection and of a
day, and locks of prices."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import transaction
from serving.price_desk import decisions
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import roll_back
from tests.shops.console_shop import choose_options
from tests.shops.price_desk import NOW, make_decider, read_offer_prices
from tests.shops.served_shop import ITEMS

pytestmark = pytest.mark.browser
LATER = NOW + timedelta(hours=6)


@pytest.fixture
def engine(console):
    opened = open_engine(Settings(home=console.process.home))
    yield opened
    opened.dispose()


def test_a_selection_and_a_day_are_rolled_back(visit, console, engine):
    with transaction(engine) as connection:
        decisions.decide_many(connection, make_decider(), "approve", criteria=SuggestionFilter())
    with visit("mia", "/live") as page:
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_have_text("6 prices of the desk are live")
        for title in ("Butter 250 g", "Milk 1 l", "Beer, 6 bottles"):
            page.get_by_role("checkbox", name=f"Select {title}").click()
        page.get_by_text("3 selected").wait_for()
        page.get_by_role("checkbox", name="Select Beer, 6 bottles").click()
        page.get_by_text("2 selected").wait_for()
        page.get_by_role("checkbox", name="Select <b>Wine</b> & more").click()
        with transaction(engine) as connection:  # a colleague is quicker
            wine = Suggestions(connection).get(console.ids["wine"])
            roll_back(connection, make_decider(), wine.price_id)
        page.get_by_text("3 selected").wait_for()
        page.get_by_role("button", name="Roll back…", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Roll back 3 selected prices?").wait_for()
        dialog.get_by_label("Reason").fill("the supplier called")
        dialog.get_by_role("button", name="Roll back").click()
        page.get_by_text("2 prices are rolled back").wait_for()
        dialog.get_by_text("this change was rolled back before").wait_for()
        expect(heading).to_have_text("3 prices of the desk are live")
        dialog.get_by_role("button", name="Close").click()
        assert read_offer_prices(engine, "butter", "milk", "beer", at=LATER) == [100, 100, 105]

        page.get_by_role("button", name="Roll back a day…").click()
        dialog.get_by_text(
            "Roll back all 3 prices that began in default on Jan 1, 2018?"
        ).wait_for()
        dialog.get_by_label("Began on the day").fill("2017-12-31")
        dialog.get_by_text("Nothing that can be rolled back began").wait_for()
        dialog.get_by_role("button", name="Roll back").click()
        dialog.get_by_text("choose another day").wait_for()
        dialog.get_by_label("Began on the day").fill("2018-01-01")
        dialog.get_by_text("Roll back all 3 prices").wait_for()
        dialog.get_by_role("button", name="Roll back").click()
        page.get_by_text("3 prices are rolled back").wait_for()
        expect(heading).to_have_text("0 prices of the desk are live")
    assert read_offer_prices(engine, *ITEMS, at=LATER) == [100] * len(ITEMS)


def test_a_price_is_locked_and_its_lock_is_undone_or_lifted(visit):
    with visit("ben", "/prices") as page:
        dialog = page.get_by_role("dialog")
        row = page.get_by_role("row").filter(has_text="printed in the catalogue")

        def lock():
            page.get_by_role("button", name="Lock a price").click()
            choose_options(page, dialog.get_by_label("Item: title or id"), "butter", typed="butter")
            dialog.get_by_label("Reason").fill("printed in the catalogue")
            dialog.get_by_role("button", name="Lock", exact=True).click()
            # The usual end: midnight, four weeks after New Year's Day of 2018.
            expect(row).to_contain_text("Jan 29, 2018")
            expect(row).to_contain_text("ben")

        page.get_by_text("No price is locked.").wait_for()
        lock()
        page.get_by_role("button", name="Undo").click()
        page.get_by_text("No price is locked.").wait_for()
        lock()
        with visit("anna", "/prices") as other:  # who may not approve sees the lock, and no more
            other.get_by_text("printed in the catalogue").wait_for()
            expect(other.get_by_role("button", name="Lift")).to_have_count(0)
            expect(other.get_by_role("button", name="Lock a price")).to_have_count(0)
        row.get_by_role("button", name="Lift").click()
        dialog.get_by_text("This cannot be undone").wait_for()
        dialog.get_by_role("button", name="Lift").click()
        page.get_by_text("No price is locked.").wait_for()
