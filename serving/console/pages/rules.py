"""Rules: which limits do suggested prices keep? A form with meanings, versions, what changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import yaml
from nicegui import ui

from features.contracts.errors import BadInput, ShopwrightError
from models.pricing.rules import PricingRules
from serving.console.frame import Console, Page
from serving.console.log_parts import name_author
from serving.console.pages.desk_controls import ApprovalRulesSection, StopSection
from serving.console.pages.reject_reasons import RejectReasonsSection
from serving.console.pages.scenario_view import run_scenario, show_outcome
from serving.console.parts import (
    Column,
    ask,
    notify_done,
    notify_problem,
    read_number,
    read_whole_number,
    show_form,
    show_heading,
    show_table,
)
from serving.console.section import Section
from serving.console.visit import Visit
from serving.price_desk.scenario_repository import Scenario, ScenarioOrder
from serving.versioned_rules import (
    FILE,
    NamedRules,
    NewVersion,
    RuleActions,
    RuleChange,
    RuleDifference,
)

_SCOPE = "pricing.manage"
# The values of the form: shares are typed as percentages.
_SHARES = (
    "max_change",
    "untested_step",
    "min_margin",
    "tried_margin",
    "max_over_list",
    "min_gain",
    "revenue_floor",
    "max_changes_share",
    "risk_aversion",
    "max_losing_share",
)
_NUMBERS = (
    "min_gain_minor",
    "min_days_between_changes",
    "rejected_days",
    "max_changes",
    "horizon_weeks",
)
_CHOICES = {
    "objective": ("profit", "revenue", "units", "mix", "sell_through"),
    "min_grade": ("A", "B", "C"),
    "without_evidence": ("keep", "cost_plus", "competitor_index"),
}
_FIELDS = (*_CHOICES, *_SHARES, *_NUMBERS)
# What is valid where the rules do not name a value; None is no limit.
_DEFAULTS = {field.name: field.default for field in fields(PricingRules) if field.name in _FIELDS}


def add_pages(console: Console) -> None:
    """Add the page of the rules."""

    @console.page("/rules", "rules")
    def rules(page: Page) -> None:
        _RulesPage(page).build()


@dataclass(frozen=True)
class _Rules:
    """All rules as they are valid now, and the versions of the one that is looked at."""

    sets: Sequence[NamedRules]
    shown: NamedRules
    changes: Sequence[RuleChange]


class _RulesPage:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit

    def build(self) -> None:
        """Build the rules of the name in the address."""
        self._section = Section(self._visit, self._read, self._show)
        ApprovalRulesSection(self._visit).build()
        StopSection(self._visit).build()
        RejectReasonsSection(self._visit).build()

    def _read(self) -> _Rules:
        service = self._visit.server.pricing_rules
        sets = service.list_rules()
        names = [rule_set.name for rule_set in sets]
        wanted = self._visit.parameters.get("name", "default")
        name = wanted if wanted in names else names[0]
        shown = next(rule_set for rule_set in sets if rule_set.name == name)
        return _Rules(sets, shown, service.list_versions(name))

    def _show(self, rules: _Rules) -> None:
        visit, texts = self._visit, self._visit.texts
        shown = rules.shown
        self._page.set_title(
            texts.get("rules.title", name=shown.name, number=shown.number)
            if shown.number != FILE
            else texts.get("rules.title_file", name=shown.name)
        )
        with ui.element("div").classes("filters"):
            ui.select(
                [rule_set.name for rule_set in rules.sets],
                value=shown.name,
                label=texts.get("rules.choose"),
                on_change=lambda event: self._choose(event.value),
            ).props("dense outlined")
            if visit.may(_SCOPE):
                ui.button(
                    texts.get("rules.edit_all"), on_click=partial(self._edit_all, shown)
                ).props("flat")
            ui.button(
                texts.get("rules.export"), icon="download", on_click=partial(self._export, shown)
            ).props("flat")
        form = _RulesForm(self, shown)
        form.build()
        show_heading(texts.get("rules.versions"))
        self._show_versions(rules)

    async def _choose(self, name: str) -> None:
        self._visit.set_parameters(name=name)
        await self._section.refresh()

    def _export(self, shown: NamedRules) -> None:
        text = self._visit.server.pricing_rules.export_yaml(shown.name)
        ui.download.content(text, f"{shown.name}.yaml")

    def _show_versions(self, rules: _Rules) -> None:
        texts = self._visit.texts
        if not rules.changes:
            ui.label(texts.get("rules.no_versions")).classes("muted")
            return

        name, number = rules.shown.name, rules.shown.number
        restore = partial(self._restore, name) if self._visit.may(_SCOPE) else None
        show_versions(self._visit, rules.changes, number, restore)
        if rules.shown.number != FILE and self._visit.may(_SCOPE):
            ui.button(
                texts.get("rules.restore_file"),
                on_click=partial(self._restore, rules.shown.name, FILE),
            ).props("flat")

    async def _restore(self, name: str, number: int) -> None:
        visit, texts = self._visit, self._visit.texts
        comment = await ask(
            visit,
            texts.get("rules.ask_restore", number=number, name=name),
            texts.get("rules.valid_at_once"),
            confirm=texts.get("rules.restore"),
            reason=True,
        )
        if comment is None:
            return
        try:
            await visit.write(
                RuleActions(visit.server.pricing_rules).restore,
                visit.caller,
                name,
                number,
                comment,
            )
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        notify_done(visit, texts.get("rules.restored", name=name))
        await self._section.refresh()

    async def save(self, shown: NamedRules, values: Mapping[str, object], comment: str) -> None:
        """Save values as a new version. Raises as PricingRulesService.save."""
        visit = self._visit
        new = NewVersion(shown.name, values, comment, shown.number)
        await visit.write(RuleActions(visit.server.pricing_rules).save, visit.caller, new)
        notify_done(visit, visit.texts.get("rules.saved", name=shown.name))
        await self._section.refresh()

    async def _edit_all(self, shown: NamedRules) -> None:
        """Edit every value as YAML: scopes, stages, families and what the form does not have."""
        texts = self._visit.texts

        def build() -> Callable[[], Awaitable[bool]]:
            text = yaml.safe_dump(dict(shown.values), allow_unicode=True, sort_keys=False)
            area = ui.textarea(texts.get("rules.values"), value=text)
            area.props("outlined autogrow").classes("yaml")
            comment = ui.input(texts.get("rules.comment")).props("outlined dense")

            async def submit() -> bool:
                await self.save(shown, read_yaml(area.value), comment.value or "")
                return True

            return submit

        await show_form(
            self._visit,
            texts.get("rules.edit_heading", name=shown.name),
            build,
            confirm=texts.get("rules.save"),
        )


class _RulesForm:
    """The usual values, each with what it means beside it."""

    def __init__(self, parent: _RulesPage, shown: NamedRules) -> None:
        self._parent, self._shown = parent, shown
        self._visit = parent._visit
        self._inputs: dict[str, Any] = {}

    def build(self) -> None:
        """Build a row per value, that of a rule that is not named too; what is empty is not
        limited, or as shipped."""
        visit, texts = self._visit, self._visit.texts
        with ui.element("div").classes("rules-form"):
            for name in _FIELDS:
                self._build_field(name)
        if not visit.may(_SCOPE):
            return
        with ui.element("div").classes("filters"):
            ui.button(texts.get("rules.try"), on_click=self._try).props("outline")
            comment = ui.input(texts.get("rules.comment")).props("dense outlined").classes("wide")
            ui.button(
                texts.get("rules.save"), on_click=lambda: self._save(comment.value or "")
            ).props("unelevated")
        ui.label(texts.get("rules.try_hint", zone=visit.zone)).classes("muted")
        self._trial = ui.element("div").classes("section").props("aria-live=polite")

    def _build_field(self, name: str) -> None:
        texts = self._visit.texts
        value = self._shown.values.get(name, _DEFAULTS[name])
        label = texts.get(f"rules.field_{name}")
        field: Any
        if name in _CHOICES:
            options = {key: texts.find(f"rules.choice_{key}", key) for key in _CHOICES[name]}
            field = ui.select(options, value=value if value in options else None, label=label)
        else:
            shown = "" if value is None else _write_value(name, value)
            field = ui.input(label, value=shown).props("inputmode=decimal")
        field.props("dense outlined stack-label")
        field.set_enabled(self._visit.may(_SCOPE))
        self._inputs[name] = field
        ui.label(texts.get(f"rules.meaning_{name}")).classes("muted")

    def _read_values(self) -> dict[str, object]:
        """Return all values, with those of the form. Raises BadInput."""
        values = dict(self._shown.values)
        for name, field in self._inputs.items():
            value = _read_value(name, field.value)
            if value is None:
                values.pop(name, None)
            elif name in values or value != _DEFAULTS[name]:
                values[name] = value
        return values

    async def _save(self, comment: str) -> None:
        try:
            await self._parent.save(self._shown, self._read_values(), comment)
        except ShopwrightError as error:
            notify_problem(self._visit, error)

    async def _try(self) -> None:
        """Compute what the values of the form would do to the zone; nothing is saved."""
        visit, texts = self._visit, self._visit.texts
        try:
            values = self._read_values()
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        if values == dict(self._shown.values):
            ui.notify(texts.get("rules.try_nothing"))
            return
        order = ScenarioOrder(
            zone=visit.zone,
            title=texts.get("rules.draft_of", name=self._shown.name),
            rules=self._shown.name,
            values=values,
        )
        await run_scenario(visit, self._trial, order, self._show_trial)

    async def _show_trial(self, scenario: Scenario) -> None:
        if scenario.outcome is None:
            return
        texts = self._visit.texts
        show_heading(texts.get("rules.tried"))
        show_outcome(self._visit, scenario.outcome, texts.get("rules.draft"))
        ui.label(texts.get("rules.tried_hint")).classes("muted")
        ui.link(texts.get("rules.as_scenario"), f"/scenarios?compare={scenario.id}")


def show_versions(
    visit: Visit,
    changes: Sequence[RuleChange],
    valid: int,
    restore: Callable[[int], Awaitable[None]] | None,
) -> None:
    """Show versions, the newest first.

    valid     the number of the one that is valid now
    restore   restores the one of a number; None for who may not
    """
    texts = visit.texts

    def add_restore(change: RuleChange) -> None:
        number = change.version.number
        if number != valid and restore is not None:
            ui.button(texts.get("rules.restore"), on_click=partial(restore, number)).props(
                "flat dense"
            )

    show_table(
        list(reversed(changes)),
        [
            Column(texts.get("rules.number"), lambda change: str(change.version.number)),
            Column(texts.get("rules.at"), lambda change: texts.time(change.version.created_at)),
            Column(
                texts.get("rules.author"), lambda change: name_author(texts, change.version.author)
            ),
            Column(texts.get("rules.comment"), lambda change: change.version.comment),
            Column(
                texts.get("rules.changed"), lambda change: write_differences(change.differences)
            ),
            Column("", add_restore),
        ],
        caption=texts.get("rules.versions"),
    )


def _write_value(name: str, value: Any) -> str:
    if name in _SHARES:
        return f"{100 * float(value):.6g}"
    return str(value)


def _read_value(name: str, text: str | None) -> object:
    """Return a value of the form, None for an empty one. Raises BadInput."""
    if text is None or not str(text).strip():
        return None
    if name in _CHOICES:
        return text
    if name in _SHARES:
        return round(read_number(text, name) / 100, 8)
    return read_whole_number(text, name)


def read_yaml(text: str) -> dict[str, object]:
    """Return the values of a text. Raises BadInput for what is no table of names and values."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput("this is no YAML", where=str(error).partition("\n")[0]) from error
    if not isinstance(values, dict):
        raise BadInput("rules are names with values", hint="As max_change: 0.1")
    return values


def write_differences(differences: Sequence[RuleDifference]) -> str:
    """Return what a version changed: max_change 0.1 → 0.15."""
    return "; ".join(f"{one.path} {_show(one.before)} → {_show(one.after)}" for one in differences)


def _show(value: object) -> str:
    return "–" if value is None else str(value)
