"""The stored features of one user, to be shown to that person."""

from __future__ import annotations

import pyarrow.parquet as pq

from configs.settings import Settings
from features.online.feast_definitions import STATE, TIMESTAMP
from features.online.snapshots import features_folder
from features.online.user_state import UserState


def read_user_features(settings: Settings, user_id: str) -> dict[str, list[dict[str, object]]]:
    """Return the rows of a user by view, of all stored versions; packed states are unpacked."""
    features: dict[str, list[dict[str, object]]] = {}
    for path in sorted(features_folder(settings).glob("**/*.parquet")):
        if "user_id" not in pq.read_schema(path).names:
            continue
        for row in pq.read_table(path, filters=[("user_id", "==", user_id)]).to_pylist():
            if STATE in row:
                row[STATE] = _describe_state(UserState.unpack(row[STATE]))
            features.setdefault(path.parent.name, []).append(row)
    for rows in features.values():
        rows.sort(key=lambda row: str(row[TIMESTAMP]))
    return features


def _describe_state(state: UserState) -> dict[str, object]:
    """Return a state as plain values; amounts in minor units, times in seconds since 1970."""
    return {
        "items": list(state.items),
        "zones": list(state.zones),
        "lines": {name: values.tolist() for name, values in state.lines.items()},
        "viewed": dict(state.viewed),
        "actions": [action._asdict() for action in state.actions],
        "personalization_allowed": state.allowed,
    }
