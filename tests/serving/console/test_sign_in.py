"""The way into the console, and what stands before every page."""

from __future__ import annotations

import httpx
import pytest

from tests.shops.console_shop import PASSWORD, choose_options

pytestmark = pytest.mark.browser


def test_somebody_signs_in_and_comes_to_the_page_they_asked_for(browser, console):
    context = browser.new_context(base_url=console.process.url)
    page = context.new_page()
    page.goto("/queue?status=live")
    assert "/sign-in" in page.url
    page.fill("#name", "anna")
    page.fill("#password", "not it")
    page.click("button")
    assert "wrong" in page.locator("[role=alert]").inner_text()
    page.fill("#password", PASSWORD)
    page.click("button")
    page.wait_for_selector("main")
    assert page.url.endswith("/queue?status=live")
    page.get_by_role("button", name="Anna").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto("/queue")
    assert "/sign-in" in page.url
    context.close()


def test_language_and_theme_are_kept_for_the_person(visit):
    with visit("mia") as page:
        assert page.locator("html").get_attribute("lang") == "en"
        page.get_by_role("button", name="Mia").click()
        choose_options(page, page.get_by_label("Language"), "中文")
        page.get_by_text("今日").first.wait_for()
        page.reload()
        page.get_by_text("今日").first.wait_for()
        assert page.locator("html").get_attribute("lang") == "zh"


def test_no_other_origin_and_no_stranger_gets_anything(console):
    with httpx.Client(base_url=console.process.url) as client:
        assert client.get("/data/queue?zone=default").status_code == 401
        page = client.get("/queue", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=/queue")
        form = {"name": "anna", "password": PASSWORD}
        other = {"Origin": "https://elsewhere.example"}
        assert client.post("/sign-in", data=form, headers=other).status_code == 403
        away = client.post("/sign-in", data={**form, "next": "//elsewhere.example"})
        assert (away.status_code, away.headers["location"]) == (303, "/")
        assert "HttpOnly" in away.headers["set-cookie"]
        assert "SameSite=lax" in away.headers["set-cookie"]
        assert client.get("/data/queue?zone=default").status_code == 200
        policy = client.get("/", headers={"Accept": "text/html"}).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
        refused = client.post("/sign-out", data={"csrf": "guessed"})
        assert refused.status_code == 403
        large = client.post("/sign-in", data={**form, "code": "x" * 20_000})
        assert large.status_code == 413
        assert client.post("/sign-in", data={**form, "name": "a\x00b"}).status_code == 422
