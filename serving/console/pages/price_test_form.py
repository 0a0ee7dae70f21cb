"""The form of a plan of price tests: the design, what it is about, and how long it takes."""

from __future__ import annotations

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.value_element import ValueElement

from features.contracts.pricing import PriceTestDesign
from features.prices.stored_tests import Json
from serving.console.parts import read_whole_number
from serving.console.visit import Visit
from serving.price_desk.price_test_plans import PlanOrder

_CROSSOVER = str(PriceTestDesign.CROSSOVER)
_NUMBERS = ("max_items", "weeks", "n_periods", "period_weeks", "burn_in_weeks")
_LABELS = {"weeks": "value_weeks"}


class PlanForm:
    """The fields as one person has them open."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._fields: dict[str, ValueElement] = {}

    def build(self) -> None:
        """Build the fields; those that a design does not have are hidden."""
        visit, texts, default = self._visit, self._visit.texts, PlanOrder()
        designs = {str(kind): texts.get(f"tests.design_{kind}") for kind in PriceTestDesign}
        design = ui.select(designs, value=_CROSSOVER, label=texts.get("tests.design"))
        zones = ui.select(
            visit.zones, value=[visit.zone], label=texts.get("frame.zone"), multiple=True
        )
        categories = ui.select(
            list(visit.server.catalogue.list_categories()),
            value=[],
            label=texts.get("tests.categories"),
            multiple=True,
        )
        categories.tooltip(texts.get("tests.categories_hint"))
        self._fields = {"design": design, "zones": zones, "categories": categories}
        for name in _NUMBERS:
            value = getattr(default, name)
            field = ui.input(
                texts.get(f"tests.{_LABELS.get(name, name)}"),
                value="" if value is None else str(value),
            )
            field.tooltip(texts.get(f"tests.{_LABELS.get(name, name)}_hint"))
            field.props("inputmode=numeric")
            self._fields[name] = field
        for shown in self._fields.values():
            shown.props("dense outlined stack-label")
        self._show_for(self._fields["weeks"], _CROSSOVER)
        self._show_for(self._fields["max_items"], _CROSSOVER, str(PriceTestDesign.SWITCHBACK))
        others = [str(kind) for kind in PriceTestDesign if kind is not PriceTestDesign.CROSSOVER]
        for name in _NUMBERS[2:]:
            self._show_for(self._fields[name], *others)

    def build_explanation(self) -> None:
        """Build the line that says what the chosen design learns."""
        texts = self._visit.texts
        label = ui.label().classes("muted prose").props("aria-live=polite")
        label.bind_text_from(
            self._fields["design"], "value", lambda kind: texts.get(f"tests.learns_{kind}")
        )

    def read(self) -> PlanOrder:
        """Return the order. Raises BadInput for what is no number."""
        values = {name: field.value for name, field in self._fields.items()}
        default = PlanOrder()
        return PlanOrder(
            design=PriceTestDesign(values["design"]),
            zones=tuple(values["zones"]),
            categories=tuple(values["categories"]),
            max_items=self._read_number("max_items") or default.max_items,
            weeks=self._read_number("weeks") or default.weeks,
            n_periods=self._read_number("n_periods"),
            period_weeks=self._read_number("period_weeks"),
            burn_in_weeks=self._read_number("burn_in_weeks"),
        )

    def fill(self, order: Json) -> None:
        """Show the values of an order that was given; older ones name one zone."""
        self._fields["design"].set_value(order.get("design", _CROSSOVER))
        self._fields["zones"].set_value(list(order.get("zones") or [order["zone"]]))
        self._fields["categories"].set_value(list(order.get("categories", ())))
        for name in _NUMBERS:
            value = order.get(name)
            self._fields[name].set_value("" if value is None else str(value))

    def _read_number(self, name: str) -> int | None:
        """Return a number; None where its field is empty, or not one of the design."""
        field = self._fields[name]
        if not field.visible or not str(field.value).strip():
            return None
        label = self._visit.texts.get(f"tests.{_LABELS.get(name, name)}")
        return read_whole_number(field.value, label)

    def _show_for(self, field: Element, *kinds: str) -> None:
        """Show a field only while one of some designs is chosen."""
        field.bind_visibility_from(self._fields["design"], "value", lambda kind: kind in kinds)
