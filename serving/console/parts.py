"""Small parts that pages are made of: tables, measures, badges, notices, questions."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from nicegui import events, ui

from features.contracts.errors import BadInput, ShopwrightError
from serving.catalogue.service import CatalogueItem
from serving.console.dialogs import QuickDialog
from serving.console.section import describe_error, show_empty, show_error
from serving.console.visit import Visit
from serving.sheet_reading import MAX_BYTES

Result = TypeVar("Result")
# Rows of a page of a list.
PAGE_ROWS = 50
_UNDO_SECONDS = 10.0


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and how a cell is built or written from a row."""

    heading: str
    cell: Callable[[Any], object]
    is_number: bool = False
    hint: str | None = None


def show_table(rows: Iterable[Any], columns: Sequence[Column], *, caption: str) -> ui.element:
    """Show rows as a table; a cell that returns text is written, one that returns None has built
    its content itself."""
    with ui.element("div").classes("table-frame").props("tabindex=0 role=region") as frame:
        name_element(frame, caption)
        with ui.element("table").classes("data"):
            with ui.element("thead"), ui.element("tr"):
                for column in columns:
                    heading = ui.element("th").props("scope=col")
                    heading.classes("number" if column.is_number else "")
                    with heading:
                        label = ui.label(column.heading)
                        if column.hint:
                            label.tooltip(column.hint)
            with ui.element("tbody"):
                for row in rows:
                    with ui.element("tr"):
                        for column in columns:
                            _build_cell(row, column)
    return frame


def _build_cell(row: Any, column: Column) -> None:
    with ui.element("td").classes("number" if column.is_number else ""):
        content = column.cell(row)
        if isinstance(content, str):
            ui.label(content)


def name_element(element: ui.element, text: str) -> ui.element:
    """Give an element its name for screen readers, which may be a text of the shop.

    `props` reads a text as a list of properties, expressions among them: a title must not go there.
    """
    element.props["aria-label"] = text
    return element


def show_measure(name: str, value: str, note: str = "", *, tone: str = "") -> ui.element:
    """Show one number with its name, and below it what it is compared with."""
    with ui.element("div").classes("measure") as measure:
        ui.label(name).classes("measure-name")
        ui.label(value).classes("measure-value")
        if note:
            ui.label(note).classes(tone or "muted")
    return measure


def show_heading(text: str, level: int = 2) -> ui.label:
    """Show the heading of a part of a page."""
    return ui.label(text).classes("heading").props(f"role=heading aria-level={level}")


def show_badge(text: str, tone: str = "") -> ui.label:
    """Show a word with a background; the tone is better, worse, warn or none."""
    return ui.label(text).classes(f"badge {tone}")


def show_notice(text: str) -> None:
    """Show what somebody should know before they go on."""
    with ui.element("div").classes("notice").props("role=note"):
        ui.label(text)


def notify_done(visit: Visit, text: str, undo: Callable[[], Awaitable[None]] | None = None) -> None:
    """Say for ten seconds that something is done, with a way back where there is one.

    The key `u` is that of the newest toast with a way back.
    """
    if undo is None:
        ui.notify(text, type="positive", timeout=5_000)
        return
    if visit.toasts is None:
        with ui.context.client.content:
            visit.toasts = ui.element("div").classes("toasts").props("role=status")
    with visit.toasts, ui.element("div").classes("toast") as toast:

        async def take_back() -> None:
            toast.delete()
            with visit.toasts or toast:  # the toast is gone: what follows needs another place
                await undo()

        ui.label(text)
        back = ui.button(visit.texts.get("frame.undo"), on_click=take_back)
        back.props("flat dense aria-keyshortcuts=u").classes("toast-undo")
        close = ui.button(icon="close", on_click=toast.delete).props("flat dense round")
        name_element(close, visit.texts.get("frame.close"))
        ui.timer(_UNDO_SECONDS, toast.delete, once=True)


def notify_problem(visit: Visit, error: Exception) -> None:
    """Say what failed, where, and what to try, until it is closed."""
    what, where, hint = describe_error(visit, error)
    text = " · ".join(part for part in (what, where, hint) if part)
    ui.notify(text, type="negative", timeout=0, close_button=visit.texts.get("frame.close"))


def build_reason(visit: Visit, reasons: Sequence[str] = ()) -> ui.input:
    """Build the field of a reason; above it `reasons` to choose from, each of which fills it."""
    texts = visit.texts
    if not reasons:
        return ui.input(texts.get("frame.reason")).props("outlined dense")
    with ui.element("div").classes("reasons").props("role=group") as group:
        name_element(group, texts.get("frame.usual_reasons"))
        buttons = [ui.button(reason).props("outline dense rounded") for reason in reasons]
    field = ui.input(texts.get("frame.reason")).props("outlined dense autofocus")
    for button, reason in zip(buttons, reasons, strict=True):
        button.on_click(partial(field.set_value, reason))
    return field


async def ask(
    visit: Visit,
    question: str,
    explanation: str = "",
    *,
    confirm: str,
    reason: bool = False,
    reasons: Sequence[str] = (),
) -> str | None:
    """Ask before something is done. Return the reason typed ("" without one), None for no.

    reasons   what the reason is usually, to choose from
    """
    texts = visit.texts
    with QuickDialog() as dialog, ui.card().classes("sheet").props("role=dialog aria-modal=true"):
        show_heading(question)
        if explanation:
            ui.label(explanation)
        field = build_reason(visit, reasons) if reason else None
        with ui.element("div").classes("actions"):
            ui.button(
                confirm, on_click=lambda: dialog.submit(field.value or "" if field else "")
            ).props("unelevated")
            dialog.add_close(texts.get("frame.cancel"))
    answer: str | None = await dialog
    dialog.delete()
    return answer


