"""Slates: what a shopper would see at a placement, why, and under which rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from nicegui import ui

from features.contracts.recommendations import ScoredItem
from models.ranking.model import Policy
from models.ranking.placement import LEARNT
from models.ranking.slate.merchandising_rules import Rule
from models.registry import CHAMPION, NAMES, Version
from serving.catalogue.service import CatalogueItem
from serving.console.frame import Console, Page
from serving.console.parts import (
    Column,
    is_untrained,
    show_badge,
    show_heading,
    show_item_search,
    show_notice,
    show_table,
    show_untrained,
)
from serving.console.section import Section, show_empty
from serving.prices.service import Quote
from serving.recommendations.service import SlateAnswer, SlateRequest

_SCOPE = "storefront"
_COUNT = 12
_POLICIES: tuple[Policy, ...] = get_args(Policy)
_WHO = ("stranger", "user", "visitor")
_N_CONTRIBUTIONS = 6


def add_pages(console: Console) -> None:
    """Add the page of the slates."""

    @console.page("/slates", "slates", _SCOPE)
    async def show_slates(page: Page) -> None:
        await _SlatesPage(page).build()


@dataclass(frozen=True)
class _Preview:
    """A slate with what is shown of its items, and the name of what made it."""

    name: str
    answer: SlateAnswer
    items: Mapping[str, CatalogueItem]
    quotes: Mapping[str, Quote]

    @property
    def item_ids(self) -> list[str]:
        return [item.item_id for item in self.answer.slate.items]


class _SlatesPage:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._server = page.visit.server
        self._placements = self._server.served_models.placements
        self._section: Section[list[_Preview]]

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

    def _show_fields(self, cart: list[CatalogueItem], versions: list[Version]) -> None:
        texts, parameters = self._visit.texts, self._visit.parameters
        names = {name: self._name_placement(name) for name in self._placements}
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

    def _read_cart(self) -> list[str]:
        return [item_id for item_id in self._visit.parameters.get("cart", "").split(",") if item_id]

    def _name_placement(self, name: str) -> str:
        return self._visit.texts.find(f"slates.placement_{name}", name.replace("_", " "))

    def _load(self) -> list[_Preview]:
        if is_untrained(self._visit, NAMES[0]):
            return []
        texts = self._visit.texts
        shopper, who = self._visit.parameters.get("id"), self._visit.parameters.get("who")
        request = SlateRequest(
            placement=self._placement,
            user_id=shopper if who == "user" else None,
            visitor_id=shopper if who == "visitor" else None,
            item_ids=tuple(self._read_cart()),
            count=_COUNT,
            zone=self._visit.zone,
            explain=True,
        )
        preview = self._server.recommendations.preview
        previews = [self._describe(texts.get("slates.as_served"), preview(request))]
        kind, _, other = self._visit.parameters.get("compare", "").partition(":")
        policy = next((name for name in _POLICIES if name == other), None)
        if kind == "policy" and policy is not None:
            answer = preview(replace(request), policy=policy)
            previews.append(self._describe(texts.get(f"slates.policy_{policy}"), answer))
        elif kind == "version" and other:
            version = self._server.registry.find_version(NAMES[0], other)
            served = self._server.served_models.load_other_recommender(version)
            answer = preview(request, served=served)
            name = texts.get("slates.model_version", version=version.version)
            previews.append(self._describe(name, answer))
        return previews

    def _describe(self, name: str, answer: SlateAnswer) -> _Preview:
        server, slate = self._server, answer.slate
        shown = [item.item_id for item in slate.items]
        because = [item.because_item_id for item in slate.items if item.because_item_id]
        withheld = [item.item_id for item in slate.withheld]
        quotes = server.prices.quote_items(shown, self._visit.zone, server.prices.now())
        return _Preview(
            name,
            answer,
            server.catalogue.find([*shown, *because, *withheld]),
            {quote.price.item_id: quote for quote in quotes},
        )

    def _show(self, previews: list[_Preview]) -> None:
        if not previews:
            self._page.set_title(show_untrained(self._visit, NAMES[0]))
            self._show_rules()
            return
        texts, first = self._visit.texts, previews[0]
        self._page.set_title(self._write_title(first))
        self._show_remarks(first.answer)
        if len(previews) == 1:
            self._show_slate(first, None)
        else:
            same = len(set(first.item_ids) & set(previews[1].item_ids))
            ui.label(texts.get("slates.same", n=same)).classes("strong")
            if self._placements[self._placement].scorer not in LEARNT:
                ui.label(texts.get("slates.policy_ignored")).classes("muted")
            with ui.element("div").classes("side-by-side"):
                for preview, other in zip(previews, reversed(previews), strict=True):
                    with ui.element("div"):
                        show_heading(preview.name)
                        self._show_slate(preview, other)
        self._show_withheld(first)
        self._show_rules()

    def _write_title(self, preview: _Preview) -> str:
        texts, items = self._visit.texts, preview.answer.slate.items
        shopper = self._visit.parameters.get("id")
        who = self._visit.parameters.get("who", _WHO[0])
        known = shopper if shopper and who in ("user", "visitor") else None
        whom = texts.get("slates.a_stranger") if known is None else known
        placement = self._name_placement(self._placement)
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
        if answer.assigned is not None:
            said.append(
                texts.get(
                    "slates.in_experiment",
                    experiment=answer.assigned.experiment.key,
                    variant=answer.assigned.variant.name,
                )
            )
        if answer.slate.fallback is not None:
            said.append(texts.get("slates.fallback"))
        ui.label(" · ".join(said)).classes("muted")
        if answer.degraded:
            show_notice(texts.get("slates.degraded"))
        for unknown in answer.unknown:
            show_notice(unknown)

    def _show_slate(self, preview: _Preview, other: _Preview | None) -> None:
        texts = self._visit.texts
        if not preview.item_ids:
            show_empty(
                texts.get("slates.empty"),
                texts.get(f"slates.empty_{'cart' if self._needs_cart() else 'text'}"),
                None if self._needs_cart() else "shopwright features materialize",
            )
            return
        with ui.element("ol").classes("slate"):
            for item in preview.answer.slate.items:
                with ui.element("li").classes("product"):
                    self._show_product(preview, item)
                    if other is not None and item.item_id not in other.item_ids:
                        show_badge(texts.get("slates.only_here"), "warn")

    def _needs_cart(self) -> bool:
        """Return whether the placement needs items on the page or in the cart, and has none."""
        scorer = self._placements[self._placement].scorer
        return scorer in ("similar", "bought_together") and not self._read_cart()

    def _show_product(self, preview: _Preview, item: ScoredItem) -> None:
        texts, known = self._visit.texts, preview.items[item.item_id]
        _show_picture(known)
        ui.label(texts.get("slates.rank", n=item.rank)).classes("muted")
        ui.label(known.name).classes("product-title")
        quote = preview.quotes.get(item.item_id)
        if quote is None:
            ui.label(texts.get("slates.no_price")).classes("muted")
        else:
            self._show_price(quote)
        ui.label(self._write_reason(preview, item)).classes("product-reason")
        self._show_why(item)

    def _show_price(self, quote: Quote) -> None:
        texts, price, prior = self._visit.texts, quote.price, quote.prior_price_minor
        with ui.element("div").classes("product-price"):
            ui.label(texts.money(price.offer_price_minor, price.currency)).classes("strong")
            if prior is not None and prior > price.offer_price_minor:
                text = texts.get("slates.before", price=texts.money(prior, price.currency))
                ui.label(text).classes("muted")
                show_badge(texts.share(price.offer_price_minor / prior - 1, 0), "better")

    def _write_reason(self, preview: _Preview, item: ScoredItem) -> str:
        texts = self._visit.texts
        if item.because_item_id is not None:
            because = preview.items[item.because_item_id].name
            return texts.get(f"slates.reason_{item.reason.value}_of", item=because)
        return texts.get(f"slates.reason_{item.reason.value}")

    def _show_why(self, item: ScoredItem) -> None:
        """Show score, contributions and rules, to open."""
        texts = self._visit.texts
        with ui.element("details").classes("details"):
            with ui.element("summary"):
                ui.label(texts.get("slates.why"))
            ui.label(texts.get("slates.score", score=texts.number(item.score, 3)))
            contributions = list((item.contributions or {}).items())[:_N_CONTRIBUTIONS]
            largest = max((abs(value) for _, value in contributions), default=0.0) or 1.0
            for name, value in contributions:
                with ui.element("div").classes("contribution"):
                    ui.label(name.replace("_", " ")).classes("wrap")
                    tone = "better" if value >= 0 else "worse"
                    ui.element("div").classes(f"contribution-bar {tone}").style(
                        f"width: {abs(value) / largest * 48:.0f}px"
                    )
                    sign = "+" if value >= 0 else "−"
                    ui.label(f"{sign}{texts.number(abs(value), 3)}").classes("number")
            for rule in item.rules or ():
                ui.label(texts.get("slates.rule_effect", rule=rule.rule, effect=rule.effect))
            if item.propensity is not None:
                share = texts.share(item.propensity, 0)
                ui.label(texts.get("slates.propensity", share=share))

    def _show_withheld(self, preview: _Preview) -> None:
        texts, withheld = self._visit.texts, preview.answer.slate.withheld
        if not withheld:
            return
        with ui.element("details").classes("details"):
            with ui.element("summary"):
                ui.label(texts.get("slates.withheld", n=len(withheld)))
            columns = [
                Column(texts.get("slates.item"), lambda row: preview.items[row.item_id].name),
                Column(texts.get("slates.rule"), lambda row: row.rule),
                Column(texts.get("slates.effect"), lambda row: row.effect),
            ]
            show_table(withheld, columns, caption=texts.get("slates.withheld", n=len(withheld)))

    def _show_rules(self) -> None:
        """Show the merchandising rules of the placement, those that are valid now first."""
        texts = self._visit.texts
        placement = self._placements[self._placement]
        sets = self._server.served_models.rules
        rules = [
            (f"{set_name}.{name}", rule)
            for set_name in placement.rules
            for name, rule in sets[set_name].rules.items()
        ]
        show_heading(texts.get("slates.rules"))
        ui.label(texts.get("slates.rules_file")).classes("muted")
        if not rules:
            ui.label(texts.get("slates.no_rules")).classes("muted")
            return
        now, zone = self._server.clock.now(), self._visit.zone
        rules.sort(key=lambda row: not row[1].is_valid(zone, now))

        def show_state(row: tuple[str, Rule]) -> None:
            is_valid = row[1].is_valid(zone, now)
            word = texts.get("slates.rule_valid" if is_valid else "slates.rule_not_valid")
            show_badge(word, "better" if is_valid else "")

        columns = [
            Column(texts.get("slates.rule"), lambda row: row[0]),
            Column(texts.get("slates.does"), lambda row: self._write_rule(row[1])),
            Column(texts.get("slates.applies_to"), lambda row: self._write_items(row[1])),
            Column(texts.get("slates.window"), lambda row: self._write_window(row[1])),
            Column(texts.get("slates.state"), show_state),
        ]
        show_table(rules, columns, caption=texts.get("slates.rules"))

    def _write_rule(self, rule: Rule) -> str:
        texts = self._visit.texts
        if rule.action == "pin":
            return texts.get("slates.rule_pin", place=texts.number(rule.place))
        if rule.action in ("boost", "bury"):
            if rule.places is not None:
                return texts.get(f"slates.rule_{rule.action}_places", n=rule.places)
            return texts.get(f"slates.rule_{rule.action}", factor=texts.number(rule.factor, 3))
        if rule.action == "at_most":
            per = texts.get(f"slates.per_{rule.per or 'together'}")
            return texts.get("slates.rule_at_most", most=texts.number(rule.n), per=per)
        return texts.get(f"slates.rule_{rule.action}")

    def _write_items(self, rule: Rule) -> str:
        parts = [*rule.item_ids[:5], *rule.categories, *rule.brands]
        if len(rule.item_ids) > 5:
            parts.append(f"+{len(rule.item_ids) - 5}")
        for name, limits in rule.features.items():
            low = "" if limits.least is None else f"{limits.least:g} ≤ "
            high = "" if limits.most is None else f" ≤ {limits.most:g}"
            parts.append(f"{low}{name.replace('_', ' ')}{high}")
        return ", ".join(parts) or self._visit.texts.get("slates.all_items")

    def _write_window(self, rule: Rule) -> str:
        texts = self._visit.texts
        parts = []
        if rule.valid_from is not None or rule.valid_to is not None:
            parts.append(f"{texts.day(rule.valid_from)} – {texts.day(rule.valid_to)}")
        if rule.zones:
            parts.append(", ".join(rule.zones))
        return " · ".join(parts) or texts.get("slates.always")


def _show_picture(item: CatalogueItem) -> None:
    """Show the picture where this console serves it, else the first letters of the title."""
    if item.image_url.startswith("/") and not item.image_url.startswith(("//", "/\\")):
        picture = ui.element("img").classes("picture")
        picture.props["src"] = item.image_url
        picture.props["alt"] = ""
        picture.props["loading"] = "lazy"
        return
    words = item.name.split()
    initials = "".join(word[0] for word in words[:2]).upper() or "?"
    with ui.element("div").classes("picture initials").props("aria-hidden=true"):
        ui.label(initials)
