"""The service of `GET /v1/events/flagged`: whose events are left out of all counts."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.person_ids import ID_KINDS
from features.database import reading
from serving.events.documents import FlaggedActorsResponse, describe_flagged

MAX_ACTORS = 1_000


@dataclass(frozen=True)
class FlaggedEventsService:
    """Lists the actors of one shop; the reader of tables is imported by the first look."""

    settings: Settings
    engine: sa.Engine

    def page(self, cursor: str | None, limit: int) -> FlaggedActorsResponse:
        """Return at most `limit` actors behind a cursor. Raises BadInput for another text."""
        from features.facts.facts import Facts
        from features.facts.flagged_actors import Actor, list_flagged_actors

        after = None
        if cursor is not None:
            after = Actor(*cursor.partition(":")[::2])
            if after.kind not in ID_KINDS or not after.id:
                raise BadInput(
                    f"{cursor!r} is no cursor",
                    where="cursor",
                    hint="Send the next_cursor of the page before",
                )
        with reading(self.engine) as connection:
            actors = list_flagged_actors(Facts(self.settings), connection, after=after, limit=limit)
        return describe_flagged(actors, limit)
