"""Ids with slashes in addresses: `/v1/forecasts/AB%2F12` is the forecast of AB/12."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send

# Stands for an escaped slash while a route is looked up. It is no character of any text.
_SLASH = "\ufdd0"


class _TextOfPath(StringConvertor):
    def convert(self, value: str) -> str:
        return value.replace(_SLASH, "/")


# Every `{name}` in the path of a route is read by it.
register_url_convertor("str", _TextOfPath())


class EscapedSlashes:
    """ASGI middleware. Slashes that were escaped separate no parts of the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        escaped = (scope.get("raw_path") or b"").decode("ascii", "replace")
        if "%2" in escaped:
            for slash in ("%2F", "%2f"):
                escaped = escaped.replace(slash, _SLASH)
            scope["path"] = unquote(escaped)  # in place: the router names its route there too
        await self._app(scope, receive, send)
