"""What stands before every page of the console: a session, the page's own origin, and headers.

Scripts run from files of this process and from tags that carry the nonce of the answer. Templates
of the user interface are compiled in the browser, which needs `unsafe-eval`.
"""

from __future__ import annotations

import asyncio
import secrets
from urllib.parse import quote, urlsplit

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.limits import MAX_OPEN_BODY_BYTES, read_chunks, refuse_size, replay_body
from serving.http.session_cookie import SessionCookie
from serving.people.sessions import SessionService

SIGN_IN_PATH = "/sign-in"
# Answered without a session: the way in, and files that are the same for everybody.
_OPEN = (SIGN_IN_PATH, "/v1/sessions/openid", "/static/", "/_nicegui/", "/healthz")
_READING = ("GET", "HEAD")
_FORM_SECONDS = 20.0
_POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class SessionGate:
    """Lets in who has a session; others go to the sign-in page, other origins nowhere."""

    def __init__(self, app: ASGIApp, sessions: SessionService, cookie: SessionCookie) -> None:
        self._app = app
        self._sessions = sessions
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        is_reading = scope["type"] == "http" and scope["method"] in _READING
        if not is_reading and not self._is_own_origin(connection):
            await _refuse(scope, receive, send, "another origin may not do this")
        elif not is_reading and scope["path"] == SIGN_IN_PATH:
            await self._sign_in(scope, receive, send)
        elif await self._is_open(connection, is_reading):
            await self._app(scope, receive, send)
        elif is_reading and "text/html" in connection.headers.get("accept", ""):
            target = f"{connection.url.path}?{connection.url.query}".rstrip("?")
            answer = RedirectResponse(f"{SIGN_IN_PATH}?next={quote(target)}", status_code=303)
            await answer(scope, receive, send)
        else:
            await _refuse(scope, receive, send, "no session, or it has ended", status=401)

    async def _sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer once the whole form has come: of somebody unknown it must be small."""
        body = bytearray()
        try:
            async with asyncio.timeout(_FORM_SECONDS):
                async for chunk in read_chunks(receive, MAX_OPEN_BODY_BYTES):
                    body += chunk
        except ClientDisconnect:
            return
        except TimeoutError:
            await _refuse(scope, receive, send, "the form did not come in time", status=408)
            return
        if len(body) > MAX_OPEN_BODY_BYTES:
            await refuse_size(MAX_OPEN_BODY_BYTES, scope, receive, send)
        else:
            await self._app(scope, replay_body(bytes(body), receive), send)

    async def _is_open(self, connection: HTTPConnection, is_reading: bool) -> bool:
        path = connection.url.path
        if path.startswith(_OPEN) and is_reading:
            return True
        token = connection.cookies.get(self._cookie.name)
        if not token:
            return False
        return await to_thread.run_sync(self._sessions.find, token) is not None

    def _is_own_origin(self, connection: HTTPConnection) -> bool:
        """Return whether a write or a websocket comes from a page of this process."""
        origin = connection.headers.get("origin")
        if origin is None:
            return str(connection.scope["type"]) == "http"
        return urlsplit(origin).netloc == connection.headers.get("host")


async def _refuse(scope: Scope, receive: Receive, send: Send, text: str, status: int = 403) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": text})
        return
    await PlainTextResponse(text, status_code=status)(scope, receive, send)


class PageHeaders:
    """Adds the headers of every answer; to a page the nonce of its scripts, and its language, which
    the page notes in `request.state.language`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        state = scope.setdefault("state", {})
        start: Message = {}
        body = bytearray()

        async def send_with_headers(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
                if not _is_page(Headers(scope=message)):
                    await send(message)
                    return
                headers["Cache-Control"] = "no-store"
                start = message
            elif not start:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if message.get("more_body", False):
                    return
                page = bytes(body).replace(b"<script", f'<script nonce="{nonce}"'.encode())
                if "language" in state:
                    page = page.replace(b"<html ", f'<html lang="{state["language"]}" '.encode(), 1)
                MutableHeaders(scope=start)["Content-Length"] = str(len(page))
                await send(start)
                await send({"type": "http.response.body", "body": page})

        await self._app(scope, receive, send_with_headers)


def _is_page(headers: Headers) -> bool:
    return headers.get("content-type", "").startswith("text/html")
