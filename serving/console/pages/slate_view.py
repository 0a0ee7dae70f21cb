"""A slate as a shopper would see it: pictures, prices and reasons, alone or beside another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nicegui import ui

from features.contracts.recommendations import ScoredItem
from serving.catalogue.service import CatalogueItem
from serving.console.parts import Column, show_badge, show_heading, show_table
from serving.console.section import show_empty
from serving.console.visit import Visit
from serving.prices.service import Quote
from serving.recommendations.service import SlateAnswer

_N_CONTRIBUTIONS = 6


@dataclass(frozen=True)
class Preview:
    """A slate with what is shown of its items, and the name of what made it."""

    name: str
    answer: SlateAnswer
    items: Mapping[str, CatalogueItem]
    quotes: Mapping[str, Quote]

    @property
    def item_ids(self) -> list[str]:
        """The items, best first."""
        return [item.item_id for item in self.answer.slate.items]


def describe_preview(visit: Visit, name: str, answer: SlateAnswer) -> Preview:
    """Return a slate with titles and prices; reads, so it belongs on a thread."""
    server, slate = visit.server, answer.slate
    shown = [item.item_id for item in slate.items]
    because = [item.because_item_id for item in slate.items if item.because_item_id]
    withheld = [item.item_id for item in slate.withheld]
    quotes = server.prices.quote_items(shown, visit.zone, server.prices.now())
    return Preview(
        name,
        answer,
        server.catalogue.find([*shown, *because, *withheld]),
        {quote.price.item_id: quote for quote in quotes},
    )


class SlateView:
    """Shows slates of a placement.

    needs_cart   whether the placement needs items on the page or in the cart, and has none
    """

    def __init__(self, visit: Visit, *, needs_cart: bool) -> None:
        self._visit, self._needs_cart = visit, needs_cart

    def show_pair(self, first: Preview, second: Preview) -> None:
        """Show two slates side by side, and mark the items that are in one alone."""
        with ui.element("div").classes("side-by-side"):
            for preview, other in ((first, second), (second, first)):
                with ui.element("div"):
                    show_heading(preview.name, level=3)
                    self.show(preview, other)

    def show(self, preview: Preview, other: Preview | None = None) -> None:
        """Show one slate; items that another one lacks are marked."""
        texts = self._visit.texts
        if not preview.item_ids:
            show_empty(
                texts.get("slates.empty"),
                texts.get(f"slates.empty_{'cart' if self._needs_cart else 'text'}"),
                None if self._needs_cart else "shopwright features materialize",
            )
            return
        with ui.element("ol").classes("slate"):
            for item in preview.answer.slate.items:
                with ui.element("li").classes("product"):
                    self._show_product(preview, item)
                    if other is not None and item.item_id not in other.item_ids:
                        show_badge(texts.get("slates.only_here"), "warn")

    def _show_product(self, preview: Preview, item: ScoredItem) -> None:
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

    def _write_reason(self, preview: Preview, item: ScoredItem) -> str:
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

    def show_withheld(self, preview: Preview) -> None:
        """Show which items rules keep out, to open."""
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
