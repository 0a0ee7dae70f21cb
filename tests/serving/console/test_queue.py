"""The queue in a real browser: find, open, understand, edit, decide, from mouse and keyboard."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.shops.console_shop import choose_options

pytestmark = pytest.mark.browser


def wait_for_title(page, text):
    page.get_by_role("heading", level=1, name=text).wait_for()


def wait_for_no_dialog(page):
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_filters_stand_in_the_address_and_survive_a_reload(visit):
    with visit("anna", "/queue") as page:
        wait_for_title(page, "6 suggestions wait for a decision")
        page.get_by_label("Item or title").fill("milk")
        wait_for_title(page, "1 suggestion waits for a decision")
        assert "text=milk" in page.url
        page.reload()
        wait_for_title(page, "1 suggestion waits for a decision")
        page.get_by_role("button", name="Clear filters").click()
        wait_for_title(page, "6 suggestions wait for a decision")
        page.get_by_label("Gain at least").fill("4.50")
        wait_for_title(page, "2 suggestions wait for a decision")
        choose_options(page, page.get_by_label("Category"), "Food > Dairy (3)")
        wait_for_title(page, "1 suggestion waits for a decision")


def test_a_heading_sorts_all_rows_and_the_address_keeps_the_order(visit):
    with visit("anna", "/queue") as page:
        titles = page.locator(".ag-center-cols-container [col-id=title]")
        titles.get_by_text("<b>Wine</b> & more").wait_for()  # the largest gain comes first
        page.get_by_role("columnheader", name="Item").click()
        page.wait_for_url("**sort=title**")
        expect(page.locator("[row-index='0'] [col-id=title]")).to_have_text("<b>Wine</b> & more")
        page.get_by_role("columnheader", name="Item").click()
        page.wait_for_url("**descending=1**")
        expect(page.locator("[row-index='0'] [col-id=title]")).to_have_text("奶酪 200 克")
        asked = []
        page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        page.reload()
        expect(page.locator("[row-index='0'] [col-id=title]")).to_have_text("奶酪 200 克")
        assert asked.count("/data/queue") == 1  # by the page, for the grid
        page.get_by_role("columnheader", name="Item").click()  # the third click takes the order off
        page.wait_for_function("!location.search.includes('sort=')")
        expect(page.locator("[row-index='0'] [col-id=title]")).to_have_text("<b>Wine</b> & more")


def test_a_view_is_saved_under_a_name_chosen_again_and_deleted(visit):
    with visit("anna", "/queue?text=milk&sort=title") as page:
        wait_for_title(page, "1 suggestion waits for a decision")
        page.get_by_role("button", name="Save this view").click()
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("Give a name of up to 40 characters").wait_for()
        page.get_by_label("Name of the view").fill("<b>Milk</b> & more")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("The view <b>Milk</b> & more is saved").wait_for()
        page.goto("/queue")
        wait_for_title(page, "6 suggestions wait for a decision")
        page.get_by_role("link", name="<b>Milk</b> & more").click()
        wait_for_title(page, "1 suggestion waits for a decision")
        assert "text=milk" in page.url and "sort=title" in page.url
        page.get_by_role("button", name="Delete the view <b>Milk</b> & more").click()
        expect(page.locator(".view")).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".view")).to_have_count(1)
    with visit("ben", "/queue") as page:  # a view is of the person who saved it
        wait_for_title(page, "6 suggestions wait for a decision")
        expect(page.locator(".view")).to_have_count(0)


def test_text_of_the_shop_is_text(visit):
    with visit("anna", "/queue?text=wine") as page:
        page.get_by_role("gridcell", name="<b>Wine</b> & more").wait_for()


def test_an_edit_shows_its_effect_and_somebody_else_must_approve_it(visit, console):
    milk = console.ids["milk"]
    with visit("anna", f"/queue/{milk}") as page:
        page.get_by_role("heading", name="Milk 1 l").wait_for()
        page.get_by_text("a colleague").wait_for(state="detached")
        field = page.get_by_label("Try a price")
        field.fill("1.08")
        page.get_by_text("profit against keeping").wait_for()
        page.get_by_role("button", name="Suggest this price").click()
        page.get_by_text("1.08 is suggested; a colleague must approve it").wait_for()
    with visit("ben", f"/queue/{milk}") as page:
        page.get_by_role("heading", name="Milk 1 l").wait_for()
        page.get_by_text("€1.08").first.wait_for()
        page.get_by_role("button", name="Approve", exact=True).first.click()
        page.get_by_role("dialog").get_by_role("button", name="Approve").click()
        page.get_by_text("1 price is approved").wait_for()


def test_the_keyboard_alone_rejects_a_suggestion(visit):
    with visit("ben", "/queue?sort=gain") as page:
        page.get_by_role("gridcell", name="Beer, 6 bottles").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("Space")
        page.get_by_text("1 selected").wait_for()
        waiting = page.locator(".waiting-count")
        expect(waiting).to_have_text("5")
        page.keyboard.press("r")
        page.get_by_label("Reason").fill("too early")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("1 suggestion is rejected").wait_for()
        wait_for_no_dialog(page)
        expect(waiting).to_have_text("4")
        expect(page.get_by_role("link", name="Queue 4 wait for a decision")).to_be_visible()
        page.keyboard.press("?")
        page.get_by_text("this list").wait_for()


def test_a_file_decides_after_each_row_was_shown(visit, console):
    butter, cheese = console.ids["butter"], console.ids["cheese"]
    content = f"id,decision,new_price,reason\n{butter},approve,,agreed\n{cheese},,9.99,typo\n"
    with visit("mia", "/queue") as page:
        page.get_by_role("button", name="Decide by a file").click()
        file = {"name": "queue.csv", "mimeType": "text/csv", "buffer": content.encode()}
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_text("1 to approve · 1 cannot be decided").wait_for()
        page.get_by_role("cell", name="changes the current price").wait_for()
        page.get_by_text("Approve: You can undo this for ten seconds").wait_for()
        page.get_by_role("button", name="Decide so").click()
        page.get_by_text("1 row is decided").wait_for()
        page.get_by_role("button", name="Undo").click()
        page.get_by_text("1 approval is undone").wait_for()


def test_a_reason_of_the_shop_rejects_and_a_comment_stays_under_the_suggestion(visit, console):
    wine = console.ids["wine"]
    with visit("mia", "/rules") as page:
        page.get_by_role("button", name="Change the reasons").click()
        page.get_by_label("One reason per line").fill("Too large a step\nNot before Easter")
        page.get_by_role("checkbox", name="Nothing is rejected").click()
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("Saved by mia").wait_for()
    with visit("ben", f"/queue/{wine}") as page:
        page.get_by_label("What should whoever decides know?").fill("Easter is late this year")
        page.get_by_role("button", name="Comment", exact=True).click()
        page.get_by_role("listitem").filter(has_text="Ben").get_by_text("Easter is late").wait_for()
        page.get_by_role("button", name="Reject", exact=True).first.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Not before Easter").click()
        expect(dialog.get_by_label("Reason", exact=True)).to_have_value("Not before Easter")
        dialog.get_by_role("button", name="Reject", exact=True).click()
        page.get_by_text("1 suggestion is rejected").wait_for()
        page.goto(f"/queue/{wine}?status=rejected")
        page.get_by_role("cell", name="Not before Easter").wait_for()
    with visit("ben", "/queue") as page:
        page.get_by_role("gridcell", name="Rye bread").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("Space")
        page.get_by_text("1 selected").wait_for()
        page.keyboard.press("r")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Reject", exact=True).click()
        dialog.get_by_text("rejects nothing without a reason").wait_for()
        dialog.get_by_role("button", name="Too large a step").click()
        dialog.get_by_role("button", name="Reject", exact=True).click()
        page.get_by_text("1 suggestion is rejected").wait_for()


def test_an_approval_is_undone_by_a_key_and_a_rejection_says_before_that_it_cannot_be(visit):
    with visit("mia", "/queue?text=bread") as page:
        page.get_by_role("gridcell", name="Rye bread").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("Space")
        page.get_by_text("1 selected").wait_for()
        page.keyboard.press("r")
        page.get_by_text("This cannot be undone").wait_for()
        page.get_by_role("button", name="Cancel").click()
        wait_for_no_dialog(page)
        page.keyboard.press("a")
        page.get_by_text("You can undo this for ten seconds").wait_for()
        page.get_by_role("dialog").get_by_role("button", name="Approve").click()
        page.get_by_text("1 price is approved").wait_for()
        wait_for_no_dialog(page)
        page.keyboard.press("u")
        page.get_by_text("1 approval is undone").wait_for()
        page.goto("/queue?text=bread&status=rolled_back")
        wait_for_title(page, "1 suggestion")


# What a quick person does: Cancel, and a key before any answer of the server can be there.
CANCEL_THEN_APPROVE = """
() => new Promise((done) => {
  [...document.querySelectorAll(".q-dialog button")].find((b) => b.innerText === "Cancel").click();
  setTimeout(() => {
    const key = new KeyboardEvent("keydown", { key: "a", bubbles: true });
    document.activeElement.dispatchEvent(key);
    done();
  }, 0);
})
"""


def test_a_key_right_after_cancel_is_not_lost(visit):
    with visit("mia", "/queue?status=rolled_back,submitted,rejected&text=bread") as page:
        page.get_by_role("gridcell", name="Rye bread").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("r")
        page.get_by_text("This cannot be undone").wait_for()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").wait_for()
        page.evaluate(CANCEL_THEN_APPROVE)
        page.get_by_text("You can undo this for ten seconds").wait_for()
