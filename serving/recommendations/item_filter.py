"""Conditions on an item: category, brand, attributes of the catalogue, and the price."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from features.contracts.arrays import BoolArray, Int64Array, ObjectArray
from features.contracts.errors import UnknownName
from features.contracts.numbers import parse_decimal
from features.contracts.recommendations import ItemFeatures
from features.contracts.tables import ITEMS
from features.online.live_catalogue import LiveItems

# Columns of the catalogue that a filter names like attributes.
COLUMNS = ("family_id", "size")
# What prices and orders are computed from is the shop's own business.
CONFIDENTIAL = frozenset(ITEMS.used_attributes)
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


class Flag(Enum):
    """A value that is true or false; not a bool, which would equal a number."""

    TRUE = _TRUE
    FALSE = _FALSE


AttributeValue = str | float | Flag


@dataclass(frozen=True)
class AttributeCondition:
    """A condition on one attribute: any of some values, or a range of numbers.

    values        a text is compared as a text, a number with what is written as that number (1.5
                  and 1.50), true and false with what files write for them
    least, most   both ends belong to the range; an attribute that is no number fails
    """

    name: str
    values: tuple[AttributeValue, ...] = ()
    least: float | None = None
    most: float | None = None

    def match(self, texts: ObjectArray) -> BoolArray:
        """Return which items meet it; `texts` are the attribute's by item, None without one."""
        codes, distinct = _code_texts(texts)
        is_match = np.array([self._matches(text) for text in distinct], bool)
        return is_match[codes]

    def _matches(self, text: str | None) -> bool:
        if text is None:
            return False
        if self.least is not None or self.most is not None:
            number = _read_number(text)
            if number is None:
                return False
            return not (self.least is not None and number < self.least) and not (
                self.most is not None and number > self.most
            )
        return any(_is_equal(value, text) for value in self.values)


@dataclass(frozen=True)
class Filter:
    """Conditions on an item. Prices are in major units of the zone's currency and are compared with
    offer prices.

    A category includes everything below it: "Grocery" also "Grocery > Dairy".
    """

    category: tuple[str, ...] = ()
    brand: tuple[str, ...] = ()
    price_min: str | None = None
    price_max: str | None = None
    attributes: tuple[AttributeCondition, ...] = ()

    def match(self, texts: CatalogueTexts) -> BoolArray:
        """Return which items (n_items,) meet all conditions but those on the price."""
        mask = np.ones(texts.n_items, bool)
        if self.category:
            below = tuple(f"{category} > " for category in self.category)
            codes, distinct = _code_texts(texts.category)
            is_in = [str(path) in self.category or str(path).startswith(below) for path in distinct]
            mask &= np.array(is_in, bool)[codes]
        if self.brand:
            mask &= np.isin(texts.brand.astype(str), np.array(self.brand))
        for condition in self.attributes:
            mask &= condition.match(texts.read_attribute(condition.name))
        return mask


NO_FILTER = Filter()


class CatalogueTexts:
    """The texts of the catalogue of now by which a filter chooses, by item of a snapshot."""

    def __init__(self, live: LiveItems, items: ItemFeatures) -> None:
        self.live, self.items = live, items
        self.n_items = len(items.item_ids)
        self.category = live.texts("category", items.item_ids, items.category)
        self.brand = live.texts("brand", items.item_ids, items.brand)
        paths = set(self.category) - {""}
        self.categories = {
            " > ".join(parts[:depth])
            for parts in (str(path).split(" > ") for path in paths)
            for depth in range(1, len(parts) + 1)
        }
        self.brands = {str(brand) for brand in self.brand if brand}
        self._attributes: dict[str, ObjectArray] = {}

    def list_attributes(self) -> set[str]:
        """Return the names that a filter may use."""
        return ({*COLUMNS} | self.live.attribute_names) - CONFIDENTIAL

    def read_attribute(self, name: str) -> ObjectArray:
        """Return an attribute by item, None without one. Raises UnknownName."""
        values = self._attributes.get(name)
        if values is None:
            known = self.list_attributes()
            if name not in known:
                raise UnknownName(name, known, kind="attribute", where="filter.attributes")
            rows = self.live.align(self.items.item_ids)
            of_rows = self.live.attribute(name)
            values = np.full(self.n_items, None, object)
            values[rows >= 0] = of_rows[rows[rows >= 0]]
            self._attributes[name] = values
        return values

    def explain_unknown(self, given: Filter) -> tuple[str, ...]:
        """Return which names and values of a filter no item has, each with the nearest right one.

        Raises UnknownName for an attribute that no item has.
        """
        asked = [(name, self.categories, "category") for name in given.category]
        asked += [(name, self.brands, "brand") for name in given.brand]
        unknown = [
            str(UnknownName(name, known, kind=kind))
            for name, known, kind in asked
            if name not in known
        ]
        for condition in given.attributes:
            _, distinct = _code_texts(self.read_attribute(condition.name))
            known_values = [text for text in distinct if text is not None]
            unknown += [
                str(UnknownName(_write(value), known_values, kind=f"value of {condition.name}"))
                for value in condition.values
                if not any(_is_equal(value, text) for text in known_values)
            ]
        return tuple(unknown)


def _code_texts(texts: ObjectArray) -> tuple[Int64Array, list[str | None]]:
    """Return the code of each text, and the distinct ones by code: few have many items each."""
    code_of: dict[str | None, int] = {}
    codes = [code_of.setdefault(text, len(code_of)) for text in texts]
    return np.array(codes, np.int64), list(code_of)


def _is_equal(value: AttributeValue, text: str) -> bool:
    if isinstance(value, Flag):
        return text.lower() in value.value
    if isinstance(value, float):
        return _read_number(text) == value
    return value == text


def _read_number(text: str) -> float | None:
    number = parse_decimal(text)
    return None if number is None else float(number)


def _write(value: AttributeValue) -> str:
    if isinstance(value, Flag):
        return value.name.lower()
    return f"{value:g}" if isinstance(value, float) else value
