"""Counts of what makes code hard to read, over the six packages without tests and migrations.

    python -m tests.code_counts [--list]

Prints a line per count: functions with more than six parameters, function names that are a bare
participle, `Any` in signatures, and file names that repeat in several folders without a reason.
`--list` prints where. `tests/test_code_counts.py` checks the limits.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "features", "models", "training", "experiments", "serving")
MAX_PARAMETERS = 6

# First words of a name that are participles without the ending -ed.
_IRREGULAR_WORDS = (
    "bent bound bought built caught chosen cut drawn driven fallen felt foretold forgotten found "
    "given gone grown heard held hidden kept known laid left lent lost made meant met paid proven "
    "risen said seen sent shown shrunk sold sorted sought spent split spread stood sunk swept "
    "taken taught thought thrown told torn undone won worn woven written"
)
IRREGULAR = frozenset(_IRREGULAR_WORDS.split())
# Verbs whose base form looks like a participle, and nouns that end in -ed.
_VERB_WORDS = "cut embed exceed feed left need proceed seed shed speed split spread succeed"
VERBS = frozenset(_VERB_WORDS.split())
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

# Names of roles: the folder names the subject, so the same role repeats in every subject.
_ROLE_WORDS = (
    "api service repository documents task config panel baselines metrics evaluate plots tables "
    "report model actions decisions lifecycle"
)
ROLES = frozenset(_ROLE_WORDS.split())
# One file per verb of the command line, named after the verb, and one per page of the console.
VERB_FOLDER = "serving/cli/"
PAGE_FOLDER = "serving/console/pages/"
# Every other repeated file name, and how the folders tell its meanings apart.
REPEATED_NAMES = {
    "app": "serving: the HTTP server; console: the console, a process of its own",
    "aggregates": "models: quantiles of sums over items; training: the sums of a backtest",
    "buy_again": "retrieval: the fitted model; scorers: the placement's scorer",
    "catalogue": "ranking: items by position; simulator: the items of the simulated shop",
    "controls": "response: control variables; price_desk: the stop switch and auto-approval",
    "daily": "models: forecasts by day; training: their data and evaluation",
    "demand": "pipelines: weekly demand from events; simulator: the true demand",
    "errors": "contracts: the error types; http: their answers",
    "histories": "contracts: the type; online: how it is computed",
    "new_items": "models: forecasts of new items; training: their evaluation",
    "parameters": "simulator: of the simulated shop; http: of a request",
    "pricing": "contracts: the types; pipelines: the expressions",
    "sheets": "http: the answer as a file; price_desk, prices: the table in it",
    "texts": "contracts: how texts are cleaned; console: its words in each language",
    "snapshots": "online: versions of the features; training: what is known at a cut",
}


@dataclass
class Counts:
    """Where each kind occurs, as `file:line name`."""

    many_parameters: list[str] = field(default_factory=list)
    participle_names: list[str] = field(default_factory=list)
    any_in_signatures: list[str] = field(default_factory=list)
    repeated_names: dict[str, list[str]] = field(default_factory=dict)

    @property
    def unexplained_names(self) -> dict[str, list[str]]:
        """File names that repeat, are no role, and have no entry in `REPEATED_NAMES`."""
        return {
            stem: files
            for stem, files in self.repeated_names.items()
            if stem not in ROLES and stem not in REPEATED_NAMES
        }


def list_source_files() -> list[Path]:
    """Return every Python file of the six packages, migrations left out."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in files if "migrations" not in path.parts]


def count_all() -> Counts:
    """Read every source file and count."""
    counts = Counts()
    files_by_stem: dict[str, list[str]] = defaultdict(list)
    for path in list_source_files():
        file = str(path.relative_to(ROOT))
        if path.stem != "__init__" and not file.startswith((VERB_FOLDER, PAGE_FOLDER)):
            files_by_stem[path.stem].append(file)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in _iterate_functions(tree):
            _count_function(counts, file, function)
    counts.repeated_names = {stem: files for stem, files in files_by_stem.items() if len(files) > 1}
    return counts


def is_bare_participle(name: str) -> bool:
    """Return whether a function's name begins with a participle instead of a verb.

    >>> names = ("told", "_judged_days", "shrink_slopes", "embed")
    >>> [name for name in names if is_bare_participle(name)]
    ['told', '_judged_days']
    """
    first = re.split(r"_+", name.lstrip("_"))[0]
    if first in VERBS:
        return False
    return first in IRREGULAR or (first.endswith("ed") and len(first) > 3)


def _count_function(counts: Counts, file: str, function: FunctionNode) -> None:
    position = f"{file}:{function.lineno} {function.name}"
    exempt = file.startswith(VERB_FOLDER) or _is_route(function)
    n_parameters = _count_parameters(function)
    if n_parameters > MAX_PARAMETERS and not exempt:
        counts.many_parameters.append(f"{position} ({n_parameters})")
    if is_bare_participle(function.name) and not _is_property(function):
        counts.participle_names.append(position)
    counts.any_in_signatures += [position] * _count_any(function)


def _iterate_functions(tree: ast.Module) -> Iterator[FunctionNode]:
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            yield node


def _count_parameters(function: FunctionNode) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def _list_decorators(function: FunctionNode) -> list[str]:
    return [ast.unparse(decorator) for decorator in function.decorator_list]


def _is_route(function: FunctionNode) -> bool:
    return any(text.startswith("router.") for text in _list_decorators(function))


def _is_property(function: FunctionNode) -> bool:
    return any(text in ("property", "cached_property") for text in _list_decorators(function))


def _count_any(function: FunctionNode) -> int:
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    parameters += [
        parameter for parameter in (arguments.vararg, arguments.kwarg) if parameter is not None
    ]
    annotations = [parameter.annotation for parameter in parameters] + [function.returns]
    return sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for annotation in annotations
        if annotation is not None
        for node in ast.walk(annotation)
    )


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="print where each count occurs")
    print_positions = parser.parse_args().list
    counts = count_all()
    unexplained = [
        f"{stem}: {', '.join(files)}" for stem, files in sorted(counts.unexplained_names.items())
    ]
    for title, positions in (
        (f"functions with more than {MAX_PARAMETERS} parameters", counts.many_parameters),
        ("function names that are a bare participle", counts.participle_names),
        ("Any in signatures", counts.any_in_signatures),
        ("file names that repeat without a reason", unexplained),
    ):
        print(f"{len(positions):4d} {title}")
        if print_positions:
            print("".join(f"     {position}\n" for position in positions), end="")
    if print_positions:
        print(f"{len(counts.repeated_names):4d} file names in several folders")
        for stem, files in sorted(counts.repeated_names.items()):
            print(f"     {stem} ({REPEATED_NAMES.get(stem, 'a role')}): {', '.join(files)}")


if __name__ == "__main__":
    main()
