"""Comments on suggestions, as rows that nobody changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from serving.database.desk_tables import suggestion_comments


@dataclass(frozen=True)
class Comment:
    """What somebody said about a suggestion; `written_at` is system time."""

    seq: int
    suggestion_id: str
    author: str
    text: str
    written_at: datetime


class SuggestionComments:
    """The repository of comments, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, suggestion_id: str, author: str, text: str, written_at: datetime) -> Comment:
        """Store a comment."""
        table = suggestion_comments
        statement = table.insert().values(
            suggestion_id=suggestion_id, author=author, text=text, written_at=written_at
        )
        seq: int = self._connection.execute(statement.returning(table.c.seq)).scalar_one()
        return Comment(seq, suggestion_id, author, text, written_at)

    def page(self, suggestion_id: str, *, after: int, limit: int) -> list[Comment]:
        """Return the comments on a suggestion after number `after`, oldest first."""
        table = suggestion_comments.c
        query = sa.select(suggestion_comments).where(
            table.suggestion_id == suggestion_id, table.seq > after
        )
        rows = self._connection.execute(query.order_by(table.seq).limit(limit))
        return [Comment(*row) for row in rows]

    def newest(self, suggestion_id: str, limit: int) -> list[Comment]:
        """Return the newest comments on a suggestion, oldest first."""
        table = suggestion_comments.c
        query = sa.select(suggestion_comments).where(table.suggestion_id == suggestion_id)
        rows = self._connection.execute(query.order_by(table.seq.desc()).limit(limit))
        return [Comment(*row) for row in rows][::-1]

    def count(self, suggestion_id: str) -> int:
        """Return how many comments a suggestion has."""
        table = suggestion_comments.c
        query = sa.select(sa.func.count()).where(table.suggestion_id == suggestion_id)
        return int(self._connection.execute(query).scalar_one())
