"""The services of one server process, by type: `provide` at the start, `Depends(inject(...))` in
a router."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import FastAPI, Request

Service = TypeVar("Service")


def provide(app: FastAPI, *services: object) -> None:
    """Make each service available to the routers of `app` under its own type."""
    known: dict[type, object] = getattr(app.state, "services", {})
    app.state.services = known | {type(service): service for service in services}


def inject(kind: type[Service]) -> Callable[[Request], Awaitable[Service]]:
    """Return a FastAPI dependency that yields the service of this type.

    A router declares `Prices = Annotated[PriceService, Depends(inject(PriceService))]` and gets
    exactly that service; a test provides another instance of the same type.
    """

    # A coroutine, because FastAPI runs plain functions in a thread.
    async def read_service(request: Request) -> Service:
        return service_of(request, kind)

    return read_service


def service_of(request: Request, kind: type[Service]) -> Service:
    """Return the service of this type. Raises KeyError where `app` does not provide one."""
    service: Service = request.app.state.services[kind]
    return service
