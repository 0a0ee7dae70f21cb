"""Sealing: received events that no online read asks for any more move from the database into
Parquet segments.

They leave the database after the manifest names their segment. Whoever dies between leaves them in
both, which readers count once and the next sealing tidies up; readers look at the database first,
so they never find them in neither.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from configs.settings import Settings
from features.contracts.tables import EVENTS
from features.database import engine as open_engine
from features.database import events, has_table, reading, transaction
from features.facts.events import EventLog
from features.facts.known_events import digest_ids, mark_known, read_digests
from features.online.snapshots import current_version, included_file
from features.pipelines.rules import VIEWED_DAYS

# A week beyond what histories look back to.
SEALED_AFTER = timedelta(days=VIEWED_DAYS + 7)


def seal(facts: Any, settings: Settings, now: datetime) -> int:
    """Seals what the current version of the features knows and is older than SEALED_AFTER; returns
    how many left SQL.

    Purchases without a user stay: a visitor is known by them, and they stand in no materialized
    row.
    """
    version = current_version(settings)
    if version is None or (
        settings.database_url is None and not (settings.home / "shopwright.db").exists()
    ):
        return 0
    included = read_digests(included_file(settings, version.name))
    before = min(version.as_of, now) - SEALED_AFTER
    n_sealed = 0
    opened = open_engine(settings)
    try:
        if not has_table(opened, events.name):
            return 0
        after = ""
        while True:
            with reading(opened) as connection:
                rows = EventLog(connection).settled(before, after)
            if not rows.num_rows:
                return n_sealed
            ids = rows["event_id"].to_pylist()
            after = ids[-1]
            known = mark_known(digest_ids(ids), included)
            rows = rows.filter(pa.array(known))
            if rows.num_rows:
                facts.add({EVENTS.name: rows})
                with transaction(opened) as connection:
                    n_sealed += EventLog(connection).remove(rows["event_id"].to_pylist())
    finally:
        opened.dispose()
