"""The price ledger as a table, for pipelines and trainings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.tables import PRICE_HISTORY, TIMESTAMP
from features.database import reading_stored
from features.database_tables import price_ledger
from features.prices.ledger import DECIDED, FETCHED_ROWS, PriceSource

_ARROW = pa.schema(
    [
        *PRICE_HISTORY.arrow,
        pa.field("seq", pa.int64()),
        pa.field("price_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("recorded_at", TIMESTAMP),
    ]
)


def read_known_prices(settings: Settings, at: datetime | None = None) -> pa.Table | None:
    """Return the prices of the ledger that were not observed in sales, each key once.

    In the stored schema of PRICE_HISTORY. With `at` (business time), without the decisions (desk
    and rollback) recorded from then on, which were not known yet. None when the database has no
    ledger yet.
    """
    with reading_stored(settings, price_ledger) as connection:
        if connection is None:
            return None
        sources = [source for source in PriceSource if source is not PriceSource.OBSERVED]
        rows = read_ledger_table(connection, sources)
    if at is not None:
        decided = pc.is_in(rows["source"], value_set=pa.array([str(source) for source in DECIDED]))
        rows = rows.filter(
            pc.or_(pc.invert(decided), pc.less(rows["recorded_at"], pa.scalar(at, TIMESTAMP)))
        )
    # Of the rows that begin together the one appended last is valid.
    last = rows.group_by(PRICE_HISTORY.key).aggregate([("seq", "max")])["seq_max"]
    latest = rows.filter(pc.is_in(rows["seq"], value_set=last.combine_chunks()))
    return latest.select(PRICE_HISTORY.arrow.names)


def read_ledger_table(
    connection: sa.Connection, sources: Iterable[PriceSource] = tuple(PriceSource)
) -> pa.Table:
    """Return the ledger by seq, in the schema of PRICE_HISTORY and seq, price_id, source,
    recorded_at.

    Leave OBSERVED out where demand is learnt: those prices were derived from sales.
    """
    columns = [name for name in _ARROW.names if name != "attributes"]
    query = (
        sa.select(*(price_ledger.c[name] for name in columns))
        .where(price_ledger.c.source.in_([str(source) for source in sources]))
        .order_by(price_ledger.c.seq)
    )
    result = connection.execute(query.execution_options(stream_results=True))
    batches = [_build_batch(columns, rows) for rows in result.partitions(FETCHED_ROWS)]
    return pa.Table.from_batches(batches, _ARROW)


def _build_batch(columns: Sequence[str], rows: Iterable[sa.Row]) -> pa.RecordBatch:
    values = dict(zip(columns, zip(*rows, strict=True), strict=True))
    length = len(next(iter(values.values())))
    arrays = [
        pa.array(values[field.name], field.type)
        if field.name in values
        else pa.nulls(length, field.type)
        for field in _ARROW
    ]
    return pa.record_batch(arrays, schema=_ARROW)
