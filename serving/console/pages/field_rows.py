"""Rows of fields in a form, as many as somebody adds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from nicegui import ui

from serving.console.parts import name_element, show_heading
from serving.console.visit import Visit

Cell = ui.input | ui.select


class FieldRows:
    """A heading, its rows, and a button for one more.

    build       makes the fields of a row from its texts, all empty for a new one
    on_change   called a moment after a change
    """

    def __init__(
        self,
        visit: Visit,
        name: str,
        build: Callable[[Sequence[str]], Sequence[Cell]],
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        """Build the heading and the button; `name` is that of their texts."""
        self._visit, self._build, self._on_change = visit, build, on_change
        self._rows: list[tuple[ui.element, Sequence[Cell]]] = []
        show_heading(visit.texts.get(f"experiments.{name}"), level=3)
        self._area = ui.element("div").classes("form")
        add = ui.button(visit.texts.get(f"experiments.add_{name}"), icon="add", on_click=self.add)
        add.props("flat dense")

    def add(self, *texts: str) -> None:
        """Add a row."""
        with self._area, ui.element("div").classes("pair") as row:
            cells = self._build(texts)
            for cell in cells:
                cell.props("dense outlined").on_value_change(self._on_change)
            remove = ui.button(icon="close", on_click=partial(self._remove, row))
            name_element(
                remove.props("flat dense round"), self._visit.texts.get("experiments.remove_row")
            )
        self._rows.append((row, cells))

    def read(self) -> list[list[str]]:
        """Return the texts of the rows, without those that are empty."""
        rows = [[str(cell.value or "").strip() for cell in cells] for _, cells in self._rows]
        return [row for row in rows if any(row)]

    async def _remove(self, row: ui.element) -> None:
        self._rows = [known for known in self._rows if known[0] is not row]
        row.delete()
        await self._on_change()
