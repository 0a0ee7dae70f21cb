"""`shopwright keys create|list|revoke`: API keys and their scopes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from features.contracts.errors import BadInput
from serving.access import SCOPES
from serving.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_remark,
    print_table,
    write_secret,
)
from serving.cli.shop import Shop
from serving.keys.service import PUBLIC_SCOPE, KeyService

app = typer.Typer(help="API keys and their scopes", no_args_is_help=True)


@app.command()
def create(
    scope: Annotated[str, typer.Option(help=f"One or more, comma-separated: {', '.join(SCOPES)}")],
    name: Annotated[str, typer.Option(help="Who will hold it")],
    json: JsonOption = False,
) -> None:
    """Make a key. It is shown this once; only its hash is kept."""
    scopes = [text.strip() for text in scope.split(",") if text.strip()]
    if PUBLIC_SCOPE in scopes and len(set(scopes)) > 1:
        raise BadInput(
            f"everybody can read a key with the scope {PUBLIC_SCOPE}: it has no other scope",
            hint="Make two keys",
        )
    made = _key_service(Shop()).create(name, scopes)
    if json:
        print_json({"key": made.key, "id": made.record.id, "scopes": list(made.record.scopes)})
    else:
        # Only the key on standard output: KEY=$(shopwright keys create ...)
        scopes_text = ", ".join(made.record.scopes)
        print_remark(f"key {made.record.id} of {made.record.name} has the scopes {scopes_text}")
        print_line(made.key)


@app.command("list")
def list_keys(json: JsonOption = False) -> None:
    """List every key, revoked ones too; never the key itself."""
    records = _key_service(Shop()).list_keys()
    if json:
        print_json({"items": [vars(record) for record in records]})
        return
    rows = [
        (
            record.id,
            record.name,
            f"{record.prefix}...",
            _describe_scopes(record.scopes),
            f"{record.created_at:%Y-%m-%d}",
            f"revoked {record.revoked_at:%Y-%m-%d}" if record.revoked_at else "active",
        )
        for record in records
    ]
    print_table("Keys", ("id", "name", "key", "scopes", "created", ""), rows)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it")],
) -> None:
    """Revoke a key. A running server refuses it within seconds."""
    _key_service(Shop()).revoke(key_id)
    print_line(f"{key_id} is revoked")


def _describe_scopes(scopes: Sequence[str]) -> str:
    return "all" if set(scopes) == set(SCOPES) else ", ".join(scopes)


def read_demo_key(shop: Shop) -> str:
    """Return the demo's key for every scope, kept in the state folder for this user alone."""
    path: Path = shop.settings.home / "demo-key"
    if path.exists() and _key_service(shop).find_caller(key := path.read_text().strip()):
        return key
    made = _key_service(shop).create("demo", SCOPES)
    write_secret(path, made.key)
    return made.key


def _key_service(shop: Shop) -> KeyService:
    return KeyService(shop.engine, shop.system_clock)
