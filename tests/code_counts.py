"""Counts of what makes code hard to read, over the six packages (tests excluded).

    python -m tests.code_counts [--list]

Prints one line a count: functions with more than six parameters, function names that are a bare
participle, `Any` in signatures, file names that stand in several folders. `--list` names each.
`tests/test_code_counts.py` keeps them within their limits.
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
_VERB_WORDS = "cut embed exceed feed left need proceed seed shed speed split spread"
VERBS = frozenset(_VERB_WORDS.split())
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Counts:
    """Where each kind occurs, as `file:line name`."""

    many_parameters: list[str] = field(default_factory=list)
    participle_names: list[str] = field(default_factory=list)
    any_in_signatures: list[str] = field(default_factory=list)
    repeated_stems: dict[str, list[str]] = field(default_factory=dict)


def source_files() -> list[Path]:
    """Return every Python file of the six packages, migrations left out."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in files if "migrations" not in path.parts]


def count_all() -> Counts:
    """Read every source file and count."""
    counts = Counts()
    stems: dict[str, list[str]] = defaultdict(list)
    for path in source_files():
        name = str(path.relative_to(ROOT))
        if path.stem != "__init__":
            stems[path.stem].append(name)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in _functions(tree):
            where = f"{name}:{function.lineno} {function.name}"
            exempt = name.startswith("serving/cli/") or _is_route(function)
            if not exempt and _n_parameters(function) > MAX_PARAMETERS:
                counts.many_parameters.append(f"{where} ({_n_parameters(function)})")
            if is_bare_participle(function.name) and not _is_property(function):
                counts.participle_names.append(where)
            counts.any_in_signatures += [where] * _n_any(function)
    counts.repeated_stems = {stem: files for stem, files in stems.items() if len(files) > 1}
    return counts


def is_bare_participle(name: str) -> bool:
    """Whether a function's name begins with a participle instead of a verb.

    >>> names = ("told", "_judged_days", "shrink_slopes", "embed")
    >>> [name for name in names if is_bare_participle(name)]
    ['told', '_judged_days']
    """
    first = re.split(r"_+", name.lstrip("_"))[0]
    if first in VERBS:
        return False
    return first in IRREGULAR or (first.endswith("ed") and len(first) > 3)


def _functions(tree: ast.Module) -> Iterator[FunctionNode]:
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            yield node


def _n_parameters(function: FunctionNode) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def _decorators(function: FunctionNode) -> list[str]:
    return [ast.unparse(decorator) for decorator in function.decorator_list]


def _is_route(function: FunctionNode) -> bool:
    return any(text.startswith("router.") for text in _decorators(function))


def _is_property(function: FunctionNode) -> bool:
    return any(text in ("property", "cached_property") for text in _decorators(function))


def _n_any(function: FunctionNode) -> int:
    arguments = function.args
    everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    everything += [more for more in (arguments.vararg, arguments.kwarg) if more is not None]
    annotations = [argument.annotation for argument in everything] + [function.returns]
    return sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for annotation in annotations
        if annotation is not None
        for node in ast.walk(annotation)
    )


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name each place")
    listed = parser.parse_args().list
    counts = count_all()
    for title, places in (
        (f"functions with more than {MAX_PARAMETERS} parameters", counts.many_parameters),
        ("function names that are a bare participle", counts.participle_names),
        ("Any in signatures", counts.any_in_signatures),
    ):
        print(f"{len(places):4d} {title}")
        if listed:
            print("\n".join(f"     {place}" for place in places))
    print(f"{len(counts.repeated_stems):4d} file names in more than one folder")
    for stem, files in sorted(counts.repeated_stems.items()):
        print(f"     {stem}: {', '.join(files)}")


if __name__ == "__main__":
    main()
