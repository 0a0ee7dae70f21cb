"""The commands on rules as versions, the same for every kind of rules."""

# No postponed annotations: typer would look for the names of a function's own parameters among
# those of the module.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.contracts.errors import BadInput
from serving.cli.output import JsonOption, print_json, print_line, print_table, replacing
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from serving.versioned_rules import NamedRules, RuleChange, VersionedRules

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As `list` says")]
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
OpenRules = Callable[[Shop], "VersionedRules[Any]"]


def make_rules_app(title: str, open_rules: OpenRules) -> typer.Typer:
    """Return the commands list, show, versions, save, restore and export of one kind of rules.

    title        the name of the kind for people
    open_rules   returns the rules of a shop
    """
    rules = typer.Typer(help=f"{title} and their versions", no_args_is_help=True)

    @rules.command("list")
    def list_rules(json: JsonOption = False) -> None:
        """List the rules of every name, and where they come from."""
        rule_sets = open_rules(Shop()).list_rules()
        if json:
            print_json(
                {"items": [{"name": each.name, "number": each.number} for each in rule_sets]}
            )
            return
        _print_rules(title, rule_sets)

    @rules.command()
    def show(name: NameArgument, version: NumberOption = None, json: JsonOption = False) -> None:
        """Print the rules of a name, as its file would hold them."""
        service = open_rules(Shop())
        if json:
            rule_set = service.read_set(name, version)
            print_json({"name": name, "number": rule_set.number, "values": rule_set.values})
        else:
            print_line(service.export_yaml(name, version).rstrip())

    @rules.command()
    def versions(name: NameArgument, json: JsonOption = False) -> None:
        """List every version of the rules of a name, and what it changed."""
        changes = open_rules(Shop()).list_versions(name)
        if json:
            print_json({"items": [asdict(change) for change in changes]})
            return
        _print_changes(name, changes)

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
        service = open_rules(shop)
        present = service.read_present()
        based_on = present.versions[name].number if name in present.versions else 0
        draft = read_draft(lambda: service.read_set(name).values, file, values)
        new = NewVersion(name, draft, comment, based_on)
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
        service = open_rules(shop)
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
        """Write the rules of a name as a file for SHOPWRIGHT_CONFIG_DIR."""
        text = open_rules(Shop()).export_yaml(name, version)
        with replacing(out) as path:
            path.write_text(text, encoding="utf-8")
        print_line(f"{out} holds {name}")

    return rules


def _print_rules(title: str, rule_sets: "Sequence[NamedRules]") -> None:
    """Print where the rules of each name come from."""
    rows = [
        (
            rules.name,
            f"version {rules.version.number}" if rules.version else "file",
            rules.version.author if rules.version else "",
            f"{rules.version.created_at:%Y-%m-%d %H:%M}" if rules.version else "",
            rules.version.comment if rules.version else "",
        )
        for rules in rule_sets
    ]
    print_table(title, ("name", "from", "author", "since", "why"), rows)


def _print_changes(name: str, changes: "Sequence[RuleChange]") -> None:
    """Print the versions of a name, and what each changed."""
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


def read_draft(
    read_values: Callable[[], Mapping[str, object]], file: Path | None, changes: list[str] | None
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
        values = read_values()
    return change_values(values, dict(parse_override(change) for change in changes or ()))
