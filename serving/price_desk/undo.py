"""The way back from approvals that were just made: what is in the ledger is rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from features.contracts.errors import Conflict, NotFound
from features.database import lock
from serving.database.audit_log import Decider
from serving.price_desk import decisions
from serving.price_desk.activation import settle_due
from serving.price_desk.approvals import Refusal
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import RollbackSelection, roll_back_many
from serving.price_desk.states import find_sources

# The actions with a way back. No move of states.py leads back from a rejection or a submission.
UNDOABLE = ("approve",)
WAITING = "approved"


@dataclass(frozen=True)
class UndoneApprovals:
    """The ids of the suggestions that were taken back, and the others with the reason."""

    undone: tuple[str, ...]
    refused: tuple[Refusal, ...]


def undo_approvals(
    connection: sa.Connection, roller: Decider, rejecter: Decider, ids: Sequence[str]
) -> UndoneApprovals:
    """Take back the approvals of these suggestions, as far as they can be.

    What is scheduled or live is rolled back by `roller`. What waits because activations are stopped
    is in no ledger: `rejecter` rejects it. All others are refused, each with the reason.
    """
    lock(connection, "price_desk")
    settle_due(connection, roller)
    suggestions = {one.id: one for one in Suggestions(connection).by_ids(ids, reasons=False)}
    live = {
        one.price_id: one.id
        for one in suggestions.values()
        if one.price_id is not None and one.status in find_sources("roll_back")
    }
    waiting = [one.id for one in suggestions.values() if one.status == WAITING]
    decided = {*waiting, *live.values()}
    refused = []
    for suggestion_id in dict.fromkeys(ids):
        if suggestion_id not in suggestions:
            refused.append(Refusal(suggestion_id, NotFound(f"no suggestion {suggestion_id!r}")))
        elif suggestion_id not in decided:
            status = suggestions[suggestion_id].status
            error = Conflict(f"cannot take back the approval of a suggestion that is {status}")
            refused.append(Refusal(suggestion_id, error))
    undone: list[str] = []
    if live:
        # The price before was valid a moment ago, however far it is from the one that was approved.
        selection = RollbackSelection(price_ids=tuple(live))
        result = roll_back_many(connection, roller, selection, confirmed=True)
        failed = {refusal.suggestion_id: refusal.error for refusal in result.refused}
        undone += [live[price_id] for price_id in live if price_id not in failed]
        refused += [Refusal(live[price_id], error) for price_id, error in failed.items()]
    if waiting:
        rejected = decisions.decide_many(connection, rejecter, "reject", ids=waiting)
        undone += rejected.changed
        refused += rejected.refused
    return UndoneApprovals(tuple(undone), tuple(refused))
