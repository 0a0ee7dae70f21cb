"""What a decision on many suggestions would do, shown before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.console.dialogs import QuickDialog
from serving.console.parts import (
    Column,
    build_reason,
    name_element,
    show_badge,
    show_heading,
    show_notice,
    show_table,
)
from serving.console.queue_rows import name_rule
from serving.console.section import Section, show_error
from serving.console.visit import Visit
from serving.price_desk.actions import DeskActions
from serving.price_desk.approvals import Refusal
from serving.price_desk.decisions import BulkResult
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.preview import BulkPreview
from serving.price_desk.undo import UNDOABLE

_REFUSALS = 20


@dataclass
class BulkSheet:
    """A decision that is being prepared: on the chosen ids, or on all that match a filter."""

    visit: Visit
    action: str
    ids: Sequence[str] | None
    criteria: SuggestionFilter | None
    scheduled: bool = False
    effective_from: str | None = None
    matched: int | None = None

    async def ask(self) -> BulkResult | None:
        """Show the preview, and return what the decision did; None where nothing was decided."""
        visit, texts = self.visit, self.visit.texts
        heading = texts.get(f"bulk.heading_{self.action}")
        reasons: Sequence[str] = ()
        if self.action == "reject":
            reasons = await read_reject_reasons(visit)
        with (
            QuickDialog() as dialog,
            ui.card().classes("sheet").props("role=dialog aria-modal=true") as card,
        ):
            name_element(card, heading)
            show_heading(heading)
            if self.action == "approve":
                self._build_beginning()
            self._preview = Section(visit, self._read, self._show, skeleton_rows=4)
            self._reason = build_reason(visit, reasons)
            ui.label(explain_undo(visit, self.action)).classes("muted")
            problem = ui.element("div").props("aria-live=assertive")

            async def decide() -> None:
                problem.clear()
                try:
                    result = await self._decide()
                except ShopwrightError as error:
                    with problem:
                        show_error(visit, error)
                    return
                dialog.submit(result)

            with ui.element("div").classes("actions"):
                ui.button(texts.get(f"queue.{self.action}"), on_click=decide).props("unelevated")
                dialog.add_close(texts.get("frame.cancel"))
        result: BulkResult | None = await dialog
        dialog.delete()
        return result

    def _build_beginning(self) -> None:
        texts = self.visit.texts
        with ui.expansion(texts.get("bulk.when"), value=self.scheduled).props("dense"):
            field = ui.input(texts.get("bulk.begins")).props(
                "dense outlined type=datetime-local stack-label"
            )
            field.on_value_change(lambda event: self._begin(event.value))
            ui.label(texts.get("bulk.begins_hint")).classes("muted")

    async def _begin(self, at: str | None) -> None:
        self.effective_from = at or None
        await self._preview.refresh()

    def _read(self) -> BulkPreview:
        desk = self.visit.server.price_desk
        return desk.preview(
            self.visit.caller,
            self.action,
            ids=self.ids,
            criteria=self.criteria,
            effective_from=self.effective_from,
        )

    async def _decide(self) -> BulkResult:
        visit = self.visit
        return await visit.write(
            DeskActions(visit.server.price_desk).decide,
            visit.caller,
            self.action,
            ids=self.ids,
            criteria=self.criteria,
            expected_matched=self.matched,
            reason=self._reason.value or None,
            effective_from=self.effective_from,
        )

    def _show(self, preview: BulkPreview) -> None:
        texts = self.visit.texts
        self.matched = preview.matched
        ui.label(
            texts.get(f"bulk.changes_{self.action}", n=preview.changed, matched=preview.matched)
        ).classes("reason")
        for currency, effects in preview.effects.items():
            self._show_effects(currency, effects)
        if preview.unknown:
            ui.label(texts.get("bulk.unknown", n=preview.unknown)).classes("muted")
        if preview.flagged:
            show_notice(texts.get("bulk.flagged", n=preview.flagged))
        if preview.stop is not None:
            show_notice(texts.get("bulk.stopped"))
        if preview.begins is not None:
            first, last = (texts.time(at) for at in preview.begins)
            text = first if first == last else f"{first} – {last}"
            ui.label(texts.get("bulk.valid_from", at=text))
        for rule, n in preview.broken.items():
            show_badge(texts.get("bulk.breaks", rule=name_rule(rule, texts), n=n), "warn")
        self._show_moves(preview)
        self._show_refused(preview.refused)

    def _show_effects(self, currency: str, effects: Any) -> None:
        texts = self.visit.texts
        parts = [
            f"{texts.get(f'suggestion.{name}')} "
            + texts.band(band, None if name == "units" else currency, whole=True)
            for name, band in effects.items()
        ]
        ui.label(texts.get("bulk.effect", effect=" · ".join(parts)))

    def _show_moves(self, preview: BulkPreview) -> None:
        texts = self.visit.texts
        if not preview.largest:
            return
        show_table(
            preview.largest[:5],
            [
                Column(texts.get("bulk.largest"), lambda one: one.title or one.item_id),
                Column(
                    texts.get("queue.column_now"),
                    lambda one: texts.money(one.current_price_minor, one.currency),
                    is_number=True,
                ),
                Column(
                    texts.get("queue.column_new"),
                    lambda one: texts.money(one.suggested_price_minor, one.currency),
                    is_number=True,
                ),
                Column(
                    texts.get("queue.column_change"),
                    lambda one: texts.share(one.share_change, signed=True),
                    is_number=True,
                ),
            ],
            caption=texts.get("bulk.largest"),
        )

    def _show_refused(self, refused: Sequence[Refusal]) -> None:
        if refused:
            show_refusals(self.visit, refused)


def explain_undo(visit: Visit, action: str) -> str:
    """Return what whoever decides should know of the way back, before they decide."""
    texts = visit.texts
    if action not in UNDOABLE:
        return texts.get(f"undo.never_{action}")
    if not visit.may("pricing.rollback"):
        return texts.get("undo.not_you")
    return texts.get("undo.possible")


async def read_reject_reasons(visit: Visit) -> Sequence[str]:
    """Return what whoever rejects may choose from."""
    controls = visit.server.desk_controls
    policy = await visit.read(controls.read_reject_policy, visit.texts.language)
    return policy.reasons


def open_refusals(visit: Visit, refused: Sequence[Refusal], subject: str | None = None) -> None:
    """Show in a dialog what stays as it is, as `show_refusals`; nothing where all was done."""
    if not refused:
        return
    texts = visit.texts
    with (
        QuickDialog(value=True) as dialog,
        ui.card().classes("sheet").props("role=dialog aria-modal=true") as card,
    ):
        name_element(card, texts.get("queue.refused", n=len(refused)))
        show_refusals(visit, refused, subject)
        with ui.element("div").classes("actions"):
            dialog.add_close(texts.get("frame.close"))


def show_refusals(visit: Visit, refused: Sequence[Refusal], subject: str | None = None) -> None:
    """Show which suggestions stay as they are, each with the reason; `subject` says what is refused
    instead of suggestions."""
    texts = visit.texts
    show_heading(texts.get("queue.refused", n=len(refused)), 3)
    show_table(
        refused[:_REFUSALS],
        [
            Column(subject or texts.get("bulk.suggestion"), lambda one: one.suggestion_id),
            Column(texts.get("frame.reason"), lambda one: str(one.error)),
        ],
        caption=texts.get("queue.refused", n=len(refused)),
    )
    if len(refused) > _REFUSALS:
        ui.label(texts.get("bulk.more", n=len(refused) - _REFUSALS)).classes("muted")
