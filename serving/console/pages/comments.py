"""Comments on a suggestion: what people said about it, and a field to say more."""

from __future__ import annotations

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.access import find_objection
from serving.console.parts import notify_done, notify_problem, show_heading
from serving.console.section import Section
from serving.console.visit import Visit
from serving.price_desk.actions import CommentActions
from serving.price_desk.comments import MAX_LETTERS, SCOPE, CommentPage
from serving.price_desk.comments_repository import Comment
from serving.price_desk.repository import Suggestion

_SHOWN = 50


class Comments:
    """The comments on a suggestion as one person has them open: the newest, and older ones when
    they are asked for."""

    def __init__(self, visit: Visit, suggestion: Suggestion) -> None:
        self._visit, self._suggestion = visit, suggestion
        self._n_shown = _SHOWN

    def build(self) -> None:
        """Build the comments, oldest first, and a field for another one."""
        visit, texts = self._visit, self._visit.texts
        show_heading(texts.get("comments.name"), 3)
        self._section = Section(visit, self._read, self._show, skeleton_rows=2)
        areas = visit.caller.require(SCOPE)
        if find_objection(areas, self._suggestion.category, self._suggestion.zone):
            ui.label(texts.get("comments.not_yours")).classes("muted")
            return
        with ui.element("div").classes("comment-form"):
            field = ui.textarea(texts.get("comments.write")).props(
                f"outlined dense autogrow maxlength={MAX_LETTERS} rows=1"
            )
            ui.button(texts.get("comments.add"), on_click=lambda: self._add(field)).props("outline")

    async def _add(self, field: ui.textarea) -> None:
        visit = self._visit
        actions = CommentActions(visit.server.comments)
        try:
            await visit.write(actions.add, visit.caller, self._suggestion.id, field.value or "")
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        field.set_value("")
        notify_done(visit, visit.texts.get("comments.done"))
        await self._section.refresh()

    def _read(self) -> CommentPage:
        return self._visit.server.comments.list_newest(self._suggestion.id, self._n_shown)

    def _show(self, page: CommentPage) -> None:
        visit, texts = self._visit, self._visit.texts
        if not page.comments:
            ui.label(texts.get("comments.none")).classes("muted")
            return
        if page.n_older:
            text = texts.get("comments.older", n=page.n_older)
            ui.button(text, on_click=self._show_older).props("flat dense")
        with ui.element("ol").classes("comments"):
            for comment in page.comments:
                _show_comment(visit, comment, page.names.get(comment.author, comment.author))

    async def _show_older(self) -> None:
        self._n_shown += _SHOWN
        await self._section.refresh()


def _show_comment(visit: Visit, comment: Comment, name: str) -> None:
    with ui.element("li"):
        with ui.element("div"):
            ui.label(name).classes("strong comment-part")
            ui.label(visit.texts.time(comment.written_at)).classes("muted comment-part")
        ui.label(comment.text).classes("comment-text")
