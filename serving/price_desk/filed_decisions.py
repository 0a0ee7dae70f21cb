"""Decisions of a file, made in one transaction: those that are possible, the others named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from features.contracts.errors import Conflict, NotFound, ShopwrightError
from features.contracts.money import to_minor
from features.database import lock, transaction
from serving.access import Caller
from serving.database.audit_log import Decider
from serving.price_desk.activation import settle_due
from serving.price_desk.approvals import Beginnings
from serving.price_desk.decision_files import FileDecision
from serving.price_desk.decisions import PriceEdit, decide_many, edit_all
from serving.price_desk.repository import Suggestion, Suggestions
from serving.price_desk.service import PriceDeskService
from serving.price_desk.states import find_scope
from serving.sheet_reading import parse_sheet_amount


@dataclass(frozen=True)
class DecidedRow:
    """A row of a file, the suggestion as it was before, and why it stays so; None: it is decided.

    before   None where no suggestion has the id
    after    the price that it gets, in minor units; None where its own stays
    """

    decision: FileDecision
    before: Suggestion | None
    error: ShopwrightError | None = None
    after: int | None = None


@dataclass(frozen=True)
class DecidedFile:
    """What the decisions of a file did, or would do, row by row."""

    rows: tuple[DecidedRow, ...]

    @property
    def n_decided(self) -> int:
        """How many rows are decided."""
        return sum(row.error is None for row in self.rows)

    def count_actions(self) -> Mapping[str, int]:
        """Return how many rows are decided, by action."""
        return Counter(row.decision.action for row in self.rows if row.error is None)


@dataclass(frozen=True)
class DecisionOptions:
    """What applies to all rows.

    effective_from   when approved prices begin, as PriceDeskService.read_beginning reads it
    confirmed        edits may break rules and move prices by much: it is meant
    """

    effective_from: str | None = None
    confirmed: bool = False


def preview_file(
    desk: PriceDeskService,
    caller: Caller,
    decisions: Sequence[FileDecision],
    options: DecisionOptions,
) -> DecidedFile:
    """Return what the decisions of a file would do now: they are made, and taken back."""
    work = _prepare(desk, caller, decisions, options)
    with transaction(desk.engine) as connection:
        decided = work.decide(connection)
        connection.rollback()
    return decided


def decide_file(
    connection: sa.Connection,
    desk: PriceDeskService,
    caller: Caller,
    decisions: Sequence[FileDecision],
    options: DecisionOptions,
    expected_decided: int | None = None,
) -> DecidedFile:
    """Make the decisions of a file.

    Raises Conflict where another number of rows than `expected_decided` can be decided by now.
    """
    decided = _prepare(desk, caller, decisions, options).decide(connection)
    if expected_decided not in (None, decided.n_decided):
        raise Conflict(
            f"{decided.n_decided} rows can be decided, not {expected_decided}",
            hint="Look again, then decide",
        )
    return decided


@dataclass(frozen=True)
class _Work:
    """The decisions of a file, and who makes them by action; an error where nobody may."""

    decisions: Sequence[FileDecision]
    deciders: Mapping[str, Decider | ShopwrightError]
    begins: Beginnings | None
    confirmed: bool

    def decide(self, connection: sa.Connection) -> DecidedFile:
        """Decide row by row; rows of the same action and reason are decided together."""
        errors = {one.row: one.problem for one in self.decisions}
        readable = [one for one in self.decisions if one.problem is None]
        lock(connection, "price_desk")
        if decider := next((d for d in self.deciders.values() if isinstance(d, Decider)), None):
            settle_due(connection, decider)
        known = Suggestions(connection).by_ids([one.suggestion_id for one in readable])
        before = {suggestion.id: suggestion for suggestion in known}
        prices: dict[int, int] = {}
        groups: dict[tuple[str, str | None], list[FileDecision]] = {}
        for one in readable:
            groups.setdefault((one.action, one.reason), []).append(one)
        for (action, reason), rows in groups.items():
            by = self.deciders[action]
            if isinstance(by, ShopwrightError):
                errors |= {one.row: by for one in rows}
                continue
            by = replace(by, reason=reason)
            if action == "edit":
                edited, refused = self._edit_group(connection, by, rows)
                prices |= edited
                errors |= refused
            else:
                errors |= self._decide_group(connection, by, action, rows)
        return DecidedFile(
            tuple(
                DecidedRow(one, before.get(one.suggestion_id), errors[one.row], prices.get(one.row))
                for one in self.decisions
            )
        )

    def _edit_group(
        self, connection: sa.Connection, decider: Decider, rows: Sequence[FileDecision]
    ) -> tuple[dict[int, int], dict[int, ShopwrightError]]:
        """Edit rows together; returns the prices that suggestions get, and why others get none."""
        # Rows that were decided before these may have superseded some.
        present = Suggestions(connection).by_ids([one.suggestion_id for one in rows])
        by_id = {suggestion.id: suggestion for suggestion in present}
        errors: dict[int, ShopwrightError] = {}
        edits: dict[int, tuple[Suggestion, PriceEdit]] = {}
        for one in rows:
            suggestion = by_id.get(one.suggestion_id)
            if suggestion is None:
                errors[one.row] = NotFound(f"no suggestion {one.suggestion_id!r}")
                continue
            try:
                price = parse_sheet_amount(one.price_text, suggestion.currency, one.decimal_mark)
                edits[one.row] = suggestion, PriceEdit(price, confirmed=self.confirmed)
            except ShopwrightError as error:
                errors[one.row] = error
        rows_by_id = {suggestion.id: row for row, (suggestion, _) in edits.items()}
        for refusal in edit_all(connection, decider, list(edits.values())):
            errors[rows_by_id[refusal.suggestion_id]] = refusal.error
        prices = {
            row: to_minor(change.price, suggestion.currency)
            for row, (suggestion, change) in edits.items()
            if row not in errors
        }
        return prices, errors

    def _decide_group(
        self, connection: sa.Connection, decider: Decider, action: str, rows: list[FileDecision]
    ) -> dict[int, ShopwrightError | None]:
        """Approve or reject rows together; returns the errors of those that are refused."""
        by_id = {one.suggestion_id: one.row for one in rows}
        begins = self.begins if action == "approve" else None
        # However they are grouped by their reasons: nobody looks at each price of a long file.
        many = sum(one.action == action for one in self.decisions) > 1
        try:
            result = decide_many(
                connection, decider, action, ids=list(by_id), begins=begins, many=many
            )
        except ShopwrightError as error:
            return {one.row: error for one in rows}
        return {by_id[refusal.suggestion_id]: refusal.error for refusal in result.refused}


def _prepare(
    desk: PriceDeskService,
    caller: Caller,
    decisions: Sequence[FileDecision],
    options: DecisionOptions,
) -> _Work:
    """Find out who decides, and when prices begin. Raises BadInput for no time."""
    deciders: dict[str, Decider | ShopwrightError] = {}
    for action in sorted({one.action for one in decisions if one.problem is None}):
        try:
            deciders[action] = desk.decider(caller, find_scope(action) or "", None)
        except ShopwrightError as error:
            deciders[action] = error
    begins = desk.read_beginning(options.effective_from)
    return _Work(decisions, deciders, begins, options.confirmed)
