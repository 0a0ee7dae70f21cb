"""Files for spreadsheets: answers as files, in the format that a request wants, and bodies."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from fastapi import Query, Request
from fastapi.responses import StreamingResponse

from features.contracts.errors import BadInput
from serving.spreadsheets import MEDIA_TYPES, SheetFormat

Format = Annotated[
    Literal["json", "csv", "xlsx"] | None,
    Query(description="A file for spreadsheets with all rows; without it as Accept says"),
]
# For the description of a route that also answers with a file.
SHEETS: dict[int | str, dict[str, object]] = {
    200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}
}
# For the description of a route whose body is such a file.
SHEET_BODY: dict[str, object] = {
    "requestBody": {
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in MEDIA_TYPES.values()
        },
        "required": True,
    }
}
_JSON = "application/json"
_CHUNK_BYTES = 64 * 1024


def choose_format(
    request: Request, wanted: Literal["json", "csv", "xlsx"] | None, *paging: str
) -> SheetFormat | None:
    """Return the format of a file by `?format=`, else by `Accept`; None for JSON.

    Raises BadInput where a parameter of `paging` comes with a file, which holds all rows.
    """
    chosen = wanted or _read_accept(request.headers.get("accept", ""))
    if chosen == "json":
        return None
    for name in paging:
        if name in request.query_params:
            raise BadInput(f"a file holds all rows: {name} is for JSON", where=name)
    return chosen


def _read_accept(accept: str) -> Literal["json", "csv", "xlsx"]:
    """Return the first format that a caller accepts; JSON where it names none that we have."""
    accepted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    for media_type in accepted:
        for name, known in MEDIA_TYPES.items():
            if media_type == known:
                return name
        if media_type == _JSON:
            break
    return "json"


def send_sheet(
    write: Callable[[Path], int], name: str, sheet_format: SheetFormat
) -> StreamingResponse:
    """Write a file and return it as the answer.

    Only then does the answer begin, so what fails before is answered as an error. The file has no
    name any more while it is sent, so none is left where a caller goes away.
    """
    with tempfile.TemporaryDirectory(prefix="shopwright-") as folder:
        path = Path(folder) / f"{name}.{sheet_format}"
        write(path)
        n_bytes = path.stat().st_size
        file = path.open("rb")
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{sheet_format}"',
        "Content-Length": str(n_bytes),
    }
    return StreamingResponse(
        _read_chunks(file), headers=headers, media_type=MEDIA_TYPES[sheet_format]
    )


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
