"""Amounts of an import that contradict each other: they are kept, and the report says so.

Two columns say what a line cost, and three tables what an item costs. Where they disagree one of
them has another unit, mostly: cents for euros, or the price of one piece for that of the line.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from configs.settings import Settings
from features.contracts.tables import COSTS, DEFAULT_ZONE, EVENTS, ITEMS, PRICE_HISTORY, EventType
from features.contracts.texts import sql_literal
from features.sources.duckdb_sessions import open_duck
from features.sources.report import FactStore, ImportReport

_SAME = 0.01  # a share by which a line may differ from its price per unit times its units
_USUAL_RATIO = 5.0  # what people pay lies at most so many times below or above the list price
_MIN_ROWS = 20  # fewer purchases of a zone, or costs, say nothing of a unit

_PURCHASE = f"event_type = {sql_literal(EventType.PURCHASE)}"
# The zones' list prices: of the price list, else of the catalogue, which is in the currency of the
# default zone.
_LIST_PRICES = f"""
    SELECT item_id, zone, median(list_price_minor) AS list_price_minor
    FROM price_history GROUP BY item_id, zone
    UNION ALL
    SELECT item_id, {sql_literal(DEFAULT_ZONE)}, list_price_minor FROM items
    WHERE list_price_minor IS NOT NULL AND item_id NOT IN (
        SELECT item_id FROM price_history WHERE zone = {sql_literal(DEFAULT_ZONE)})
"""
_COLUMNS = {
    ITEMS.name: ["item_id", "list_price_minor", "unit_cost_minor"],
    PRICE_HISTORY.name: ["item_id", "zone", "list_price_minor"],
}


def report_doubtful_amounts(
    tables: Mapping[str, pa.Table], facts: FactStore, report: ImportReport, settings: Settings
) -> None:
    """Count contradicting amounts of the tables of an import, also with those imported before."""
    with open_duck(settings.home / "spill") as duck:
        for name, columns in _COLUMNS.items():
            known = facts.read_columns(name, columns)
            if name in tables:
                known = pa.concat_tables([known, tables[name].select(columns).cast(known.schema)])
            duck.register(name, known)
        duck.execute(f"CREATE TEMP TABLE listed AS {_LIST_PRICES}")
        if EVENTS.name in tables:
            _report_events(duck, tables[EVENTS.name], report)
        if COSTS.name in tables:
            _report_costs(duck, tables[COSTS.name], report, COSTS.name)
        elif ITEMS.name in tables:
            rows = tables[ITEMS.name].select(["item_id", "unit_cost_minor"])
            zones = pa.array([DEFAULT_ZONE] * rows.num_rows, pa.string())
            _report_costs(duck, rows.append_column("zone", zones), report, ITEMS.name)


def _report_events(duck: duckdb.DuckDBPyConnection, events: pa.Table, report: ImportReport) -> None:
    table = report.tables[EVENTS.name]
    duck.register("events", events)
    # Half a minor unit is lost by rounding a line, and another by rounding a price per unit.
    difference = "abs(line_amount_minor - unit_price_minor * quantity)"
    allowed = f"greatest({_SAME} * line_amount_minor, 0.5 + 0.5 * quantity)"
    counts = duck.sql(
        f"SELECT count(*) FILTER ({difference} > {allowed}), "
        f"count(*) FILTER ({_PURCHASE} AND line_amount_minor IS NULL) FROM events"
    ).fetchone()
    if counts:
        table.n_contradicting, table.n_without_amount = map(int, counts)
    ratios = duck.sql(
        "SELECT zone, median(e.unit_price_minor / l.list_price_minor) AS ratio "
        "FROM events e JOIN listed l USING (item_id, zone) "
        f"WHERE {_PURCHASE} AND e.unit_price_minor > 0 AND l.list_price_minor > 0 "
        f"GROUP BY zone HAVING count(*) >= {_MIN_ROWS} "
        f"AND ratio NOT BETWEEN {1 / _USUAL_RATIO} AND {_USUAL_RATIO} ORDER BY zone"
    ).fetchall()
    table.paid_to_list = {str(zone): float(ratio) for zone, ratio in ratios}


def _report_costs(
    duck: duckdb.DuckDBPyConnection, costs: pa.Table, report: ImportReport, name: str
) -> None:
    """Count the items whose cost is above their list price, where these are most of a zone."""
    duck.register("costs", costs)
    rows = duck.sql(
        "SELECT zone, count(DISTINCT item_id) FILTER (c.unit_cost_minor > l.list_price_minor) AS n "
        "FROM costs c JOIN listed l USING (item_id, zone) WHERE l.list_price_minor > 0 "
        f"GROUP BY zone HAVING count(DISTINCT item_id) >= {_MIN_ROWS} "
        "AND n > count(DISTINCT item_id) / 2 ORDER BY zone"
    ).fetchall()
    report.tables[name].cost_above_price = {str(zone): int(count) for zone, count in rows}
