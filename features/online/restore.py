"""Writes the online rows of a version again, for a store that has lost them."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from configs.settings import Settings
from features.online.feast_definitions import USER_STATE, open_store, suppress_output
from features.online.snapshots import locate_store, lock_features, source_folder

_BATCH = 5_000


def write_user_states(settings: Settings, version: str) -> int:
    """Write the packed states of all users of a version to its online store; return how many.

    Raises Unavailable while a materialization or an erasure writes features.
    """
    store = open_store(locate_store(settings, version))
    n_rows = 0
    with lock_features(settings, wait_seconds=0):
        for path in sorted(Path(source_folder(settings, version, USER_STATE)).glob("*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(_BATCH):
                with suppress_output():
                    store.write_to_online_store(USER_STATE, batch.to_pandas())
                n_rows += batch.num_rows
    return n_rows
