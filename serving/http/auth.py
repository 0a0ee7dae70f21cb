"""API keys of requests: `Authorization: Bearer KEY`, and the scope that an endpoint needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from features.contracts.errors import Forbidden, Unauthorized, UnknownName
from serving.http.dependencies import service_of
from serving.keys.service import SCOPES, Caller, KeyService

__all__ = ["Caller", "check_scope", "identify", "require"]


def require(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """Return a FastAPI dependency that yields the Caller.

    It raises Unauthorized (401) without a valid key, Forbidden (403) for a key without the scope.
    """
    if scope not in SCOPES:
        raise UnknownName(scope, SCOPES, kind="scope")

    async def read_caller(request: Request) -> Caller:
        caller = await identify(request)
        check_scope(caller, scope)
        return caller

    return read_caller


def check_scope(caller: Caller, scope: str) -> None:
    """Raise Forbidden where the caller's key lacks the scope."""
    if scope not in caller.scopes:
        raise Forbidden(
            f"this key lacks the scope {scope}", hint=f"Use a key made with --scope {scope}"
        )


async def identify(request: Request) -> Caller:
    """Return the caller whose key the request carries. Raises Unauthorized."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise Unauthorized("no API key", hint="Send the header: Authorization: Bearer KEY")
    keys = service_of(request, KeyService)
    # A cached key costs no thread: the event loop answers it at once.
    caller = keys.find_cached_caller(key) or await run_in_threadpool(keys.find_caller, key)
    if caller is None:
        raise Unauthorized("unknown or revoked API key", hint="Make one: shopwright keys create")
    return caller
