"""Every page without a serious violation of WCAG, in both themes."""

from __future__ import annotations

import pytest

from tests.shops.accessibility import list_violations, wait_until_loaded

pytestmark = pytest.mark.browser

PATHS = (
    "/",
    "/queue",
    "/live",
    "/prices?item=milk",
    "/runs",
    "/promotions",
    "/promotions/new",
    "/rules",
    "/scenarios",
    "/tests",
    "/tests/plan",
    "/slates",
    "/demand",
    "/stock",
    "/experiments",
    "/experiments/new",
    "/experiments/home_ranker",
    "/models",
    "/people",
    "/keys",
    "/audit",
    "/health",
)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_no_page_has_a_serious_violation(visit, scheme):
    with visit("ada", color_scheme=scheme) as page:
        found = {}
        for path in PATHS:
            page.goto(path)
            wait_until_loaded(page)
            if violations := list_violations(page):
                found[path] = violations
    assert found == {}


def test_an_open_suggestion_has_no_serious_violation(visit, console):
    with visit("ben", f"/queue/{console.ids['milk']}") as page:
        page.get_by_role("heading", name="Milk 1 l").wait_for()
        wait_until_loaded(page)
        assert list_violations(page) == []
