"""Every id works in every address: slashes, blanks, marks of addresses, any script."""

from __future__ import annotations

import re
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from serving.app import ROUTERS

# Sessions end by the cookie of a person: a key is refused before the id is looked at.
OF_PEOPLE_ALONE = "/v1/sessions/{session_id}"
ROUTES = sorted(
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    for method in route.methods
    if "{" in route.path and route.path != OF_PEOPLE_ALONE
)
IDS = ("AB/12", "/", "a//b", "..", "50% off?#1", "a+b c", "茶/🍵", "%2F")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_route_reads_the_id_as_it_was_sent(
    shared: SimpleNamespace, method: str, path: str
) -> None:
    first, rest = re.fullmatch(r"(.*?\{)[^}]*(\}.*)", path).groups()
    rest = rest.replace("{action}", "start")
    for text in IDS:
        # Dots alone would be taken for the folder above by the client.
        escaped = quote(text, safe="").replace(".", "%2E")
        answer = shared.client.request(method, first[:-1] + escaped + rest[1:], json={})
        if (method, path) == ("PUT", "/v1/items/{item_id}"):  # it makes the item
            assert answer.json()["item_id"] == text
            continue
        if (method, path) == ("DELETE", "/v1/users/{user_id}"):  # of whom nothing is kept
            assert set(answer.json().values()) >= {0}
            continue
        # Closed lists of names refuse it; all others look for it.
        assert answer.status_code in (404, 422), answer.text
        assert "See /docs for every address" not in answer.text
        if answer.status_code == 404:
            assert text in answer.json()["detail"]


def test_the_forecast_of_an_unknown_item_names_it(shared: SimpleNamespace) -> None:
    detail = shared.client.get("/v1/forecasts/AB%2F12").json()["detail"]
    assert "'AB/12'" in detail
    assert shared.client.get("/v1/forecasts/milk").status_code == 200
    assert shared.client.get("/v1/forecasts/AB/12").status_code == 404
    counts = shared.client.get("/metrics").text
    assert 'method="GET",route="/v1/forecasts/{item_id}",status="404"' in counts
