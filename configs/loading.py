"""Configs: the values of YAML files as frozen types.

The types are defined beside the classes that they configure; YAML holds values, never class paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TypeVar, get_args, get_origin, get_type_hints

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
    overrides: Mapping[str, object] | None = None,
) -> T:
    """Return the value of type `kind` (a frozen dataclass) from `NAME.yaml`.

    `name` is relative to the shipped configs ("models/demand"). A file of the same name in
    `overlay`, then `file`, then `overrides` (dotted keys to values, "ranker.n_trees") each hold
    only differences. Unknown keys raise UnknownName.
    """
    paths = [folder / f"{name}.yaml" for folder in (SHIPPED, overlay) if folder is not None]
    existing = [path for path in paths if path.exists()]
    if not existing:
        raise BadInput(f"no config {name!r}", where=str(overlay or SHIPPED))
    values: dict[str, object] = {}
    for path in [*existing, *([file] if file else [])]:
        values = _merge(values, _read_values(path))
    for key, value in (overrides or {}).items():
        values = _merge(values, _nest_value(key, value))
    return build(values, kind, where=f"{name}.yaml")


def build(values: Mapping[str, object], kind: type[T], *, where: str) -> T:
    """Return `values` as a `kind`, every key and type checked."""
    _refuse_unknown(values, kind, where)
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{key or 'value'}: {first['msg']}", where=where) from error


def list_configs(folder: str, *, overlay: Path | None = None) -> list[str]:
    """Return the names of the configs in a folder of choices ("placements"), sorted."""
    names: set[str] = set()
    for root in (SHIPPED, overlay):
        if root is not None:
            names.update(path.stem for path in (root / folder).glob("*.yaml"))
    return sorted(names)


def parse_override(text: str) -> tuple[str, object]:
    """Return `a.b=1` as a dotted key and a YAML value."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise BadInput(f"{text!r} is no setting", hint="Write --set key.sub=value")
    return key, yaml.safe_load(value)


def _read_values(path: Path) -> dict[str, object]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise BadInput("no such file", where=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput("no valid YAML", where=str(path), hint=str(error)) from error
    if not isinstance(values, dict):
        raise BadInput("a config is a mapping of names to values", where=str(path))
    return values


def _nest_value(key: str, value: object) -> dict[str, object]:
    """Return the dotted key as nested mappings."""
    first, _, rest = key.partition(".")
    return {first: _nest_value(rest, value) if rest else value}


def _merge(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """Return `base` with the values of `over`, mappings merged key by key."""
    result = dict(base)
    for key, value in over.items():
        former = result.get(key)
        if isinstance(value, Mapping) and isinstance(former, Mapping):
            result[key] = _merge(former, value)
        else:
            result[key] = value
    return result


def _refuse_unknown(value: object, kind: object, where: str) -> None:
    """Raise UnknownName for a key of `value` that the type `kind` does not have.

    `kind` may hold dataclasses, and lists, tuples, mappings and unions of them.
    """
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind)
        known = {field.name: hints[field.name] for field in fields(kind)}
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
        inner_values: Iterable[object] = ()
        if isinstance(value, Mapping):
            inner_values = (value,) if is_dataclass(argument) else value.values()
        elif isinstance(value, list | tuple):
            inner_values = value
        for inner in inner_values:
            _refuse_unknown(inner, argument, where)
