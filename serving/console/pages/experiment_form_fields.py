"""The fields of the form of an experiment: made by name, read as values, marked where refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.console.parts import read_number, read_whole_number
from serving.console.visit import Visit

Values = Mapping[str, Any]  # of a definition, or a part of one, as JSON has them
Field = ui.input | ui.select | ui.checkbox
_WAIT_MS = 400
# Where the service refuses a value, by words of its message: the field that has it.
_BY_WORD = {
    "floor": "floor",
    "weights that follow": "allocation",
    "interleaving": "allocation",
    "attribution_days": "attribution_days",
    "hypothesis": "hypothesis",
    "planned_units": "planned_units",
    "coverage": "coverage",
    "layer": "layer_name",
    "looks": "looks",
    "ramp": "coverage",
    "minimum_effect": "minimum_effect",
    "placement": "placements",
    "name for rules": "key",
    "there is an experiment": "key",
    "has the salt": "key",
    "is named twice": "secondary_metrics",
}


def write_share(share: float | None) -> str:
    """Return a share as the percentage that a field holds; empty for None.

    >>> write_share(0.055)
    '5.5'
    """
    return "" if share is None else f"{share * 100:.10g}"


class FormFields:
    """Fields by name; `on_change` is called a moment after one of them changed."""

    def __init__(self, visit: Visit, on_change: Callable[[], Awaitable[None]]) -> None:
        self._visit, self._on_change = visit, on_change
        self._fields: dict[str, Any] = {}

    def name_field(self, name: str) -> str:
        """Return the name of a field as it stands on the page."""
        return self._visit.texts.get(f"experiments.field_{name}")

    def add_text(self, name: str, value: str = "") -> ui.input:
        """Add a field for text or a number."""
        field = ui.input(self.name_field(name), value=value)
        field.props(f"dense outlined debounce={_WAIT_MS}")
        field.on_value_change(self._on_change)
        self._fields[name] = field
        return field

    def add_choice(
        self, name: str, options: Mapping[str, str], value: object, *, multiple: bool = False
    ) -> ui.select:
        """Add a field to choose one option, or several."""
        label = self.name_field(name)
        field = ui.select(dict(options), value=value, multiple=multiple, label=label)
        field.props("dense outlined options-dense")
        field.on_value_change(self._on_change)
        self._fields[name] = field
        return field

    def add_check(self, name: str, text: str, value: bool) -> ui.checkbox:
        """Add a box to tick."""
        field = ui.checkbox(text, value=value)
        field.on_value_change(self._on_change)
        self._fields[name] = field
        return field

    def set_text(self, name: str, text: str) -> None:
        """Write a text into a field."""
        self._fields[name].set_value(text)

    def read_text(self, name: str) -> str:
        """Return the text of a field without spaces around it."""
        return str(self._fields[name].value or "").strip()

    def read_choice(self, name: str) -> str:
        """Return the option that is chosen."""
        return str(self._fields[name].value)

    def read_choices(self, name: str) -> list[str]:
        """Return the options that are chosen."""
        return list(self._fields[name].value or ())

    def read_check(self, name: str) -> bool:
        """Return whether a box is ticked."""
        return bool(self._fields[name].value)

    def read_number(self, name: str) -> float | None:
        """Return a number; None for an empty field. Raises BadInput."""
        text = self.read_text(name)
        return read_number(text, self.name_field(name)) if text else None

    def read_share(self, name: str) -> float | None:
        """Return a percentage as a share; None for an empty field. Raises BadInput."""
        percentage = self.read_number(name)
        return None if percentage is None else round(percentage / 100, 8)

    def read_whole_number(self, name: str) -> int | None:
        """Return a whole number; None for an empty field. Raises BadInput."""
        text = self.read_text(name)
        return read_whole_number(text, self.name_field(name)) if text else None

    def mark(self, error: ShopwrightError) -> Field | None:
        """Show an error at the field that it is about, and return the field; None where it is about
        none."""
        name = next((one for one in self._fields if self.name_field(one) == error.where), None)
        if name is None:
            text = f"{error.what} {error.where or ''}"
            name = next((one for word, one in _BY_WORD.items() if word in text), None)
        field = self._fields.get(name or "")
        if isinstance(field, ui.input | ui.select):
            field.error = error.what
            return field
        return None

    def clear_errors(self) -> None:
        """Take back what `mark` showed."""
        for field in self._fields.values():
            if isinstance(field, ui.input | ui.select):
                field.error = None
