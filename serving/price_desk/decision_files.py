"""Files of decisions that people filled in: approve, reject or another price, row by row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches

from features.contracts.errors import BadInput, ShopwrightError, UnknownName
from serving.sheet_reading import FilledSheet, SheetRow, clean_id, read_sheet

IDS = ("id", "suggestion_id")
DECISION, REASON = "decision", "reason"
# Names under which files have another price, the first one that is there.
PRICES = ("new_price", "price")
ACTIONS = ("approve", "reject", "edit")
MAX_DECISIONS = 10_000
_MAX_REASON = 2_000


@dataclass(frozen=True)
class FileDecision:
    """What a row decides about a suggestion.

    price_text, decimal_mark   another price as the file has it, and the mark of its country
    problem                    why the row cannot be read; None where it can
    """

    row: int
    suggestion_id: str
    action: str = ""
    reason: str | None = None
    price_text: str = ""
    decimal_mark: str | None = None
    problem: ShopwrightError | None = None


def read_decisions(content: bytes) -> list[FileDecision]:
    """Return the decisions of a file.

    Rows without a decision and without another price are left out, so that an exported queue may be
    filled in here and there. A row that cannot be read has its problem with it. Raises BadInput for
    a file that is none, lacks a column, decides nothing, or is too long.
    """
    sheet = read_sheet(content)
    id_column = _find_column(sheet, IDS)
    price_column = next((name for name in PRICES if name in sheet.columns), "")
    if not price_column:
        _find_column(sheet, (DECISION,))
    rows = [row for row in sheet.rows if row.cells.get(DECISION) or row.cells.get(price_column)]
    if not rows:
        raise BadInput(
            "no row decides anything",
            where=DECISION,
            hint=f"Write {', '.join(ACTIONS)} into it, save, send again",
        )
    if len(rows) > MAX_DECISIONS:
        raise BadInput(f"a file has at most {MAX_DECISIONS:,} decisions", hint="Split it")
    decisions = []
    first_rows: dict[str, int] = {}
    for row in rows:
        decision = _read_row(row, id_column, price_column, sheet.decimal_mark)
        first = first_rows.setdefault(decision.suggestion_id, decision.row)
        if first != decision.row and decision.problem is None:
            problem = BadInput(f"row {first} decides about the same suggestion")
            decision = replace(decision, problem=problem)
        decisions.append(decision)
    return decisions


def _find_column(sheet: FilledSheet, names: tuple[str, ...]) -> str:
    """Return the first of the columns that is there. Raises BadInput where none is."""
    for name in names:
        if name in sheet.columns:
            return name
    near = get_close_matches(names[0], sheet.columns, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"The columns are {', '.join(sheet.columns)}"
    raise BadInput(f"the column {names[0]} is missing", where="row 1", hint=hint)


def _read_row(
    row: SheetRow, id_column: str, price_column: str, decimal_mark: str | None
) -> FileDecision:
    price = row.cells.get(price_column, "")
    decision = FileDecision(
        row.number,
        row.cells.get(id_column, ""),
        reason=row.cells.get(REASON) or None,
        price_text=price,
        decimal_mark=decimal_mark,
    )
    try:
        suggestion_id = clean_id(decision.suggestion_id)
        if not suggestion_id:
            raise BadInput("the row names no suggestion", where=id_column)
        action = row.cells.get(DECISION, "").strip().lower() or "edit"
        if action not in ACTIONS:
            raise UnknownName(action, ACTIONS, kind="decision", where=DECISION)
        if action == "edit" and not price:
            raise BadInput("another price is missing", where=PRICES[0])
        if action != "edit" and price:
            raise BadInput(f"a row that says {action} has no other price", where=price_column)
        if decision.reason is not None and len(decision.reason) > _MAX_REASON:
            raise BadInput(f"a reason has {_MAX_REASON:,} characters at most", where=REASON)
        return replace(decision, suggestion_id=suggestion_id, action=action)
    except ShopwrightError as error:
        return replace(decision, problem=error)
