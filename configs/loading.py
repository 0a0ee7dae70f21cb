"""Configs: the values of YAML files as frozen types.

The types are defined beside the classes that they configure; YAML holds values, never class paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from features.contracts.errors import BadInput, UnknownName
from features.contracts.numbers import parse_decimal

T = TypeVar("T")
# What checks the values of a type: to make it takes longer than to use it.
_find_validator: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)

SHIPPED = Path(__file__).parent


class _Loader(yaml.SafeLoader):
    """YAML with the numbers of files and HTTP: `12_0`, `1:30`, `0x1F` and `.inf` are none."""

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Return the number. Raises ConstructorError for a text that is none."""
        number = parse_decimal(node.value)
        if number is None:
            message = f"{node.value!r} is no number; a text stands in quotes"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
        return float(number) if node.tag.endswith("float") else int(number)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


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
    values = read_values(name, overlay=overlay)
    if file is not None:
        values = _merge(values, _read_values(file))
    return build(change_values(values, overrides or {}), kind, where=f"{name}.yaml")


def change_values(
    values: Mapping[str, object], overrides: Mapping[str, object]
) -> dict[str, object]:
    """Return values with those of dotted keys changed, "ranker.n_trees"."""
    changed = dict(values)
    for key, value in overrides.items():
        changed = _merge(changed, _nest_value(key, value))
    return changed


def read_values(name: str, *, overlay: Path | None = None) -> dict[str, object]:
    """Return the values of the shipped `NAME.yaml` with those of `overlay` laid over them.

    Raises BadInput where there is neither.
    """
    paths = [folder / f"{name}.yaml" for folder in (SHIPPED, overlay) if folder is not None]
    existing = [path for path in paths if path.exists()]
    if not existing:
        raise BadInput(f"no config {name!r}", where=str(overlay or SHIPPED))
    values: dict[str, object] = {}
    for path in existing:
        values = _merge(values, _read_values(path))
    return values


def parse_yaml(text: str, *, where: str) -> dict[str, object]:
    """Return the mapping in a text of YAML. Raises BadInput where it is none."""
    values = _parse_yaml(text, where=where) or {}
    if not isinstance(values, dict):
        raise BadInput("a config is a mapping of names to values", where=where)
    return values


def build(values: Mapping[str, object], kind: type[T], *, where: str) -> T:
    """Return `values` as a `kind`, every key and type checked."""
    _refuse_unknown(values, kind, where)
    try:
        validated: T = _find_validator(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{key or 'value'}: {first['msg']}", where=where) from error
    return validated


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
    return key, _parse_yaml(value, where="--set")


def _read_values(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput("no such file", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise BadInput("no valid YAML", where=str(path), hint=str(error)) from error
    return parse_yaml(text, where=str(path))


def _parse_yaml(text: str, *, where: str) -> object:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise BadInput("no valid YAML", where=where, hint=str(error)) from error


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
