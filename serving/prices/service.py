"""The valid prices and the changes of prices: read from the ledger and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import BadInput
from features.contracts.tables import ITEMS
from features.database import reading
from features.facts.stored_columns import read_stored_columns
from features.prices.currencies import find_unknown_zone, refuse_unknown_zone
from features.prices.law import find_prior_prices
from features.prices.ledger import Ledger, Price
from features.prices.promotions import PromotedItem, find_promoted
from features.prices.reduction_rule import FindRules
from serving.prices.labels import CatalogueText, LabelSpan, find_labels, tabulate_labels
from serving.prices.sheets import tabulate_changes
from serving.spreadsheets import SheetFormat, write_sheet


@dataclass(frozen=True)
class Quote:
    """The price of an item, and the promotions that run on it.

    prior_price_minor   the legal reference of a reduction, None when there is none
    """

    price: Price
    prior_price_minor: int | None
    promotions: tuple[PromotedItem, ...] = ()


class _KnownZones:
    """The zones that have prices: every page names them, and the ledger may be long."""

    def __init__(self) -> None:
        self._up_to: tuple[int, frozenset[str]] = 0, frozenset()

    def read(self, ledger: Ledger) -> list[str]:
        """Return the zones, sorted; only rows that are new since the last time are read."""
        seq, names = self._up_to
        last = ledger.read_last_seq()
        if last != seq:
            names |= frozenset(ledger.list_zones(after=seq))
            self._up_to = last, names
        return sorted(names)


@dataclass(frozen=True)
class PriceService:
    """Reads prices. No person is known here.

    settle   gives prices that are due the check that they need before they are served
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    find_rules: FindRules
    settle: Callable[[], None] = lambda: None
    _zones: _KnownZones = field(default_factory=_KnownZones)

    def now(self) -> datetime:
        """Return the present business time."""
        return self.clock.now()

    def list_zones(self) -> list[str]:
        """Return the zones that have prices."""
        with reading(self.engine) as connection:
            return self._zones.read(Ledger(connection))

    def read_history(self, item_id: str, zone: str) -> list[Price]:
        """Return the rows of an item in a zone, in the order of appending."""
        with reading(self.engine) as connection:
            return Ledger(connection).read_history(item_id, zone)

    def quote_items(self, item_ids: Sequence[str], zone: str, at: datetime) -> list[Quote]:
        """Return the prices valid at `at`, in the order of `item_ids`.

        Items without a price are left out. A reduction is counted by the price law of the zone.
        """
        self.settle()
        with reading(self.engine) as connection:
            ledger = Ledger(connection)
            current = ledger.find_current(item_ids, zone, at)
            histories = ledger.read_histories(current, zone)
            promoted = find_promoted(connection, zone, at, at, current)
        promotions: dict[str, tuple[PromotedItem, ...]] = {}
        for item in promoted:
            promotions[item.item_id] = (*promotions.get(item.item_id, ()), item)
        prior = find_prior_prices(histories, at, self.find_rules(zone, current))
        return [
            Quote(current[item_id], prior[item_id], promotions.get(item_id, ()))
            for item_id in dict.fromkeys(item_ids)
            if item_id in current
        ]

    def explain_unknown_zone(self, zone: str) -> str | None:
        """Return that nobody knows a zone, with the nearest right name; None for a known one."""
        with reading(self.engine) as connection:
            error = find_unknown_zone(self.settings, connection, zone)
        return None if error is None else str(error)

    def list_changes(self, after: int, limit: int, zone: str | None = None) -> list[Price]:
        """Return the ledger's rows after number `after`, in order.

        Raises UnknownName for a zone that nobody knows.
        """
        with reading(self.engine) as connection:
            if zone is not None:
                refuse_unknown_zone(self.settings, connection, zone)
            return Ledger(connection).list_after(after, limit, zone)

    def write_labels(self, span: LabelSpan, path: Path, sheet_format: SheetFormat) -> int:
        """Write a label for every price of a zone that changes in a span of time, and return how
        many.

        Raises UnknownName for a zone that nobody knows, and BadInput for a span without time.
        """
        if span.since >= span.until:
            raise BadInput("a span of time ends after it begins", where="from, to")
        with reading(self.engine) as connection:
            refuse_unknown_zone(self.settings, connection, span.zone)
            labels = find_labels(connection, span, self.find_rules, self._read_catalogue)
        return write_sheet(tabulate_labels(labels, self.settings, span.zone), path, sheet_format)

    def _read_catalogue(self, item_ids: Iterable[str]) -> dict[str, CatalogueText]:
        columns = ("item_id", "title", "size")
        stored = read_stored_columns(self.settings.home / "tables", ITEMS, columns).to_pylist()
        chosen = set(item_ids)
        return {
            row["item_id"]: CatalogueText(row["title"], row["size"])
            for row in stored
            if row["item_id"] in chosen
        }

    def write_changes(
        self, path: Path, sheet_format: SheetFormat, *, after: int = 0, zone: str | None = None
    ) -> int:
        """Write the ledger's rows after number `after` to a file, and return how many.

        Raises UnknownName for a zone that nobody knows.
        """
        with reading(self.engine) as connection:
            if zone is not None:
                refuse_unknown_zone(self.settings, connection, zone)
            return write_sheet(tabulate_changes(connection, after, zone), path, sheet_format)
