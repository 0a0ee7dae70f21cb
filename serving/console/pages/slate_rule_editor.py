"""The editor of a set of merchandising rules: a draft, tried on the slate before it is saved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from nicegui import ui

from features.contracts.errors import ShopwrightError
from models.ranking.slate.merchandising_rules import RuleSet
from serving.console.pages.rules import show_versions
from serving.console.pages.slate_rule_form import check_name, edit_rule
from serving.console.pages.slate_rule_words import name_placement, write_items
from serving.console.pages.slate_rules import RuleRow, list_columns, show_validity
from serving.console.pages.slate_view import Preview, SlateView, describe_preview
from serving.console.parts import (
    Column,
    ask,
    name_element,
    notify_done,
    notify_problem,
    show_badge,
    show_form,
    show_heading,
    show_notice,
    show_table,
)
from serving.console.section import Section, show_error, show_skeleton
from serving.console.visit import Visit
from serving.merchandising.present_sets import build_set
from serving.recommendations.service import SlateRequest
from serving.versioned_rules import (
    FILE,
    NamedRules,
    NewVersion,
    RuleActions,
    RuleChange,
    list_differences,
)

SCOPE = "slates.manage"
_NEW_SET = "new"


@dataclass(frozen=True)
class _Editable:
    """The sets, the one that is edited, its rules as the draft has them, and its versions.

    problem   why its rules cannot be shown
    """

    sets: Sequence[NamedRules]
    shown: NamedRules
    rows: Sequence[RuleRow]
    changes: Sequence[RuleChange]
    problem: ShopwrightError | None = None


class RuleSetEditor:
    """The editor as one manager has it open.

    read_request    returns the request of the slate that is looked at
    needs_cart      whether it needs items on the page or in the cart, and has none
    show_saved      shows the page again under the rules that were saved
    """

    def __init__(
        self,
        visit: Visit,
        read_request: Callable[[], SlateRequest],
        needs_cart: Callable[[], bool],
        show_saved: Callable[[], Awaitable[None]],
    ) -> None:
        self._visit = visit
        self._read_request = read_request
        self._needs_cart = needs_cart
        self._show_slate = show_saved
        self._actions = RuleActions(visit.server.merchandising)
        self._name: str | None = None  # of the set
        self._draft: dict[str, object] | None = None  # None: as it is saved

    def build(self) -> None:
        """Build the set, what is to be saved of it, and where a trial is shown."""
        self._editor = Section(self._visit, self._read_set, self._show_editor, skeleton_rows=3)
        self._trial = ui.element("div").classes("section scroll-target").props("aria-live=polite")

    async def refresh(self) -> None:
        """Show the editor again: another placement is looked at, or a set was saved."""
        self._trial.clear()
        await self._editor.refresh()

    @property
    def _followed(self) -> tuple[str, ...]:
        """The sets that the placement follows."""
        placements = self._visit.server.served_models.placements
        return placements[self._read_request().placement].rules

    def _read_set(self) -> _Editable:
        service = self._visit.server.merchandising
        sets = service.list_rules()
        names = [one.name for one in sets]
        if self._name is None:
            self._name = next(iter(self._followed), names[0] if names else _NEW_SET)
        name = self._name
        if name in names:
            shown = next(one for one in sets if one.name == name)
            changes = service.list_versions(name)
        else:
            shown, changes = NamedRules(name, {}, None), []
        values = shown.values if self._draft is None else self._draft
        try:
            rows = self._describe_rules(name, values, shown.values)
        except ShopwrightError as error:  # a version of a later release
            return _Editable(sets, shown, [], changes, error)
        return _Editable(sets, shown, rows, changes)

    def _describe_rules(
        self, name: str, values: Mapping[str, object], saved: Mapping[str, object]
    ) -> list[RuleRow]:
        before, after = _get_rules(saved), _get_rules(values)
        rows = []
        for rule_name, rule in build_set(name, values).rules.items():
            state = ""
            if rule_name not in before:
                state = "new"
            elif before[rule_name] != after[rule_name]:
                state = "changed"
            rows.append(RuleRow(rule_name, rule, write_items(self._visit, rule), state))
        return rows

    def _show_editor(self, editable: _Editable) -> None:
        texts, shown = self._visit.texts, editable.shown
        show_heading(texts.get("slates.edit_set"))
        ui.label(texts.get("slates.about_set")).classes("muted")
        self._show_choice(editable)
        if editable.problem is not None:
            show_error(self._visit, editable.problem)
            self._show_versions(editable)
            return
        self._show_set(shown)
        if editable.rows:
            columns = [
                *list_columns(self._visit),
                Column(texts.get("slates.state"), self._show_change),
                Column("", self._show_buttons),
            ]
            caption = texts.get("slates.rules_of", name=shown.name)
            show_table(editable.rows, columns, caption=caption)
        else:
            ui.label(texts.get("slates.set_empty")).classes("muted")
        ui.button(texts.get("slates.add"), icon="add", on_click=partial(self._edit, "")).props(
            "flat"
        )
        self._show_saving(shown)
        self._show_versions(editable)

    def _show_choice(self, editable: _Editable) -> None:
        texts = self._visit.texts
        names = {one.name: self._name_set(one) for one in editable.sets}
        if editable.shown.name not in names:
            names[editable.shown.name] = texts.get("slates.set_new", name=editable.shown.name)
        with ui.element("div").classes("filters"):
            select = ui.select(names, value=editable.shown.name, label=texts.get("slates.set"))
            select.props("dense outlined options-dense").classes("wide")
            select.on_value_change(lambda event: self._choose(event.value))
            ui.button(texts.get("slates.new_set"), on_click=self._start_set).props("flat")
            if editable.shown.name in {one.name for one in editable.sets}:
                ui.button(
                    texts.get("rules.export"),
                    icon="download",
                    on_click=partial(self._export, editable.shown.name),
                ).props("flat")

    def _name_set(self, rules: NamedRules) -> str:
        texts = self._visit.texts
        origin = texts.get("slates.set_file")
        if rules.number != FILE:
            origin = texts.get("slates.set_version", number=rules.number)
        key = "slates.set_followed" if rules.name in self._followed else "slates.set_other"
        return texts.get(key, name=rules.name, origin=origin)

    def _show_set(self, shown: NamedRules) -> None:
        """Show which placements follow the set, to change."""
        visit, texts = self._visit, self._visit.texts
        values = self._values(shown)
        server = visit.server.served_models
        named_by_file = [
            name
            for name, placement in server.placements.items()
            if shown.name in placement.rules
            and name not in _get_set(server.rules, shown.name).placements
        ]
        with ui.element("div").classes("filters"):
            placements = ui.select(
                {name: name_placement(visit, name) for name in server.placements},
                value=[name for name in _get_placements(values) if name in server.placements],
                label=texts.get("slates.set_placements"),
                multiple=True,
            )
            placements.props("dense outlined options-dense use-chips").classes("wide")
            placements.on_value_change(
                lambda event: self._change(shown, "placements", list(event.value or ()))
            )
            description = ui.input(
                texts.get("slates.set_description"), value=str(values.get("description", ""))
            )
            description.props("dense outlined debounce=600").classes("wide")
            description.on(
                "blur", lambda: self._change(shown, "description", description.value or "")
            )
        if named_by_file:
            names = ", ".join(name_placement(visit, name) for name in named_by_file)
            ui.label(texts.get("slates.set_by_file", placements=names)).classes("muted")

    def _show_change(self, row: RuleRow) -> None:
        if row.state:
            show_badge(self._visit.texts.get(f"slates.rule_{row.state}"), "warn")
        else:
            show_validity(self._visit, row)

    def _show_buttons(self, row: RuleRow) -> None:
        texts = self._visit.texts
        with ui.element("div").classes("actions nowrap"):
            for key, action in (("edit", self._edit), ("remove", self._remove)):
                button = ui.button(texts.get(f"slates.{key}"), on_click=partial(action, row.name))
                name_element(button.props("flat dense"), f"{texts.get(f'slates.{key}')} {row.name}")

    def _show_saving(self, shown: NamedRules) -> None:
        texts = self._visit.texts
        differences = list_differences(shown.values, self._values(shown))
        if not differences:
            return
        with ui.element("div").classes("notice").props("role=status"):
            ui.label(texts.get("slates.unsaved", n=len(differences)))
        with ui.element("div").classes("filters trial"):
            ui.button(texts.get("slates.try"), on_click=self._try).props("outline")
            comment = ui.input(texts.get("rules.comment")).props("dense outlined").classes("wide")
            ui.button(
                texts.get("rules.save"), on_click=lambda: self._save(shown, comment.value or "")
            ).props("unelevated")
            ui.button(texts.get("slates.discard"), on_click=self._discard).props("flat")
        ui.label(texts.get("slates.try_hint")).classes("muted")

    def _show_versions(self, editable: _Editable) -> None:
        if editable.changes:
            name, number = editable.shown.name, editable.shown.number
            show_heading(self._visit.texts.get("rules.versions"), level=3)
            show_versions(self._visit, editable.changes, number, partial(self._restore, name))

    # --- what people do ---

    def _values(self, shown: NamedRules) -> dict[str, object]:
        """Return the values of the draft, or those that are saved."""
        return dict(shown.values) if self._draft is None else self._draft

    async def _choose(self, name: str) -> None:
        self._name, self._draft = name, None
        self._trial.clear()
        await self._editor.refresh()

    async def _start_set(self) -> None:
        """Ask for the name of a new set, and edit it; nothing is saved yet."""
        texts = self._visit.texts

        def build() -> Callable[[], Awaitable[str]]:
            field = ui.input(texts.get("slates.set_name")).props("dense outlined maxlength=40")
            ui.label(texts.get("slates.bad_name")).classes("muted")

            async def read() -> str:
                return check_name(self._visit, field.value, texts.get("slates.set_name"))

            return read

        name = await show_form(
            self._visit, texts.get("slates.new_set"), build, confirm=texts.get("slates.ok")
        )
        if name is not None:
            await self._choose(name)

    def _export(self, name: str) -> None:
        ui.download.content(self._visit.server.merchandising.export_yaml(name), f"{name}.yaml")

    async def _read_values(self) -> dict[str, object]:
        """Return the values that are edited."""
        editable = await self._visit.read(self._read_set)
        return self._values(editable.shown)

    async def _change(self, shown: NamedRules, key: str, value: object) -> None:
        values = self._values(shown)
        if value == values.get(key, type(value)()):
            return
        self._draft = {**values, key: value}
        await self._editor.refresh()

    async def _edit(self, name: str) -> None:
        values = await self._read_values()
        rules = _get_rules(values)
        edited = await edit_rule(self._visit, name, rules.get(name, {}))
        if edited is None:
            return
        changed: dict[str, Mapping[str, object]] = {}
        for key, rule in rules.items():  # a rule keeps its place: pins depend on it
            if key == name:
                changed[edited.name] = edited.values
            elif key != edited.name:
                changed[key] = rule
        changed.setdefault(edited.name, edited.values)
        self._draft = {**values, "rules": changed}
        await self._editor.refresh()

    async def _remove(self, name: str) -> None:
        values = await self._read_values()
        rules = {key: rule for key, rule in _get_rules(values).items() if key != name}
        self._draft = {**values, "rules": rules}
        await self._editor.refresh()

    async def _discard(self) -> None:
        self._draft = None
        self._trial.clear()
        await self._editor.refresh()

    async def _try(self) -> None:
        """Show the slate as it is served beside the slate under the draft; nothing is saved."""
        visit = self._visit
        self._trial.clear()
        with self._trial:
            show_skeleton(8, visit.texts.get("frame.loading"))
        try:
            previews = await visit.check(self._read_trial)
        except ShopwrightError as error:
            self._trial.clear()
            with self._trial:
                show_error(visit, error)
            return
        self._trial.clear()
        with self._trial:
            self._show_trial(*previews)
        ui.run_javascript(f"getHtmlElement({self._trial.id}).scrollIntoView()")

    def _read_trial(self) -> tuple[Preview, Preview]:
        visit, texts = self._visit, self._visit.texts
        name, values = self._name or _NEW_SET, self._draft or {}
        visit.server.merchandising.check_set(name, build_set(name, values))
        trial = visit.server.slate_trials.try_set(self._read_request(), name, values)
        return (
            describe_preview(visit, texts.get("slates.as_served"), trial.before),
            describe_preview(visit, texts.get("slates.with_draft"), trial.after),
        )

    def _show_trial(self, before: Preview, after: Preview) -> None:
        texts = self._visit.texts
        show_heading(texts.get("slates.tried"))
        name = self._name or _NEW_SET
        placement = self._read_request().placement
        drafted = _get_placements(self._draft or {})
        if before.item_ids == after.item_ids:
            follows = placement in drafted or name in self._followed
            key = "slates.tried_same" if follows else "slates.tried_unfollowed"
            show_notice(texts.get(key, name=name, placement=name_placement(self._visit, placement)))
        else:
            entered = len(set(after.item_ids) - set(before.item_ids))
            left = len(set(before.item_ids) - set(after.item_ids))
            moves = texts.get("slates.tried_moves", entered=entered, left=left)
            text = moves if entered or left else texts.get("slates.tried_reordered")
            ui.label(text).classes("strong")
        view = SlateView(self._visit, needs_cart=self._needs_cart())
        view.show_pair(before, after)
        view.show_withheld(after)

    async def _save(self, shown: NamedRules, comment: str) -> None:
        visit = self._visit
        new = NewVersion(shown.name, self._values(shown), comment, shown.number)
        try:
            await visit.write(self._actions.save, visit.caller, new)
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        undo = None
        if shown.values:  # a set that did not exist cannot be restored
            reason = visit.texts.get("undo.reason")
            undo = partial(self._put_back, shown.name, shown.number, reason)
        notify_done(visit, visit.texts.get("rules.saved", name=shown.name), undo)
        await self._show_saved()

    async def _restore(self, name: str, number: int) -> None:
        texts = self._visit.texts
        comment = await ask(
            self._visit,
            texts.get("rules.ask_restore", number=number, name=name),
            texts.get("slates.valid_at_once"),
            confirm=texts.get("rules.restore"),
            reason=True,
        )
        if comment is not None:
            await self._put_back(name, number, comment)

    async def _put_back(self, name: str, number: int, comment: str) -> None:
        visit = self._visit
        try:
            await visit.write(self._actions.restore, visit.caller, name, number, comment)
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        notify_done(visit, visit.texts.get("rules.restored", name=name))
        await self._show_saved()

    async def _show_saved(self) -> None:
        """Show the slate and the rules as they are now; other processes follow within seconds."""
        self._draft = None
        await self._visit.read(self._visit.server.served_models.refresh)
        await self._show_slate()
        await self.refresh()


def _get_set(sets: Mapping[str, RuleSet], name: str) -> RuleSet:
    return sets.get(name) or RuleSet()


def _get_rules(values: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """Return the rules in the values of a set, by name."""
    return dict(cast("Mapping[str, Mapping[str, object]]", values.get("rules", {})))


def _get_placements(values: Mapping[str, object]) -> list[str]:
    """Return the placements that the values of a set name."""
    return list(cast("Sequence[str]", values.get("placements", ())))
