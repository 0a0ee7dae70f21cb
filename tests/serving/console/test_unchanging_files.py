"""Files of the user interface that are kept in memory."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from serving.console.unchanging_files import UnchangingFiles

SCRIPT = "/_nicegui/1.0/page.js"
FOR_EVER = "public, max-age=31536000, immutable"


def test_a_script_is_read_once_and_others_pass():
    read = []

    def answer(request):
        read.append(request.url.path)
        cache = "no-store" if "changing" in request.url.path else FOR_EVER
        headers = {"Cache-Control": cache, "X-Of-Script": "yes"}
        return Response("let a = 1;" * 500, media_type="text/javascript", headers=headers)

    app = Starlette(routes=[Route("/{path:path}", answer)])
    client = TestClient(UnchangingFiles(app))
    first, second = client.get(SCRIPT), client.get(f"{SCRIPT}?again")
    assert read == [SCRIPT]
    assert first.text == second.text == "let a = 1;" * 500
    assert second.headers["content-encoding"] == "gzip"
    assert int(second.headers["content-length"]) < 200
    assert second.headers["cache-control"] == FOR_EVER
    assert second.headers["x-of-script"] == "yes"
    plain = client.get(SCRIPT, headers={"Accept-Encoding": "identity"})
    assert plain.text == first.text
    assert "content-encoding" not in plain.headers
    for path in ("/_nicegui/1.0/changing.js", "/static/console.js"):
        client.get(path)
        client.get(path)
        assert read.count(path) == 2
