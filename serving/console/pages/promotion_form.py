"""A new promotion: what would it bring, what stands against it? Looked at first, then filed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nicegui import ui
from pydantic import ValidationError

from features.contracts.errors import BadInput, ShopwrightError
from models.pricing.promotions.mechanics import Mechanic
from serving.console.frame import Console, Page
from serving.console.pages.promotion_view import (
    show_expected,
    show_items,
    show_warnings,
    write_terms,
)
from serving.console.parts import (
    read_number,
    read_whole_number,
    show_badge,
    show_heading,
    show_item_search,
)
from serving.console.section import show_error, show_skeleton
from serving.promotions.actions import PromotionActions
from serving.promotions.checks import CheckedPromotion
from serving.promotions.documents import FilePromotionRequest

_SCOPE = "pricing.propose"
# The fields of each mechanic; those that the what-if can estimate may stay empty.
_FIELDS = {
    Mechanic.PERCENT_OFF: ("percent",),
    Mechanic.PRICE_OFF: ("amount",),
    Mechanic.COUPON: ("percent", "amount", "take_up", "coupon_reach"),
    Mechanic.BUNDLE: ("amount", "take_up"),
    Mechanic.SPEND_SAVE: ("threshold", "amount", "repeats"),
    Mechanic.BUY_GET: ("buy", "free", "take_up"),
}
_SHARES = ("percent", "take_up", "coupon_reach", "reach")
_COUNTS = ("buy", "free")
_SHOWN_PROBLEMS = 20


def add_pages(console: Console) -> None:
    """Add the form of a new promotion."""

    @console.page("/promotions/new", "promotions", _SCOPE)
    async def new_promotion(page: Page) -> None:
        await _PromotionForm(page).build()


@dataclass
class _PromotionForm:
    """The form as one person has it open, and what was looked at last."""

    page: Page
    values: dict[str, Any] = field(default_factory=dict)
    item_ids: list[str] = field(default_factory=list)
    looked_at: FilePromotionRequest | None = None

    def __post_init__(self) -> None:
        self.visit = self.page.visit

    async def build(self) -> None:
        """Build what is offered, on what and when, and where the what-if is shown."""
        texts = self.visit.texts
        categories = await self.visit.read(self.visit.server.catalogue.list_categories)
        self.page.set_title(texts.get("promotions.title_new"))
        with ui.element("div").classes("form-columns"):
            with ui.element("section").classes("card form"):
                show_heading(texts.get("promotions.offer"))
                self._field("name")
                mechanic = ui.select(
                    {str(one): texts.get(f"promotions.mechanic_{one}") for one in Mechanic},
                    value=str(Mechanic.PERCENT_OFF),
                    label=texts.get("promotions.mechanic"),
                ).props("dense outlined")
                self.values["mechanic"] = mechanic
                self.terms = ui.element("div").classes("form")
                mechanic.on_value_change(lambda _event: self._build_terms())
                self._build_terms()
            with ui.element("section").classes("card form"):
                show_heading(texts.get("promotions.on_what"))
                self._build_items(list(categories))
                for name in ("starts_at", "ends_at"):
                    self._field(name).props("type=datetime-local stack-label")
                ui.label(texts.get("promotions.clock", zone=self.visit.zone)).classes("muted")
            with ui.element("section").classes("card form"):
                show_heading(texts.get("promotions.beside"))
                self._field("support")
                self._field("reach")
                self._field("funding")
                self._field("cost")
        with ui.element("div").classes("filters trial"):
            ui.button(texts.get("promotions.look"), on_click=self._look).props("unelevated")
            ui.label(texts.get("promotions.look_hint")).classes("muted")
        self.result = ui.element("div").classes("section scroll-target").props("aria-live=polite")

    def _field(self, name: str) -> ui.input:
        texts = self.visit.texts
        label = texts.get(f"promotions.field_{name}", currency=self.visit.currency)
        box = ui.input(label).props("dense outlined")
        self.values[name] = box
        return box

    def _build_terms(self) -> None:
        """Build the fields of the mechanic that is chosen."""
        chosen = Mechanic(self.values["mechanic"].value)
        for names in _FIELDS.values():
            for name in names:
                self.values.pop(name, None)
        self.terms.clear()
        with self.terms:
            for name in _FIELDS[chosen]:
                if name == "repeats":
                    label = self.visit.texts.get("promotions.field_repeats")
                    self.values[name] = ui.checkbox(label)
                else:
                    self._field(name).props("inputmode=decimal")
            hint = self.visit.texts.get(f"promotions.about_{chosen}")
            ui.label(hint).classes("muted")

    def _build_items(self, categories: list[str]) -> None:
        texts = self.visit.texts

        async def choose(item_ids: list[str]) -> None:
            self.item_ids = item_ids

        show_item_search(self.visit, texts.get("promotions.field_items"), [], choose, multiple=True)
        self.values["category"] = ui.select(
            categories,
            label=texts.get("promotions.field_category"),
            clearable=True,
            with_input=True,
        ).props("dense outlined options-dense")

    def _read_request(self, **more: object) -> FilePromotionRequest:
        """Return what the form says. Raises BadInput."""
        given: dict[str, object] = {"zone": self.visit.zone, **more}
        for name, box in self.values.items():
            value = box.value
            if isinstance(value, str):
                value = value.strip()
            if value in (None, ""):
                continue
            given[name] = _read_value(name, value, self._find_label(name))
        if self.item_ids:
            given["item_ids"] = self.item_ids
        try:
            return FilePromotionRequest.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            what = first["msg"].removeprefix("Value error, ")
            raise BadInput(what, where=self._find_label(name)) from error

    def _find_label(self, name: str) -> str:
        """Return the name of a field as it stands on the page."""
        return self.visit.texts.find(f"promotions.field_{name}", name).partition(",")[0]

    async def _look(self) -> None:
        visit = self.visit
        self.result.clear()
        with self.result:
            show_skeleton(6, visit.texts.get("frame.loading"))
        try:
            request = self._read_request()
            checked = await visit.check(
                PromotionActions(visit.server.promotions).check, visit.caller, request
            )
        except ShopwrightError as error:
            self.result.clear()
            with self.result:
                show_error(visit, error)
            return
        self.looked_at = request
        self.result.clear()
        with self.result:
            self._show(checked)
        ui.run_javascript(f"getHtmlElement({self.result.id}).scrollIntoView()")

    def _show(self, checked: CheckedPromotion) -> None:
        visit, texts = self.visit, self.visit.texts
        draft = checked.draft
        show_heading(
            texts.get("promotions.title_of", name=draft.name, offer=write_terms(visit, draft))
        )
        if checked.problems:
            with ui.element("div").classes("problem").props("role=alert"):
                ui.label(texts.get("promotions.against")).classes("problem-title")
                titles = {item.item_id: item.title or item.item_id for item in draft.items}
                for problem in checked.problems[:_SHOWN_PROBLEMS]:
                    title = titles.get(problem.item_id, problem.item_id)
                    ui.label(f"{title}: {problem.why}" if title else problem.why)
                if len(checked.problems) > _SHOWN_PROBLEMS:
                    ui.label(texts.get("bulk.more", n=len(checked.problems) - _SHOWN_PROBLEMS))
        else:
            show_badge(texts.get("promotions.nothing_against"), "better")
        show_warnings(draft)
        show_expected(visit, draft)
        show_items(visit, draft)
        if all(problem.rule is not None for problem in checked.problems):
            self._build_filing(checked)

    def _build_filing(self, checked: CheckedPromotion) -> None:
        texts = self.visit.texts
        confirmed = meant = None
        rules = sorted({problem.rule for problem in checked.problems if problem.rule})
        if rules:
            meant = ui.checkbox(texts.get("promotions.confirm_rules", rules=", ".join(rules)))
        if checked.large_moves:
            moves = "; ".join(map(str, checked.large_moves[:3]))
            confirmed = ui.checkbox(texts.get("promotions.confirm", moves=moves))
        with ui.element("div").classes("filters trial"):
            reason = ui.input(texts.get("frame.reason")).props("dense outlined").classes("wide")

            async def file() -> None:
                is_meant = confirmed is not None and confirmed.value
                chosen = rules if meant is not None and meant.value else []
                values = {"reason": reason.value or None, "confirm_large_change": bool(is_meant)}
                await self._file({**values, "confirm": chosen})

            ui.button(texts.get("promotions.file"), on_click=file).props("unelevated")
            ui.label(texts.get("propose.four_eyes")).classes("muted")
        self.problem = ui.element("div").classes("section").props("aria-live=assertive")

    async def _file(self, values: Mapping[str, object]) -> None:
        """File what was looked at, with its reason and what was confirmed."""
        visit = self.visit
        if self.looked_at is None:
            return
        request = self.looked_at.model_copy(update=values)
        try:
            filed = await visit.write(
                PromotionActions(visit.server.promotions).file, visit.caller, request
            )
        except ShopwrightError as error:
            self.problem.clear()
            with self.problem:
                show_error(visit, error)
            return
        ui.navigate.to(f"/promotions/{filed.id}")


def _read_value(name: str, value: object, label: str) -> object:
    """Return a value of the form as the request takes it. Raises BadInput."""
    if name == "support":
        return [kind.strip() for kind in str(value).split(",") if kind.strip()]
    if name in _SHARES:
        return read_number(value, label) / 100
    if name in _COUNTS:
        return read_whole_number(value, label)
    return value
