"""What a reason of the quarantine means for the file: an example from it, and what to write."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from features.contracts.tables import EventType

_MAX_SHOWN = 60
# By a part of the reason, the first that fits.
_ADVICE = {
    "is no time": "Write times as 2024-05-01T10:00:00Z or with an offset (+02:00), days as "
    "2024-05-01.",
    "is no amount of money": "Write amounts as 1234.56: a point, and no other signs.",
    "is no number": "Write numbers as 1234.56: a point, and no other signs.",
    "is no whole number": "Write whole numbers with digits only.",
    "is no true or false": "Write true or false.",
    "event_type is unknown": f"The types are {', '.join(EventType)}.",
    "quantity is": "What came back is an event of the type refund, with the quantity "
    "that came back.",
    "line_amount is below 0": "What was paid back is an event of the type refund, with the amount "
    "as a positive number.",
    "encoding": "Save the file as UTF-8.",
    "columns": "Give every line as many values as there are names; values with a comma, a quote or "
    "a line end stand in double quotes.",
    "is missing": "Fill it in every row: lines of one order repeat what they share.",
}


@dataclass(frozen=True)
class BadValue:
    """A row that is bad for a reason: its number in the file, and the value that is meant.

    value   cut; None where the reason is not about one value
    """

    row: int
    value: str | None

    def __str__(self) -> str:
        return f"row {self.row:,}" + ("" if self.value is None else f" has {self.value!r}")


def find_examples(bad: pa.Table, columns: Collection[str]) -> dict[str, BadValue]:
    """Return the first row of each reason; `bad` as in the quarantine."""
    examples: dict[str, BadValue] = {}
    seen = set()
    for position, reasons in enumerate(bad["reasons"].to_pylist()):
        if reasons in seen:
            continue
        seen.add(reasons)
        for reason in reasons.split("; "):
            if reason not in examples:
                raw = json.loads(bad["raw"][position].as_py())
                column = reason.split(" ")[0]
                value = raw.get(column) if column in columns else None
                shown = None if value is None else value[:_MAX_SHOWN]
                examples[reason] = BadValue(bad["row"][position].as_py(), shown)
    return examples


def advise(reason: str) -> str | None:
    """Return what to write instead, None where the reason says it.

    >>> advise("the line has invalid encoding")
    'Save the file as UTF-8.'
    """
    return next((advice for part, advice in _ADVICE.items() if part in reason), None)
