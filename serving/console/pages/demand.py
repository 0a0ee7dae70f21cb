"""Demand: what an item, a category or the whole zone sold, and will sell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nicegui import ui

from features.contracts.calendar import add_weeks
from features.contracts.errors import BadInput, NotFound
from models.demand.lookup import Forecast
from models.registry import NAMES, Version
from serving.catalogue.service import CatalogueItem
from serving.console.charts import MUTED, Series, Span, label_weeks, show_chart
from serving.console.frame import Console, Page
from serving.console.parts import (
    Column,
    is_untrained,
    name_element,
    show_badge,
    show_heading,
    show_item_search,
    show_measure,
    show_notice,
    show_table,
    show_untrained,
)
from serving.console.section import Section
from serving.forecasts.history import PlannedPromotion
from serving.forecasts.service import Freq, ItemForecast
from serving.models.service import Comparison

_PAST_WEEKS = (26, 52, 104)
_AHEAD_WEEKS = 13
_TITLE_WEEKS = 4
_MAX_LEVELS = 2  # categories below it have no distribution of sums
_DAYS_OF_WEEKS = 8


def add_pages(console: Console) -> None:
    """Add the page of the demand."""

    @console.page("/demand", "demand")
    async def show_demand(page: Page) -> None:
        await _DemandPage(page).build()


@dataclass(frozen=True)
class _Demand:
    """History and forecast of what is looked at.

    name      of the item or category; "" for the zone
    total     of the first `n_total_weeks` weeks, None where it has no distribution
    by_day    whether starts are those of days
    """

    name: str
    past: Sequence[tuple[datetime, float]]
    ahead: Sequence[Forecast]
    total: Forecast | None
    n_total_weeks: int
    version: Version
    by_day: bool = False
    sells_too_seldom: bool = False
    n_items: int = 1
    promotions: Sequence[PlannedPromotion] = ()
    item_forecast: ItemForecast | None = None
    comparisons: Sequence[Comparison] = field(default_factory=tuple)


class _DemandPage:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._server = page.visit.server
        self._section: Section[_Demand | None]

    async def build(self) -> None:
        """Show what may be looked at, and the demand of it."""
        texts, parameters = self._visit.texts, self._visit.parameters
        catalogue = self._server.catalogue
        item_id = parameters.get("item")
        chosen = await self._visit.read(catalogue.find, [item_id] if item_id else [])
        paths = await self._visit.read(catalogue.list_categories)
        categories = {"": texts.get("demand.whole_zone")}
        categories |= {path: path for path in paths if path.count(" > ") < _MAX_LEVELS}
        with ui.element("div").classes("filters"):
            item = show_item_search(
                self._visit, texts.get("demand.item"), list(chosen.values()), self._choose_item
            )
            category = parameters.get("category", "")
            select = ui.select(
                categories,
                value=category if category in categories else "",
                label=texts.get("demand.category"),
                with_input=True,
            ).props("dense outlined options-dense")
            weeks = {str(n): texts.get("demand.past_weeks", n=n) for n in _PAST_WEEKS}
            past = ui.select(weeks, value=str(self._past_weeks), label=texts.get("demand.past"))
            past.props("dense outlined options-dense")
            past.on_value_change(lambda event: self._change(past=event.value))
            names = {freq.value: texts.get(f"demand.by_{freq.noun}") for freq in Freq}
            by_day = parameters.get("freq") == Freq.DAY.value and item_id
            toggle = ui.toggle(names, value=Freq.DAY.value if by_day else Freq.WEEK.value)
            name_element(toggle.props("no-caps"), texts.get("demand.freq"))
            toggle.on_value_change(lambda event: self._change(freq=event.value))
            toggle.bind_enabled_from(item, "value", bool)

        async def choose_category(path: str | None) -> None:
            item.set_value(None)
            await self._change(category=path, item=None, freq=None)

        select.on_value_change(lambda event: choose_category(event.value))
        self._section = Section(self._visit, self._load, self._show)

    @property
    def _past_weeks(self) -> int:
        text = self._visit.parameters.get("past", "")
        return int(text) if text.isdecimal() and int(text) in _PAST_WEEKS else _PAST_WEEKS[1]

    async def _choose_item(self, item_ids: list[str]) -> None:
        await self._change(item=item_ids[0] if item_ids else None)

    async def _change(self, **values: str | None) -> None:
        self._visit.set_parameters(**values)
        await self._section.refresh()

    def _load(self) -> _Demand | None:
        if is_untrained(self._visit, NAMES[1]):
            return None
        parameters = self._visit.parameters
        item_id = parameters.get("item")
        if item_id:
            items = self._server.catalogue.find([item_id])
            by_day = parameters.get("freq") == Freq.DAY.value
            return self._load_item(items[item_id], by_day)
        return self._load_category(parameters.get("category", ""))

    def _load_item(self, item: CatalogueItem, by_day: bool) -> _Demand:
        server, zone = self._server, self._visit.zone
        month = server.forecasts.forecast_item(item.item_id, zone, None)
        weeks = self._forecast_weeks(item.item_id)
        too_seldom = False
        ahead: Sequence[Forecast] = weeks.periods
        if by_day:
            try:
                days = server.forecasts.forecast_item(item.item_id, zone, None, Freq.DAY)
                ahead = days.periods
            except NotFound:
                by_day, too_seldom = False, True
        if by_day:
            sold_days = server.history.read_item_days(item.item_id, zone, _DAYS_OF_WEEKS)
            past = [(day.day_start, day.units) for day in sold_days]
        else:
            sold = server.history.read_item(item.item_id, zone, self._past_weeks)
            past = [(week.week_start, week.units) for week in sold]
        until = ahead[-1].start + timedelta(days=7) if ahead else server.clock.now()
        return _Demand(
            name=item.name,
            past=past,
            ahead=ahead,
            total=month.total,
            n_total_weeks=len(month.periods),
            version=month.version,
            by_day=by_day,
            sells_too_seldom=too_seldom,
            promotions=server.history.list_promotions(item.item_id, zone, past[0][0], until),
            item_forecast=month,
            comparisons=self._read_accuracy(month.version),
        )

    def _forecast_weeks(self, item_id: str) -> ItemForecast:
        """Return as many weeks as the page shows, or as the model knows."""
        forecasts, zone = self._server.forecasts, self._visit.zone
        for horizon in (_AHEAD_WEEKS, 2 * _TITLE_WEEKS):
            try:
                return forecasts.forecast_item(item_id, zone, horizon)
            except BadInput:  # the forecasts end before
                continue
        return forecasts.forecast_item(item_id, zone, None)

    def _load_category(self, category: str) -> _Demand:
        server, zone = self._server, self._visit.zone
        forecast = server.forecasts.forecast_category(category, zone, _AHEAD_WEEKS)
        if category:
            past = server.history.read_category(category, zone, self._past_weeks)
        else:
            weeks = server.history.read_zone(zone, self._past_weeks)
            past = [(week.week_start, week.units) for week in weeks]
        return _Demand(
            name=category,
            past=past,
            ahead=forecast.weeks,
            total=forecast.total,
            n_total_weeks=forecast.n_total_weeks,
            version=forecast.version,
            n_items=forecast.n_items,
            comparisons=self._read_accuracy(forecast.version),
        )

    def _read_accuracy(self, version: Version) -> Sequence[Comparison]:
        return self._server.models.read_comparisons(version)

    def _show(self, demand: _Demand | None) -> None:
        if demand is None:
            self._page.set_title(show_untrained(self._visit, NAMES[1]))
            return
        texts = self._visit.texts
        self._page.set_title(self._write_title(demand))
        if demand.sells_too_seldom:
            show_notice(texts.get("demand.too_seldom"))
        self._show_measures(demand)
        if demand.past or demand.ahead:
            self._show_history(demand)
        self._show_adjustment(demand)
        self._show_promotions(demand.promotions)
        self._show_accuracy(demand)

    def _write_title(self, demand: _Demand) -> str:
        texts = self._visit.texts
        name = demand.name or texts.get("demand.zone", zone=self._visit.zone)
        if demand.total is None:
            return texts.get("demand.title_unknown", name=name)
        units = _round_units(demand.total.mean)
        return texts.get(
            "demand.title", name=name, units=texts.number(units), n=demand.n_total_weeks
        )

    def _show_measures(self, demand: _Demand) -> None:
        texts, total = self._visit.texts, demand.total
        sold = [units for _, units in demand.past]
        recent = sold[-7 * _TITLE_WEEKS :] if demand.by_day else sold[-_TITLE_WEEKS:]
        with ui.element("div").classes("strip"):
            if total is not None:
                low, high = (texts.number(_round_units(value)) for value in (total.p10, total.p90))
                show_measure(
                    texts.get("demand.next", n=demand.n_total_weeks),
                    texts.number(_round_units(total.mean)),
                    texts.get("demand.between", low=low, high=high),
                )
            show_measure(
                texts.get("demand.last", n=_TITLE_WEEKS),
                texts.number(sum(recent)),
                texts.get("demand.sold"),
            )
            if not self._visit.parameters.get("item"):
                show_measure(
                    texts.get("demand.items"),
                    texts.number(demand.n_items),
                    texts.get("demand.items_note"),
                )
            show_measure(
                texts.get("demand.model"),
                demand.version.version,
                texts.get("demand.model_note"),
            )

    def _show_history(self, demand: _Demand) -> None:
        texts = self._visit.texts
        past = label_weeks(self._visit, [start for start, _ in demand.past])
        ahead = label_weeks(self._visit, [period.start for period in demand.ahead])
        none_ahead: list[float | None] = [None] * len(ahead)
        none_past: list[float | None] = [None] * len(past)
        low, high, middle = (
            none_past + [round(getattr(period, name), 2) for period in demand.ahead]
            for name in ("p10", "p90", "mean")
        )
        spans = self._make_spans(demand, past + ahead)
        show_heading(texts.get("demand.chart_days" if demand.by_day else "demand.chart_weeks"))
        show_chart(
            self._visit,
            texts.get("demand.chart_name", name=demand.name or self._visit.zone),
            past + ahead,
            [
                Series(
                    texts.get("demand.units_sold"),
                    [units for _, units in demand.past] + none_ahead,
                    kind="bar",
                    color=MUTED,
                ),
                Series(texts.get("demand.units_expected"), middle, band=(low, high)),
            ],
            spans=spans,
            marks={ahead[0]: texts.get("demand.now")} if ahead else {},
            height=340,
            note=texts.get("demand.band_and_spans_note" if spans else "demand.band_note"),
        )

    def _make_spans(self, demand: _Demand, labels: list[str]) -> list[Span]:
        """Return the promotions as parts of the axis, each at least one period wide."""
        starts = [start for start, _ in demand.past] + [period.start for period in demand.ahead]
        spans = []
        for promotion in demand.promotions:
            covered = [
                place
                for place, start in enumerate(starts)
                if start < promotion.ends_at
                and promotion.starts_at < self._end_period(starts, place, demand.by_day)
            ]
            if covered:
                end = min(covered[-1] + 1, len(labels) - 1)
                spans.append(Span(labels[covered[0]], labels[end]))
        return spans

    def _end_period(self, starts: Sequence[datetime], place: int, by_day: bool) -> datetime:
        if place + 1 < len(starts):
            return starts[place + 1]
        if by_day:
            return starts[place] + timedelta(days=1)
        return add_weeks(starts[place], 1, self._server.settings.timezone)

    def _show_adjustment(self, demand: _Demand) -> None:
        forecast = demand.item_forecast
        adjustment = None if forecast is None else forecast.adjustment
        if adjustment is None:
            return
        texts, currency = self._visit.texts, self._visit.currency
        text = texts.get(
            "demand.adjusted",
            then=texts.money(adjustment.price_then_minor, currency),
            now=texts.money(adjustment.price_now_minor, currency),
            change=texts.share(adjustment.factor - 1, signed=True),
        )
        label = ui.label(text).classes("muted")
        label.tooltip(texts.get("demand.elasticity", value=f"{adjustment.elasticity:.2f}"))

    def _show_promotions(self, promotions: Sequence[PlannedPromotion]) -> None:
        if not promotions:
            return
        texts, now = self._visit.texts, self._server.clock.now()
        show_heading(texts.get("demand.promotions"))

        def show_state(row: PlannedPromotion) -> None:
            if row.starts_at > now:
                show_badge(texts.get("demand.planned"))
            elif row.ends_at > now:
                show_badge(texts.get("demand.running"), "better")
            else:
                show_badge(texts.get("demand.over"))

        columns = [
            Column(texts.get("demand.promotion"), lambda row: row.promotion_id),
            Column(texts.get("demand.kind"), lambda row: row.kind or "–"),
            Column(
                texts.get("demand.depth"), lambda row: texts.share(row.depth, 0), is_number=True
            ),
            Column(texts.get("demand.starts"), lambda row: texts.day(row.starts_at)),
            Column(texts.get("demand.ends"), lambda row: texts.day(row.ends_at)),
            Column(texts.get("demand.state"), show_state),
        ]
        newest = sorted(promotions, key=lambda row: row.starts_at, reverse=True)[:20]
        show_table(newest, columns, caption=texts.get("demand.promotions"))

    def _show_accuracy(self, demand: _Demand) -> None:
        """Show how past forecasts of this model's configuration did."""
        texts = self._visit.texts
        show_heading(texts.get("demand.accuracy"))
        if not demand.comparisons:
            ui.label(texts.get("demand.no_accuracy")).classes("muted")
            return
        ui.label(texts.get("demand.accuracy_note")).classes("muted")
        columns = [
            Column(texts.get("demand.metric"), lambda row: row.metric),
            Column(texts.get("demand.ours"), lambda row: texts.number(row.ours, 3), is_number=True),
            Column(
                texts.get("demand.strongest"),
                lambda row: f"{row.strongest}: {texts.number(row.baselines[row.strongest], 3)}",
            ),
            Column(
                texts.get("demand.gain"),
                lambda row: texts.share(row.gain, signed=True),
                is_number=True,
            ),
        ]
        show_table(demand.comparisons, columns, caption=texts.get("demand.accuracy"))
        ui.link(texts.get("demand.all_figures"), "/models?model=demand")


def _round_units(units: float) -> float:
    """Return units as people say them: whole, and below ten with one digit."""
    return round(units, 1) if units < 10 else round(units)
