"""The demand curve of a suggestion: what each price would do, and a field to try one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from features.contracts.errors import ShopwrightError
from features.contracts.money import to_major, to_minor
from serving.console.charts import Series, show_chart
from serving.console.parts import ask, notify_done, notify_problem, show_badge, show_heading
from serving.console.queue_rows import QUANTITIES, name_rule, write_gain
from serving.console.section import Section
from serving.console.visit import Visit
from serving.price_desk.actions import DeskActions
from serving.price_desk.decisions import PriceEdit
from serving.price_desk.repository import Suggestion
from serving.price_desk.states import OPEN
from serving.what_if.price_documents import PriceSimulationResponse

_CURVE_POINTS = 15
_CURVE_REACH = 0.2  # of the present price, to both sides


@dataclass
class DemandCurve:
    """Units, revenue or profit by price; a price can be tried, and used instead."""

    visit: Visit
    suggestion: Suggestion
    on_edit: Callable[[], None]
    quantity: str = "profit"
    simulation: PriceSimulationResponse | None = None

    def build(self) -> None:
        """Build the chart and the field of a price to try."""
        visit, texts = self.visit, self.visit.texts
        show_heading(texts.get("suggestion.curve"), 3)
        Section(visit, self._load, self._build_curve, skeleton_rows=8)

    def _load(self) -> PriceSimulationResponse | None:
        suggestion = self.suggestion
        prices = list_curve_prices(suggestion)
        try:
            return self._simulate(prices)
        except ShopwrightError:
            return None

    def _simulate(self, prices: Sequence[str]) -> PriceSimulationResponse:
        suggestion = self.suggestion
        what_if = self.visit.server.what_if
        return what_if.simulate_prices(suggestion.item_id, prices, suggestion.zone)

    def _build_curve(self, simulation: PriceSimulationResponse | None) -> None:
        texts = self.visit.texts
        if simulation is None:
            ui.label(texts.get("suggestion.no_curve")).classes("muted")
            return
        self.simulation = simulation
        names = {name: texts.get(f"suggestion.{name}") for name in QUANTITIES}
        ui.toggle(names, value=self.quantity, on_change=self._choose).props("dense no-caps")
        self.chart_area = ui.element("div").classes("section")
        self._draw()
        self._build_trial()

    def _choose(self, event: Any) -> None:
        self.quantity = event.value
        self._draw()

    def _draw(self) -> None:
        suggestion, texts = self.suggestion, self.visit.texts
        if self.simulation is None:
            return
        points = self.simulation.items
        gains = [getattr(point.expected, self.quantity).against_keeping for point in points]
        middle, low, high = (
            [float(getattr(gain, level)) for gain in gains] for level in ("p50", "p10", "p90")
        )
        labels = [point.price for point in points]
        currency = suggestion.currency
        marks = {
            to_major(suggestion.current_price_minor, currency): texts.get("suggestion.now"),
            to_major(suggestion.suggested_price_minor, currency): texts.get("suggestion.new"),
        }
        name = texts.get(f"suggestion.{self.quantity}")
        self.chart_area.clear()
        with self.chart_area:
            show_chart(
                self.visit,
                texts.get("suggestion.curve_of", name=name),
                labels,
                [Series(name, middle, band=(low, high))],
                marks=marks,
                height=240,
            )

    def _build_trial(self) -> None:
        suggestion, texts = self.suggestion, self.visit.texts
        price = to_major(suggestion.suggested_price_minor, suggestion.currency)
        with ui.element("div").classes("filters"):
            field = ui.input(texts.get("suggestion.try"), value=price).props(
                "dense outlined inputmode=decimal debounce=300"
            )
            field.classes("try-price").on_value_change(lambda event: self._try(event.value))
            self.answer = ui.element("div").classes("grow").props("aria-live=polite")
            may_edit = suggestion.status in OPEN and self.visit.may("pricing.propose")
            if may_edit:
                ui.button(
                    texts.get("suggestion.use"), on_click=lambda: self._use(field.value)
                ).props("outline")

    async def _try(self, price: str) -> None:
        visit, texts = self.visit, self.visit.texts
        self.answer.clear()
        try:
            simulation = await visit.read(self._simulate, [price])
        except ShopwrightError as error:
            with self.answer:
                ui.label(error.what).classes("worse")
            return
        point = simulation.items[0]
        currency = simulation.currency
        gain = {
            level: float(
                to_minor(str(getattr(point.expected.profit.against_keeping, level)), currency)
            )
            for level in ("p10", "p50", "p90")
        }
        units = point.expected.units.against_keeping.p50
        with self.answer:
            ui.label(
                texts.get(
                    "suggestion.tried_effect",
                    units=("+" if units > 0 else "") + texts.number(units, 1),
                    gain=write_gain(gain, texts, currency),
                )
            )
            for rule in point.broken_rules:
                show_badge(texts.get("suggestion.breaks", rule=name_rule(rule, texts)), "warn")

    async def _use(self, price: str) -> None:
        """Suggest the price that was tried; a rule that it breaks is named, and asked about."""
        visit, texts = self.visit, self.visit.texts
        actions = DeskActions(visit.server.price_desk)
        suggestion, confirmed, reason = self.suggestion, False, ""
        while True:
            try:
                await visit.write(
                    actions.edit,
                    visit.caller,
                    suggestion.id,
                    PriceEdit(price, confirmed=confirmed),
                    suggestion.version,
                    reason or None,
                )
            except ShopwrightError as error:
                if (
                    confirmed
                    or error.where != "suggested_price"
                    or "confirm" not in (error.hint or "")
                ):
                    notify_problem(visit, error)
                    return
                answer = await ask(
                    visit,
                    texts.get("suggestion.confirm", price=price),
                    error.what,
                    confirm=texts.get("suggestion.use"),
                    reason=True,
                )
                if answer is None:
                    return
                confirmed, reason = True, answer
                continue
            notify_done(visit, texts.get("suggestion.edited", price=price))
            self.on_edit()
            return


def list_curve_prices(suggestion: Suggestion) -> list[str]:
    """Return prices around the present one, it and the suggested one among them."""
    now, new = suggestion.current_price_minor, suggestion.suggested_price_minor
    low = min(now, new) * (1 - _CURVE_REACH)
    high = max(now, new) * (1 + _CURVE_REACH)
    step = (high - low) / (_CURVE_POINTS - 1)
    prices = {max(1, round(low + place * step)) for place in range(_CURVE_POINTS)} | {now, new}
    return [to_major(price, suggestion.currency) for price in sorted(prices)]
