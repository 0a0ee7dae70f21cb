"""The route of requests that may have a large body: its JSON is read away from the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

# A thread costs more than the parsing of less.
_LARGE_BYTES = 64 * 1024


class LargeBodyRoute(APIRoute):
    """A route for `APIRouter(route_class=LargeBodyRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which gets a request with such a `json`."""
        handle = super().get_route_handler()

        async def handle_large(request: Request) -> Response:
            return await handle(_LargeRequest(request.scope, request.receive))

        return handle_large


class _LargeRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        if len(body) < _LARGE_BYTES:
            return await super().json()
        return await asyncio.to_thread(json.loads, body)
