"""`shopwright prices rules list|show|versions|try|save|restore|export`: rules as versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.errors import BadInput
from features.contracts.money import to_major
from features.contracts.pricing import DEFAULT_RULES
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
    replacing,
    steps,
)
from serving.cli.pricing import check_zone, load_pricing_inputs
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from serving.price_desk.rule_trial import RuleTrial
    from serving.pricing_rules.service import PricingRulesService

rules = typer.Typer(help="Pricing rules and their versions", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As `prices rules list` says")]
NumberOption = Annotated[
    int | None, typer.Option("--version", min=0, help="0: the file; the valid one if unset")
]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="A YAML file with all values of the rules")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A single value, max_change=0.05; repeatable")
]
CommentOption = Annotated[str, typer.Option(help="Why, for those who come later")]


@rules.command("list")
def list_rules(json: JsonOption = False) -> None:
    """List the rules of every name, and where they come from."""
    rule_sets = _open_service(Shop()).list_rules()
    if json:
        print_json({"items": [{"name": each.name, "number": each.number} for each in rule_sets]})
        return
    rows = [
        (
            each.name,
            f"version {each.version.number}" if each.version else "file",
            each.version.author if each.version else "",
            f"{each.version.created_at:%Y-%m-%d %H:%M}" if each.version else "",
            each.version.comment if each.version else "",
        )
        for each in rule_sets
    ]
    print_table("Pricing rules", ("name", "from", "author", "since", "why"), rows)


@rules.command()
def show(name: NameArgument, version: NumberOption = None, json: JsonOption = False) -> None:
    """Print the rules of a name, as a file of configs/pricing would hold them."""
    service = _open_service(Shop())
    if json:
        rule_set = service.read_set(name, version)
        print_json({"name": name, "number": rule_set.number, "values": rule_set.values})
    else:
        print_line(service.export_yaml(name, version).rstrip())


@rules.command()
def versions(name: NameArgument, json: JsonOption = False) -> None:
    """List every version of the rules of a name, and what it changed."""
    changes = _open_service(Shop()).list_versions(name)
    if json:
        print_json({"items": [asdict(change) for change in changes]})
        return
    if not changes:
        print_line(f"{name} has no version: its file is valid")
    for change in changes:
        made = change.version
        restored = "" if made.restored_from is None else f", restored from {made.restored_from}"
        print_line(
            f"Version {made.number} of {made.created_at:%Y-%m-%d %H:%M} by {made.author}"
            f"{restored}: {made.comment}"
        )
        for difference in change.differences:
            print_line(f"  {difference.path}: {difference.before} -> {difference.after}")


@rules.command("try")
def try_draft(
    name: NameArgument = DEFAULT_RULES,
    file: FileOption = None,
    values: SetOption = None,
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    json: JsonOption = False,
) -> None:
    """Show what other values would do to a zone, beside the rules of today; nothing is saved."""
    from serving.price_desk.rule_trial import try_rules
    from serving.pricing_rules.present_rules import build_rules

    shop = Shop()
    service = _open_service(shop)
    check_zone(shop, zone)
    draft = build_rules(name, _read_draft(service, name, file, values))
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress, strategy=name, opening=True)
        presets = service.read_present().load_presets(draft)
        trial = try_rules(inputs, zone, draft, presets)
        progress.done()
    if json:
        print_json(asdict(trial))
    else:
        _print_trial(trial)


@rules.command()
def save(
    name: NameArgument,
    comment: CommentOption,
    file: FileOption = None,
    values: SetOption = None,
) -> None:
    """Save a version, which is valid at once."""
    from features.database import transaction
    from serving.versioned_rules import NewVersion

    shop = Shop()
    service = _open_service(shop)
    present = service.read_present()
    based_on = present.versions[name].number if name in present.versions else 0
    new = NewVersion(name, _read_draft(service, name, file, values), comment, based_on)
    with transaction(shop.engine) as connection:
        version = service.save(connection, new, author=OPERATOR)
    print_line(f"{name} is at version {version.number}")


@rules.command()
def restore(
    name: NameArgument,
    comment: CommentOption,
    version: Annotated[int, typer.Option(min=0, help="0: the file")],
) -> None:
    """Make an earlier version valid again, as a new version."""
    from features.database import transaction

    shop = Shop()
    service = _open_service(shop)
    with transaction(shop.engine) as connection:
        restored = service.restore(connection, name, version, comment, author=OPERATOR)
    print_line(
        f"{name} is at version {restored.number}, with the values of {version or 'the file'}"
    )


@rules.command()
def export(
    name: NameArgument,
    out: Annotated[Path, typer.Option(help="The file to write, .yaml")],
    version: NumberOption = None,
) -> None:
    """Write the rules of a name as a file for SHOPWRIGHT_CONFIG_DIR/pricing."""
    text = _open_service(Shop()).export_yaml(name, version)
    with replacing(out) as path:
        path.write_text(text, encoding="utf-8")
    print_line(f"{out} holds {name}")


def _read_draft(
    service: PricingRulesService, name: str, file: Path | None, changes: list[str] | None
) -> Mapping[str, object]:
    """Return the values of a file, else those of today, with single values changed."""
    from configs.loading import change_values, parse_override, parse_yaml

    if file is None and not changes:
        raise BadInput("nothing would change", hint="Give --file FILE or --set key=value")
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput("the file cannot be read", where=str(file)) from error
        values: Mapping[str, object] = parse_yaml(text, where=str(file))
    else:
        values = service.read_set(name).values
    return change_values(values, dict(parse_override(change) for change in changes or ()))


def _print_trial(trial: RuleTrial) -> None:
    """Print both effects side by side, and the largest differences."""
    print_line(
        f"Of {trial.n_items:,} items in {trial.zone} the price of {trial.n_different:,} "
        "would be another one. Nothing is saved"
    )
    effects = (trial.present, trial.draft)
    rows = [
        ("changes", *(f"{effect.n_changes:,}" for effect in effects)),
        ("rises among them", *(f"{effect.n_rises:,}" for effect in effects)),
        ("units", *(f"{effect.units:+,.0f}" for effect in effects)),
        *(
            (
                f"{what} {trial.currency}",
                *(
                    to_major(round(getattr(effect, f"{what}_minor")), trial.currency)
                    for effect in effects
                ),
            )
            for what in ("revenue", "profit")
        ),
        *(
            (
                f"prices of today beyond: {rule}",
                *(f"{effect.forbidden.get(rule, 0):,}" for effect in effects),
            )
            for rule in sorted({*trial.present.forbidden, *trial.draft.forbidden})
        ),
        ("rules not kept", *(", ".join(effect.not_kept) or "none" for effect in effects)),
    ]
    print_table("Expected against keeping every price", ("", "today", "draft"), rows)
    moves = [
        (
            move.item_id,
            (move.title or "")[:32],
            *(
                to_major(minor, trial.currency)
                for minor in (move.current_minor, move.present_minor, move.draft_minor)
            ),
        )
        for move in trial.moves
    ]
    columns = ("item", "title", "now", "rules of today", "draft")
    print_table("The largest differences", columns, moves)


def _open_service(shop: Shop) -> PricingRulesService:
    from serving.pricing_rules.service import PricingRulesService

    return PricingRulesService(shop.settings, shop.engine, shop.system_clock)
