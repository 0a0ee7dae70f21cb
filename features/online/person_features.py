"""The stored features of one user, to be shown to that person."""

from __future__ import annotations

import math

import pyarrow.parquet as pq

from configs.settings import Settings
from features.online.feast_definitions import STATE, TIMESTAMP
from features.online.snapshots import features_folder
from features.online.user_state import UserState


def read_user_features(settings: Settings, user_id: str) -> dict[str, list[dict[str, object]]]:
    """Return the rows of a user by view, of all stored versions; packed states are unpacked, and
    what is unknown is None."""
    features: dict[str, list[dict[str, object]]] = {}
    for path in sorted(features_folder(settings).glob("**/*.parquet")):
        if "user_id" not in pq.read_schema(path).names:
            continue
        for row in pq.read_table(path, filters=[("user_id", "==", user_id)]).to_pylist():
            if STATE in row:
                row[STATE] = _describe_state(UserState.unpack(row[STATE]))
            known = {name: _replace_nan(value) for name, value in row.items()}
            features.setdefault(path.parent.name, []).append(known)
    for rows in features.values():
        rows.sort(key=lambda row: str(row[TIMESTAMP]))
    return features


def _describe_state(state: UserState) -> dict[str, object]:
    """Return a state as plain values; amounts in minor units, times in seconds since 1970."""
    return {
        "items": list(state.items),
        "zones": list(state.zones),
        "lines": {name: _replace_nan(values.tolist()) for name, values in state.lines.items()},
        "viewed": dict(state.viewed),
        "actions": [action._asdict() for action in state.actions],
        "personalization_allowed": state.allowed,
    }


def _replace_nan(value: object) -> object:
    """Return a value, or a list of values, with None for NaN, which JSON does not know."""
    if isinstance(value, list):
        return [_replace_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
