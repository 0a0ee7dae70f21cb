"""A file of decisions: checked row by row and shown, then made in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nicegui import events, ui

from features.contracts.errors import ShopwrightError
from serving.console.bulk_sheet import explain_undo
from serving.console.dialogs import QuickDialog
from serving.console.parts import Column, name_element, show_heading, show_table, show_upload
from serving.console.section import show_error, show_skeleton
from serving.console.visit import Visit
from serving.price_desk.actions import DeskActions
from serving.price_desk.decision_files import FileDecision, read_decisions
from serving.price_desk.filed_decisions import (
    DecidedFile,
    DecidedRow,
    DecisionOptions,
    preview_file,
)

_SHOWN = 100


@dataclass
class DecisionFileSheet:
    """A file of decisions as one person has it open."""

    visit: Visit
    decisions: Sequence[FileDecision] = ()
    confirmed: bool = False
    n_decided: int = 0

    async def ask(self) -> DecidedFile | None:
        """Show the sheet, and return what the file did; None where it was left."""
        texts = self.visit.texts
        heading = texts.get("decisions.name")
        with (
            QuickDialog() as self.dialog,
            ui.card().classes("sheet wide-sheet").props("role=dialog aria-modal=true") as card,
        ):
            name_element(card, heading)
            show_heading(heading)
            ui.label(texts.get("decisions.hint")).classes("muted")
            show_upload(self.visit, self._upload)
            self.result = ui.element("div").classes("section").props("aria-live=polite")
            with ui.element("div").classes("actions"):
                self.button = ui.button(texts.get("decisions.decide"), on_click=self._decide)
                self.button.props("unelevated").disable()
                self.dialog.add_close(texts.get("frame.cancel"))
        self.dialog.open()
        decided: DecidedFile | None = await self.dialog
        self.dialog.delete()
        return decided

    async def _upload(self, upload: events.UploadEventArguments) -> None:
        try:
            content = await upload.file.read()
            self.decisions = await self.visit.read(read_decisions, content)
        except ShopwrightError as error:
            self._show_problem(error)
            return
        self.confirmed = False
        await self._check()

    async def _check(self) -> None:
        """Show what the file would do now."""
        visit = self.visit
        self.result.clear()
        with self.result:
            show_skeleton(4, visit.texts.get("frame.loading"))
        try:
            decided = await visit.check(
                preview_file,
                visit.server.price_desk,
                visit.caller,
                self.decisions,
                DecisionOptions(confirmed=self.confirmed),
            )
        except ShopwrightError as error:
            self._show_problem(error)
            return
        self.n_decided = decided.n_decided
        self.button.set_enabled(decided.n_decided > 0)
        self.result.clear()
        with self.result:
            self._show(decided)

    def _show(self, decided: DecidedFile) -> None:
        texts = self.visit.texts
        counts = decided.count_actions()
        parts = [texts.get(f"decisions.n_{name}", n=n) for name, n in sorted(counts.items())]
        refused = len(decided.rows) - decided.n_decided
        if refused:
            parts.append(texts.get("decisions.n_refused", n=refused))
        ui.label(" · ".join(parts)).classes("reason")
        for name in sorted(counts):
            text = f"{texts.get(f'decisions.{name}')}: {explain_undo(self.visit, name)}"
            ui.label(text).classes("muted")
        if any(row.error is not None and row.decision.action == "edit" for row in decided.rows):
            ui.checkbox(
                texts.get("decisions.confirm"), value=self.confirmed, on_change=self._confirm
            )
        rows = sorted(decided.rows, key=lambda row: (row.error is None, row.decision.row))
        show_table(rows[:_SHOWN], self._list_columns(), caption=texts.get("decisions.rows"))
        if len(rows) > _SHOWN:
            ui.label(texts.get("bulk.more", n=len(rows) - _SHOWN)).classes("muted")

    def _list_columns(self) -> list[Column]:
        texts = self.visit.texts

        def write_item(row: DecidedRow) -> str:
            if row.before is None:
                return row.decision.suggestion_id
            return row.before.title or row.before.item_id

        def write_price(row: DecidedRow) -> str:
            if row.before is None:
                return texts.number(None)
            minor = row.before.suggested_price_minor if row.after is None else row.after
            return texts.money(minor, row.before.currency)

        return [
            Column(texts.get("propose.row"), lambda row: str(row.decision.row), is_number=True),
            Column(texts.get("queue.column_title"), write_item),
            Column(
                texts.get("decisions.decision"),
                lambda row: texts.find(f"decisions.{row.decision.action}", row.decision.action),
            ),
            Column(texts.get("queue.column_new"), write_price, is_number=True),
            Column(
                texts.get("propose.says"),
                lambda row: (row.decision.reason or "") if row.error is None else row.error.what,
            ),
        ]

    async def _confirm(self, event: events.ValueChangeEventArguments) -> None:
        self.confirmed = bool(event.value)
        await self._check()

    async def _decide(self) -> None:
        visit = self.visit
        try:
            decided = await visit.write(
                DeskActions(visit.server.price_desk).decide_file,
                visit.caller,
                self.decisions,
                DecisionOptions(confirmed=self.confirmed),
                self.n_decided,
            )
        except ShopwrightError as error:
            self._show_problem(error)
            return
        self.dialog.submit(decided)

    def _show_problem(self, error: ShopwrightError) -> None:
        self.button.disable()
        self.result.clear()
        with self.result:
            show_error(self.visit, error)
