"""Suggestion: why this price? The effect, the demand curve, the way to the price, its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.audit.repository import AuditFilter, AuditRecord
from serving.console.bulk_sheet import explain_undo, read_reject_reasons
from serving.console.effect_parts import MEASURED, read_effects, show_change_effect
from serving.console.log_parts import name_actor, name_author
from serving.console.pages.comments import Comments
from serving.console.pages.demand_curve import DemandCurve
from serving.console.parts import (
    Column,
    ask,
    notify_problem,
    show_badge,
    show_heading,
    show_table,
)
from serving.console.queue_rows import QUANTITIES, find_effect, name_rule
from serving.console.sales_chart import show_sales
from serving.console.section import Section
from serving.console.undo_toast import report_decision
from serving.console.visit import Visit
from serving.forecasts.history import SoldWeek
from serving.price_desk.actions import DeskActions
from serving.price_desk.repository import Suggestion
from serving.price_desk.states import OPEN


async def show_suggestion(
    visit: Visit, suggestion_id: str, *, on_close: Callable[[], None], on_change: Callable[[], None]
) -> None:
    """Show a suggestion in the element that is open; `on_change` follows a decision."""
    desk = visit.server.price_desk
    try:
        suggestion = await visit.read(desk.read_suggestion, suggestion_id)
    except ShopwrightError as error:
        notify_problem(visit, error)
        on_close()
        return
    _Suggestion(visit, suggestion, on_close, on_change).build()


@dataclass
class _Suggestion:
    """A suggestion as one person has it open."""

    visit: Visit
    suggestion: Suggestion
    on_close: Callable[[], None]
    on_change: Callable[[], None]

    def build(self) -> None:
        """Build all parts; those that need models or sales load by themselves."""
        self._build_header()
        self._build_reason()
        self._build_effect()
        self._build_measured()
        DemandCurve(self.visit, self.suggestion, self.close_changed).build()
        self._build_way()
        self._build_history()
        self._build_evidence()
        self._build_law()
        Comments(self.visit, self.suggestion).build()
        self._build_log()

    def close_changed(self) -> None:
        """Close the suggestion, which another one or a decision has changed."""
        self.on_close()
        self.on_change()

    def money(self, minor: float | None, *, signed: bool = False) -> str:
        """Return an amount in the currency of the suggestion."""
        return self.visit.texts.money(minor, self.suggestion.currency, signed=signed)

    def _build_header(self) -> None:
        texts, suggestion = self.visit.texts, self.suggestion
        with ui.element("div").classes("title-row"):
            with ui.element("div").classes("grow"):
                title = ui.label(suggestion.title or suggestion.item_id).classes("title")
                title.props("role=heading aria-level=2")
                ui.label(f"{suggestion.item_id} · {suggestion.category}").classes("muted")
            ui.button(icon="close", on_click=self.on_close).props(
                f'flat dense aria-label="{texts.get("frame.close")}"'
            )
        with ui.element("div").classes("price-line"):
            ui.label(self.money(suggestion.current_price_minor)).classes("price-now")
            ui.label("→").props("aria-hidden=true")
            ui.label(self.money(suggestion.suggested_price_minor)).classes("price-new")
            arrow = "▲" if suggestion.share_change > 0 else "▼"
            show_badge(f"{arrow} {texts.share(abs(suggestion.share_change))}")
            show_badge(texts.get(f"status.{suggestion.status}"))
            if suggestion.evidence_grade:
                grade = show_badge(texts.get("suggestion.grade", grade=suggestion.evidence_grade))
                grade.tooltip(texts.get(f"suggestion.grade_{suggestion.evidence_grade}"))
        ui.label(
            texts.get(
                "suggestion.dates",
                proposer=name_author(texts, suggestion.proposed_by),
                begins=texts.time(suggestion.effective_from),
                expires=texts.time(suggestion.expires_at),
            )
        ).classes("muted")
        with ui.element("div").classes("actions decide"):
            self._build_actions()

    def _build_actions(self) -> None:
        visit, texts, suggestion = self.visit, self.visit.texts, self.suggestion
        is_own = visit.person.name in (suggestion.proposed_by, suggestion.edited_by)
        if suggestion.status == "submitted" and visit.may("pricing.approve"):
            button = ui.button(texts.get("queue.approve"), on_click=lambda: self.decide("approve"))
            button.props("unelevated")
            if is_own:
                button.disable()
                ui.label(texts.get("suggestion.own")).classes("warn")
        if suggestion.status in OPEN and visit.may("pricing.approve"):
            ui.button(texts.get("queue.reject"), on_click=lambda: self.decide("reject")).props(
                "outline"
            )
        if suggestion.status == "suggested" and visit.may("pricing.propose"):
            ui.button(texts.get("queue.submit"), on_click=lambda: self.decide("submit")).props(
                "unelevated"
            )

    async def decide(self, action: str) -> None:
        """Ask for a reason, decide, and close."""
        visit, texts = self.visit, self.visit.texts
        reason = await ask(
            visit,
            texts.get(f"queue.ask_{action}", n=1),
            explain_undo(visit, action),
            confirm=texts.get(f"queue.{action}"),
            reason=True,
            reasons=await read_reject_reasons(visit) if action == "reject" else (),
        )
        if reason is None:
            return
        actions = DeskActions(visit.server.price_desk)
        try:
            result = await visit.write(
                actions.decide,
                visit.caller,
                action,
                ids=[self.suggestion.id],
                reason=reason or None,
            )
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        if result.refused:
            notify_problem(visit, result.refused[0].error)
            return
        report_decision(visit, action, result, self.on_change)
        self.close_changed()

    def _build_reason(self) -> None:
        ui.label(explain_suggestion(self.visit, self.suggestion)).classes("reason")
        for flag in self.suggestion.details.get("flags") or ():
            show_badge(str(flag), "warn")
        if self.suggestion.details.get("cost_source") == "assumed":
            show_badge(self.visit.texts.get("suggestion.assumed_cost"), "warn")

    def _build_effect(self) -> None:
        texts, suggestion = self.visit.texts, self.suggestion
        weeks = suggestion.details.get("horizon_weeks") or 4
        show_heading(texts.get("suggestion.effect", n=weeks), 3)
        if suggestion.expected is None:
            ui.label(texts.get("suggestion.no_effect")).classes("muted")
            return

        def write(name: str, value: float | None, *, signed: bool = False) -> str:
            if name == "units":
                sign = "+" if signed and value and value > 0 else ""
                return sign + texts.number(value, 1)
            return self.money(value, signed=signed)

        def keep(name: str) -> str:
            after = find_effect(suggestion, name, gain=False) or {}
            gain = find_effect(suggestion, name, gain=True) or {}
            return write(name, after.get("p50", 0.0) - gain.get("p50", 0.0))

        def quantiles(name: str, *, gain: bool) -> str:
            values = find_effect(suggestion, name, gain=gain) or {}
            middle, low, high = (values.get(level) for level in ("p50", "p10", "p90"))
            text = write(name, middle, signed=gain)
            return f"{text} ({write(name, low)} – {write(name, high)})"

        show_table(
            QUANTITIES,
            [
                Column("", lambda name: texts.get(f"suggestion.{name}")),
                Column(texts.get("suggestion.keep"), keep, is_number=True),
                Column(
                    texts.get("suggestion.change"),
                    lambda name: quantiles(name, gain=False),
                    is_number=True,
                ),
                Column(
                    texts.get("suggestion.difference"),
                    lambda name: quantiles(name, gain=True),
                    is_number=True,
                    hint=texts.get("suggestion.range_hint"),
                ),
            ],
            caption=texts.get("suggestion.effect", n=weeks),
        )

    def _build_measured(self) -> None:
        """Show what the price brought, once it was valid."""
        visit, suggestion = self.visit, self.suggestion
        if suggestion.status not in MEASURED or suggestion.price_id is None:
            return
        show_heading(visit.texts.get("effects.heading"), 3)
        Section(
            visit,
            lambda: read_effects(visit, [suggestion]).get(suggestion.id),
            lambda effect: show_change_effect(visit, effect),
            skeleton_rows=3,
        )

    def _build_way(self) -> None:
        texts, suggestion = self.visit.texts, self.suggestion
        if not suggestion.waterfall:
            return
        show_heading(texts.get("suggestion.way"), 3)

        def mark(step: Mapping[str, Any]) -> str:
            is_binding = step.get("rule") == suggestion.binding_rule
            return texts.get("suggestion.binding") if is_binding else ""

        show_table(
            suggestion.waterfall,
            [
                Column(texts.get("suggestion.rule"), lambda step: name_rule(step["rule"], texts)),
                Column(
                    texts.get("suggestion.from"),
                    lambda step: self.money(step.get("before_minor")),
                    is_number=True,
                ),
                Column(
                    texts.get("suggestion.to"),
                    lambda step: self.money(step.get("after_minor")),
                    is_number=True,
                ),
                Column(texts.get("suggestion.note"), lambda step: str(step.get("note") or "")),
                Column("", mark),
            ],
            caption=texts.get("suggestion.way"),
        )

    def _build_history(self) -> None:
        visit, suggestion = self.visit, self.suggestion
        show_heading(visit.texts.get("suggestion.history"), 3)

        def load() -> tuple[list[SoldWeek], list[Any]]:
            server = visit.server
            weeks = server.history.read_item(suggestion.item_id, suggestion.zone, 52)
            try:
                forecast = server.forecasts.forecast_item(suggestion.item_id, suggestion.zone, None)
            except ShopwrightError:
                return weeks, []
            return weeks, list(forecast.periods)

        Section(visit, load, lambda read: show_sales(visit, suggestion.currency, *read))

    def _build_evidence(self) -> None:
        texts, details = self.visit.texts, self.suggestion.details
        facts = details.get("facts") or {}
        show_heading(texts.get("suggestion.evidence"), 3)
        lines = []
        if facts.get("n_regular_changes") is not None:
            lines.append(texts.get("suggestion.n_changes", n=int(facts["n_regular_changes"])))
        if facts.get("lowest_tried_minor"):
            low, high = facts["lowest_tried_minor"], facts.get("highest_tried_minor")
            lines.append(texts.get("suggestion.tried", low=self.money(low), high=self.money(high)))
        slope, error = details.get("elasticity"), details.get("elasticity_error")
        if slope is not None and error is not None:
            per_percent = texts.share(abs(slope) / 100)
            lines.append(texts.get("suggestion.response", share=per_percent))
        for line in lines or [texts.get("suggestion.no_evidence")]:
            label = ui.label(line)
            if slope is not None:
                label.tooltip(f"elasticity {slope:.2f} ± {error or 0:.2f}")

    def _build_law(self) -> None:
        visit, suggestion = self.visit, self.suggestion
        show_heading(visit.texts.get("suggestion.law"), 3)

        def load() -> Any:
            prices = visit.server.prices
            quotes = prices.quote_items([suggestion.item_id], suggestion.zone, prices.now())
            return quotes[0] if quotes else None

        def build(quote: Any) -> None:
            texts = visit.texts
            law = visit.server.settings.zone(suggestion.zone).describe_law()
            ui.label(texts.get("suggestion.law_of_zone", law=law)).classes("muted")
            if quote is None or quote.prior_price_minor is None:
                ui.label(texts.get("suggestion.no_prior"))
            else:
                prior = self.money(quote.prior_price_minor)
                ui.label(texts.get("suggestion.prior", price=prior))
            if suggestion.details.get("competitor_price_minor") is not None:
                price = self.money(suggestion.details["competitor_price_minor"])
                ui.label(texts.get("suggestion.competitor", price=price))

        Section(visit, load, build, skeleton_rows=2)

    def _build_log(self) -> None:
        visit, texts = self.visit, self.visit.texts
        show_heading(texts.get("suggestion.log"), 3)

        def load() -> Any:
            which = AuditFilter(subject_id=self.suggestion.id)
            return visit.server.audit.page(which, after=0, limit=100).records

        def build(records: Sequence[Any]) -> None:
            if not records:
                ui.label(texts.get("suggestion.no_log")).classes("muted")
                return
            show_table(
                records,
                [
                    Column(texts.get("suggestion.log_at"), lambda record: texts.time(record.at)),
                    Column(
                        texts.get("suggestion.log_who"), lambda record: name_actor(texts, record)
                    ),
                    Column(
                        texts.get("suggestion.log_what"),
                        lambda record: texts.find(f"action.{record.action}", record.action),
                    ),
                    Column(texts.get("frame.reason"), _write_words),
                ],
                caption=texts.get("suggestion.log"),
            )

        Section(visit, load, build, skeleton_rows=3)


def _write_words(record: AuditRecord) -> str:
    """Return the reason of a record, or the comment."""
    return str(record.details.get("reason") or record.details.get("comment") or "")


def explain_suggestion(visit: Visit, suggestion: Suggestion) -> str:
    """Return in a sentence what the price would do, and what decided it."""
    texts = visit.texts
    gain = find_effect(suggestion, "profit", gain=True)
    units = find_effect(suggestion, "units", gain=True)
    weeks = suggestion.details.get("horizon_weeks") or 4
    if not gain or not units:
        return texts.get("suggestion.reason_unknown")
    per_week = units["p50"] / weeks
    direction = "fewer" if per_week < 0 else "more"
    more = "earns" if gain["p50"] >= 0 else "loses"
    earned = texts.money(abs(gain["p50"]) / weeks, suggestion.currency)
    sentence = texts.get(
        f"suggestion.reason_{direction}_{more}",
        units=texts.number(abs(per_week), 0 if abs(per_week) >= 10 else 1),
        gain=earned,
    )
    if suggestion.binding_rule:
        rule = name_rule(suggestion.binding_rule, texts)
        sentence += " " + texts.get("suggestion.bound", rule=rule)
    return sentence
