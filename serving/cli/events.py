"""`shopwright events flagged`: whose events are kept and count for nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop
from serving.events.flagged import MAX_ACTORS, FlaggedEventsService

app = typer.Typer(help="Events that were received and imported", no_args_is_help=True)

_SENDER = "marked by the file or the sender"


@app.callback()
def events() -> None:
    """Events that were received and imported."""


@app.command()
def flagged(
    limit: Annotated[int, typer.Option(min=1, max=MAX_ACTORS, help="Actors of a page")] = 100,
    cursor: Annotated[str | None, typer.Option(help="The next_cursor of the page before")] = None,
    json: JsonOption = False,
) -> None:
    """List the users, visitors and sessions whose events are left out of all counts, and why."""
    shop = Shop()
    page = FlaggedEventsService(shop.settings, shop.engine).page(cursor, limit)
    if json:
        print_json(page.model_dump(mode="json"))
        return
    rows = [
        (
            actor.kind,
            actor.id,
            reason.events,
            reason.rule or _SENDER,
            reason.reason or "",
            actor.events,
            actor.first_at.isoformat(),
            actor.last_at.isoformat(),
        )
        for actor in page.items
        for reason in actor.reasons
    ]
    columns = ("kind", "id", "events", "rule", "reason", "of the actor", "first", "last")
    print_table("Whose events count for nothing", columns, rows)
    if page.next_cursor is not None:
        print_line(f"More: shopwright events flagged --cursor {page.next_cursor}")
