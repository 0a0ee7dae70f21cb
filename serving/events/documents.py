"""The JSON document of actors whose events count for nothing, of verbs and of HTTP alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from features.facts.flagged_actors import FlaggedActor


class FlagReasonResponse(BaseModel):
    """Why events count for nothing: by a rule of `shopwright rows exclude`, with what was said
    about it; without a rule the file or the sender marked them."""

    rule: str | None
    reason: str | None
    events: int


class FlaggedActorResponse(BaseModel):
    """Somebody with events that are kept and count for nothing."""

    kind: str = Field(description="user, else visitor, else session")
    id: str
    events: int
    first_at: datetime
    last_at: datetime
    reasons: list[FlagReasonResponse] = Field(
        description="An event counts for the first rule that it matches"
    )


class FlaggedActorsResponse(BaseModel):
    """A page of actors, by kind and id."""

    items: list[FlaggedActorResponse]
    next_cursor: str | None


def describe_flagged(actors: Sequence[FlaggedActor], limit: int) -> FlaggedActorsResponse:
    """Return the JSON of a page of at most `limit` actors."""
    last = actors[-1].actor if len(actors) == limit else None
    return FlaggedActorsResponse(
        items=[
            FlaggedActorResponse(
                kind=flagged.actor.kind,
                id=flagged.actor.id,
                events=flagged.n_events,
                first_at=flagged.first_at,
                last_at=flagged.last_at,
                reasons=[
                    FlagReasonResponse(
                        rule=reason.rule, reason=reason.reason, events=reason.n_events
                    )
                    for reason in flagged.reasons
                ],
            )
            for flagged in actors
        ],
        next_cursor=None if last is None else f"{last.kind}:{last.id}",
    )
