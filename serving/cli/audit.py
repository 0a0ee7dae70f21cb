"""`shopwright audit list|export|verify`: who did what, for people and for auditors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput, Conflict
from serving.cli.output import JsonOption, print_json, print_line, print_table, replacing
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.audit.repository import AuditFilter
    from serving.audit.service import AuditService

app = typer.Typer(help="Who did what", no_args_is_help=True)

ItemOption = Annotated[str | None, typer.Option("--item", help="What concerns an item")]
WhoOption = Annotated[
    str | None, typer.Option("--who", help="Sign-in name, id of a key, rule:NAME, system, operator")
]
ActionOption = Annotated[str | None, typer.Option(help="Such as approve, rollback, save_rules")]
SubjectOption = Annotated[
    str | None, typer.Option(help="Id of what was acted on; of a suggestion with its rollbacks")
]
SinceOption = Annotated[str | None, typer.Option(help="System time, like 2026-01-31T00:00Z")]
UntilOption = Annotated[str | None, typer.Option(help="System time, not included")]


@app.command("list")
def list_actions(
    item: ItemOption = None,
    who: WhoOption = None,
    action: ActionOption = None,
    subject: SubjectOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    json: JsonOption = False,
) -> None:
    """List actions, the newest first."""
    from serving.audit.sheets import describe_actor

    which, service = _make_filter(item, who, action, subject, since, until), _open_service(Shop())
    records, total = service.read_newest(which, limit=limit).records, service.count(which)
    if json:
        items = [{**vars(record), "who": describe_actor(record)} for record in records]
        print_json({"items": items, "total": total})
        return
    rows = [
        (
            record.seq,
            f"{record.at:%Y-%m-%d %H:%M}",
            "" if record.business_at is None else f"{record.business_at:%Y-%m-%d %H:%M}",
            describe_actor(record),
            record.action,
            record.title or record.item_id or record.subject_id,
            str(record.details.get("reason") or ""),
        )
        for record in records
    ]
    title = (
        f"{len(rows):,} of {total:,} actions, the newest first. System time is when it was "
        "done, business time is the time of the shop's prices"
    )
    columns = ("number", "system time", "business time", "who", "action", "what", "reason")
    print_table(title, columns, rows)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="File to write, .csv or .xlsx; .jsonl proves itself")],
    item: ItemOption = None,
    who: WhoOption = None,
    action: ActionOption = None,
    subject: SubjectOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    json: JsonOption = False,
) -> None:
    """Write actions as a table for people, or the whole chain as lines of JSON."""
    from serving.spreadsheets import parse_format

    which, service = _make_filter(item, who, action, subject, since, until), _open_service(Shop())
    if out.suffix == ".jsonl":
        if any(value is not None for value in vars(which).values()):
            raise BadInput("a chain is exported as a whole, without filters", where=str(out))
        with replacing(out) as staging:
            count = service.write_chain(staging)
    else:
        sheet_format = parse_format(out)
        with replacing(out) as staging:
            count = service.write_sheet(which, staging, sheet_format)
    if json:
        print_json({"rows": count, "file": str(out)})
    else:
        print_line(f"{count:,} actions in {out}")


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Option(help="An exported .jsonl; the log of the shop if unset")
    ] = None,
    anchor: Annotated[
        str | None, typer.Option(help="NUMBER:HASH noted earlier: shows a chain that was cut off")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Walk the chain of hashes; fails where a row was changed, removed or added."""
    from serving.audit.chain_file import verify_chain_file
    from serving.database.audit_log import Head

    head = None
    if anchor is not None:
        number, _, digest = anchor.partition(":")
        if not number.isdigit() or not digest:
            raise BadInput(
                f"{anchor!r} is no anchor", hint="Write NUMBER:HASH, as verify prints it"
            )
        head = Head(int(number), digest)
    if file is None:
        found = _open_service(Shop()).verify(head)
    elif head is not None:
        raise BadInput("an anchor is for the log of the shop, not for a file")
    else:
        found = verify_chain_file(file)
    if json:
        print_json(
            {
                "intact": found.intact,
                "rows": found.rows,
                "broken_at": found.broken_at,
                "anchor": f"{found.head.seq}:{found.head.hash}",
            }
        )
    elif found.intact:
        print_line(
            f"The chain of {found.rows:,} actions is whole. Note its end elsewhere:\n"
            f"{found.head.seq}:{found.head.hash}"
        )
    if not found.intact:
        raise Conflict(
            f"the chain is broken at number {found.broken_at}",
            hint="A row was changed, removed or added outside of Shopwright; compare with a backup",
        )


def _make_filter(
    item: str | None,
    who: str | None,
    action: str | None,
    subject: str | None,
    since: str | None,
    until: str | None,
) -> AuditFilter:
    from serving.audit.repository import AuditFilter

    return AuditFilter(
        subject_id=subject,
        actor=who,
        action=action,
        item_id=item,
        since=None if since is None else parse_time(since, where="--since"),
        until=None if until is None else parse_time(until, where="--until"),
    )


def _open_service(shop: Shop) -> AuditService:
    from serving.audit.service import AuditService

    return AuditService(shop.engine)
