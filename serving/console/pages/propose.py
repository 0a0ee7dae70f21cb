"""Propose prices by hand: one, a change by percent, or a file; checked and shown before filing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from nicegui import events, ui

from features.contracts.errors import BadInput, ShopwrightError
from features.contracts.money import to_minor
from serving.console.frame import Console, Page
from serving.console.parts import (
    Column,
    notify_done,
    notify_problem,
    read_number,
    show_heading,
    show_item_search,
    show_notice,
    show_table,
    show_upload,
)
from serving.console.queue_rows import name_rule, write_gain
from serving.console.section import show_skeleton
from serving.price_desk.actions import ProposalActions
from serving.price_desk.checked_prices import CheckedPrice, ProposedPrice
from serving.price_desk.price_files import read_prices
from serving.price_desk.proposals import CheckedProposal, ItemChoice, ProposalOptions

_SCOPE = "pricing.propose"
_SHOWN = 200


def add_pages(console: Console) -> None:
    """Add the page of proposals by hand."""

    @console.page("/prices/propose", "prices", _SCOPE)
    async def propose(page: Page) -> None:
        await _ProposePage(page).build()


@dataclass
class _ProposePage:
    """The page as one person has it open: what is proposed, and the last check of it."""

    page: Page

    def __post_init__(self) -> None:
        self.visit = self.page.visit
        self.item_id = self.visit.parameters.get("item")
        self.proposed: Sequence[ProposedPrice] = ()
        self.confirmed: frozenset[str] = frozenset()

    async def build(self) -> None:
        """Build the three ways to propose, and where the check is shown."""
        texts = self.visit.texts
        categories = await self.visit.read(self.visit.server.catalogue.list_categories)
        self.page.set_title(texts.get("propose.title"))
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("card"):
                show_heading(texts.get("propose.one"))
                self._build_one()
            with ui.element("section").classes("card"):
                show_heading(texts.get("propose.many"))
                self._build_percent(list(categories))
            with ui.element("section").classes("card"):
                show_heading(texts.get("propose.file"))
                ui.label(texts.get("propose.file_hint")).classes("muted")
                show_upload(self.visit, self._upload)
        self.reason = ui.input(texts.get("frame.reason")).props("dense outlined").classes("wide")
        self.result = ui.element("div").classes("section").props("aria-live=polite")

    def _build_one(self) -> None:
        texts = self.visit.texts

        async def choose(item_ids: list[str]) -> None:
            self.item_id = item_ids[0] if item_ids else None

        show_item_search(self.visit, texts.get("prices.item"), [], choose)
        price = ui.input(texts.get("propose.price", currency=self.visit.currency))
        price.props("dense outlined inputmode=decimal")
        ui.button(
            texts.get("propose.check"), on_click=lambda: self._check_one(price.value or "")
        ).props("unelevated")

    def _build_percent(self, categories: list[str]) -> None:
        texts = self.visit.texts
        category = ui.select(
            categories, label=texts.get("queue.filter_category"), clearable=True, with_input=True
        ).props("dense outlined options-dense")
        percent = ui.input(texts.get("propose.percent")).props("dense outlined inputmode=decimal")
        ui.button(
            texts.get("propose.check"),
            on_click=lambda: self._check_percent(category.value, percent.value or ""),
        ).props("unelevated")

    async def _check_one(self, text: str) -> None:
        try:
            if self.item_id is None:
                raise BadInput(self.visit.texts.get("prices.choose"), where="item_id")
            price = to_minor(text.strip(), self.visit.currency)
        except ShopwrightError as error:
            notify_problem(self.visit, error)
            return
        await self._check([ProposedPrice(1, self.item_id, self.visit.zone, price_minor=price)])

    async def _check_percent(self, category: str | None, text: str) -> None:
        visit = self.visit
        try:
            percent = read_number(text, "percent")
            choice = ItemChoice(visit.zone, category=category)
            item_ids = await visit.read(visit.server.proposals.choose_items, choice)
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        await self._check(
            [
                ProposedPrice(row, item_id, visit.zone, percent=percent)
                for row, item_id in enumerate(item_ids, 1)
            ]
        )

    async def _upload(self, upload: events.UploadEventArguments) -> None:
        visit = self.visit
        try:
            content = await upload.file.read()
            proposed = await visit.read(read_prices, content, visit.server.settings, visit.zone)
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        await self._check(proposed)

    async def _check(self, proposed: Sequence[ProposedPrice]) -> None:
        self.proposed, self.confirmed = proposed, frozenset()
        await self._show_check()

    def _options(self) -> ProposalOptions:
        return ProposalOptions(confirmed=self.confirmed, reason=self.reason.value or None)

    async def _show_check(self) -> None:
        visit = self.visit
        self.result.clear()
        with self.result:
            show_skeleton(4, visit.texts.get("frame.loading"))
        try:
            proposal = await visit.check(
                visit.server.proposals.check, visit.caller, self.proposed, self._options()
            )
        except ShopwrightError as error:
            self.result.clear()
            notify_problem(visit, error)
            return
        self.result.clear()
        with self.result:
            self._show(proposal)

    def _show(self, proposal: CheckedProposal) -> None:
        texts = self.visit.texts
        heading = texts.get("propose.checked", n=len(proposal.valid), refused=len(proposal.refused))
        show_heading(heading)
        broken = sorted({rule for price in proposal.refused for rule in price.broken})
        for rule in broken:
            with ui.element("div").classes("notice"):
                ui.label(texts.get("propose.breaks", rule=name_rule(rule, texts)))
                ui.button(
                    texts.get("propose.confirm"), on_click=partial(self._confirm, rule)
                ).props("flat dense")
        show_table(
            proposal.prices[:_SHOWN],
            [
                Column(texts.get("propose.row"), lambda one: str(one.proposed.row)),
                Column(
                    texts.get("queue.column_title"), lambda one: one.title or one.proposed.item_id
                ),
                Column(
                    texts.get("queue.column_now"),
                    lambda one: texts.money(one.current_minor, self._currency(one)),
                    is_number=True,
                ),
                Column(
                    texts.get("queue.column_new"),
                    lambda one: texts.money(one.price_minor, self._currency(one)),
                    is_number=True,
                ),
                Column(texts.get("queue.column_profit"), self._write_gain, is_number=True),
                Column(
                    texts.get("propose.nearest"),
                    lambda one: texts.money(one.nearest_minor, self._currency(one)),
                    is_number=True,
                    hint=texts.get("propose.nearest_hint"),
                ),
                Column(texts.get("propose.says"), _write_objections),
            ],
            caption=heading,
        )
        if len(proposal.prices) > _SHOWN:
            ui.label(texts.get("runs.first_items", n=_SHOWN)).classes("muted")
        if not proposal.valid:
            return
        show_notice(texts.get("propose.four_eyes"))
        ui.button(
            texts.get("propose.submit", n=len(proposal.valid)),
            on_click=partial(self._file, proposal),
        ).props("unelevated")

    def _currency(self, price: CheckedPrice) -> str:
        return price.currency or self.visit.currency

    def _write_gain(self, price: CheckedPrice) -> str:
        texts = self.visit.texts
        expected = (price.draft.expected or {}) if price.draft else {}
        gain = (expected.get("profit") or {}).get("against_keeping")
        return write_gain(gain, texts, self._currency(price))

    async def _confirm(self, rule: str) -> None:
        self.confirmed |= {rule}
        await self._show_check()

    async def _file(self, proposal: CheckedProposal) -> None:
        visit, texts = self.visit, self.visit.texts
        actions = ProposalActions(visit.server.proposals)
        try:
            filed = await visit.write(actions.file, visit.caller, proposal, self._options())
        except ShopwrightError as error:
            notify_problem(visit, error)
            return
        self.result.clear()
        notify_done(visit, texts.get("propose.done", n=len(filed.ids)))
        with self.result:
            ui.link(texts.get("runs.open_queue"), f"/queue?proposer={visit.caller.id}")


def _write_objections(price: CheckedPrice) -> str:
    parts = [*price.warnings, *price.broken.values()]
    if price.error is not None:
        parts.insert(0, str(price.error))
    return "; ".join(parts)
