"""`shopwright keys create|list|revoke`: who may speak to the server, and about what."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop
from serving.keys.service import SCOPES, KeyService

app = typer.Typer(help="API keys and their scopes", no_args_is_help=True)


@app.command()
def create(
    scope: Annotated[str, typer.Option(help=f"One or more, comma-separated: {', '.join(SCOPES)}")],
    name: Annotated[str, typer.Option(help="Who will hold it")],
    json: JsonOption = False,
) -> None:
    """Make a key. It is shown this once; only its hash is kept."""
    made = _service(Shop()).create(
        name, [each.strip() for each in scope.split(",") if each.strip()]
    )
    if json:
        print_json({"key": made.key, "id": made.record.id, "scopes": list(made.record.scopes)})
    else:
        print_line(made.key)


@app.command("list")
def list_keys(json: JsonOption = False) -> None:
    """Every key, revoked ones too; never the key itself."""
    records = _service(Shop()).list_keys()
    if json:
        print_json({"items": [vars(record) for record in records]})
        return
    rows = [
        (r.id, r.name, f"{r.prefix}...", _said(r.scopes), "revoked" if r.revoked_at else "active")
        for r in records
    ]
    print_table("Keys", ("id", "name", "key", "scopes", ""), rows)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it")],
) -> None:
    """End a key. A running server stops believing it within seconds."""
    _service(Shop()).revoke(key_id)
    print_line(f"{key_id} is revoked")


def _said(scopes: Sequence[str]) -> str:
    return "all" if set(scopes) == set(SCOPES) else ", ".join(scopes)


def demo_key(shop: Shop) -> str:
    """The demo's key for everything, kept in the state folder for this user alone."""
    path: Path = shop.settings.home / "demo-key"
    if path.exists() and _service(shop).find_caller(key := path.read_text().strip()):
        return key
    made = _service(shop).create("demo", SCOPES)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(made.key + "\n")
    return made.key


def _service(shop: Shop) -> KeyService:
    return KeyService(shop.engine, shop.system_clock)
