"""`shopwright models list|promote|rollback`: model versions and the one that is served."""

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
    from serving.models.service import ModelService, Promotion

app = typer.Typer(help="Registered model versions", no_args_is_help=True)


NameArgument = Annotated[str, typer.Argument(help="recommendations, demand or pricing")]


@app.command("list")
def list_versions(
    name: Annotated[str | None, typer.Argument(help="One model only")] = None,
    json: JsonOption = False,
) -> None:
    """List versions, newest first, with their aliases and metrics."""
    registry = Shop().registry
    names = [name] if name else NAMES
    versions = [version for model_name in names for version in registry.list_versions(model_name)]
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
    """Make VERSION the champion; running servers load it by themselves."""
    shop = Shop()
    _record(shop, _model_service(shop).promote(name, version), json)


@app.command()
def rollback(name: NameArgument, json: JsonOption = False) -> None:
    """Make the previous champion the champion again."""
    shop = Shop()
    _record(shop, _model_service(shop).rollback(name), json)


def _record(shop: Shop, promotion: Promotion, json: bool) -> None:
    _model_service(shop).write(promotion, actor=OPERATOR)
    _print_champion(promotion.champion, json)


def _model_service(shop: Shop) -> ModelService:
    from serving.models.service import ModelService

    return ModelService(shop.registry, shop.system_clock, shop.engine)


def _print_champion(version: Version, json: bool) -> None:
    if json:
        print_json(asdict(version))
    else:
        print_line(f"{version.name} {version.version} is champion")
