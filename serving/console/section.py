"""Parts of a page that load by themselves: skeleton, content, empty state, error with a retry."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import sqlalchemy as sa
from nicegui import ui

from features.contracts.errors import ShopwrightError, Unauthorized
from serving.console.security import SIGN_IN_PATH
from serving.console.visit import Visit

log = logging.getLogger(__name__)
Data = TypeVar("Data")


class Section(Generic[Data]):
    """A part of a page: `load` reads on a thread, `build` shows what was read.

    `refresh` does both again and leaves what is shown in place until then.
    """

    def __init__(
        self,
        visit: Visit,
        load: Callable[[], Data],
        build: Callable[[Data], Awaitable[None] | None],
        *,
        skeleton_rows: int = 6,
    ) -> None:
        self._visit, self._load, self._build = visit, load, build
        self._area = ui.element("div").classes("section").props("aria-live=polite aria-busy=true")
        with self._area:
            show_skeleton(skeleton_rows, visit.texts.get("frame.loading"))
        ui.timer(0, self.refresh, once=True)

    async def refresh(self) -> None:
        """Read and show again; an error takes the place of the content."""
        try:
            data = await self._visit.read(self._load)
        except Exception as error:
            self._area.clear()
            with self._area:
                show_error(self._visit, error, self.refresh)
            self._area.props("aria-busy=false")
            return
        self._area.clear()
        self._area.props("aria-busy=false")
        with self._area:
            shown = self._build(data)
            if shown is not None:
                await shown


def show_skeleton(rows: int, label: str) -> None:
    """Show grey lines where content will be."""
    with ui.element("div").classes("skeleton").props(f'role=status aria-label="{label}"'):
        for _ in range(rows):
            ui.element("div").classes("skeleton-line")


def show_empty(title: str, text: str, command: str | None = None) -> None:
    """Show why there is nothing here, and how to fill it."""
    with ui.element("div").classes("empty"):
        ui.label(title).classes("empty-title")
        ui.label(text).classes("empty-text")
        if command:
            with ui.element("code").classes("command"):
                ui.label(command)


def show_error(
    visit: Visit, error: Exception, retry: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Show what failed, where, and what to try."""
    what, where, hint = describe_error(visit, error)
    texts = visit.texts
    with ui.element("div").classes("problem").props("role=alert"):
        ui.label(texts.get("frame.failed")).classes("problem-title")
        ui.label(what)
        if where:
            ui.label(texts.get("frame.failed_where", where=where)).classes("muted")
        if hint:
            ui.label(hint).classes("muted")
        if isinstance(error, Unauthorized):
            ui.link(texts.get("sign_in.title"), f"{SIGN_IN_PATH}?next={visit.path}")
        elif retry is not None:
            ui.button(texts.get("frame.retry"), on_click=retry).props("flat no-caps")


def describe_error(visit: Visit, error: Exception) -> tuple[str, str | None, str | None]:
    """Return what happened, where, and what to try."""
    if isinstance(error, ShopwrightError):
        return error.what, error.where, error.hint
    log.exception("a page of the console failed", exc_info=error)
    if isinstance(error, sa.exc.OperationalError | sa.exc.TimeoutError):
        return visit.texts.get("frame.no_database"), None, visit.texts.get("frame.try_doctor")
    return visit.texts.get("frame.unknown_error"), None, visit.texts.get("frame.see_log")
