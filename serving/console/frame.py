"""What stands around every page: header, navigation, title, and the keys that work everywhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlencode

import sqlalchemy as sa
from nicegui import app as nicegui_app
from nicegui import background_tasks, ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from features.contracts.errors import ShopwrightError, Unauthorized
from serving.console.dialogs import QuickDialog
from serving.console.notices import CountService, FrameCounts
from serving.console.parts import name_element
from serving.console.section import show_error
from serving.console.security import SIGN_IN_PATH
from serving.console.visit import THEMES, Visit, open_visit
from serving.http.session_cookie import make_csrf_token
from serving.server import Server

log = logging.getLogger(__name__)
_COUNT_SECONDS = 30.0  # after which what waits is counted again
_TRIES = 10  # a second apart, where another page counts at the same time
_READ = "pricing.read"
_BUILD_SECONDS = 20.0  # the frame of a page is built in far less; its parts load by themselves
Build = Callable[["Page"], Awaitable[None] | None]


class Place(NamedTuple):
    """An entry of the navigation, of one of its groups; `scope` is what it takes to see it."""

    key: str
    path: str
    group: str
    scope: str


PLACES = (
    Place("today", "/", "", "pricing.read"),
    Place("queue", "/queue", "prices", "pricing.read"),
    Place("live", "/live", "prices", "pricing.read"),
    Place("prices", "/prices", "prices", "pricing.read"),
    Place("promotions", "/promotions", "prices", "pricing.read"),
    Place("rules", "/rules", "prices", "pricing.read"),
    Place("runs", "/runs", "prices", "pricing.read"),
    Place("tests", "/tests", "prices", "pricing.read"),
    Place("slates", "/slates", "store", "storefront"),
    Place("demand", "/demand", "store", "pricing.read"),
    Place("stock", "/stock", "store", "pricing.read"),
    Place("experiments", "/experiments", "proof", "experiments.manage"),
    Place("models", "/models", "proof", "pricing.read"),
    Place("people", "/people", "admin", "people.manage"),
    Place("keys", "/keys", "admin", "people.manage"),
    Place("audit", "/audit", "admin", "audit.read"),
    Place("health", "/health", "admin", "pricing.read"),
)


@dataclass
class Page:
    """A page as it is built: who looks, and where its title and its actions go."""

    visit: Visit
    title: ui.label
    actions: ui.element

    def set_title(self, text: str) -> None:
        """Show the answer of the page in one line."""
        self.title.set_text(text)
        ui.page_title(f"{text} · Shopwright")


@dataclass(frozen=True)
class Console:
    """The pages of one process. `page` adds one."""

    server: Server
    counts: CountService
    built: set[str] = field(default_factory=set)

    def page(self, path: str, key: str, scope: str = "pricing.read") -> Callable[[Build], Build]:
        """Return a decorator that serves what a function builds, inside the frame.

        `key` is the entry of the navigation that the page belongs to.
        """
        self.built.add(key)

        def add(build: Build) -> Build:
            @ui.page(path, dark=None, response_timeout=_BUILD_SECONDS)
            async def show(request: Request) -> Response | None:
                try:
                    visit = await _open(self.server, request)
                except Unauthorized:
                    return RedirectResponse(SIGN_IN_PATH, status_code=303)
                await self._show(visit, key, scope, build)
                return None

            return build

        return add

    async def _show(self, visit: Visit, key: str, scope: str, build: Build) -> None:
        places = [place for place in PLACES if place.key in self.built and visit.may(place.scope)]
        with _frame(visit, key, places, self.counts) as page:
            try:
                visit.caller.require(scope)
                visit.scope = scope
                built = build(page)
                if built is not None:
                    await built
            except ShopwrightError as error:
                show_error(visit, error)


async def _open(server: Server, request: Request) -> Visit:
    visit = await asyncio.to_thread(open_visit, server, request)
    visit.parameters |= {name: str(value) for name, value in request.path_params.items()}
    return visit


@contextmanager
def _frame(visit: Visit, key: str, places: list[Place], counts: CountService) -> Iterator[Page]:
    texts = visit.texts
    counters = _Counters(visit, counts)
    ui.add_head_html('<link rel="stylesheet" href="/static/console.css">')
    ui.add_head_html('<script src="/static/console.js" defer></script>')
    ui.context.client.content.classes("shell")
    if visit.theme != THEMES[0]:
        ui.dark_mode(visit.theme == "dark")
    ui.link(texts.get("frame.skip"), "#content").classes("skip-link")
    _build_header(visit, counters)
    with (
        ui.element("nav")
        .classes("navigation")
        .props(f'aria-label="{texts.get("frame.navigation")}"')
    ):
        _build_navigation(visit, key, places, counters)
    with ui.element("main").classes("content").props("id=content tabindex=-1"):
        with ui.element("div").classes("title-row"):
            title = ui.label(texts.get(f"{key}.name")).classes("title")
            title.props("role=heading aria-level=1")
            actions = ui.element("div").classes("actions")
        ui.page_title(f"{texts.get(f'{key}.name')} · Shopwright")
        yield Page(visit, title, actions)
    _build_jump(visit, places)
    counters.start()


class _Counters:
    """What waits beside the queue, and the warnings in the header of one page.

    They are read after the page is there, every half minute, and after each write.
    """

    def __init__(self, visit: Visit, counts: CountService) -> None:
        self._visit, self._counts = visit, counts
        self._waiting: ui.label | None = None
        self._warnings: ui.link | None = None

    def add_waiting(self) -> None:
        """Add the number of what waits, inside the link to the queue."""
        self._waiting = ui.label("").classes("count waiting-count").props("role=img")
        self._waiting.set_visibility(False)

    def add_warnings(self) -> None:
        """Add the link to the warnings."""
        self._warnings = ui.link("", "/#warnings").classes("warning-count")
        self._warnings.set_visibility(False)

    def start(self) -> None:
        """Count once the page is there, and from then on."""
        if self._visit.may(_READ):
            ui.timer(_COUNT_SECONDS, self._refresh)
            self._visit.on_write = self._count_again

    def _count_again(self) -> None:
        self._counts.forget()
        background_tasks.create(self._refresh(), name="count what waits")

    async def _refresh(self) -> None:
        for _ in range(_TRIES):
            counts = await self._read()
            if counts is None:
                return
            self._show(counts)
            if None not in (counts.waiting, counts.warnings):
                return
            await asyncio.sleep(1.0)  # another page reads them

    async def _read(self) -> FrameCounts | None:
        visit = self._visit
        try:
            areas = visit.caller.require(_READ)
            return await visit.read(self._counts.count, visit.zone, areas)
        except (ShopwrightError, sa.exc.SQLAlchemyError) as error:
            # The page itself says what does not answer; the numbers stay as they were.
            log.warning("what waits could not be counted: %s", error)
            return None

    def _show(self, counts: FrameCounts) -> None:
        texts = self._visit.texts
        if self._waiting is not None and counts.waiting is not None:
            self._waiting.set_text(texts.number(counts.waiting))
            self._waiting.set_visibility(counts.waiting > 0)
            name_element(self._waiting, texts.get("frame.waiting", n=counts.waiting))
        if self._warnings is not None and counts.warnings is not None:
            self._warnings.set_text(f"⚠ {texts.number(counts.warnings)}")
            self._warnings.set_visibility(counts.warnings > 0)
            name_element(self._warnings, texts.get("frame.warnings", n=counts.warnings))


def _build_header(visit: Visit, counters: _Counters) -> None:
    texts = visit.texts
    with ui.element("header").classes("header"):
        ui.link("◆ Shopwright", "/").classes("brand")
        if len(visit.zones) > 1:
            ui.select(visit.zones, value=visit.zone, label=texts.get("frame.zone")).props(
                "dense outlined options-dense"
            ).classes("zone").on_value_change(lambda event: _choose_zone(visit, event.value))
        day = texts.day(visit.server.clock.now())
        ui.label(texts.get("frame.business_day", day=day)).classes("muted business-day").tooltip(
            texts.get("frame.two_clocks")
        )
        ui.space()
        ui.button(
            texts.get("frame.search"),
            icon="search",
            on_click=lambda: ui.run_javascript("shopwright.openJump()"),
        ).props("flat no-caps dense").classes("search")
        if visit.may(_READ):
            counters.add_warnings()
        _build_menu(visit)


def _build_menu(visit: Visit) -> None:
    texts = visit.texts
    button = ui.button(visit.person.full_name, icon="expand_more").props("flat no-caps dense")
    with button, ui.menu(), ui.element("div").classes("menu"):
        roles = ", ".join(sorted({grant.role for grant in visit.person.grants}))
        ui.label(texts.get("frame.signed_in_as", name=visit.person.name, roles=roles)).classes(
            "muted"
        )
        ui.select(
            {"en": "English", "zh": "中文"},
            value=texts.language,
            label=texts.get("frame.language"),
        ).props("dense outlined").on_value_change(
            lambda event: _remember_and_reload(visit, "language", event.value)
        )
        ui.select(
            {theme: texts.get(f"frame.theme_{theme}") for theme in THEMES},
            value=visit.theme,
            label=texts.get("frame.theme"),
        ).props("dense outlined").on_value_change(
            lambda event: _remember_and_reload(visit, "theme", event.value)
        )
        token = make_csrf_token(visit.token)
        ui.html(
            f'<form method="post" action="/sign-out"><input type="hidden" name="csrf" '
            f'value="{token}"><button class="plain-button">'
            f"{texts.get('frame.sign_out')}</button></form>",
            sanitize=False,
        )


async def _remember_and_reload(visit: Visit, name: str, value: str) -> None:
    await visit.remember(name, value)
    ui.navigate.reload()


async def _choose_zone(visit: Visit, zone: str) -> None:
    await visit.remember("zone", zone)
    parameters = {**visit.parameters, "zone": zone}
    ui.navigate.to(f"{visit.path}?{urlencode(parameters)}")


def _build_navigation(visit: Visit, key: str, places: list[Place], counters: _Counters) -> None:
    group = ""
    for place in places:
        if place.group != group:
            group = place.group
            ui.label(visit.texts.get(f"frame.group_{group}")).classes("navigation-group")
        link = ui.link(visit.texts.get(f"{place.key}.name"), place.path).classes("navigation-link")
        if place.key == key:
            link.classes("current").props("aria-current=page")
        if place.key == "queue":
            with link:
                counters.add_waiting()


def _build_jump(visit: Visit, places: list[Place]) -> None:
    """Ctrl K: a list of pages to go to; what is typed filters it."""
    texts = visit.texts
    with QuickDialog().props(f'aria-label="{texts.get("frame.search")}"') as dialog, ui.card():
        choice = (
            ui.select(
                {place.path: texts.get(f"{place.key}.name") for place in places},
                with_input=True,
                label=texts.get("frame.search_hint"),
            )
            .props("outlined dense autofocus")
            .classes("jump")
        )
        choice.on_value_change(lambda event: ui.navigate.to(event.value) if event.value else None)
    ui.element("button").props("id=jump-opener hidden aria-hidden=true tabindex=-1").on(
        "click", dialog.open
    )


def share_static_files() -> None:
    """Serve the files of the console's own."""
    from importlib.resources import files

    nicegui_app.add_static_files("/static", str(files("serving.console").joinpath("static")))
