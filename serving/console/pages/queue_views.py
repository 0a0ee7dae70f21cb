"""Views of the queue that a person named: filters, sort and columns, kept with the preferences."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from features.contracts.errors import BadInput
from serving.console.parts import name_element, notify_done, show_form
from serving.console.queue_rows import PARAMETERS
from serving.console.visit import Visit
from serving.people.preferences import Preferences

PREFERENCE = "queue_views"
_MAX_VIEWS, _MAX_NAME = 30, 40
View = Mapping[str, Any]  # name, parameters of the address, columns
Columns = Sequence[Mapping[str, Any]]  # in their order: colId, width, hide


class QueueViews:
    """The views of one person, above the grid.

    A view is an address: filters and sort stand in it, so that it can be sent to a colleague. The
    parameter `view` chooses the columns too, for the person whose view it is.

    columns   returns the columns as they are now
    """

    def __init__(self, visit: Visit, columns: Callable[[], Columns]) -> None:
        self._visit, self._columns = visit, columns
        self._views: list[View] = list(visit.preferences.get(PREFERENCE, []))

    def find_columns(self) -> Columns | None:
        """Return the columns of the view that the address names; None where it names none."""
        chosen = self._visit.parameters.get("view")
        return next((view["columns"] for view in self._views if view["name"] == chosen), None)

    def build(self) -> None:
        """Show the views as links, the present one marked."""
        self._area = ui.element("div").classes("views").props("role=group")
        name_element(self._area, self._visit.texts.get("views.name"))
        self._show()

    def _show(self) -> None:
        texts, chosen = self._visit.texts, self._visit.parameters.get("view")
        self._area.clear()
        with self._area:
            ui.label(texts.get("views.name")).classes("muted")
            is_all = not set(self._visit.parameters) & {*PARAMETERS, "view"}
            self._show_link(texts.get("views.all"), "/queue", is_chosen=is_all)
            for view in self._views:
                query = urlencode({**view["parameters"], "view": view["name"]})
                with ui.element("span").classes("view"):
                    is_chosen = view["name"] == chosen
                    self._show_link(view["name"], f"/queue?{query}", is_chosen=is_chosen)
                    button = ui.button(icon="close", on_click=partial(self._delete, view))
                    button.props("flat dense round size=xs")
                    name_element(button, texts.get("views.delete", name=view["name"]))
            ui.button(texts.get("views.save"), icon="add", on_click=self._save).props("flat dense")

    def _show_link(self, name: str, address: str, *, is_chosen: bool) -> None:
        link = ui.link(name, address).classes("view-link")
        if is_chosen:
            link.classes("current").props("aria-current=true")

    async def _save(self) -> None:
        """Ask for a name and keep the present filters, sort and columns under it."""
        texts = self._visit.texts

        def build() -> Callable[[], Awaitable[str]]:
            ui.label(texts.get("views.save_hint")).classes("muted")
            name = ui.input(
                texts.get("views.its_name"), value=self._visit.parameters.get("view", "")
            ).props(f"outlined dense autofocus maxlength={_MAX_NAME}")
            return lambda: self._keep((name.value or "").strip())

        saved = await show_form(
            self._visit, texts.get("views.save"), build, confirm=texts.get("frame.save")
        )
        if saved is not None:
            self._visit.set_parameters(view=saved)
            notify_done(self._visit, texts.get("views.saved", name=saved))
            self._show()

    async def _keep(self, name: str) -> str:
        """Keep the present view under a name, in place of one of the same name, and return it."""
        texts = self._visit.texts
        if not 0 < len(name) <= _MAX_NAME:
            raise BadInput(texts.get("views.needs_name", n=_MAX_NAME))
        parameters = {k: v for k, v in self._visit.parameters.items() if k in PARAMETERS}
        view = {"name": name, "parameters": parameters, "columns": list(self._columns())}
        views = await self._read()
        names = [known["name"] for known in views]
        if name in names:
            views[names.index(name)] = view
        elif len(views) >= _MAX_VIEWS:
            raise BadInput(texts.get("views.too_many", n=_MAX_VIEWS))
        else:
            views.append(view)
        await self._write(views)
        return name

    async def _delete(self, view: View) -> None:
        views = await self._read()
        await self._write([known for known in views if known["name"] != view["name"]])
        if self._visit.parameters.get("view") == view["name"]:
            self._visit.set_parameters(view=None)

        async def undo() -> None:
            views = await self._read()
            if view["name"] not in [known["name"] for known in views]:
                await self._write([*views, view])
            else:  # it was saved anew meanwhile: that one is newer
                self._views = views
            self._show()

        text = self._visit.texts.get("views.deleted", name=view["name"])
        notify_done(self._visit, text, undo)
        self._show()  # last: the button that was pressed goes with it

    async def _read(self) -> list[View]:
        """Return the views as they are kept: another window may have changed them."""
        preferences = Preferences(self._visit.server.engine)
        kept = await self._visit.read(preferences.read, self._visit.person.name)
        return list(kept.get(PREFERENCE, []))

    async def _write(self, views: list[View]) -> None:
        await self._visit.remember(PREFERENCE, [dict(view) for view in views])
        self._views = views
