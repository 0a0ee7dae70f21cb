"""What an answer says of its items beside their ids: texts and attributes of the catalogue, prices
of the ledger, stock, and the other items of a family."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from features.contracts.errors import UnknownName
from features.online.live_catalogue import LiveCatalogue, LiveItems
from serving.recommendations.item_filter import CONFIDENTIAL

PRICES = ("price", "list_price", "prior_price", "currency")
_COLUMNS = (
    "title",
    "category",
    "brand",
    "image_url",
    "size",
    "family_id",
    "available_from",
    "available_to",
)
IN_STOCK = "in_stock"
# What everybody who looks at the shop may see.
PUBLIC = (*_COLUMNS, *PRICES, IN_STOCK)
MAX_VARIANTS = 100

FieldValues = Mapping[str, object]


@dataclass(frozen=True)
class FamilyMember:
    """An item of the family of an item in a slate, which is one of them itself."""

    item_id: str
    size: str | None
    in_stock: bool | None


@dataclass(frozen=True)
class ItemFields:
    """Reads the fields of items as they are now.

    read_prices   returns the prices of items in a zone, by item and name of PRICES; they are the
                  same for everybody, so it is told nothing else
    """

    live: LiveCatalogue
    read_prices: Callable[[Sequence[str], str], Mapping[str, FieldValues]]

    def check(self, names: Sequence[str], public: Collection[str] | None = None) -> None:
        """Raise UnknownName for a field that no item can have.

        public   the attributes that the caller may read; None for all
        """
        attributes = self.live.read().items.attribute_names - CONFIDENTIAL
        known = {*PUBLIC, *(attributes if public is None else attributes & set(public))}
        for name in names:
            if name not in known:
                raise UnknownName(name, known, kind="field", where="fields")

    def read(
        self, item_ids: Sequence[str], names: Sequence[str], zone: str, own_stock: bool
    ) -> dict[str, dict[str, object]]:
        """Return the fields of each item, None where nothing is known.

        own_stock   whether the zone counts its own stock
        """
        live = self.live.read().items
        prices = self.read_prices(item_ids, zone) if set(names) & set(PRICES) else {}
        stock = self._read_stock(item_ids, zone if own_stock else None) if IN_STOCK in names else {}
        fields = {}
        for item_id in item_ids:
            values: dict[str, object] = {}
            for name in names:
                if name in PRICES:
                    values[name] = prices.get(item_id, {}).get(name)
                elif name == IN_STOCK:
                    values[name] = stock[item_id]
                else:
                    values[name] = _read_value(live, item_id, name)
            fields[item_id] = values
        return fields

    def list_variants(
        self, item_id: str, off_sale: Collection[str], zone: str, own_stock: bool
    ) -> list[FamilyMember]:
        """Return the items on sale of the family of an item, itself among them; none without."""
        live = self.live.read().items
        family = _read_value(live, item_id, "family_id")
        if not family:
            return []
        members = [member for member in live.families[str(family)] if member not in off_sale]
        stock = self._read_stock(members[:MAX_VARIANTS], zone if own_stock else None)
        sizes = {member: _read_value(live, member, "size") for member in stock}
        return [
            FamilyMember(member, None if sizes[member] is None else str(sizes[member]), is_in_stock)
            for member, is_in_stock in stock.items()
        ]

    def _read_stock(self, item_ids: Sequence[str], zone: str | None) -> dict[str, bool | None]:
        """Return whether each item is in stock, None where that is not known."""
        units = self.live.read().find_stock(np.array(item_ids, object), zone).tolist()
        return {
            item_id: None if np.isnan(on_hand) else on_hand > 0
            for item_id, on_hand in zip(item_ids, units, strict=True)
        }


def _read_value(live: LiveItems, item_id: str, name: str) -> object:
    row = live.index.get(item_id)
    if row is None:
        return None
    if name not in _COLUMNS:
        return live.attributes[row].get(name)
    value = live.column(name)[row]
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
