"""The shop's own reasons for rejections, beneath the rules: what they are, and how they change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from serving.console.parts import notify_done, show_badge, show_form, show_heading
from serving.console.section import Section
from serving.console.visit import Visit
from serving.price_desk.actions import ControlActions
from serving.price_desk.controls_repository import RejectPolicy

_SCOPE = "pricing.manage"


class RejectReasonsSection:
    """The reasons as one person has them open."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def build(self) -> None:
        """Build the heading and the reasons."""
        visit = self._visit
        show_heading(visit.texts.get("rules.reject_reasons"))
        controls = visit.server.desk_controls
        self._section = Section(
            visit,
            lambda: controls.read_reject_policy(visit.texts.language),
            self._show,
            skeleton_rows=2,
        )

    def _show(self, policy: RejectPolicy) -> None:
        texts = self._visit.texts
        key = "rules.reasons_needed" if policy.required else "rules.reasons_hint"
        ui.label(texts.get(key)).classes("muted")
        with ui.element("div").classes("badges"):
            for reason in policy.reasons:
                show_badge(reason)
        if policy.changed_by and policy.changed_at:
            ui.label(
                texts.get(
                    "rules.reasons_by", name=policy.changed_by, at=texts.time(policy.changed_at)
                )
            ).classes("muted")
        if self._visit.may(_SCOPE):
            ui.button(texts.get("rules.edit_reasons"), on_click=lambda: self._edit(policy)).props(
                "flat"
            )

    async def _edit(self, policy: RejectPolicy) -> None:
        visit, texts = self._visit, self._visit.texts

        def build() -> Callable[[], Awaitable[bool]]:
            area = ui.textarea(texts.get("rules.reason_lines"), value="\n".join(policy.reasons))
            area.props("outlined autogrow")
            required = ui.checkbox(texts.get("rules.reason_required"), value=policy.required)

            async def submit() -> bool:
                lines = [line for line in (area.value or "").splitlines() if line.strip()]
                await visit.write(
                    ControlActions(visit.server.desk_controls).save_reject_policy,
                    visit.caller,
                    lines,
                    required=required.value,
                )
                return True

            return submit

        saved = await show_form(
            visit, texts.get("rules.reject_reasons"), build, confirm=texts.get("frame.save")
        )
        if saved:
            notify_done(visit, texts.get("rules.reasons_saved"))
            await self._section.refresh()
