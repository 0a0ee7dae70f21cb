"""Who sent a request, and the scope that a route needs.

Programs send `Authorization: Bearer KEY`; people who signed in send the cookie of their session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request

from features.contracts.errors import Forbidden, Unauthorized, UnknownName
from serving.access import SCOPES, Caller
from serving.http.dependencies import service_of
from serving.http.session_cookie import SessionCookie
from serving.keys.service import KeyService
from serving.people.sessions import ActiveSession, SessionService

__all__ = ["OPEN_ROUTES", "Caller", "identify", "identify_person", "require"]

# By these somebody becomes known: they ask for neither key nor session.
OPEN_ROUTES = (
    ("POST", "/v1/sessions"),
    ("GET", "/v1/sessions/openid"),
    ("GET", "/v1/sessions/openid/callback"),
)
_IDENTITY = "shopwright.identity"
_FOR_BROWSERS = "/v1/browser/"
Found = TypeVar("Found")


def require(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """Return a FastAPI dependency that yields the Caller.

    It raises Unauthorized (401) without a valid key or session, Forbidden (403) for a caller
    without the scope.
    """
    if scope not in SCOPES:
        raise UnknownName(scope, SCOPES, kind="scope")

    async def read_caller(request: Request) -> Caller:
        caller = await identify(request)
        caller.require(scope)
        return caller

    return read_caller


def require_everywhere(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """Return the same for what concerns the whole shop: Forbidden (403) too for a caller whose role
    covers a part of it."""
    read = require(scope)

    async def read_caller(request: Request) -> Caller:
        caller = await read(request)
        caller.require_everywhere(scope)
        return caller

    return read_caller


async def identify(request: Request) -> Caller:
    """Return whose key or session the request carries. Raises Unauthorized."""
    identity = await _read_identity(request)
    return identity if isinstance(identity, Caller) else identity.caller


async def identify_person(request: Request) -> ActiveSession:
    """Return whose session the request carries. Raises Unauthorized, and Forbidden for a key."""
    identity = await _read_identity(request)
    if isinstance(identity, Caller):
        raise Forbidden("this is for people who signed in, not for keys", hint="POST /v1/sessions")
    return identity


async def _read_identity(request: Request) -> Caller | ActiveSession:
    """Return the key or the session of a request, which is looked up once."""
    identity: Caller | ActiveSession | None = request.scope.get(_IDENTITY)
    if identity is None:
        key = _read_public_key(request)
        if key is not None or request.headers.get("authorization"):
            identity = await _identify_key(request, key)
        else:
            identity = await _identify_session(request)
        request.scope[_IDENTITY] = identity
    return identity


def _read_public_key(request: Request) -> str | None:
    """Return the key in the query of an address for browsers: a beacon sends no header."""
    if not request.url.path.startswith(_FOR_BROWSERS) or "authorization" in request.headers:
        return None
    return request.query_params.get("key")


async def _identify_key(request: Request, key: str | None) -> Caller:
    if key is None:
        scheme, _, given = request.headers["authorization"].partition(" ")
        key = given.strip() if scheme.lower() == "bearer" else ""
    if not key:
        raise Unauthorized("no API key", hint="Send the header: Authorization: Bearer KEY")
    keys = service_of(request, KeyService)
    # A cached key costs no thread: the event loop answers it at once.
    caller = keys.find_cached_caller(key)
    if caller is None:
        caller = await _look_up(request, keys.find_caller, key)
    if caller is None:
        raise Unauthorized("unknown or revoked API key", hint="Make one: shopwright keys create")
    return caller


async def _identify_session(request: Request) -> ActiveSession:
    """Return the session of the cookie, once a write has proved where it comes from."""
    if not request.cookies:
        raise Unauthorized(
            "no API key and no session",
            hint="Send the header: Authorization: Bearer KEY, or sign in: POST /v1/sessions",
        )
    cookie = service_of(request, SessionCookie)
    token = cookie.read(request)
    if token is not None:
        sessions = service_of(request, SessionService)
        active = await _look_up(request, sessions.find, token)
        if active is not None:
            cookie.check_write(request, token)
            return active
    raise Unauthorized("no session, or it has ended", hint="Sign in: POST /v1/sessions")


async def _look_up(request: Request, find: Callable[[str], Found], secret: str) -> Found:
    """Return what the database knows, on threads that wait for no other work."""
    workers = service_of(request, KeyService).workers
    return await asyncio.get_running_loop().run_in_executor(workers, find, secret)
