"""Comments of people on suggestions: what they want whoever decides, or comes later, to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from features.contracts.errors import BadInput
from features.database import reading
from serving.access import Caller, find_objection
from serving.database.audit_log import AuditEntry, AuditLog, read_actor_names
from serving.price_desk.comments_repository import Comment, SuggestionComments
from serving.price_desk.decisions import require_version
from serving.price_desk.repository import Suggestion, Suggestions
from serving.price_desk.service import PriceDeskService

SCOPE = "pricing.read"
MAX_LETTERS = 4_000


@dataclass(frozen=True)
class CommentPage:
    """Some comments, oldest first, and the names of those who wrote them.

    n_older   how many more came before these, where they are the newest
    """

    comments: tuple[Comment, ...]
    names: Mapping[str, str]
    n_older: int = 0


@dataclass(frozen=True)
class CommentService:
    """Reads comments and adds them. Whoever has pricing.read reads them all, and comments where
    that scope reaches."""

    desk: PriceDeskService

    def list_comments(self, suggestion_id: str, *, after: int = 0, limit: int = 100) -> CommentPage:
        """Return the comments on a suggestion after number `after`. Raises NotFound."""
        with reading(self.desk.engine) as connection:
            _find_suggestion(connection, suggestion_id)
            page = SuggestionComments(connection).page(suggestion_id, after=after, limit=limit)
            names = read_actor_names(connection)
        return CommentPage(tuple(page), names)

    def list_newest(self, suggestion_id: str, limit: int) -> CommentPage:
        """Return the newest comments on a suggestion. Raises NotFound."""
        with reading(self.desk.engine) as connection:
            _find_suggestion(connection, suggestion_id)
            comments = SuggestionComments(connection)
            page = comments.newest(suggestion_id, limit)
            n_older = comments.count(suggestion_id) - len(page)
            names = read_actor_names(connection)
        return CommentPage(tuple(page), names, n_older)

    def add(
        self, connection: sa.Connection, caller: Caller, suggestion_id: str, text: str
    ) -> Comment:
        """Add a comment, and log it.

        Raises NotFound, Forbidden outside the caller's areas, and BadInput for an empty or too
        long text.
        """
        areas = caller.require(SCOPE)
        suggestion = _find_suggestion(connection, suggestion_id)
        if objection := find_objection(areas, suggestion.category, suggestion.zone):
            raise objection
        text = text.strip()
        if not text:
            raise BadInput("a comment says something", where="text")
        if len(text) > MAX_LETTERS:
            raise BadInput(f"a comment has at most {MAX_LETTERS:,} letters", where="text")
        at = self.desk.system_clock.now()
        comment = SuggestionComments(connection).add(suggestion_id, caller.id, text, at)
        entry = AuditEntry(
            caller.id, "comment", "price_suggestion", suggestion_id, {"comment": text}
        )
        AuditLog(connection).append([entry], at)
        return comment


def _find_suggestion(connection: sa.Connection, suggestion_id: str) -> Suggestion:
    return require_version(Suggestions(connection).get(suggestion_id), suggestion_id, None)
