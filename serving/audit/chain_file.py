"""The audit log as a file that proves itself: a line of JSON per row, each with its hashes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from features.contracts.errors import BadInput
from serving.audit.repository import Verification
from serving.database.audit_log import ORIGIN, Head, hash_row


def write_chain(rows: Iterable[Mapping[str, object]], path: Path) -> int:
    """Write rows as they are stored, and return how many; `details` stays the text it was."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            at = row["at"]
            assert isinstance(at, datetime)  # noqa: S101 (the column is a time)
            line = {**row, "at": at.isoformat(timespec="microseconds")}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    return count


def verify_chain_file(path: Path) -> Verification:
    """Walk the rows of a file, as `AuditRecords.verify` walks those of the database.

    Raises BadInput where the file cannot be read as such rows.
    """
    seq, previous = 0, ORIGIN
    for row, at in _read_rows(path):
        follows = row.get("seq") == seq + 1 and row.get("previous_hash") == previous
        if not follows or hash_row(row, at) != row.get("hash"):
            return Verification(seq, Head(seq, previous), seq + 1)
        seq, previous = seq + 1, str(row["hash"])
    return Verification(seq, Head(seq, previous), None)


def _read_rows(path: Path) -> Iterator[tuple[dict[str, object], datetime]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                yield row, datetime.fromisoformat(row["at"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "this is no exported audit log",
            where=str(path),
            hint="Write one: shopwright audit export --out audit.jsonl",
        ) from error
