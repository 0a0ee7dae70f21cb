"""`shopwright models list|promote|rollback`: which version the server loads."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from models.registry import NAMES, Version
from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from serving.models.service import ModelService

app = typer.Typer(help="Registered model versions", no_args_is_help=True)


def no_champion(name: str) -> str:
    """What to try where no version of `name` is live."""
    return (
        f"Try: shopwright train {name}. A version that the gate refused stands in `shopwright models list {name}` "
        f"with the reason; `shopwright models promote {name} VERSION` makes it live all the same"
    )


NameArgument = Annotated[str, typer.Argument(help="recommendations, demand or pricing")]


@app.command("list")
def list_versions(
    name: Annotated[str | None, typer.Argument(help="One model only")] = None,
    json: JsonOption = False,
) -> None:
    """Versions, newest first, with their aliases and what was measured."""
    registry = Shop().registry
    versions = [
        version for each in ([name] if name else NAMES) for version in registry.versions(each)
    ]
    if json:
        print_json({"items": [asdict(version) for version in versions]})
        return
    rows = [
        (
            version.name,
            version.version,
            ", ".join(version.aliases) or "-",
            datetime.fromtimestamp(version.created_at_seconds, UTC).strftime("%Y-%m-%d %H:%M"),
            version.tags.get("metric", "-"),
            version.tags.get("primary", "-"),
            version.tags.get("verdict", "-"),
        )
        for version in versions
    ]
    print_table(
        "Models", ("name", "version", "alias", "created (UTC)", "metric", "value", "gate"), rows
    )


@app.command()
def promote(name: NameArgument, version: str, json: JsonOption = False) -> None:
    """Make VERSION the champion; running servers pick it up by themselves."""
    from features.database import transaction

    shop = Shop()
    with transaction(shop.engine) as connection:
        done = _service(shop).promote(connection, name, version, actor=OPERATOR)
    _say(done, json)


@app.command()
def rollback(name: NameArgument, json: JsonOption = False) -> None:
    """Make the previous champion the champion again."""
    from features.database import transaction

    shop = Shop()
    with transaction(shop.engine) as connection:
        done = _service(shop).rollback(connection, name, actor=OPERATOR)
    _say(done, json)


def _service(shop: Shop) -> ModelService:
    from serving.models.service import ModelService

    return ModelService(shop.registry, shop.system_clock)


def _say(version: Version, json: bool) -> None:
    if json:
        print_json(asdict(version))
    else:
        print_line(f"{version.name} {version.version} is champion")
