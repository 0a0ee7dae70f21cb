"""YAML file + type -> value. The types live beside the classes they configure; YAML holds values,
never class paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from features.contracts.errors import BadInput, UnknownName

T = TypeVar("T")

SHIPPED = Path(__file__).parent


def load(
    name: str,
    kind: type[T],
    *,
    overlay: Path | None = None,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> T:
    """The value of type `kind` (a frozen dataclass) from `NAME.yaml`.

    `name` is relative to the shipped configs ("models/demand"). A file of the same name in
    `overlay`, then `file`, then `overrides` (dotted keys to values, "ranker.n_trees") each hold
    only differences. Unknown keys raise UnknownName.
    """
    paths = [folder / f"{name}.yaml" for folder in (SHIPPED, overlay) if folder is not None]
    found = [path for path in paths if path.exists()]
    if not found:
        raise BadInput(f"no config {name!r}", where=str(overlay or SHIPPED))
    values: dict[str, Any] = {}
    for path in [*found, *([file] if file else [])]:
        values = _merged(values, _read(path))
    for key, value in (overrides or {}).items():
        values = _merged(values, _nested(key, value))
    return build(values, kind, where=f"{name}.yaml")


def build(values: Mapping[str, Any], kind: type[T], *, where: str) -> T:
    """`values` as a `kind`, every key and type checked."""
    _refuse_unknown(values, kind, where)
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{key or 'value'}: {first['msg']}", where=where) from error


def names(folder: str, *, overlay: Path | None = None) -> list[str]:
    """Names of the configs in a folder of choices ("placements"), sorted."""
    found: set[str] = set()
    for root in (SHIPPED, overlay):
        if root is not None:
            found.update(path.stem for path in (root / folder).glob("*.yaml"))
    return sorted(found)


def parse_override(text: str) -> tuple[str, Any]:
    """`a.b=1` as a dotted key and a YAML value."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise BadInput(f"{text!r} is no setting", hint="Write --set key.sub=value")
    return key, yaml.safe_load(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise BadInput("no such file", where=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput("no valid YAML", where=str(path), hint=str(error)) from error
    if not isinstance(values, dict):
        raise BadInput("a config is a mapping of names to values", where=str(path))
    return values


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both else value
    return result


def _refuse_unknown(value: Any, kind: Any, where: str) -> None:
    """Walks `value` along the type `kind`: dataclasses, and lists, tuples, mappings and unions of
    them."""
    if is_dataclass(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind)
        known = {each.name: hints[each.name] for each in fields(kind)}
        for key, inner in value.items():
            if key not in known:
                raise UnknownName(str(key), known, kind="setting", where=where)
            _refuse_unknown(inner, known[key], f"{where}: {key}")
        return
    if (
        isinstance(value, Mapping)
        and isinstance(origin := get_origin(kind), type)
        and issubclass(origin, Mapping)
    ):
        for key, inner in value.items():
            _refuse_unknown(inner, get_args(kind)[-1], f"{where}: {key}")
        return
    for argument in get_args(kind):
        inner_values: Iterable[Any] = ()
        if isinstance(value, Mapping):
            inner_values = (value,) if is_dataclass(argument) else value.values()
        elif isinstance(value, list | tuple):
            inner_values = value
        for inner in inner_values:
            _refuse_unknown(inner, argument, where)
