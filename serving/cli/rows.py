"""`shopwright rows`: events that count for nothing, and rows taken out."""

from __future__ import annotations

import json as json_module
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput
from features.contracts.texts import clean_text
from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from features.facts.exclusions import RowFilter

app = typer.Typer(help="Rows that count for nothing, and rows taken out", no_args_is_help=True)

ALL = "all"
Values = Annotated[
    list[str],
    typer.Argument(
        metavar="COLUMN=VALUE...",
        help='As order_id=17; in double quotes a value is JSON ("a\\u0000")',
    ),
]
Since = Annotated[str | None, typer.Option("--from", help="Occurred at or after this time")]
Until = Annotated[str | None, typer.Option("--to", help="Occurred before this time")]


@app.command()
def exclude(
    values: Values,
    since: Since = None,
    until: Until = None,
    reason: Annotated[str, typer.Option(help="Why, for the list and the audit log")] = "",
    json: JsonOption = False,
) -> None:
    """Keep the events with these values, stored and to come, and count them for nothing.

    They leave popularity, demand, price response, recommendations and experiments with the next
    training and materialization. `rows include` counts them again."""
    _decide(_parse_filter(values, since, until), reason, excluded=True, json=json)


@app.command()
def include(
    values: Values, since: Since = None, until: Until = None, json: JsonOption = False
) -> None:
    """Count events again that `rows exclude`, a file or a sender marked."""
    _decide(_parse_filter(values, since, until), "", excluded=False, json=json)


@app.command()
def excluded(json: JsonOption = False) -> None:
    """List the rules, and how many stored events are marked."""
    from features.contracts.tables import EXCLUSIONS

    shop = Shop()
    rows = shop.facts.read(EXCLUSIONS.name).order_by("decided_at").to_pyarrow().to_pylist()
    rules = [row for row in rows if row["excluded"]]
    events = shop.facts.read_all_events()
    n_marked = int(events.exclude.fill_null(False).sum().to_pyarrow().as_py() or 0)
    if json:
        names = ("rule", "reason", "decided_at")
        print_json(
            {"n_marked": n_marked, "rules": [{name: row[name] for name in names} for row in rules]}
        )
        return
    print_line(f"{n_marked:,} events are kept and count for nothing")
    columns = ("events", "reason", "since")
    table = [(row["rule"], row["reason"] or "", row["decided_at"].isoformat()) for row in rules]
    print_table("Rules", columns, table)


@app.command()
def remove(
    table: Annotated[str, typer.Argument(help=f"A table, or {ALL}: each with these columns")],
    values: Values,
    json: JsonOption = False,
) -> None:
    """Take the rows with these values out for good, of files and of HTTP alike.

    An import that still holds them brings them back. The price ledger keeps what was appended."""
    from features.contracts.errors import UnknownName
    from features.contracts.tables import EVENTS, TABLES
    from features.database import transaction
    from features.facts.events import EventLog

    shop, rows = Shop(), _parse_filter(values, None, None)
    if table not in (*TABLES, ALL):
        raise UnknownName(table, (*TABLES, ALL), kind="table")
    names = {name for name, _ in rows.equals}
    schemas = [
        schema
        for schema in TABLES.values()
        if schema.name == table
        or (table == ALL and names <= {column.name for column in schema.columns})
    ]
    for schema in schemas or TABLES.values():
        rows.check(schema)
    removed = {schema.name: shop.facts.rewrite(schema.name, rows, None) for schema in schemas}
    if EVENTS in schemas and not any("\x00" in value for _, value in rows.equals):
        with transaction(shop.engine) as connection:
            removed[EVENTS.name] += EventLog(connection).remove_matching(rows)
    _write_audit(shop, "remove", rows, {"removed": removed})
    if json:
        print_json({"removed": removed})
        return
    for name, count in removed.items():
        print_line(f"{name}: {count:,} rows removed")


def _decide(rows: RowFilter, reason: str, *, excluded: bool, json: bool) -> None:
    """Keep the rule, mark the stored events, and report how many changed."""
    import pyarrow as pa

    from features.contracts.tables import EVENTS, EXCLUSIONS
    from features.database import transaction
    from features.facts.events import EventLog

    shop = Shop()
    rows.check(EVENTS)
    rule = {
        "rule": rows.to_text(),
        "excluded": excluded,
        "decided_at": shop.now(),
        "reason": reason or None,
    }
    shop.facts.write({EXCLUSIONS.name: pa.Table.from_pylist([rule], EXCLUSIONS.arrow)})
    n_changed = shop.facts.rewrite(EVENTS.name, rows, "true" if excluded else "NULL::BOOLEAN")
    with transaction(shop.engine) as connection:
        n_changed += EventLog(connection).mark(rows, exclude=excluded)
    action = "exclude" if excluded else "include"
    _write_audit(shop, action, rows, {"n_events": n_changed, "reason": reason})
    if json:
        print_json({"rule": rule["rule"], "excluded": excluded, "n_events": n_changed})
        return
    state = "count for nothing now" if excluded else "count again"
    print_line(f"{n_changed:,} stored events {state}; rule: {rule['rule']}")
    print_line("Next: shopwright features materialize, and train what should forget or know them")


def _write_audit(shop: Shop, action: str, rows: RowFilter, details: dict[str, object]) -> None:
    from features.contracts.person_ids import ID_COLUMNS
    from features.database import transaction
    from features.facts.erased_ids import IdDigests
    from serving.database.audit_log import OPERATOR, AuditEntry, AuditLog

    # The log cannot be changed, so it names people by digests, which nobody has to erase.
    digests = IdDigests(shop.settings)
    equals = tuple(
        (name, digests.make(ID_COLUMNS[name], value) if name in ID_COLUMNS else value)
        for name, value in rows.equals
    )
    with transaction(shop.engine) as connection:
        subject = replace(rows, equals=equals).to_text()
        entry = AuditEntry(OPERATOR, action, "rows", subject, details)
        AuditLog(connection).append([entry], shop.system_clock.now())


def _parse_filter(values: list[str], since: str | None, until: str | None) -> RowFilter:
    """Return the filter that the arguments write."""
    from features.facts.exclusions import RowFilter

    equals = {}
    for given in values:
        name, found, text = given.partition("=")
        value = _parse_value(text)
        if not found or value is None:
            raise BadInput(f"{given!r} is no COLUMN=VALUE", hint="Write it like order_id=17")
        equals[name] = value
    return RowFilter(
        tuple(sorted(equals.items())),
        None if since is None else parse_time(since, where="--from"),
        None if until is None else parse_time(until, where="--to"),
    )


def _parse_value(text: str) -> str | None:
    if not text.startswith('"'):
        return clean_text(text)
    try:
        value = json_module.loads(text)
    except json_module.JSONDecodeError as error:
        raise BadInput(f"{text} is no text of JSON", hint='Write it like "a\\u0000b"') from error
    return value if isinstance(value, str) else None
