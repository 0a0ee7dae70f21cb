"""Sealing: old received events move from the database into Parquet segments.

No online read needs them any more. They leave the database after the manifest names their segment.
A crash between leaves them in both: readers count them once, and the next sealing removes them.
Readers look at the database first, so they always find them in at least one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.tables import EVENTS
from features.database import engine as open_engine
from features.database import give_way, has_table, reading, transaction
from features.database_tables import events
from features.facts.events import EventLog
from features.facts.facts import Facts
from features.facts.known_events import digest_ids, mark_known, read_digests
from features.online.snapshots import current_version, event_digests_file
from features.pipelines.feature_constants import VIEWED_DAYS

# A week more than the time that histories look back.
SEALED_AFTER = timedelta(days=VIEWED_DAYS + 7)

_PART = 5_000


def seal_events(facts: Facts, settings: Settings, now: datetime) -> int:
    """Seal the events older than SEALED_AFTER that the current features include; return how many.

    Purchases without a user stay: the history of a visitor needs them, and no materialized row
    has them.
    """
    version = current_version(settings)
    if version is None or (
        settings.database_url is None and not (settings.home / "shopwright.db").exists()
    ):
        return 0
    included = read_digests(event_digests_file(settings, version.name))
    before = min(version.as_of, now) - SEALED_AFTER
    n_sealed = 0
    database = open_engine(settings)
    try:
        if not has_table(database, events.name):
            return 0
        after = ""
        while True:
            with reading(database) as connection:
                rows = EventLog(connection).read_sealable(before, after)
            if not rows.num_rows:
                return n_sealed
            ids = rows["event_id"].to_pylist()
            after = ids[-1]
            known = mark_known(digest_ids(ids), included)
            rows = rows.filter(pa.array(known))
            if rows.num_rows:
                facts.add({EVENTS.name: rows})
                n_sealed += _remove_in_parts(database, rows["event_id"].to_pylist())
    finally:
        database.dispose()


def _remove_in_parts(database: sa.Engine, event_ids: list[str]) -> int:
    """Remove events in short transactions, so that senders of new ones never wait for long."""
    n_removed = 0
    for start in range(0, len(event_ids), _PART):
        if start:
            give_way(database)
        with transaction(database) as connection:
            n_removed += EventLog(connection).remove(event_ids[start : start + _PART])
    return n_removed
