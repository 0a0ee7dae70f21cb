"""Comments on a suggestion: what people said about it, and a field to say more."""

from __future__ import annotations

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.console.parts import notify_done, notify_problem, show_heading
from serving.console.section import Section
from serving.console.visit import Visit
from serving.price_desk.actions import CommentActions
from serving.price_desk.comments import MAX_LETTERS, CommentPage
from serving.price_desk.comments_repository import Comment

_SHOWN = 200


def show_comments(visit: Visit, suggestion_id: str) -> None:
    """Show the comments on a suggestion, oldest first, and a field for another one."""
    texts, service = visit.texts, visit.server.comments
    show_heading(texts.get("comments.name"), 3)
    section = Section(
        visit,
        lambda: service.list_comments(suggestion_id, limit=_SHOWN),
        lambda page: _show_page(visit, page),
        skeleton_rows=2,
    )
    with ui.element("div").classes("comment-form"):
        field = ui.textarea(texts.get("comments.write")).props(
            f"outlined dense autogrow maxlength={MAX_LETTERS} rows=1"
        )

        async def add() -> None:
            try:
                await visit.write(
                    CommentActions(service).add, visit.caller, suggestion_id, field.value or ""
                )
            except ShopwrightError as error:
                notify_problem(visit, error)
                return
            field.set_value("")
            notify_done(visit, texts.get("comments.done"))
            await section.refresh()

        ui.button(texts.get("comments.add"), on_click=add).props("outline")


def _show_page(visit: Visit, page: CommentPage) -> None:
    if not page.comments:
        ui.label(visit.texts.get("comments.none")).classes("muted")
        return
    with ui.element("ol").classes("comments"):
        for comment in page.comments:
            _show_comment(visit, comment, page.names.get(comment.author, comment.author))


def _show_comment(visit: Visit, comment: Comment, name: str) -> None:
    with ui.element("li"):
        with ui.element("div"):
            ui.label(name).classes("strong comment-part")
            ui.label(visit.texts.time(comment.written_at)).classes("muted comment-part")
        ui.label(comment.text).classes("comment-text")
