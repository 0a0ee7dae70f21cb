"""What a manager sets for the whole desk, beneath the rules: the stop of all activations, and
approval without a person."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from nicegui import ui

from features.contracts.errors import ShopwrightError
from features.contracts.pricing import EvidenceGrade
from serving.console.parts import (
    Column,
    ask,
    name_element,
    notify_done,
    notify_problem,
    read_number,
    show_badge,
    show_form,
    show_heading,
    show_notice,
    show_table,
)
from serving.console.section import Section
from serving.console.visit import Visit
from serving.database.activation_stops import ActivationStop
from serving.price_desk.actions import ControlActions
from serving.price_desk.controls import RuleValues
from serving.price_desk.controls_repository import ApprovalRule

_SCOPE = "pricing.manage"


class StopSection:
    """Whether approved prices become valid, and the switch that halts them all."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def build(self) -> None:
        """Build the heading and the switch as it stands."""
        show_heading(self._visit.texts.get("controls.stop"))
        desk = self._visit.server.price_desk
        self._section = Section(self._visit, desk.find_stop, self._show, skeleton_rows=2)

    def _show(self, stop: ActivationStop | None) -> None:
        visit, texts = self._visit, self._visit.texts
        if stop is None:
            ui.label(texts.get("controls.going")).classes("muted")
        else:
            name, at = stop.stopped_by, texts.time(stop.stopped_at)
            show_notice(texts.get("controls.stopped", name=name, at=at, reason=stop.reason))
        if visit.may(_SCOPE):
            key = "controls.stop_all" if stop is None else "controls.resume"
            color = "negative" if stop is None else "primary"
            button = ui.button(texts.get(key), on_click=partial(self._switch, stop is None))
            button.props(f"outline color={color}")

    async def _switch(self, stopped: bool) -> None:
        visit, texts = self._visit, self._visit.texts
        key = "stop" if stopped else "resume"
        reason = await ask(
            visit,
            texts.get(f"controls.ask_{key}"),
            texts.get(f"controls.explain_{key}"),
            confirm=texts.get("controls.stop_all" if stopped else "controls.resume"),
            reason=True,
        )
        if reason is None:
            return
        actions = ControlActions(visit.server.desk_controls)
        try:
            count = await visit.write(actions.switch, visit.caller, reason or None, stopped=stopped)
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        notify_done(visit, texts.get(f"controls.done_{key}", n=count))
        await self._section.refresh()


class ApprovalRulesSection:
    """The rules that approve without a person."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def build(self) -> None:
        """Build the heading and the rules."""
        show_heading(self._visit.texts.get("controls.rules"))
        controls = self._visit.server.desk_controls
        self._section = Section(self._visit, controls.list_rules, self._show, skeleton_rows=2)

    def _show(self, rules: Sequence[ApprovalRule]) -> None:
        visit, texts = self._visit, self._visit.texts
        ui.label(texts.get("controls.rules_hint")).classes("muted")
        if rules:
            show_table(rules, self._list_columns(), caption=texts.get("controls.rules"))
        if visit.may(_SCOPE):
            ui.button(texts.get("controls.add_rule"), on_click=lambda: self._edit(None)).props(
                "flat"
            )

    def _list_columns(self) -> list[Column]:
        texts, may_edit = self._visit.texts, self._visit.may(_SCOPE)

        def show_state(rule: ApprovalRule) -> None:
            show_badge(texts.get("controls.on" if rule.enabled else "controls.off"))

        def show_edit(rule: ApprovalRule) -> None:
            button = ui.button(texts.get("controls.change"), on_click=partial(self._edit, rule))
            name_element(button.props("flat dense"), f"{texts.get('controls.change')} {rule.name}")

        columns = [
            Column(texts.get("controls.name"), lambda rule: rule.name),
            Column(texts.get("controls.state"), show_state),
            Column(
                texts.get("controls.max_change"),
                lambda rule: texts.share(rule.max_change),
                is_number=True,
            ),
            Column(texts.get("controls.min_evidence"), lambda rule: str(rule.min_evidence)),
            Column(
                texts.get("controls.min_profit"),
                lambda rule: texts.number(rule.min_profit_p10, 2),
                is_number=True,
            ),
            Column(
                texts.get("queue.filter_category"),
                lambda rule: ", ".join(rule.categories) or texts.get("controls.every_category"),
            ),
            Column(
                texts.get("controls.saved"),
                lambda rule: f"{rule.changed_by}, {texts.day(rule.changed_at)}",
            ),
        ]
        return [*columns, Column("", show_edit)] if may_edit else columns

    async def _edit(self, rule: ApprovalRule | None) -> None:
        visit, texts = self._visit, self._visit.texts
        try:
            categories = await visit.read(visit.server.catalogue.list_categories)
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        approved = await show_form(
            visit,
            texts.get("controls.rules"),
            partial(self._build_form, rule, categories),
            confirm=texts.get("frame.save"),
        )
        if approved is not None:
            notify_done(visit, texts.get("controls.rule_saved", n=approved))
            await self._section.refresh()

    def _build_form(
        self, rule: ApprovalRule | None, known: Sequence[str]
    ) -> Callable[[], Awaitable[int]]:
        """Build the fields of a rule, new or known; return what saves it."""
        visit, texts = self._visit, self._visit.texts

        def add_field(key: str, value: str) -> ui.input:
            return ui.input(texts.get(f"controls.{key}"), value=value).props("dense outlined")

        name = add_field("name", rule.name if rule else "")
        name.set_enabled(rule is None)
        enabled = ui.checkbox(texts.get("controls.on"), value=rule.enabled if rule else True)
        change = add_field("max_change_percent", f"{100 * rule.max_change:g}" if rule else "")
        grade = ui.select(
            [str(each) for each in EvidenceGrade],
            value=str(rule.min_evidence if rule else EvidenceGrade.A),
            label=texts.get("controls.min_evidence"),
        ).props("dense outlined options-dense")
        profit = add_field("min_profit", f"{rule.min_profit_p10:g}" if rule else "0")
        categories = ui.select(
            sorted({*known, *(rule.categories if rule else ())}),
            value=list(rule.categories) if rule else [],
            multiple=True,
            label=texts.get("queue.filter_category"),
        ).props("dense outlined options-dense use-chips")

        async def save() -> int:
            values = RuleValues(
                enabled=bool(enabled.value),
                max_change=read_number(change.value, "max_change") / 100,
                min_evidence=EvidenceGrade(grade.value),
                min_profit_p10=read_number(profit.value, "min_profit_p10"),
                categories=tuple(categories.value),
            )
            actions = ControlActions(visit.server.desk_controls)
            return await visit.write(actions.save_rule, visit.caller, name.value or "", values)

        return save
