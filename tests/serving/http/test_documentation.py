"""The page /docs loads nothing from elsewhere."""

from __future__ import annotations

import re
from types import SimpleNamespace


def test_the_page_loads_only_files_of_this_server(shared: SimpleNamespace) -> None:
    page = shared.client.get("/docs", headers={"Authorization": ""})
    assert page.status_code == 200
    addresses = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", page.text)
    assert "/openapi.json" in addresses
    assert len(addresses) >= 4
    for address in addresses:
        assert address.startswith("/")
        answer = shared.client.get(address)
        assert (answer.status_code, len(answer.content) > 1_000) == (200, True)
    assert "//" not in page.text.replace(
        "<!-- `SwaggerUIBundle` is now available on the page -->", ""
    )
    assert '"validatorUrl": null' in page.text


def test_swagger_ui_reads_the_version_of_the_document(shared: SimpleNamespace) -> None:
    script = shared.client.get("/docs/files/swagger-ui-bundle.js").text
    (version,) = set(re.findall(r'PACKAGE_VERSION:"(\d+)\.', script))
    assert int(version) >= 5  # earlier ones read OpenAPI 3.0 only
    assert shared.client.get("/openapi.json").json()["openapi"].startswith("3.1")
