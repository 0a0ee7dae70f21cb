"""The last week of a zone in numbers: against the week before, and against its targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from nicegui import ui

from features.contracts.money import to_minor
from serving.console.charts import draw_spark
from serving.console.section import Section
from serving.console.visit import Visit
from serving.forecasts.history import ZoneWeek

if TYPE_CHECKING:
    from serving.forecasts.price_index import PriceIndex

_WEEKS = 13
_SPARK_FROM = 2  # a line of two points says no more than the words below it
_ALL = 0.995  # the share of revenue with a known cost that is as good as all


class Measures:
    """The strip of numbers on top of a page."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def build(self) -> None:
        """Build the parts of the strip; each loads by itself."""
        visit = self._visit
        with ui.element("div").classes("measures"):
            Section(
                visit,
                lambda: visit.server.history.read_zone(visit.zone, _WEEKS),
                self._show_sales,
                skeleton_rows=3,
            )
            Section(
                visit,
                lambda: visit.server.price_index.read_index(visit.zone),
                self._show_price_index,
                skeleton_rows=3,
            )

    def _show_sales(self, weeks: Sequence[ZoneWeek]) -> None:
        visit, texts = self._visit, self._visit.texts
        currency = visit.currency
        targets = self._read_targets()
        has_sales = any(week.units for week in weeks)
        with ui.element("div").classes("strip"):
            for name, write in (
                ("revenue", lambda value: texts.whole_money(value, currency)),
                ("orders", texts.number),
                ("units", texts.number),
            ):
                values = [_read_measure(week, name) if has_sales else None for week in weeks]
                self._show_measure(name, values, write, target=targets[name])
            self._show_margin(weeks, targets["margin"])
            basket = [week.revenue_minor / week.orders if week.orders else None for week in weeks]
            self._show_measure(
                "basket",
                basket,
                lambda value: texts.money(value, currency),
                target=targets["basket"],
            )

    def _read_targets(self) -> dict[str, float | None]:
        """Return the targets of the zone by number; money in minor units, None without one."""
        visit = self._visit
        targets = visit.server.settings.zone(visit.zone).weekly_targets
        return {
            name: to_minor(value, visit.currency) if isinstance(value, Decimal) else value
            for name, value in targets
        }

    def _show_margin(self, weeks: Sequence[ZoneWeek], target: float | None) -> None:
        texts, last = self._visit.texts, weeks[-1]
        margins = [week.margin for week in weeks]
        if last.margin is None:
            self._show_measure("margin", margins, texts.share, texts.get("today.no_costs"))
            return
        net = last.revenue_minor * self._visit.server.settings.zone(self._visit.zone).net_share
        share = last.costed_revenue_minor / net if net else 0
        note = "" if share >= _ALL else texts.get("today.costed", share=texts.share(share, 0))
        self._show_measure("margin", margins, texts.share, note, target=target)

    def _show_price_index(self, index: PriceIndex) -> None:
        texts = self._visit.texts
        with ui.element("div").classes("strip"):
            if index.now is None:
                self._show_measure("index", [None], str, texts.get("today.no_competitors"))
                return
            note = texts.get("today.index_items", n=index.n_items)
            self._show_measure(
                "index",
                [index.week_before, index.now],
                lambda value: texts.number(100 * value, 1),
                note,
            )

    def _show_measure(
        self,
        key: str,
        values: Sequence[float | None],
        write: Callable[[float], str],
        note: str = "",
        *,
        target: float | None = None,
    ) -> None:
        """Show the last of some weeks, against the week before and its target; None is unknown."""
        texts, name = self._visit.texts, self._visit.texts.get(f"today.{key}")
        last = values[-1]
        with ui.element("div").classes("measure"):
            label = ui.label(name).classes("measure-name")
            if hint := texts.find(f"today.{key}_hint", ""):
                label.tooltip(hint)
            with ui.element("div").classes("measure-line"):
                text = texts.get("today.unknown") if last is None else write(last)
                ui.label(text).classes("measure-value")
                if len(values) > _SPARK_FROM:
                    ui.html(draw_spark(values, texts.get("today.spark", name=name)), sanitize=False)
            if last is not None:
                ui.label(self._compare(values)).classes("muted")
                if target:
                    ui.label(self._hold_against(last, target, write)).classes("muted")
            if note:
                ui.label(note).classes("muted")

    def _hold_against(self, value: float, target: float, write: Callable[[float], str]) -> str:
        """Return a value against its target, in words."""
        texts = self._visit.texts
        share = round(value / target - 1, 3)
        key = "above" if share > 0 else "below" if share < 0 else "met"
        change = texts.share(abs(share))
        return texts.get(f"today.target_{key}", target=write(target), change=change)

    def _compare(self, values: Sequence[float | None]) -> str:
        """Return the last value against the one before, in words."""
        texts, (then, now) = self._visit.texts, values[-2:]
        if now is None or not then:
            return texts.get("today.no_comparison")
        share = now / then - 1
        arrow = "▲" if share > 0 else "▼" if share < 0 else "="
        return texts.get("today.against", change=f"{arrow} {texts.share(abs(share))}")


def _read_measure(week: ZoneWeek, name: str) -> float:
    return {"revenue": week.revenue_minor, "orders": week.orders, "units": week.units}[name]
