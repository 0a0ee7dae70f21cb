"""`shopwright webhooks`: who is told of prices and decisions, and with which secret."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.output import JsonOption, print_json, print_line, print_remark, print_table
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from serving.webhooks.service import WebhookService

app = typer.Typer(help="Who is told of prices and decisions", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `webhooks list` shows it")]
_SHOWN = 1_000


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where messages are sent")],
    event: Annotated[
        list[str],
        typer.Option(
            help="price_changes, suggestions, promotions, stop_switch, batch_warnings; repeatable"
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Add a receiver of what happens from now on. The secret is shown this once."""
    from features.database import transaction

    shop = Shop()
    with transaction(shop.engine) as connection:
        webhook = _open_service(shop).add(connection, url, event, actor=OPERATOR)
    if json:
        print_json({"id": webhook.id, "events": list(webhook.events), "secret": webhook.secret})
        return
    # Only the secret on standard output: SECRET=$(shopwright webhooks add ...)
    print_remark(
        f"{webhook.id} is told of {', '.join(webhook.events)}; a running server begins now"
    )
    print_line(webhook.secret)


@app.command("list")
def list_webhooks(json: JsonOption = False) -> None:
    """List every receiver, what waits for it, and why it waits; never the secret."""
    states = _open_service(Shop()).list_webhooks()
    if json:
        items = [
            {
                "id": state.webhook.id,
                "url": state.webhook.url,
                "events": list(state.webhook.events),
                "waiting": state.n_waiting,
                "dead": state.n_dead,
                "error": state.current.error if state.current else None,
                "previous_until": _write_time(state.webhook.previous_until),
            }
            for state in states
        ]
        print_json({"items": items})
        return
    rows = [
        (
            state.webhook.id,
            state.webhook.url,
            ", ".join(state.webhook.events),
            state.n_waiting,
            state.n_dead,
            _write_time(state.webhook.previous_until) or "",
            (state.current.error if state.current else None) or "",
        )
        for state in states
    ]
    columns = ("id", "url", "events", "waiting", "dead", "old secret until", "problem")
    print_table("Webhooks", columns, rows)


@app.command()
def deliveries(
    webhook_id: IdArgument,
    status: Annotated[
        str | None, typer.Option(help="waiting, delivered or dead; all if unset")
    ] = None,
    after: Annotated[int, typer.Option(help="Only those after this number")] = 0,
    json: JsonOption = False,
) -> None:
    """List up to 1,000 messages to a receiver in the order of sending."""
    page = _open_service(Shop()).list_deliveries(webhook_id, status, after=after, limit=_SHOWN)
    if json:
        print_json({"items": [asdict(delivery) for delivery in page]})
        return
    rows = [
        (
            delivery.seq,
            delivery.id,
            f"{delivery.kind} {delivery.first_seq}-{delivery.last_seq}",
            delivery.status,
            delivery.attempts,
            delivery.error or "",
        )
        for delivery in page
    ]
    columns = ("number", "id", "rows", "status", "attempts", "problem")
    print_table(f"Messages to {webhook_id}", columns, rows)


@app.command()
def replay(
    webhook_id: IdArgument,
    delivery: Annotated[
        list[str] | None,
        typer.Option(help="A message to send again; repeatable; all dead if unset"),
    ] = None,
) -> None:
    """Send dead messages again, or single ones, in their old order."""
    from features.database import transaction

    shop = Shop()
    with transaction(shop.engine) as connection:
        count = _open_service(shop).replay(connection, webhook_id, delivery or None, actor=OPERATOR)
    print_line(f"{count:,} messages wait to be sent again")


@app.command()
def rotate(
    webhook_id: IdArgument,
    overlap_hours: Annotated[
        float,
        typer.Option(min=0, max=720, help="So long the old secret signs too; 0 ends it at once"),
    ] = 24,
    json: JsonOption = False,
) -> None:
    """Make a new secret, which is shown this once; for a while both sign every message."""
    from features.database import transaction

    shop = Shop()
    overlap = timedelta(hours=overlap_hours)
    with transaction(shop.engine) as connection:
        webhook = _open_service(shop).rotate(connection, webhook_id, overlap, actor=OPERATOR)
    until = _write_time(webhook.previous_until)
    if json:
        print_json({"id": webhook.id, "secret": webhook.secret, "previous_until": until})
        return
    print_remark(f"{webhook.id}: the old secret signs too until {until}")
    print_line(webhook.secret)


@app.command()
def remove(webhook_id: IdArgument) -> None:
    """Remove a receiver with all that waits for it."""
    from features.database import transaction

    shop = Shop()
    with transaction(shop.engine) as connection:
        webhook = _open_service(shop).remove(connection, webhook_id, actor=OPERATOR)
    print_line(f"{webhook.id} is removed; {webhook.url} is told nothing more")


def _write_time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def _open_service(shop: Shop) -> WebhookService:
    from serving.webhooks.service import WebhookService

    return WebhookService(shop.settings, shop.engine, shop.system_clock)
