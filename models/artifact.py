"""Files of a fitted model: a folder with `model.json` and arrays in native formats, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from features.contracts.arrays import AnyArray
from features.contracts.errors import BadInput

_META = "model.json"


def write_meta(folder: Path, kind: str, meta: Mapping[str, object]) -> None:
    """Write `model.json`: the model's `kind` and what is small enough for JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"kind": kind, **meta}, indent=1, sort_keys=True, allow_nan=False)
    (folder / _META).write_text(text + "\n", encoding="utf-8")


def read_meta(folder: Path, *kinds: str) -> dict[str, Any]:
    """Read `model.json`. Raises BadInput for a folder without it, or with a model of none of
    `kinds`."""
    try:
        meta: dict[str, Any] = json.loads((folder / _META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            "no model here", where=str(folder), hint="Train one: shopwright train all"
        ) from error
    if meta.get("kind") not in kinds:
        expected = " or ".join(map(repr, kinds))
        raise BadInput(
            f"a {meta.get('kind')!r} model where {expected} was expected", where=str(folder)
        )
    return meta


def write_arrays(path: Path, **arrays: AnyArray) -> None:
    """Save arrays uncompressed; text is stored as UTF-8 bytes and their lengths, so that no pickle
    is needed."""
    plain: dict[str, AnyArray] = {}
    for name, array in arrays.items():
        if array.dtype == object or array.dtype.kind == "U":
            encoded = [str(value).encode() for value in array]
            plain[f"{name}.lengths"] = np.array([len(value) for value in encoded], np.int64)
            plain[f"{name}.text"] = np.frombuffer(b"".join(encoded), np.uint8)
        else:
            plain[name] = array
    np.savez(path, **plain)  # type: ignore[arg-type]


def write_matrix(path: Path, matrix: sparse.csr_matrix, **arrays: AnyArray) -> None:
    """Save a CSR matrix and arrays beside it, as `write_arrays` does."""
    write_arrays(path, data=matrix.data, indices=matrix.indices, indptr=matrix.indptr, **arrays)


def restore_matrix(arrays: Mapping[str, AnyArray], n_columns: int) -> sparse.csr_matrix:
    """Return the matrix among the arrays that `write_matrix` wrote."""
    parts = arrays["data"], arrays["indices"], arrays["indptr"]
    return sparse.csr_matrix(parts, shape=(len(arrays["indptr"]) - 1, n_columns))


def read_arrays(path: Path) -> dict[str, AnyArray]:
    """Load what `write_arrays` wrote; text is returned as an object array of str."""
    with np.load(path, allow_pickle=False) as stored:
        plain = {name: stored[name] for name in stored.files}
    arrays: dict[str, AnyArray] = {}
    for name, array in plain.items():
        if name.endswith(".lengths"):
            base = name.removesuffix(".lengths")
            ends = np.cumsum(array)
            text = plain[f"{base}.text"].tobytes()
            values = [
                text[end - length : end].decode() for length, end in zip(array, ends, strict=True)
            ]
            arrays[base] = np.array(values, object)
        elif not name.endswith(".text"):
            arrays[name] = array
    return arrays
