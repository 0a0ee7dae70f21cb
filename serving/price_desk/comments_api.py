"""`/v1/price-suggestions/{id}/comments`: what people say about a suggestion."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.field_types import Text
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text, parse_cursor
from serving.price_desk.comments import MAX_LETTERS, SCOPE, CommentService
from serving.price_desk.comments_repository import Comment

router = APIRouter(
    prefix="/v1/price-suggestions", tags=["price desk"], dependencies=[Depends(check_text)]
)
Reader = Annotated[Caller, Depends(require(SCOPE))]
Comments = Annotated[CommentService, Depends(inject(CommentService))]


class CommentRequest(BaseModel):
    """What to say; it cannot be changed later."""

    model_config = ConfigDict(extra="forbid")

    text: Text = Field(min_length=1, max_length=MAX_LETTERS)


class CommentResponse(BaseModel):
    """A comment; `author_name` is the name of today of whoever wrote it."""

    suggestion_id: str
    author: str
    author_name: str
    text: str
    written_at: datetime


class CommentsResponse(BaseModel):
    """A page of comments, oldest first."""

    items: list[CommentResponse]
    next_cursor: str | None


@router.get("/{suggestion_id}/comments", dependencies=[Depends(allow_only("cursor", "limit"))])
def list_comments(
    suggestion_id: str,
    _caller: Reader,
    comments: Comments,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> CommentsResponse:
    """What people said about a suggestion, oldest first."""
    page = comments.list_comments(suggestion_id, after=parse_cursor(cursor), limit=limit)
    shown = page.comments
    return CommentsResponse(
        items=[_describe(comment, page.names) for comment in shown],
        next_cursor=str(shown[-1].seq) if len(shown) == limit else None,
    )


@router.post("/{suggestion_id}/comments", response_model=CommentResponse)
def add_comment(
    suggestion_id: str, caller: Reader, write: Write, comments: Comments, body: CommentRequest
) -> Response:
    """Adds a comment, for whoever decides and whoever comes later; it stands in the audit log."""

    def work(connection: sa.Connection) -> CommentResponse:
        comment = comments.add(connection, caller, suggestion_id, body.text)
        return _describe(comment, {caller.id: caller.name})

    return write.run_once(caller, work)


def _describe(comment: Comment, names: Mapping[str, str]) -> CommentResponse:
    return CommentResponse(
        suggestion_id=comment.suggestion_id,
        author=comment.author,
        author_name=names.get(comment.author, comment.author),
        text=comment.text,
        written_at=comment.written_at,
    )
