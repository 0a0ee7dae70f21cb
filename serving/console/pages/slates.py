"""Slates: what a shopper would see at a placement, why, and under which rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

from nicegui import ui

from models.ranking.model import Policy
from models.ranking.placement import LEARNT, Placement
from models.registry import CHAMPION, NAMES, Version
from serving.catalogue.service import CatalogueItem
from serving.console.frame import Console, Page
from serving.console.pages.slate_rule_editor import SCOPE as EDITOR_SCOPE
from serving.console.pages.slate_rule_editor import RuleSetEditor
from serving.console.pages.slate_rule_words import name_placement
from serving.console.pages.slate_rules import RuleRow, read_rules, show_rules
from serving.console.pages.slate_view import Preview, SlateView, describe_preview
from serving.console.parts import is_untrained, show_item_search, show_notice, show_untrained
from serving.console.section import Section
from serving.recommendations.service import SlateAnswer, SlateRequest

_SCOPE = "storefront"
_COUNT = 12
_POLICIES: tuple[Policy, ...] = get_args(Policy)
_WHO = ("stranger", "user", "visitor")


def add_pages(console: Console) -> None:
    """Add the page of the slates."""

    @console.page("/slates", "slates", _SCOPE)
    async def show_slates(page: Page) -> None:
        await _SlatesPage(page).build()


class _SlatesPage:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._server = page.visit.server
        self._section: Section[list[Preview]]
        self._rules: Section[list[RuleRow]]
        self._editor: RuleSetEditor | None = None

    @property
    def _placements(self) -> Mapping[str, Placement]:
        """The placements of now: a set that is saved may change what they follow."""
        return self._server.served_models.placements

    @property
    def _placement(self) -> str:
        name = self._visit.parameters.get("placement", "home")
        return name if name in self._placements else next(iter(self._placements))

    async def build(self) -> None:
        """Show the fields of a request, the slate, and the rules of the placement."""
        versions = await self._visit.read(self._server.models.list_of_model, NAMES[0])
        cart = await self._visit.read(self._server.catalogue.find, self._read_cart())
        with ui.element("div").classes("filters"):
            self._show_fields(list(cart.values()), versions)
        ui.label(self._visit.texts.get("slates.no_trace")).classes("muted")
        self._section = Section(self._visit, self._load, self._show, skeleton_rows=8)
        self._rules = Section(
            self._visit,
            lambda: read_rules(self._visit, self._placement),
            lambda rows: show_rules(self._visit, rows),
            skeleton_rows=3,
        )
        if self._visit.may(EDITOR_SCOPE):
            self._editor = RuleSetEditor(
                self._visit, self._make_request, self._needs_cart, self._show_saved
            )
            self._editor.build()

    async def _show_saved(self) -> None:
        await self._section.refresh()
        await self._rules.refresh()

    def _show_fields(self, cart: list[CatalogueItem], versions: list[Version]) -> None:
        texts, parameters = self._visit.texts, self._visit.parameters
        names = {name: name_placement(self._visit, name) for name in self._placements}
        self._show_select("placement", names, self._placement)
        who = parameters.get("who", _WHO[0])
        shoppers = {name: texts.get(f"slates.who_{name}") for name in _WHO}
        self._show_select("who", shoppers, who if who in shoppers else _WHO[0])
        field = ui.input(texts.get("slates.id"), value=parameters.get("id", ""))
        field.props("dense outlined clearable debounce=400")
        field.on_value_change(lambda event: self._change("id", event.value))
        show_item_search(
            self._visit,
            texts.get("slates.cart"),
            cart,
            lambda ids: self._change("cart", ",".join(ids)),
            multiple=True,
        )
        others = {"": texts.get("slates.compare_none")}
        others |= {f"policy:{name}": texts.get(f"slates.policy_{name}") for name in _POLICIES}
        others |= {
            f"version:{one.version}": texts.get("slates.model_version", version=one.version)
            for one in versions
            if CHAMPION not in one.aliases
        }
        other = parameters.get("compare", "")
        self._show_select("compare", others, other if other in others else "")

    def _show_select(self, name: str, options: dict[str, str], value: str) -> None:
        select = ui.select(options, value=value, label=self._visit.texts.get(f"slates.{name}"))
        select.props("dense outlined options-dense")
        select.on_value_change(lambda event: self._change(name, event.value))

    async def _change(self, name: str, value: str | None) -> None:
        self._visit.set_parameters(**{name: value})
        await self._section.refresh()
        if name == "placement":
            await self._rules.refresh()
            if self._editor is not None:
                await self._editor.refresh()

    def _read_cart(self) -> list[str]:
        return [item_id for item_id in self._visit.parameters.get("cart", "").split(",") if item_id]

    def _load(self) -> list[Preview]:
        if is_untrained(self._visit, NAMES[0]):
            return []
        texts = self._visit.texts
        request = self._make_request()
        preview = self._server.recommendations.preview
        previews = [describe_preview(self._visit, texts.get("slates.as_served"), preview(request))]
        kind, _, other = self._visit.parameters.get("compare", "").partition(":")
        policy = next((name for name in _POLICIES if name == other), None)
        if kind == "policy" and policy is not None:
            answer = preview(replace(request), policy=policy)
            previews.append(
                describe_preview(self._visit, texts.get(f"slates.policy_{policy}"), answer)
            )
        elif kind == "version" and other:
            version = self._server.registry.find_version(NAMES[0], other)
            served = self._server.served_models.load_other_recommender(version)
            answer = preview(request, served=served)
            name = texts.get("slates.model_version", version=version.version)
            previews.append(describe_preview(self._visit, name, answer))
        return previews

    def _make_request(self) -> SlateRequest:
        """Return the request that the fields describe."""
        shopper, who = self._visit.parameters.get("id"), self._visit.parameters.get("who")
        return SlateRequest(
            placement=self._placement,
            user_id=shopper if who == "user" else None,
            visitor_id=shopper if who == "visitor" else None,
            item_ids=tuple(self._read_cart()),
            count=_COUNT,
            zone=self._visit.zone,
            explain=True,
        )

    def _show(self, previews: list[Preview]) -> None:
        if not previews:
            self._page.set_title(show_untrained(self._visit, NAMES[0]))
            return
        texts, first = self._visit.texts, previews[0]
        self._page.set_title(self._write_title(first))
        self._show_remarks(first.answer)
        view = SlateView(self._visit, needs_cart=self._needs_cart())
        if len(previews) == 1:
            view.show(first)
        else:
            same = len(set(first.item_ids) & set(previews[1].item_ids))
            ui.label(texts.get("slates.same", n=same)).classes("strong")
            if self._placements[self._placement].scorer not in LEARNT:
                ui.label(texts.get("slates.policy_ignored")).classes("muted")
            view.show_pair(first, previews[1])
        view.show_withheld(first)

    def _write_title(self, preview: Preview) -> str:
        texts, items = self._visit.texts, preview.answer.slate.items
        shopper = self._visit.parameters.get("id")
        who = self._visit.parameters.get("who", _WHO[0])
        known = shopper if shopper and who in ("user", "visitor") else None
        whom = texts.get("slates.a_stranger") if known is None else known
        placement = name_placement(self._visit, self._placement)
        if not items:
            return texts.get("slates.title_none", placement=placement, who=whom)
        return texts.get(
            "slates.title",
            placement=placement,
            who=whom,
            n=len(items),
            item=preview.items[items[0].item_id].name,
        )

    def _show_remarks(self, answer: SlateAnswer) -> None:
        texts = self._visit.texts
        said = [texts.get("slates.by_version", version=answer.version.version)]
        if answer.assigned:
            said.append(
                texts.get(
                    "slates.in_experiment",
                    experiment=answer.assigned[-1].experiment.key,
                    variant=answer.assigned[-1].variant.name,
                )
            )
        if answer.slate.fallback is not None:
            said.append(texts.get("slates.fallback"))
        ui.label(" · ".join(said)).classes("muted")
        if answer.degraded:
            show_notice(texts.get("slates.degraded"))
        for unknown in answer.unknown:
            show_notice(unknown)

    def _needs_cart(self) -> bool:
        """Return whether the placement needs items on the page or in the cart, and has none."""
        scorer = self._placements[self._placement].scorer
        return scorer in ("similar", "bought_together") and not self._read_cart()
