"""The verbs of `shopwright`, each loaded when it is used: `--help` imports none of them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import typer
import typer.main
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter


class Verb(NamedTuple):
    """Where a verb is written: a function or a group of verbs, and its line in `--help`."""

    module: str
    attribute: str
    summary: str


VERBS = {
    "demo": Verb("demo", "demo", "Import a year of a grocer's sales, train, suggest prices, serve"),
    "import": Verb("imports", "import_tables", "Load a folder of tables"),
    "features": Verb("features", "app", "Build, materialize and check features"),
    "train": Verb("train", "train", "Fit a model, evaluate it, register it, pass the gate"),
    "tune": Verb("tune", "tune", "Search the rankers' parameters"),
    "evaluate": Verb("evaluate", "evaluate", "Compare a model with its baselines"),
    "retrain": Verb("train", "retrain", "Features, training, gate, promotion: for cron"),
    "models": Verb("models", "app", "List, promote and roll back model versions"),
    "forecasts": Verb("forecasts", "app", "Export demand forecasts"),
    "prices": Verb("prices", "app", "Suggest, simulate and export prices"),
    "simulate": Verb("synthetic_shop", "simulate", "Write a simulated shop as tables"),
    "slates": Verb("slates", "app", "List, save and restore merchandising rules and placements"),
    "promotions": Verb("promotions", "app", "Simulate, suggest, file and list promotions"),
    "effects": Verb("effects", "list_effects", "Compare what price changes brought with forecasts"),
    "inventory": Verb("inventory", "inventory", "List what to order"),
    "recommend": Verb("recommend", "recommend", "Write slates of many users as files, for mail"),
    "closures": Verb("closures", "closures", "List closed days, and days that look like it"),
    "serve": Verb("serve", "serve", "Run the HTTP server"),
    "console": Verb("console", "console", "Run the web console of the shop's people"),
    "experiments": Verb("experiments", "app", "List, start, stop and report experiments"),
    "items": Verb("items", "app", "Take items off sale, and put them back"),
    "users": Verb("users", "app", "Create, list, change and disable the people who sign in"),
    "privacy": Verb("privacy", "app", "Export and erase what is kept of people; their consent"),
    "events": Verb("events", "app", "List whose events are left out of all counts"),
    "rows": Verb("rows", "app", "Leave events out of all counts, and take rows out"),
    "webhooks": Verb("webhooks", "app", "Tell other systems of prices and decisions"),
    "keys": Verb("keys", "app", "Create, list and revoke API keys"),
    "audit": Verb("audit", "app", "List, export and verify who did what"),
    "backup": Verb("backup", "backup", "Write the whole shop to a file"),
    "restore": Verb("backup", "restore", "Put a backup into an empty place"),
    "drill": Verb("backup", "drill", "Prove that a backup can be restored"),
    "doctor": Verb("doctor", "doctor", "List every setting, and check what the shop needs"),
}


class _LoadedVerbs(MutableMapping[str, "Command"]):
    """The commands by name, each made from its module when it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in VERBS:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = _load_command(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class VerbGroup(TyperGroup):
    """The group of all verbs. Its help shows their summaries and loads none."""

    def __init__(self, **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self.commands = _LoadedVerbs()

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        """Write the name and the summary of every verb."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])


def _load_command(name: str) -> Command:
    verb = VERBS[name]
    target = getattr(import_module(f"serving.cli.{verb.module}"), verb.attribute)
    holder = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    if isinstance(target, typer.Typer):
        holder.add_typer(target, name=name)
    else:
        holder.command(name)(target)
    return typer.main.get_group(holder).commands[name]