async def show_form(
    visit: Visit,
    heading: str,
    build: Callable[[], Callable[[], Awaitable[Result]]],
    *,
    confirm: str,
) -> Result | None:
    """Show a form, and return what saving it returned; None where it was left.

    `build` adds the fields and returns what saves them. The form stays open where that is refused.
    """
    with (
        QuickDialog() as dialog,
        ui.card().classes("sheet").props("role=dialog aria-modal=true") as card,
    ):
        name_element(card, heading)
        show_heading(heading)
        save = build()
        problem = ui.element("div").props("aria-live=assertive").classes("section")

        async def submit() -> None:
            problem.clear()
            try:
                result = await save()
            except ShopwrightError as error:
                with problem:
                    show_error(visit, error)
            else:
                dialog.submit(result)

        with ui.element("div").classes("actions"):
            ui.button(confirm, on_click=submit).props("unelevated")
            dialog.add_close(visit.texts.get("frame.cancel"))
    result: Result | None = await dialog
    dialog.delete()
    return result


async def show_secret(visit: Visit, heading: str, explanation: str, secret: str) -> None:
    """Show a secret that cannot be read again, until it is closed."""
    texts = visit.texts
    with (
        QuickDialog().props("persistent") as dialog,
        ui.card().classes("sheet").props("role=dialog aria-modal=true") as card,
    ):
        name_element(card, heading)
        show_heading(heading)
        ui.label(explanation)
        with ui.element("code").classes("command secret"):
            ui.label(secret)
        with ui.element("div").classes("actions"):
            ui.button(texts.get("frame.copy"), on_click=lambda: ui.clipboard.write(secret)).props(
                "unelevated"
            )
            dialog.add_close(texts.get("frame.close"))
    await dialog
    dialog.delete()


def read_number(text: object, where: str) -> float:
    """Return a number as somebody typed it, with a point or a comma. Raises BadInput."""
    try:
        number = float(str(text).replace(",", ".").replace("−", "-"))
    except ValueError as error:
        raise BadInput(f"{text!r} is no number", where=where) from error
    if not math.isfinite(number):
        raise BadInput(f"{text!r} is no number", where=where)
    return number


def read_whole_number(text: object, where: str) -> int:
    """Return a whole number as somebody typed it. Raises BadInput."""
    number = read_number(text, where)
    if number != int(number):
        raise BadInput(f"{text!r} is no whole number", where=where)
    return int(number)


def show_upload(
    visit: Visit, on_upload: Callable[[events.UploadEventArguments], Awaitable[None]]
) -> None:
    """Show a field for a sheet, which is read as soon as it is chosen."""
    ui.upload(
        label=visit.texts.get("propose.choose_file"),
        on_upload=on_upload,
        auto_upload=True,
        max_file_size=MAX_BYTES,
    ).props('accept=".csv,.xlsx" flat bordered')


def is_untrained(visit: Visit, name: str) -> bool:
    """Return whether the shop has no champion of a model yet."""
    return name in visit.server.served_models.unused


def show_untrained(visit: Visit, name: str) -> str:
    """Show how to get the first champion of a model, and return the title of such a page."""
    texts = visit.texts
    title = texts.get(f"frame.untrained_{name}")
    show_empty(title, texts.get("frame.untrained_text"), f"shopwright train {name}")
    return title


def show_pager(
    visit: Visit, *, first: int, shown: int, total: int, go: Callable[[int], Awaitable[None]]
) -> None:
    """Show which rows of a list are shown, with buttons to those before and after.

    first   position of the first row, from 0
    go      called with the position of the first row of another page
    """
    texts = visit.texts
    with ui.element("div").classes("pager"):
        text = texts.get("frame.rows", first=first + 1 if shown else 0, last=first + shown, n=total)
        ui.label(text).classes("muted")
        if shown < total:
            before = ui.button(
                texts.get("frame.before"), on_click=lambda: go(max(0, first - PAGE_ROWS))
            ).props("flat dense")
            after = ui.button(
                texts.get("frame.after"), on_click=lambda: go(first + PAGE_ROWS)
            ).props("flat dense")
            before.set_enabled(first > 0)
            after.set_enabled(first + shown < total)


def show_item_search(
    visit: Visit,
    label: str,
    chosen: Sequence[CatalogueItem],
    on_change: Callable[[list[str]], Awaitable[None]],
    *,
    multiple: bool = False,
) -> ui.select:
    """Show a field that finds items by title or id as somebody types.

    on_change   called with the ids that are chosen then
    """
    typed = ""

    def write(items: Iterable[CatalogueItem]) -> dict[str, str]:
        return {
            item.item_id: item.name
            if item.name == item.item_id
            else f"{item.name} · {item.item_id}"
            for item in items
        }

    async def search(event: Any) -> None:
        nonlocal typed
        if event.args is None:
            return
        text = typed = str(event.args)
        matches = await visit.read(catalogue.search, text)
        if text != typed:  # more was typed while this one was searched
            return
        found = write(matches)
        options = {key: names[key] for key in read_chosen()} | found
        names.update(found)
        select.set_options(options)

    def read_chosen() -> list[str]:
        if multiple:
            return list(select.value or ())
        return [select.value] if select.value else []

    async def change() -> None:
        await on_change(read_chosen())

    catalogue = visit.server.catalogue
    ids = [item.item_id for item in chosen]
    names = write(chosen)
    select = ui.select(
        dict(names),
        value=ids if multiple else next(iter(ids), None),
        multiple=multiple,
        with_input=True,
        clearable=True,
        label=label,
    ).classes("item-search")
    select.props(
        f"dense outlined options-dense input-debounce=250 {'use-chips' if multiple else ''}"
    )
    select.on("input-value", search)
    select.on_value_change(change)
    return select
