"""People: who signs in, with which roles, and whether four eyes can see every price."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.access import ROLES, Area, Grant
from serving.console.frame import Console, Page
from serving.console.parts import (
    Column,
    ask,
    name_element,
    notify_done,
    notify_problem,
    show_badge,
    show_form,
    show_measure,
    show_notice,
    show_secret,
    show_table,
)
from serving.console.section import Section, show_empty
from serving.people.passwords import generate_password
from serving.people.repository import Person
from serving.people.service import NewPerson

_SCOPE = "people.manage"
_ACTIVE, _DISABLED = "active", "disabled"


def add_pages(console: Console) -> None:
    """Add the page of the people who sign in."""

    @console.page("/people", "people", _SCOPE)
    def show_people(page: Page) -> None:
        _PeoplePage(page).build()


@dataclass
class _Draft:
    """A role as it is edited; "" is every category, or every zone."""

    role: str = ROLES[0]
    category: str = ""
    zone: str = ""

    def to_grant(self) -> Grant:
        return Grant(self.role, Area(self.category or "", self.zone or ""))


class _Areas(NamedTuple):
    """The categories and zones to which a role may be limited."""

    categories: tuple[str, ...]
    zones: tuple[str, ...]


class _PeoplePage:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._service = page.visit.server.people
        self._section: Section[list[Person]]

    def build(self) -> None:
        """Show the filters, and everybody."""
        texts, parameters = self._visit.texts, self._visit.parameters
        with self._page.actions:
            ui.button(texts.get("people.new"), icon="add", on_click=self._create).props(
                "unelevated"
            )
        with ui.element("div").classes("filters"):
            search = ui.input(texts.get("people.search"), value=parameters.get("q", ""))
            search.props("dense outlined clearable debounce=300")
            search.on_value_change(lambda event: self._filter(q=event.value))
            states = {
                "": texts.get("people.state_all"),
                _ACTIVE: texts.get("people.state_active"),
                _DISABLED: texts.get("people.state_disabled"),
            }
            shown = parameters.get("show", "")
            state = ui.select(
                states, value=shown if shown in states else "", label=texts.get("people.state")
            ).props("dense outlined options-dense")
            state.on_value_change(lambda event: self._filter(show=event.value))
        self._section = Section(self._visit, self._service.list_people, self._show)

    async def _filter(self, **values: str | None) -> None:
        self._visit.set_parameters(**values)
        await self._section.refresh()

    def _show(self, people: list[Person]) -> None:
        texts = self._visit.texts
        active = [person for person in people if person.disabled_at is None]
        title = texts.get("people.title", n=len(active))
        if len(active) < len(people):
            title += texts.get("people.title_disabled", n=len(people) - len(active))
        self._page.set_title(title)
        self._show_four_eyes(active)
        rows = [person for person in people if self._matches(person)]
        if not rows:
            show_empty(
                texts.get("people.empty"),
                texts.get("people.empty_text"),
                "shopwright users create NAME --role analyst",
            )
            return
        columns = [
            Column(texts.get("people.person"), self._show_name),
            Column(texts.get("people.roles"), self._show_roles),
            Column(texts.get("people.proofs"), self._describe_proofs),
            Column(texts.get("people.last_sign_in"), self._describe_last_sign_in),
            Column(texts.get("people.state"), self._show_state),
            Column(texts.get("people.actions"), self._show_actions),
        ]
        show_table(rows, columns, caption=texts.get("people.name"))

    def _matches(self, person: Person) -> bool:
        wanted = self._visit.parameters.get("q", "").casefold()
        state = _ACTIVE if person.disabled_at is None else _DISABLED
        in_state = self._visit.parameters.get("show") in (None, state)
        return in_state and wanted in f"{person.name} {person.full_name}".casefold()

    def _show_four_eyes(self, active: Sequence[Person]) -> None:
        """Show how many may propose, approve and manage people, and where a second is missing."""
        texts = self._visit.texts
        able = {
            scope: [person for person in active if scope in person.to_caller().scopes]
            for scope in ("pricing.propose", "pricing.approve", _SCOPE)
        }
        with ui.element("div").classes("strip"):
            for scope, persons in able.items():
                name = texts.get(f"people.may_{scope.replace('.', '_')}")
                names = ", ".join(person.full_name for person in persons[:3])
                more = f" +{len(persons) - 3}" if len(persons) > 3 else ""
                show_measure(name, texts.number(len(persons)), (names or "–") + more)
        if not able["pricing.approve"]:
            show_notice(texts.get("people.no_approver"))
        elif len(able["pricing.approve"]) == 1:
            only = able["pricing.approve"][0]
            if only in able["pricing.propose"]:
                show_notice(texts.get("people.one_approver", name=only.full_name))
        if len(able[_SCOPE]) == 1:
            show_notice(texts.get("people.one_admin", name=able[_SCOPE][0].full_name))

    def _show_name(self, person: Person) -> None:
        ui.label(person.full_name).classes("strong")
        if person.name != person.full_name:
            ui.label(person.name).classes("muted")

    def _show_roles(self, person: Person) -> None:
        texts = self._visit.texts
        with ui.element("div").classes("badges"):
            for grant in person.grants:
                role = texts.get(f"people.role_{grant.role}")
                parts = [part for part in (grant.area.category, grant.area.zone) if part]
                badge = show_badge(" · ".join([role, *parts]))
                badge.tooltip(texts.get(f"people.role_{grant.role}_hint"))

    def _describe_proofs(self, person: Person) -> str:
        texts = self._visit.texts
        proofs = []
        if person.has_password:
            with_code = (
                "people.password_and_code" if person.has_second_factor else "people.password"
            )
            proofs.append(texts.get(with_code))
        if person.openid_subject or not person.has_password:
            proofs.append(texts.get("people.openid"))
        return ", ".join(proofs)

    def _describe_last_sign_in(self, person: Person) -> str:
        if person.last_sign_in_at is None:
            return self._visit.texts.get("people.never")
        return self._visit.texts.time(person.last_sign_in_at)

    def _show_state(self, person: Person) -> None:
        texts = self._visit.texts
        if person.disabled_at is None:
            show_badge(texts.get("people.state_active"), "better")
        else:
            badge = show_badge(texts.get("people.state_disabled"), "warn")
            badge.tooltip(texts.get("people.disabled_since", at=texts.time(person.disabled_at)))

    def _show_actions(self, person: Person) -> None:
        texts = self._visit.texts
        button = ui.button(icon="more_horiz").props("flat dense round")
        name_element(button, texts.get("people.actions_for", name=person.full_name))
        with button, ui.menu():
            if person.name != self._visit.person.name:
                _add_action(texts.get("people.edit_roles"), self._edit_roles, person)
            _add_action(texts.get("people.reset"), self._reset, person)
            if person.disabled_at is not None:
                _add_action(texts.get("people.enable"), self._enable, person)
            elif person.name != self._visit.person.name:
                _add_action(texts.get("people.disable"), self._disable, person)

    async def _create(self) -> None:
        texts = self._visit.texts
        areas = await self._visit.read(self._list_areas)
        passwords: list[str] = []

        def build() -> Callable[[], Awaitable[Person]]:
            name = ui.input(texts.get("people.sign_in_name")).props(
                "outlined dense autofocus autocomplete=off"
            )
            full_name = ui.input(texts.get("people.full_name")).props("outlined dense")
            drafts = [_Draft()]
            self._show_drafts(drafts, areas)
            has_openid = self._visit.server.settings.openid_issuer is not None
            generated = ui.checkbox(texts.get("people.make_password"), value=True)
            generated.set_visibility(has_openid)

            async def save() -> Person:
                password = generate_password() if generated.value else None
                passwords[:] = [password] if password else []
                grants = tuple(draft.to_grant() for draft in drafts)
                person = NewPerson(name.value or "", full_name.value or "", grants, password)
                return await self._write(self._service.create, person)

            return save

        person = await show_form(
            self._visit, texts.get("people.new"), build, confirm=texts.get("people.create")
        )
        if person is None:
            return
        if passwords:
            heading = texts.get("people.created", name=person.name)
            await show_secret(self._visit, heading, texts.get("people.password_once"), passwords[0])
        else:
            notify_done(self._visit, texts.get("people.created", name=person.name))
        await self._section.refresh()

    async def _edit_roles(self, person: Person) -> None:
        texts = self._visit.texts
        areas = await self._visit.read(self._list_areas)

        def build() -> Callable[[], Awaitable[Person]]:
            ui.label(texts.get("people.roles_hint")).classes("muted")
            drafts = [
                _Draft(grant.role, grant.area.category, grant.area.zone) for grant in person.grants
            ]
            self._show_drafts(drafts, areas)

            async def save() -> Person:
                grants = sorted({draft.to_grant() for draft in drafts})
                return await self._write(self._service.set_grants, person.name, grants)

            return save

        heading = texts.get("people.roles_of", name=person.full_name)
        saved = await show_form(self._visit, heading, build, confirm=texts.get("people.save_roles"))
        if saved is not None:
            undo = partial(self._undo, self._service.set_grants, person.name, person.grants)
            notify_done(self._visit, texts.get("people.roles_saved", name=person.full_name), undo)
            await self._section.refresh()

    def _list_areas(self) -> _Areas:
        server = self._visit.server
        zones = dict.fromkeys([*server.prices.list_zones(), *server.settings.zones])
        return _Areas(server.catalogue.list_categories(), tuple(zones))

    def _show_drafts(self, drafts: list[_Draft], areas: _Areas) -> None:
        """Show roles as rows of three fields, to change, add and remove."""
        texts = self._visit.texts
        categories = {"": texts.get("people.every_category")}
        categories |= {path: path for path in areas.categories}
        zones = {"": texts.get("people.every_zone")} | {zone: zone for zone in areas.zones}
        roles = {role: texts.get(f"people.role_{role}") for role in ROLES}

        @ui.refreshable
        def show_rows() -> None:
            for number, draft in enumerate(drafts):
                with ui.element("div").classes("field-row"):
                    for label, options, field in (
                        ("people.role", roles, "role"),
                        ("people.category", _with(categories, draft.category), "category"),
                        ("people.zone", _with(zones, draft.zone), "zone"),
                    ):
                        select = ui.select(
                            options, label=texts.get(label), with_input=len(options) > 8
                        ).props("dense outlined options-dense")
                        select.bind_value(draft, field)
                    remove = ui.button(icon="close", on_click=partial(drop, number))
                    remove.props("flat dense round")
                    name_element(remove, texts.get("people.remove_role"))
                    remove.set_enabled(len(drafts) > 1)

        def drop(number: int) -> None:
            del drafts[number]
            show_rows.refresh()

        def add() -> None:
            drafts.append(_Draft())
            show_rows.refresh()

        show_rows()
        ui.button(texts.get("people.add_role"), icon="add", on_click=add).props("flat dense")

    async def _reset(self, person: Person) -> None:
        texts = self._visit.texts
        answer = await ask(
            self._visit,
            texts.get("people.reset_question", name=person.full_name),
            texts.get("people.reset_explanation"),
            confirm=texts.get("people.reset"),
        )
        if answer is None:
            return
        password = generate_password()
        if await self._try(self._service.reset, person.name, password):
            heading = texts.get("people.was_reset", name=person.full_name)
            await show_secret(self._visit, heading, texts.get("people.password_once"), password)
            await self._section.refresh()

    async def _disable(self, person: Person) -> None:
        texts = self._visit.texts
        answer = await ask(
            self._visit,
            texts.get("people.disable_question", name=person.full_name),
            texts.get("people.disable_explanation"),
            confirm=texts.get("people.disable"),
        )
        if answer is not None and await self._try(self._service.disable, person.name):
            undo = partial(self._undo, self._service.enable, person.name)
            notify_done(self._visit, texts.get("people.was_disabled", name=person.full_name), undo)
            await self._section.refresh()

    async def _enable(self, person: Person) -> None:
        if await self._try(self._service.enable, person.name):
            text = self._visit.texts.get("people.was_enabled", name=person.full_name)
            undo = partial(self._undo, self._service.disable, person.name)
            notify_done(self._visit, text, undo)
            await self._section.refresh()

    async def _undo(self, change: Callable[..., Person], *values: object) -> None:
        if await self._try(change, *values):
            await self._section.refresh()

    async def _try(self, change: Callable[..., Person], *values: object) -> bool:
        """Make a change, or say why it is refused; return whether it was made."""
        try:
            await self._write(change, *values)
        except ShopwrightError as error:
            notify_problem(self._visit, error)
            return False
        return True

    async def _write(self, change: Callable[..., Person], *values: object) -> Person:
        return await self._visit.write_with(_SCOPE, change, *values, actor=self._visit.caller.id)


def _add_action(text: str, action: Callable[[Person], Awaitable[None]], person: Person) -> None:
    ui.menu_item(text, on_click=partial(action, person))


def _with(options: dict[str, str], value: str) -> dict[str, str]:
    """Return the options with a value that is not among them any more."""
    return options if value in options else {**options, value: value}
