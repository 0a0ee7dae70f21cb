"""Who may do what: `Authorization: Bearer KEY` and the scope an endpoint asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from features.contracts.errors import Forbidden, Unauthorized, UnknownName
from serving.keys.service import SCOPES, Caller, KeyService

__all__ = ["Caller", "identify", "require"]


def require(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """A FastAPI dependency that yields the Caller, or raises Unauthorized (401) or Forbidden (403).

    It needs `engine` and `system_clock` on `request.app.state`.
    """
    if scope not in SCOPES:
        raise UnknownName(scope, SCOPES, kind="scope")

    async def caller_with_scope(request: Request) -> Caller:
        caller = await identify(request)
        if scope not in caller.scopes:
            raise Forbidden(
                f"this key lacks the scope {scope}", hint=f"Use a key made with --scope {scope}"
            )
        return caller

    return caller_with_scope


async def identify(request: Request) -> Caller:
    """The caller behind the request's key. Raises Unauthorized."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise Unauthorized("no API key", hint="Send the header: Authorization: Bearer KEY")
    keys = _keys(request)
    caller = keys.remembered(key) or await run_in_threadpool(keys.recognise, key)
    if caller is None:
        raise Unauthorized("unknown or revoked API key", hint="Make one: shopwright keys create")
    return caller


def _keys(request: Request) -> KeyService:
    state = request.app.state
    if not hasattr(state, "keys"):
        state.keys = KeyService(state.engine, state.system_clock)
    keys: KeyService = state.keys
    return keys
