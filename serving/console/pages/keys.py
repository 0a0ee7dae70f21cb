"""Keys: the programs that may call the shop, and what each may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui

from features.contracts.errors import ShopwrightError
from serving.access import SCOPES
from serving.console.frame import Console, Page
from serving.console.parts import (
    Column,
    ask,
    name_element,
    notify_done,
    notify_problem,
    show_badge,
    show_form,
    show_secret,
    show_table,
)
from serving.console.section import Section, show_empty
from serving.keys.repository import KeyRecord
from serving.keys.service import NewKey

_SCOPE = "people.manage"


def add_pages(console: Console) -> None:
    """Add the page of the keys."""

    @console.page("/keys", "keys", _SCOPE)
    def show_keys(page: Page) -> None:
        _KeysPage(page).build()


class _KeysPage:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._service = page.visit.server.keys
        self._section: Section[list[KeyRecord]]

    def build(self) -> None:
        """Show the filter, and the keys."""
        texts = self._visit.texts
        with self._page.actions:
            ui.button(texts.get("keys.new"), icon="add", on_click=self._create).props("unelevated")
        with ui.element("div").classes("filters"):
            revoked = ui.checkbox(
                texts.get("keys.show_revoked"), value="revoked" in self._visit.parameters
            )
            revoked.on_value_change(lambda event: self._filter(bool(event.value)))
        self._section = Section(self._visit, self._service.list_keys, self._show)

    async def _filter(self, with_revoked: bool) -> None:
        self._visit.set_parameters(revoked="yes" if with_revoked else None)
        await self._section.refresh()

    def _show(self, keys: list[KeyRecord]) -> None:
        texts = self._visit.texts
        working = [key for key in keys if key.revoked_at is None]
        title = texts.get("keys.title", n=len(working))
        if len(working) < len(keys):
            title += texts.get("keys.title_revoked", n=len(keys) - len(working))
        self._page.set_title(title)
        rows = keys if "revoked" in self._visit.parameters else working
        if not rows:
            show_empty(
                texts.get("keys.empty"),
                texts.get("keys.empty_text"),
                "shopwright keys create --scope storefront --name storefront",
            )
            return
        columns = [
            Column(texts.get("keys.holder"), self._show_holder),
            Column(texts.get("keys.begins"), lambda key: f"{key.prefix}…"),
            Column(texts.get("keys.scopes"), self._show_scopes),
            Column(texts.get("keys.created"), lambda key: texts.time(key.created_at)),
            Column(texts.get("keys.state"), self._show_state),
            Column(texts.get("keys.actions"), self._show_actions),
        ]
        show_table(rows, columns, caption=texts.get("keys.name"))

    def _show_holder(self, key: KeyRecord) -> None:
        ui.label(key.name).classes("strong")
        ui.label(key.id).classes("muted")

    def _show_scopes(self, key: KeyRecord) -> None:
        with ui.element("div").classes("badges"):
            for scope in key.scopes:
                show_badge(scope).tooltip(self._explain(scope))

    def _explain(self, scope: str) -> str:
        return self._visit.texts.get(f"keys.scope_{scope.replace('.', '_')}")

    def _show_state(self, key: KeyRecord) -> None:
        texts = self._visit.texts
        if key.revoked_at is None:
            show_badge(texts.get("keys.works"), "better")
        else:
            show_badge(texts.get("keys.revoked"), "warn").tooltip(texts.time(key.revoked_at))

    def _show_actions(self, key: KeyRecord) -> None:
        texts = self._visit.texts
        if key.revoked_at is None:
            button = ui.button(texts.get("keys.revoke"), on_click=partial(self._revoke, key))
            name_element(button.props("flat dense"), texts.get("keys.revoke_of", name=key.name))

    async def _create(self) -> None:
        texts = self._visit.texts

        def build() -> Callable[[], Awaitable[NewKey]]:
            name = ui.input(texts.get("keys.holder"), placeholder=texts.get("keys.holder_hint"))
            name.props("outlined dense autofocus autocomplete=off")
            boxes = {}
            with ui.element("fieldset").classes("choices"):
                with ui.element("legend"):
                    ui.label(texts.get("keys.scopes"))
                for scope in SCOPES:
                    with ui.element("div").classes("choice"):
                        boxes[scope] = ui.checkbox(scope).props("dense")
                        ui.label(self._explain(scope)).classes("muted")

            async def save() -> NewKey:
                scopes = [scope for scope, box in boxes.items() if box.value]
                return await self._visit.write_with(
                    _SCOPE,
                    self._service.create,
                    name.value or "",
                    scopes,
                    actor=self._visit.caller.id,
                )

            return save

        made = await show_form(
            self._visit, texts.get("keys.new"), build, confirm=texts.get("keys.create")
        )
        if made is None:
            return
        heading = texts.get("keys.was_created", name=made.record.name)
        await show_secret(self._visit, heading, texts.get("keys.key_once"), made.key)
        await self._section.refresh()

    async def _revoke(self, key: KeyRecord) -> None:
        texts = self._visit.texts
        answer = await ask(
            self._visit,
            texts.get("keys.revoke_question", name=key.name),
            texts.get("keys.revoke_explanation"),
            confirm=texts.get("keys.revoke"),
        )
        if answer is None:
            return
        try:
            await self._visit.write_with(
                _SCOPE, self._service.revoke, key.id, actor=self._visit.caller.id
            )
        except ShopwrightError as error:
            notify_problem(self._visit, error)
            return
        notify_done(self._visit, texts.get("keys.was_revoked", name=key.name))
        await self._section.refresh()
