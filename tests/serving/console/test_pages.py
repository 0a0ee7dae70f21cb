"""The pages of the store, of the models and of administration, in a real browser."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.database import engine as open_engine
from features.database_tables import exposures
from models.registry import Registry
from tests.shops.console_shop import choose_options

pytestmark = pytest.mark.browser

PATHS = (
    "/slates",
    "/slates?placement=cart",
    "/slates?who=user&id=u00&compare=policy%3Abuy_again",
    "/demand",
    "/demand?item=milk&freq=D",
    "/demand?category=Food",
    "/stock?show=all",
    "/models?model=demand",
    "/people",
    "/keys",
    "/audit",
    "/health",
)


def wait_for_title(page, text):
    page.get_by_role("heading", level=1, name=text).wait_for()


def read_settings(console):
    return Settings(home=console.process.home)


@pytest.mark.slow
def test_every_page_answers_in_chinese_without_an_error(visit):
    with visit("ada", "/people", locale="zh-CN", color_scheme="dark") as page:
        for path in PATHS:
            page.goto(path)
            page.wait_for_selector("main")
            page.wait_for_selector(".section[aria-busy=false]")
            title = page.get_by_role("heading", level=1).inner_text()
            assert re.search("[\u4e00-\u9fff]", title), f"{path}: {title}"
            assert page.locator(".problem").count() == 0, path
            unlabelled = page.locator("main input:not([aria-label]):not([type=checkbox])")
            for field in unlabelled.all():
                assert field.evaluate("field => field.labels.length > 0 || field.type == 'search'")


def test_a_person_is_created_with_a_role_signs_in_and_is_disabled(visit, browser, console):
    with visit("ada", "/people") as page:
        wait_for_title(page, "4 people may sign in")
        page.get_by_role("button", name="New person").click()
        form = page.get_by_role("dialog")
        form.get_by_role("button", name="Create").click()
        form.get_by_text("is no sign-in name").wait_for()
        form.get_by_label("Sign-in name").fill("zoe")
        form.get_by_label("Full name").fill("<b>Zoë</b>")
        form.get_by_role("button", name="Create").click()
        password = page.locator(".secret").inner_text()
        page.get_by_role("button", name="Close").click()
        wait_for_title(page, "5 people may sign in")
        page.get_by_text("<b>Zoë</b>", exact=True).first.wait_for()
        assert "zoe" in page.get_by_role("region", name="People").inner_text()

        other = browser.new_context(base_url=console.process.url)
        theirs = other.new_page()
        theirs.goto("/sign-in?next=/stock")
        theirs.fill("#name", "zoe")
        theirs.fill("#password", password)
        theirs.click("button")
        theirs.wait_for_selector("main")
        assert theirs.get_by_role("link", name="People").count() == 0

        page.get_by_role("button", name="Actions for <b>Zoë</b>").click()
        page.get_by_text("Disable", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        wait_for_title(page, "4 people may sign in, 1 is disabled")
        page.get_by_role("button", name="Undo").click()
        wait_for_title(page, "5 people may sign in")
        theirs.goto("/stock")
        theirs.wait_for_selector("#password")  # the sessions ended all the same
        other.close()


def test_a_page_that_is_left_open_does_nothing_more_for_who_lost_the_role(visit, console):
    engine = open_engine(read_settings(console))
    with visit("ada", "/keys") as page:
        wait_for_title(page, re.compile("keys? works?|keys work"))
        with engine.begin() as connection:
            update = "UPDATE person_roles SET role = :role WHERE person = 'ada'"
            connection.execute(sa.text(update), {"role": "analyst"})
            try:
                connection.commit()
                page.get_by_role("button", name="New key").click()
                page.get_by_label("Holder").fill("storefront")
                page.get_by_role("checkbox", name="storefront").click()
                page.get_by_role("button", name="Create key").click()
                page.get_by_text("your roles do not give the scope people.manage").wait_for()
            finally:
                with engine.begin() as again:
                    again.execute(sa.text(update), {"role": "admin"})
    engine.dispose()


def test_a_key_is_shown_once_and_revoked(visit, console):
    with visit("ada", "/keys") as page:
        page.get_by_role("button", name="New key").click()
        page.get_by_label("Holder").fill("shop window")
        page.get_by_role("checkbox", name="storefront").click()
        page.get_by_role("button", name="Create key").click()
        key = page.locator(".secret").inner_text()
        assert key.startswith("sw_")
        page.get_by_role("button", name="Close").click()
        page.get_by_text("shop window").wait_for()
        page.reload()
        page.get_by_text("shop window").wait_for()
        assert key not in page.content()
        page.get_by_role("button", name="Revoke the key of shop window").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        page.get_by_text("The key of shop window is revoked").wait_for()
        page.goto("/audit?action=revoke")
        page.get_by_role("cell", name=re.compile("Ada")).first.wait_for()


def test_a_model_is_promoted_with_a_reason_and_the_change_is_undone(visit, console):
    registry = Registry(read_settings(console).mlflow_url, console.process.home)
    with visit("ada", "/models") as page:
        wait_for_title(page, "Recommendations: version 1 serves")
        page.get_by_role("button", name="Promote version 2").click()
        form = page.get_by_role("dialog")
        form.get_by_role("button", name="Promote").click()
        form.get_by_text("Say why, in a few words").wait_for()
        form.get_by_label("Reason").fill("more carts")
        form.get_by_role("button", name="Promote").click()
        wait_for_title(page, "Recommendations: version 2 serves")
        assert registry.find_champion("recommendations").version == "2"
        page.get_by_role("button", name="Roll back to version 1").click()
        page.get_by_label("Reason").fill("it was worse")
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        wait_for_title(page, "Recommendations: version 1 serves")
        assert registry.find_champion("recommendations").version == "1"
        page.goto("/audit?about=it+was+worse")
        page.get_by_role("cell", name="rolled back").wait_for()
    with visit("anna", "/models") as page:
        wait_for_title(page, "Recommendations: version 1 serves")
        assert page.get_by_role("button", name="Promote version 2").count() == 0


def test_a_preview_of_a_slate_writes_no_exposure(visit, console):
    with visit("anna", "/slates") as page:
        wait_for_title(page, re.compile("Home shows a stranger"))
        choose_options(page, page.get_by_label("Shopper"), "A person (user id)")
        page.get_by_label("Their id").fill("u00")
        wait_for_title(page, re.compile("Home shows u00"))
        page.get_by_text("experiment home_ranker").wait_for()
        page.get_by_text("Bought before").first.wait_for()
        page.get_by_text("Why", exact=True).first.click()
        page.get_by_text(re.compile("^Score")).first.wait_for()
        assert "id=u00" in page.url
    console.process.stop()  # exposures are written behind the answers, the last ones at a stop
    engine = open_engine(read_settings(console))
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(exposures)) == 0
    engine.dispose()
    console.process.start(until="/healthz", verb="console")


def test_an_item_is_found_by_its_title_and_stays_in_the_address(visit):
    with visit("anna", "/demand") as page:
        wait_for_title(page, re.compile("Zone default will sell about"))
        choose_options(page, page.get_by_label("Item (title or id)"), "milk", typed="mil")
        # 11, 12, 13 and 14 in the next weeks.
        wait_for_title(page, "milk will sell about 50 in the next 4 weeks")
        page.wait_for_url("**item=milk**")
        page.get_by_role("button", name="Days").click()
        page.get_by_role("heading", name="Units by day").wait_for()
        page.reload()
        wait_for_title(page, "milk will sell about 50 in the next 4 weeks")
        page.get_by_text("As a table").click()
        page.get_by_role("region", name="Units of milk: sold and expected").wait_for()


def test_the_order_list_is_filtered_and_comes_as_a_file(visit):
    with visit("anna", "/stock?show=all") as page:
        wait_for_title(page, re.compile("to order"))
        page.get_by_label("Title or id").fill("beer")
        page.wait_for_url("**q=beer**")
        page.get_by_text("1 to 1 of 1").wait_for()
        with page.expect_download() as download:
            page.get_by_role("link", name="Export CSV").click()
        lines = download.value.path().read_text("utf-8-sig").splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("zone,item_id,title")
        assert ",beer," in lines[1]


def test_the_chain_of_the_audit_log_is_verified(visit):
    with visit("ada", "/audit") as page:
        wait_for_title(page, re.compile("actions are on record"))
        page.get_by_role("button", name="Verify the chain").click()
        page.get_by_text("The chain is whole").wait_for()


def test_who_may_not_see_a_page_is_told_why(visit):
    with visit("anna", "/people") as page:
        page.get_by_text("your roles do not give the scope people.manage").wait_for()


def test_health_names_every_part(visit):
    with visit("anna", "/health") as page:
        wait_for_title(page, re.compile(r"\d parts? up"))
        page.get_by_role("cell", name="Online features", exact=True).wait_for()
        page.get_by_role("cell", name="Last import", exact=True).wait_for()
