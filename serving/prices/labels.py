"""Shelf labels: the items of a zone whose price changes in a span of time, with what a label says.

Every price stands there twice: exact for machines, and in the money format of the zone's country.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_currency

from configs.settings import Settings
from features.contracts.money import minor_digits, to_major
from features.contracts.sizes import parse_size
from features.prices.law import find_prior_price
from features.prices.ledger import Ledger, Price
from features.prices.reduction_rule import FindRules, ReductionRule
from features.prices.timeline import list_steps
from serving.spreadsheets import Cell, Sheet

# The amount in the unit of a size that a unit price is for, and its name.
_UNIT_PRICES = {"g": (1_000, "kg"), "ml": (1_000, "l"), "count": (1, "piece")}
_INSTANT = timedelta(microseconds=1)
_COLUMNS = (
    "item_id",
    "title",
    "size",
    "zone",
    "currency",
    "valid_from",
    "old_price",
    "new_price",
    "list_price",
    "prior_price",
    "unit_price",
    "unit",
    "promotion_id",
    "price_id",
    "label_from",
    "label_old_price",
    "label_price",
    "label_prior_price",
    "label_unit_price",
)


class CatalogueText(NamedTuple):
    """What the catalogue says of an item for its label."""

    title: str | None
    size: str | None


UNKNOWN_TEXT = CatalogueText(None, None)
# Returns the texts of items by id; unknown items are absent.
ReadCatalogue = Callable[[Iterable[str]], Mapping[str, CatalogueText]]


@dataclass(frozen=True)
class Label:
    """What a label says from `valid_from` on; amounts are minor units.

    old_minor     the price before; None for an item that had none
    prior_minor   the legal reference of a reduction; None without one
    unit_price    major units for one `unit` (kg, l or piece); None where no size is known
    """

    price: Price
    valid_from: datetime
    old_minor: int | None
    prior_minor: int | None
    text: CatalogueText
    unit_price: Decimal | None
    unit: str | None


@dataclass(frozen=True)
class LabelSpan:
    """The zone and the span of time of labels; `until` is not included."""

    zone: str
    since: datetime
    until: datetime


def find_labels(
    connection: sa.Connection, span: LabelSpan, find_rules: FindRules, read_texts: ReadCatalogue
) -> list[Label]:
    """Return a label for every change of an offer or list price, by item and time."""
    ledger = Ledger(connection)
    candidates = sorted(
        ledger.list_changed_items(
            span.zone,
            after=ledger.read_last_seq(),
            since=span.since - _INSTANT,
            until=span.until - _INSTANT,
        )
    )
    rules, texts = find_rules(span.zone, candidates), read_texts(candidates)
    histories = ledger.read_histories(candidates, span.zone)
    return [
        label
        for item_id in candidates
        for label in _iterate_labels(
            histories[item_id], span, rules[item_id], texts.get(item_id, UNKNOWN_TEXT)
        )
    ]


def tabulate_labels(labels: Iterable[Label], settings: Settings, zone: str) -> Sheet:
    """Return labels as a table: exact columns first, then those to print."""
    country = settings.zone(zone).country or settings.country
    locale = _find_locale(country)
    timezone = ZoneInfo(settings.timezone)
    return Sheet(_COLUMNS, (_make_row(label, locale, timezone) for label in labels))


def _iterate_labels(
    history: Sequence[Price], span: LabelSpan, rule: ReductionRule, text: CatalogueText
) -> Iterator[Label]:
    before: Price | None = None
    for at, step in list_steps(history, span.until - _INSTANT):
        price = _continue_list_price(history, at) if step is None else step
        if price is not None and at >= span.since and _differs(before, price):
            unit_price, unit = _compute_unit_price(price, text.size)
            yield Label(
                price=price,
                valid_from=at,
                old_minor=None if before is None else before.offer_price_minor,
                prior_minor=find_prior_price(history, at, rule),
                text=text,
                unit_price=unit_price,
                unit=unit,
            )
        before = price or before


def _differs(before: Price | None, price: Price) -> bool:
    if before is None:
        return True
    shown = (before.offer_price_minor, before.list_price_minor)
    return shown != (price.offer_price_minor, price.list_price_minor)


def _continue_list_price(history: Sequence[Price], at: datetime) -> Price | None:
    """Return the last list price where all prices of an item have ended: it goes on."""
    ended = [price for price in history if price.valid_to is not None and price.valid_to <= at]
    if len(ended) < len(history):
        return None
    last = max(ended, key=lambda price: (price.valid_to, price.valid_from, price.seq))
    return last.continue_expired()


def _compute_unit_price(price: Price, size_text: str | None) -> tuple[Decimal | None, str | None]:
    """Return the price of a kilogram, a litre or a piece, to the smallest amount of money.

    >>> from datetime import UTC, datetime
    >>> from features.prices.ledger import Price, PriceSource
    >>> now = datetime(2018, 1, 1, tzinfo=UTC)
    >>> price = Price("a", "default", now, 199, 199, "EUR", PriceSource.DESK, now, seq=1,
    ...               price_id="p")
    >>> _compute_unit_price(price, "6 x 330 ml"), _compute_unit_price(price, "large")
    ((Decimal('1.01'), 'l'), (None, None))
    """
    size = parse_size(size_text)
    if size is None:
        return None, None
    amount, unit = _UNIT_PRICES[size.unit]
    major = Decimal(to_major(price.offer_price_minor, price.currency))
    smallest = Decimal(1).scaleb(-minor_digits(price.currency))
    unit_price = major * amount / Decimal(str(size.amount))
    return unit_price.quantize(smallest, ROUND_HALF_UP), unit


def _find_locale(country: str) -> Locale:
    """Return the locale of most people of a country (DE, or DE-BY); English without one.

    >>> str(_find_locale("DE-BY")), str(_find_locale("CN")), str(_find_locale(""))
    ('de_DE', 'zh_Hans_CN', 'en')
    """
    code = country.partition("-")[0].upper()
    if not code:
        return Locale("en")
    return Locale.parse(f"und_{code}")


def _make_row(label: Label, locale: Locale, timezone: ZoneInfo) -> list[Cell]:
    price, currency = label.price, label.price.currency

    def exact(minor: int | None) -> Decimal | None:
        return None if minor is None else Decimal(to_major(minor, currency))

    def show(amount: Decimal | None) -> str | None:
        return None if amount is None else format_currency(amount, currency, locale=locale)

    unit_price = show(label.unit_price)
    return [
        price.item_id,
        label.text.title,
        label.text.size,
        price.zone,
        currency,
        label.valid_from,
        exact(label.old_minor),
        exact(price.offer_price_minor),
        exact(price.list_price_minor),
        exact(label.prior_minor),
        label.unit_price,
        label.unit,
        price.promotion_id,
        price.price_id,
        format_datetime(label.valid_from, "short", tzinfo=timezone, locale=locale),
        show(exact(label.old_minor)),
        show(exact(price.offer_price_minor)),
        show(exact(label.prior_minor)),
        None if unit_price is None else f"{unit_price} / {label.unit}",
    ]
