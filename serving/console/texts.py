"""The words of the console: one catalogue per language, numbers, dates and money by locale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from babel import Locale
from babel.dates import format_date, format_time, format_timedelta
from babel.numbers import format_currency, format_decimal, format_percent

from features.contracts.money import minor_digits
from features.contracts.pricing import Band

LANGUAGES = ("en", "zh")
DEFAULT_LANGUAGE = "en"
UNKNOWN = "–"
Text = str | Mapping[str, str]


@cache
def load_catalogue(language: str) -> dict[str, Text]:
    """Return the texts of a language by key, `page.name`; some differ by plural form."""
    source = files("serving.console").joinpath("texts", f"{language}.yaml").read_text("utf-8")
    pages: Mapping[str, Mapping[str, Text]] = yaml.safe_load(source)
    return {f"{page}.{name}": text for page, texts in pages.items() for name, text in texts.items()}


def choose_language(accepted: str) -> str:
    """Return the first language of an Accept-Language header that there is a catalogue of."""
    for part in accepted.split(","):
        language = part.partition(";")[0].strip().lower().partition("-")[0]
        if language in LANGUAGES:
            return language
    return DEFAULT_LANGUAGE


def choose_texts(preferences: Mapping[str, Any], accepted: str, timezone: str) -> Texts:
    """Return the texts in the language that somebody prefers, else as their browser does."""
    language = preferences.get("language")
    if language not in LANGUAGES:
        language = choose_language(accepted)
    return Texts(language, ZoneInfo(timezone))


@dataclass(frozen=True)
class Texts:
    """Words and numbers as somebody reads them.

    timezone   in which times are shown: that of the shop
    """

    language: str
    timezone: tzinfo

    @property
    def locale(self) -> Locale:
        """The locale of numbers and dates."""
        return Locale.parse("zh_Hans" if self.language == "zh" else "en")

    def get(self, key: str, **values: object) -> str:
        """Return a text with its values; `n` chooses the plural form and is written by locale."""
        text = load_catalogue(self.language)[key]
        if not isinstance(text, str):
            count = values.get("n", 0)
            form = self.locale.plural_form(count if isinstance(count, int | float) else 0)
            text = text.get(form) or text["other"]
        shown = {
            name: self.number(value) if isinstance(value, int | float) else value
            for name, value in values.items()
        }
        return text.format(**shown)

    def find(self, key: str, otherwise: str) -> str:
        """Return a text without values, or another one where the catalogue has none."""
        text = load_catalogue(self.language).get(key, otherwise)
        return text if isinstance(text, str) else otherwise

    def number(self, value: float | None, digits: int = 0, *, fixed: bool = False) -> str:
        """Return a number with at most so many digits after the point, or with as many."""
        if value is None:
            return UNKNOWN
        pattern = "#,##0" + ("." + ("0" if fixed else "#") * digits if digits else "")
        return format_decimal(value, format=pattern, locale=self.locale)

    def share(self, value: float | None, digits: int = 1, *, signed: bool = False) -> str:
        """Return a share as a percentage."""
        if value is None:
            return UNKNOWN
        pattern = "#,##0" + ("." + "0" * digits if digits else "") + "%"
        text = format_percent(abs(value), format=pattern, locale=self.locale)
        sign = "+" if signed and value > 0 else "−" if value < 0 else ""
        return f"{sign}{text}"

    def money(self, minor: float | None, currency: str, *, signed: bool = False) -> str:
        """Return an amount of minor units in a currency."""
        if minor is None:
            return UNKNOWN
        digits = minor_digits(currency)
        amount = Decimal(round(abs(minor))) / 10**digits
        text = format_currency(amount, currency, locale=self.locale)
        sign = "+" if signed and minor > 0 else "−" if round(minor) < 0 else ""
        return f"{sign}{text}"

    def whole_money(self, minor: float | None, currency: str, *, signed: bool = False) -> str:
        """Return an amount in whole major units, for sums."""
        if minor is None:
            return UNKNOWN
        amount = round(abs(minor) / 10 ** minor_digits(currency))
        text = format_currency(
            amount, currency, locale=self.locale, format="¤#,##0", currency_digits=False
        )
        sign = "+" if signed and minor > 0 else "−" if minor < 0 and amount else ""
        return f"{sign}{text}"

    def band(
        self,
        band: Band,
        currency: str | None = None,
        *,
        whole: bool = False,
        signed: bool = True,
        digits: int = 0,
    ) -> str:
        """Return a value with its range: an amount, in whole major units or in full; without a
        currency a number."""

        def write(value: float, *, signed: bool = False) -> str:
            if currency is not None:
                amount = self.whole_money if whole else self.money
                return amount(value, currency, signed=signed)
            sign = "−" if value < 0 else "+" if signed and value > 0 else ""
            return sign + self.number(abs(value), digits)

        return f"{write(band.p50, signed=signed)} ({write(band.p10)} – {write(band.p90)})"

    def day(self, at: datetime | None) -> str:
        """Return a day."""
        if at is None:
            return UNKNOWN
        return format_date(at.astimezone(self.timezone), "medium", locale=self.locale)

    def time(self, at: datetime | None) -> str:
        """Return a day and time of the shop's time zone."""
        if at is None:
            return UNKNOWN
        day, zone = self.day(at), self.timezone
        return f"{day}, {format_time(at, 'short', tzinfo=zone, locale=self.locale)}"

    def ago(self, at: datetime, now: datetime) -> str:
        """Return how long ago, or in how long, something is."""
        text: str = format_timedelta(at - now, add_direction=True, locale=self.locale)
        return text
