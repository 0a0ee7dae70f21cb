"""Requests of pages of other origins: answered at the addresses for browsers alone, by setting."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_PATHS = ("/v1/browser/", "/client.js")
_MAX_AGE_SECONDS = 3_600


class CrossOrigin:
    """ASGI middleware. No other address answers a page of another origin; no cookie is sent."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        self._app = app
        self._answering = CORSMiddleware(
            app,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
            max_age=_MAX_AGE_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_for_pages = scope["type"] == "http" and scope["path"].startswith(_PATHS)
        await (self._answering if is_for_pages else self._app)(scope, receive, send)
