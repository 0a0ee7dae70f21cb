"""Pages of the console as axe sees them."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe


def wait_until_loaded(page):
    """Wait until the page is there, and none of its parts is loading."""
    page.wait_for_selector("main")
    page.wait_for_function("() => !document.querySelector('[aria-busy=true]')", timeout=60_000)


def list_violations(page):
    found = Axe().run(page).response["violations"]
    return [
        (violation["id"], [node["html"][:160] for node in violation["nodes"][:3]])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
