"""What few experiments need, in a part of the form that opens: how units are shared out, later
shares, attributes, segments, planned looks, and a loss that is accepted."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo

from nicegui import ui

from experiments.definition import Allocation, Segment
from features.contracts.errors import BadInput
from features.contracts.local_times import parse_local_time
from serving.console.pages.experiment_form_fields import FormFields, Values, write_share
from serving.console.pages.field_rows import Cell, FieldRows
from serving.console.parts import read_number
from serving.console.visit import Visit

_SHOWN = (
    "allocation",
    "floor",
    "looks",
    "segments",
    "attribution_days",
    "ramp",
    "non_inferiority",
)


class MoreFields:
    """The part, open where `values` say something that stands in it.

    metrics     names of metrics by key
    """

    def __init__(
        self,
        visit: Visit,
        fields: FormFields,
        metrics: Mapping[str, str],
        values: Values,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._visit, self._fields, self._on_change = visit, fields, on_change
        self._timezone = visit.server.settings.timezone
        attributes = values.get("targeting", {}).get("attributes", {})
        is_open = bool(attributes) or any(name in values for name in _SHOWN)
        part = ui.expansion(visit.texts.get("experiments.more"), value=is_open).classes("card more")
        with part, ui.element("div").classes("form-columns"):
            with ui.element("section").classes("form"):
                self._build_plan(values)
            with ui.element("section").classes("form"):
                self._build_ramp(values.get("ramp", ()))
                self._build_attributes(attributes)
            with ui.element("section").classes("form"):
                self._build_non_inferiority(metrics, values.get("non_inferiority") or {})

    def _build_plan(self, values: Values) -> None:
        texts, fields = self._visit.texts, self._fields
        allocations = {
            name: texts.get(f"experiments.allocation_{name}") for name in get_args(Allocation)
        }
        fields.add_choice("allocation", allocations, values.get("allocation", "fixed"))
        fields.add_text("floor", write_share(values.get("floor"))).props("inputmode=decimal")
        looks = values.get("looks")
        fields.add_text("looks", "" if looks is None else str(looks)).props("inputmode=numeric")
        segments = {name: texts.get(f"experiments.cut_{name}") for name in get_args(Segment)}
        fields.add_choice("segments", segments, list(values.get("segments", ())), multiple=True)
        days = values.get("attribution_days")
        shown = "" if days is None else f"{days:g}"
        fields.add_text("attribution_days", shown).props("inputmode=decimal")

    def _build_ramp(self, steps: Sequence[Values]) -> None:
        def build(texts: Sequence[str]) -> Sequence[Cell]:
            at, share = texts or ("", "")
            instant = ui.input(self._fields.name_field("step_at"), value=at)
            return [
                instant.props("type=datetime-local stack-label"),
                ui.input(self._fields.name_field("step_coverage"), value=share),
            ]

        self._ramp = FieldRows(self._visit, "ramp", build, self._on_change)
        for step in steps:
            at = datetime.fromisoformat(str(step["at"])).astimezone(ZoneInfo(self._timezone))
            self._ramp.add(at.strftime("%Y-%m-%dT%H:%M"), write_share(step["coverage"]))

    def _build_attributes(self, attributes: Mapping[str, Sequence[str]]) -> None:
        def build(texts: Sequence[str]) -> Sequence[Cell]:
            name, values = texts or ("", "")
            return [
                ui.input(self._fields.name_field("attribute"), value=name),
                ui.input(self._fields.name_field("attribute_values"), value=values),
            ]

        self._attributes = FieldRows(self._visit, "attributes", build, self._on_change)
        for name, values in attributes.items():
            self._attributes.add(name, write_values(values))

    def _build_non_inferiority(self, metrics: Mapping[str, str], stated: Values) -> None:
        fields = self._fields
        margin = write_share(stated.get("margin"))
        fields.add_text("accepted_loss", margin).props("inputmode=decimal")
        metric = stated.get("metric", "purchase_conversion")
        fields.add_choice("accepted_loss_metric", metrics, metric)

    def read(self) -> dict[str, object]:
        """Return what the part says beyond what is usual. Raises BadInput."""
        fields = self._fields
        allocation = fields.read_choice("allocation")
        margin = fields.read_share("accepted_loss")
        metric = fields.read_choice("accepted_loss_metric")
        values: dict[str, object] = {
            "allocation": None if allocation == "fixed" else allocation,
            "floor": fields.read_share("floor"),
            "looks": fields.read_whole_number("looks"),
            "segments": fields.read_choices("segments") or None,
            "attribution_days": fields.read_number("attribution_days"),
            "ramp": self._read_ramp() or None,
            "non_inferiority": None if margin is None else {"margin": margin, "metric": metric},
        }
        return {name: value for name, value in values.items() if value is not None}

    def read_attributes(self) -> dict[str, list[str]]:
        """Return the values of each attribute that a request must have one of. Raises BadInput."""
        attributes: dict[str, list[str]] = {}
        for name, listed in self._attributes.read():
            values = read_values(listed)
            if not name or not values or name in attributes:
                raise BadInput(
                    self._visit.texts.get("experiments.half_attribute"),
                    where=self._fields.name_field("attribute"),
                )
            attributes[name] = values
        return attributes

    def _read_ramp(self) -> list[dict[str, object]]:
        steps: list[dict[str, object]] = []
        now = self._visit.server.clock.now()
        where = self._fields.name_field("step_at")
        share_where = self._fields.name_field("step_coverage")
        for at, share in self._ramp.read():
            instant = parse_local_time(at, now, self._timezone, where=where)
            coverage = round(read_number(share, share_where) / 100, 8)
            steps.append({"at": instant.isoformat(), "coverage": coverage})
        return steps


def write_values(values: Sequence[str]) -> str:
    """Return values as one line, those with a comma in double quotes.

    >>> write_values(["phone", "Berlin, Mitte"])
    'phone,"Berlin, Mitte"'
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def read_values(line: str) -> list[str]:
    """Return the values that `write_values` wrote, or somebody did, without spaces around them.

    >>> read_values('phone, "Berlin, Mitte"')
    ['phone', 'Berlin, Mitte']
    """
    values = next(csv.reader([line], skipinitialspace=True), [])
    return [value.strip() for value in values if value.strip()]
