"""Who looks at a page: the person, how they read, and calls of services on their behalf."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from nicegui import ui
from starlette.requests import Request

from features.contracts.errors import Unauthorized
from features.contracts.event_types import DEFAULT_ZONE
from serving.access import Caller
from serving.console.texts import Texts, choose_texts
from serving.people.preferences import Preferences
from serving.people.repository import Person
from serving.server import Server

Result = TypeVar("Result")
THEMES = ("auto", "light", "dark")
_CHECKED_SECONDS = 5.0  # for which a session is taken to go on, and roles to stay


@dataclass
class Visit:
    """One page as one person has it open.

    caller       what the person may do; read anew before each write, and now and then by a page
                 that stays open
    zones        those that have prices
    parameters   of the page's address: filters, sort, selection, tab
    toasts       where what was done is said, with a way back; None before the first
    on_write     called after each write of a service: what the frame counts may have changed
    scope        what it takes to read the page; empty before it is known
    """

    server: Server
    token: str
    person: Person
    caller: Caller
    texts: Texts
    theme: str
    zone: str
    zones: list[str]
    path: str
    parameters: dict[str, str]
    preferences: Mapping[str, Any] = field(default_factory=dict)
    toasts: ui.element | None = None
    on_write: Callable[[], None] | None = None
    scope: str = ""
    checked_at: float = field(default_factory=lambda: time.monotonic())

    @property
    def currency(self) -> str:
        """The currency of the zone that is looked at."""
        return self.server.settings.zone(self.zone).currency

    def may(self, scope: str) -> bool:
        """Return whether the person has a scope somewhere."""
        return scope in self.caller.scopes

    async def read(
        self, function: Callable[..., Result], *values: object, **named: object
    ) -> Result:
        """Return what a service answers, off the event loop.

        Raises Unauthorized where the session has ended since the page was opened, and Forbidden
        where the person may not read it any more.
        """
        if time.monotonic() - self.checked_at >= _CHECKED_SECONDS:
            await self._renew_caller()
        if self.scope:
            self.caller.require(self.scope)
        return await asyncio.to_thread(function, *values, **named)

    async def check(
        self, function: Callable[..., Result], *values: object, **named: object
    ) -> Result:
        """As `write`, for what shows only what a write would do."""
        await self._renew_caller()
        return await asyncio.to_thread(self._renew(function, values, named))

    async def write(
        self, function: Callable[..., Result], *values: object, **named: object
    ) -> Result:
        """As `read`, once the session is known to go on; where `caller` is among the values, the
        function gets it with the roles of now. Raises Unauthorized."""
        await self._renew_caller()
        return await self._write(self._renew(function, values, named))

    async def write_with(
        self, scope: str, function: Callable[..., Result], *values: object, **named: object
    ) -> Result:
        """As `write`, for services that know no scopes, of what concerns the whole shop: once the
        person is known to have the scope still, for all of it.

        Raises Unauthorized and Forbidden.
        """
        await self._renew_caller()
        self.caller.require_everywhere(scope)
        return await self._write(self._renew(function, values, named))

    async def _write(self, call: Callable[[], Result]) -> Result:
        result = await asyncio.to_thread(call)
        if self.on_write is not None:
            self.on_write()
        return result

    def _renew(
        self,
        function: Callable[..., Result],
        values: tuple[object, ...],
        named: Mapping[str, object],
    ) -> Callable[[], Result]:
        """Return a call of a function in which every caller is that of now: a page may hold one of
        before."""

        def renew(value: object) -> object:
            return self.caller if isinstance(value, Caller) else value

        renewed = {name: renew(value) for name, value in named.items()}
        return partial(function, *map(renew, values), **renewed)

    async def _renew_caller(self) -> None:
        """Read what the person may do now. Raises Unauthorized."""
        active = await asyncio.to_thread(self.server.sessions.find, self.token)
        if active is None:
            raise Unauthorized("your session has ended", hint="Sign in again")
        self.caller, self.checked_at = active.caller, time.monotonic()

    def set_parameters(self, **values: str | None) -> None:
        """Change parameters in the address without loading the page; None removes one."""
        for name, value in values.items():
            if value:
                self.parameters[name] = value
            else:
                self.parameters.pop(name, None)
        self.show_address(self.path)

    def show_address(self, path: str) -> None:
        """Show a path with the parameters as the address of the page."""
        query = urlencode(self.parameters)
        address = quote(path) + (f"?{query}" if query else "")
        ui.run_javascript(f"history.replaceState(history.state, '', {json.dumps(address)})")

    async def remember(self, name: str, value: Any) -> None:
        """Keep a preference of the person."""
        preferences = Preferences(self.server.engine)
        await asyncio.to_thread(preferences.write, self.person.name, name, value)


def open_visit(server: Server, request: Request) -> Visit:
    """Return the visit of a request that passed the session gate. Raises Unauthorized."""
    token = request.cookies.get(server.cookie.name, "")
    active = server.sessions.find(token)
    if active is None:
        raise Unauthorized("no session, or it has ended", hint="Sign in")
    preferences = Preferences(server.engine).read(active.person.name)
    accepted = request.headers.get("accept-language", "")
    texts = choose_texts(preferences, accepted, server.settings.timezone)
    request.state.language = texts.language
    parameters = dict(request.query_params)
    theme = preferences.get("theme", THEMES[0])
    zones = server.prices.list_zones() or [DEFAULT_ZONE]
    chosen = parameters.get("zone") or preferences.get("zone")
    return Visit(
        server=server,
        token=token,
        person=active.person,
        caller=active.caller,
        texts=texts,
        theme=theme if theme in THEMES else THEMES[0],
        zone=chosen if chosen in zones else zones[0],
        zones=zones,
        path=request.url.path,
        parameters=parameters,
        preferences=preferences,
    )
