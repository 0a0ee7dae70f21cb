"""Scripts and styles of the user interface from memory: read and compressed once per process.

A browser that comes for the first time fetches more than twenty of them.
"""

from __future__ import annotations

import gzip
from typing import NamedTuple

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FOLDER = "/_nicegui/"
_COMPRESSED = ("text/css", "text/javascript", "application/javascript")


class _File(NamedTuple):
    headers: list[tuple[bytes, bytes]]
    body: bytes


class UnchangingFiles:
    """Keeps answers that may be kept for ever, as they say themselves. Their addresses name the
    version, so that there are only as many as the user interface has files."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._files: dict[str, _File] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _may_be_kept(scope):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path not in self._files:
            await self._read(path, scope, receive, send)
            return
        file = self._files[path]
        # Middleware before this one adds to the headers: they get a list of their own.
        start = {"type": "http.response.start", "status": 200, "headers": list(file.headers)}
        await send(start)
        await send({"type": "http.response.body", "body": file.body})

    async def _read(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and keep the answer."""
        start: Message = {}
        body = bytearray()

        async def send_and_keep(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_unchanging(message):
                start = {**message, "headers": list(message["headers"])}
            elif message["type"] == "http.response.body" and start:
                body.extend(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, send_and_keep)
        if start:
            compressed = await to_thread.run_sync(gzip.compress, bytes(body))
            headers = MutableHeaders(raw=start["headers"])
            headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(len(compressed))
            headers["Vary"] = "Accept-Encoding"
            self._files[path] = _File(headers.raw, compressed)


def _may_be_kept(scope: Scope) -> bool:
    """Return whether a request is for a file as a whole, compressed."""
    if scope["type"] != "http" or not scope["path"].startswith(_FOLDER):
        return False
    headers = Headers(scope=scope)
    takes_gzip = "gzip" in headers.get("accept-encoding", "")
    return scope["method"] == "GET" and takes_gzip and "range" not in headers


def _is_unchanging(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return (
        start["status"] == 200
        and "immutable" in headers.get("cache-control", "")
        and headers.get("content-type", "").startswith(_COMPRESSED)
    )
