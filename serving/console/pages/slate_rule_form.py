"""The form of one merchandising rule: what it does, to which items, when and where."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

from nicegui import ui

from features.contracts.errors import BadInput, Unavailable
from features.contracts.local_times import parse_local_time
from models.ranking.slate.merchandising_rules import Action, Per
from serving.catalogue.service import CatalogueItem
from serving.console.pages.slate_rule_words import name_feature
from serving.console.parts import (
    read_number,
    read_whole_number,
    show_form,
    show_heading,
    show_item_search,
)
from serving.console.visit import Visit
from serving.merchandising.present_sets import build_set

ACTIONS: tuple[Action, ...] = get_args(Action)
_PER: tuple[Per, ...] = get_args(Per)
# The fields of each action, in the order in which they are asked for.
_TERMS: Mapping[Action, tuple[str, ...]] = {
    "pin": ("place",),
    "boost": ("factor", "places", "by"),
    "bury": ("factor", "places", "by"),
    "hide": (),
    "in_stock": (),
    "at_most": ("n", "per"),
}
_WHOLE = ("place", "places", "n")
_SHOWN_BRANDS = 2_000


@dataclass(frozen=True)
class RuleChoices:
    """What the fields of a rule offer."""

    categories: Sequence[str]
    brands: Sequence[str]
    features: Sequence[str]
    zones: Sequence[str]


@dataclass(frozen=True)
class EditedRule:
    """A rule as the form leaves it; `values` are as a file holds them."""

    name: str
    values: Mapping[str, object]


def read_choices(visit: Visit) -> RuleChoices:
    """Return what a rule can name in this shop; reads, so it belongs on a thread."""
    brands: list[str] = []
    features: list[str] = []
    try:
        items = visit.server.served_models.recommender().items
    except Unavailable:  # no model yet: a set can be written before
        pass
    else:
        brands = sorted({str(brand) for brand in items.brand if brand})[:_SHOWN_BRANDS]
        features = sorted(items.columns)
    categories = visit.server.catalogue.list_categories()
    return RuleChoices(categories, brands, features, visit.zones)


async def edit_rule(visit: Visit, name: str, values: Mapping[str, object]) -> EditedRule | None:
    """Show the form of a rule, and return it as it was left; None where nothing is to change."""
    choices = await visit.read(read_choices, visit)
    form = _RuleForm(visit, choices, name, dict(values))
    items = await visit.read(visit.server.catalogue.find, form.values.get("item_ids", ()))
    form.items = list(items.values())
    heading = "slates.edit_rule" if name else "slates.add_rule"
    return await show_form(
        visit, visit.texts.get(heading, name=name), form.build, confirm=visit.texts.get("slates.ok")
    )


def check_name(visit: Visit, text: str | None, where: str) -> str:
    """Return the name of a set or a rule. Raises BadInput for one that no file could have."""
    name = (text or "").strip()
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise BadInput(visit.texts.get("slates.bad_name"), where=where)
    return name


@dataclass
class _RuleForm:
    """The fields of a rule as somebody fills them."""

    visit: Visit
    choices: RuleChoices
    name: str
    values: dict[str, Any]
    items: list[CatalogueItem] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    ranges: list[tuple[Any, Any, Any]] = field(default_factory=list)

    def build(self) -> Callable[[], Awaitable[EditedRule]]:
        """Build the fields; return what reads them."""
        texts = self.visit.texts
        self.item_ids = [item.item_id for item in self.items]
        name = ui.input(texts.get("slates.rule_name"), value=self.name)
        self.fields["name"] = name.props("dense outlined maxlength=40")
        action = ui.select(
            {one: texts.get(f"slates.action_{one}") for one in ACTIONS},
            value=self.values.get("action", "pin"),
            label=texts.get("slates.action"),
        ).props("dense outlined options-dense")
        self.fields["action"] = action
        self.terms = ui.element("div").classes("form")
        action.on_value_change(lambda _event: self._build_terms())
        self._build_terms()
        show_heading(texts.get("slates.to_which"), level=3)
        self._build_items()
        show_heading(texts.get("slates.window"), level=3)
        self._build_window()

        async def read() -> EditedRule:
            return self._read()

        return read

    def _build_terms(self) -> None:
        """Build the fields of the action that is chosen, with what they mean."""
        texts, action = self.visit.texts, self.fields["action"].value
        for names in _TERMS.values():
            for name in names:
                self.fields.pop(name, None)
        self.terms.clear()
        with self.terms:
            ui.label(texts.get(f"slates.about_{action}")).classes("muted")
            for name in _TERMS[action]:
                self.fields[name] = self._build_term(name)

    def _build_term(self, name: str) -> ui.element:
        texts, value = self.visit.texts, self.values.get(name)
        label = texts.get(f"slates.field_{name}")
        if name == "per":
            options = {one: texts.get(f"slates.per_{one}") for one in _PER}
            return ui.select(options, value=value or _PER[0], label=label).props(
                "dense outlined options-dense"
            )
        if name == "by":
            return self._build_features(label, value)
        shown = "" if value is None else f"{value:g}"
        return ui.input(label, value=shown).props("dense outlined inputmode=decimal")

    def _build_features(self, label: str, value: str | None) -> ui.select:
        names = dict.fromkeys([*self.choices.features, *([value] if value else [])])
        options = {name: name_feature(self.visit, name) for name in names}
        select = ui.select(options, value=value, label=label, clearable=True, with_input=True)
        return select.props("dense outlined options-dense")

    def _build_items(self) -> None:
        texts = self.visit.texts
        ui.label(texts.get("slates.about_items")).classes("muted")

        async def choose(item_ids: list[str]) -> None:
            self.item_ids = item_ids

        show_item_search(
            self.visit, texts.get("slates.field_item_ids"), self.items, choose, multiple=True
        )
        known = {"categories": self.choices.categories, "brands": self.choices.brands}
        for name, options in known.items():
            self.fields[name] = self._build_names(name, options)
        self.range_rows = ui.element("div").classes("form")
        for feature, limits in self.values.get("features", {}).items():
            self._add_range(feature, limits)
        if self.choices.features:
            ui.button(
                texts.get("slates.add_range"), icon="add", on_click=lambda: self._add_range(None)
            ).props("flat dense")

    def _build_names(self, name: str, options: Sequence[str]) -> ui.select:
        chosen = list(self.values.get(name, ()))
        return ui.select(
            list(dict.fromkeys([*options, *chosen])),
            value=chosen,
            label=self.visit.texts.get(f"slates.field_{name}"),
            multiple=True,
            with_input=True,
            clearable=True,
            new_value_mode="add-unique",
        ).props("dense outlined options-dense use-chips")

    def _add_range(
        self, feature: str | None, limits: Mapping[str, float | None] | None = None
    ) -> None:
        """Add a row for the range of an item feature."""
        texts, known = self.visit.texts, limits or {}
        with self.range_rows, ui.element("div").classes("range-row"):
            select = self._build_features(texts.get("slates.field_feature"), feature)
            ends = []
            for end in ("least", "most"):
                value = known.get(end)
                shown = "" if value is None else f"{value:g}"
                box = ui.input(texts.get(f"slates.field_{end}"), value=shown)
                ends.append(box.props("dense outlined inputmode=decimal"))
        self.ranges.append((select, ends[0], ends[1]))

    def _build_window(self) -> None:
        texts, settings = self.visit.texts, self.visit.server.settings
        timezone = ZoneInfo(settings.timezone)
        with ui.element("div").classes("filters"):
            for name in ("valid_from", "valid_to"):
                value = self.values.get(name)
                shown = ""
                if value:
                    at = datetime.fromisoformat(value).astimezone(timezone)
                    shown = at.strftime("%Y-%m-%dT%H:%M")
                box = ui.input(texts.get(f"slates.field_{name}"), value=shown)
                self.fields[name] = box.props("dense outlined type=datetime-local stack-label")
        self.fields["zones"] = self._build_names("zones", self.choices.zones)
        ui.label(texts.get("slates.about_window", timezone=settings.timezone)).classes("muted")

    def _read(self) -> EditedRule:
        """Return what the form says. Raises BadInput."""
        texts = self.visit.texts
        name = check_name(self.visit, self.fields["name"].value, texts.get("slates.rule_name"))
        action = self.fields["action"].value
        values: dict[str, object] = {"action": action}
        if self.item_ids:
            values["item_ids"] = list(self.item_ids)
        for key in ("categories", "brands", "zones"):
            if chosen := list(self.fields[key].value or ()):
                values[key] = chosen
        if features := self._read_ranges():
            values["features"] = features
        for key in _TERMS[action]:
            value = self._read_term(key)
            if value is not None and value != _PER[0]:
                values[key] = value
        now, timezone = self.visit.server.clock.now(), self.visit.server.settings.timezone
        for key in ("valid_from", "valid_to"):
            if text := (self.fields[key].value or "").strip():
                where = texts.get(f"slates.field_{key}")
                values[key] = parse_local_time(text, now, timezone, where=where).isoformat()
        build_set("draft", {"rules": {name: values}})
        return EditedRule(name, values)

    def _read_term(self, key: str) -> object:
        value = self.fields[key].value
        if value is None or not str(value).strip():
            return None
        label = self.visit.texts.get(f"slates.field_{key}")
        if key in _WHOLE:
            return read_whole_number(value, label)
        return read_number(value, label) if key == "factor" else value

    def _read_ranges(self) -> dict[str, dict[str, float]]:
        texts = self.visit.texts
        ranges: dict[str, dict[str, float]] = {}
        for select, least, most in self.ranges:
            ends = {
                end: read_number(box.value, texts.get(f"slates.field_{end}"))
                for end, box in (("least", least), ("most", most))
                if str(box.value or "").strip()
            }
            if select.value and ends:
                ranges[select.value] = ends
            elif select.value or ends:
                raise BadInput(
                    texts.get("slates.half_range"), where=texts.get("slates.field_feature")
                )
        return ranges
