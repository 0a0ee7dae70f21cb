"""Says what a decision in the queue did, for ten seconds with the way back where there is one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from features.contracts.errors import ShopwrightError
from serving.console.bulk_sheet import open_refusals
from serving.console.parts import notify_done, notify_problem
from serving.console.visit import Visit
from serving.price_desk.actions import DeskActions
from serving.price_desk.decisions import BulkResult
from serving.price_desk.filed_decisions import DecidedFile
from serving.price_desk.undo import UNDOABLE


def report_decision(
    visit: Visit, action: str, result: BulkResult, on_change: Callable[[], None]
) -> None:
    """Say what a decision did, offer the way back, and name each refusal.

    `on_change` is called after the decision was taken back.
    """
    text = visit.texts.get(f"queue.done_{action}", n=len(result.changed))
    is_undoable = action in UNDOABLE and visit.may("pricing.rollback") and bool(result.changed)
    take_back = partial(_take_back, visit, result.changed, on_change)
    notify_done(visit, text, take_back if is_undoable else None)
    open_refusals(visit, result.refused)


def report_file(visit: Visit, decided: DecidedFile, on_change: Callable[[], None]) -> None:
    """Say what a file of decisions did, and offer the way back from its approvals.

    `on_change` as in `report_decision`; the refused rows were shown before.
    """
    approved = tuple(
        row.decision.suggestion_id
        for row in decided.rows
        if row.error is None and row.decision.action in UNDOABLE
    )
    text = visit.texts.get("decisions.done", n=decided.n_decided)
    take_back = partial(_take_back, visit, approved, on_change)
    is_undoable = visit.may("pricing.rollback") and bool(approved)
    notify_done(visit, text, take_back if is_undoable else None)


async def _take_back(visit: Visit, ids: tuple[str, ...], on_change: Callable[[], None]) -> None:
    """Take back approvals; what cannot be taken back is named."""
    texts = visit.texts
    actions = DeskActions(visit.server.price_desk)
    try:
        result = await visit.write(
            actions.undo_approvals, visit.caller, ids, texts.get("undo.reason")
        )
    except ShopwrightError as error:
        notify_problem(visit, error)
        return
    notify_done(visit, texts.get("undo.done", n=len(result.undone)))
    open_refusals(visit, result.refused)
    on_change()
