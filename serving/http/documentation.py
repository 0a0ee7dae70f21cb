"""`GET /docs`: a page to read and try the API; everything that it loads comes from this server."""

from __future__ import annotations

from importlib.util import find_spec

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

PAGE = "/docs"
_FILES = "/docs/files"


def add_documentation(app: FastAPI) -> None:
    """Add the page and Swagger UI's files, which the package fastapi-offline contains."""
    package = find_spec("fastapi_offline")
    # Found and not imported: its own application is not used.
    folders = list((package and package.submodule_search_locations) or [])
    app.mount(_FILES, StaticFiles(directory=f"{folders[0]}/static"), name="documentation")
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=app.title,
        swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{_FILES}/swagger-ui.css",
        swagger_favicon_url=f"{_FILES}/favicon.png",
        # The badge would send the address of the shop's document to a validator elsewhere.
        swagger_ui_parameters={"validatorUrl": None},
    )

    @app.get(PAGE, include_in_schema=False)
    async def get_documentation() -> HTMLResponse:
        return page
