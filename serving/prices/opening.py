"""The import of the shop's own prices into the ledger: its price list, its catalogue, its sales."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.tables import EventType
from features.database import give_way, lock, reading, transaction
from features.facts.facts import Facts
from features.facts.item_rules import ItemRules
from features.prices.held_prices import HeldPrice, ImportGuards
from features.prices.ledger import Ledger, NewPrice, PriceSource
from serving.database.audit_log import SYSTEM, AuditEntry, AuditLog
from serving.prices.listed_prices import (
    PriceList,
    ShortenedPrice,
    is_storable,
    list_own_currency_zones,
    read_price_list,
)

OBSERVED_WEEKS = 4
# Rows of one transaction: a tenth of a second on SQLite.
_PART = 2_000


@dataclass(frozen=True)
class ExpiredList:
    """How many items of a zone have no valid price any more, and when the last one ended."""

    zone: str
    n_items: int
    ended_at: datetime


@dataclass(frozen=True)
class OpeningReport:
    """The number of new prices from each source; all 0 when the ledger had them already.

    held      prices of the price list that wait until somebody says that they are meant
    ended     prices from a day on, because the price list ends what an earlier one announced for
              longer, or brings it back
    shortened prices that go on although the list ends them (decided on the price desk, or nothing
              is valid beneath) or leaves them out
    expired   the zones with items all of whose prices have ended
    """

    imported: int
    catalogue: int
    observed: int
    held: tuple[HeldPrice, ...] = ()
    ended: tuple[NewPrice, ...] = ()
    shortened: tuple[ShortenedPrice, ...] = ()
    expired: tuple[ExpiredList, ...] = ()

    @property
    def total(self) -> int:
        """All prices that were new."""
        return self.imported + self.catalogue + self.observed


@dataclass(frozen=True)
class OpeningOptions:
    """What is entered beside the price list and the catalogue.

    observe           prices observed in sales, for items without any other
    accept_jumps      enter prices that jump: somebody says that they are meant
    accept_unlawful   enter reductions that the price law of their zone forbids: somebody says that
                      the prices before, which the ledger does not know, allow them
    """

    observe: bool = True
    accept_jumps: bool = False
    accept_unlawful: bool = False


def open_ledger(
    facts: Facts,
    engine: sa.Engine,
    settings: Settings,
    clock: Clock,
    system_clock: Clock,
    options: OpeningOptions = OpeningOptions(),
) -> OpeningReport:
    """Append the prices that the ledger lacks; may be repeated after every import.

    Every row of `price_history` is taken unchanged. One that differs from what the price list said
    before is a correction, and a later row of the ledger. What the list ends earlier ends
    (see list_ends.py). In a shop whose zones do not include the
    default zone, rows of the default zone are valid in each zone of the shop's own currency, for
    the items without rows of that zone. An item and zone without any price gets one from now on:
    the list price of the catalogue, else the median regular price of the last four weeks of sales
    (`source=observed`), which is an opening balance for the desk and never a feature of demand.
    Prices that jump or that the price law forbids are held back (see held_prices.py); the next
    opening looks at them again.
    """
    now = clock.now()
    with reading(engine) as connection:
        listed_zones = Ledger(connection).list_listed_zones()
    # Until the first price list is published its import may be repeated.
    is_first_list = Facts(settings).read_imported("price_history").count().to_pyarrow().as_py() == 0
    rules = ItemRules(settings, clock, engine, facts)
    guards = ImportGuards(
        jumps=not options.accept_jumps,
        find_rules=None if options.accept_unlawful else rules,
        listed_zones=frozenset() if is_first_list else listed_zones,
    )
    price_list = PriceList(*read_price_list(facts, settings, now), now, guards)
    writer = _LedgerWriter(engine, system_clock)
    imported = writer.append("imported", price_list.select_entered)
    ended: list[NewPrice] = []

    def select_ending(ledger: Ledger) -> list[NewPrice]:
        ended[:] = price_list.select_ending(ledger)
        return ended

    writer.append("ended", select_ending)
    offered = list(_read_catalogue(facts, settings, now))
    catalogue = writer.append("catalogue", lambda ledger: _select_unpriced(ledger, offered))
    sold = list(_read_sales(facts, settings, now)) if options.observe else []
    observed = writer.append("observed", lambda ledger: _select_unpriced(ledger, sold))
    with reading(engine) as connection:
        ledger = Ledger(connection)
        expired = tuple(find_expired_lists(ledger, now))
        shortened = tuple(price_list.find_shortened(ledger))
    held = tuple(price_list.held)
    return OpeningReport(imported, catalogue, observed, held, tuple(ended), shortened, expired)


@dataclass(frozen=True)
class _LedgerWriter:
    """Appends prices in short transactions: others write to the database in between."""

    engine: sa.Engine
    system_clock: Clock

    def append(self, source: str, find_missing: Callable[[Ledger], list[NewPrice]]) -> int:
        """Append the prices that `find_missing` returns, and return how many were new.

        They are computed before the lock is taken, and again where a price of their items was
        appended meanwhile. Each part is written to the audit log as opened from `source`.
        """
        n_appended = 0
        while True:
            with reading(self.engine) as connection:
                ledger = Ledger(connection)
                seq, missing = ledger.read_last_seq(), find_missing(ledger)
            for start in range(0, len(missing), _PART):
                if start:
                    give_way(self.engine)
                with transaction(self.engine) as connection:
                    lock(connection, "price_ledger")
                    ledger = Ledger(connection)
                    if _others_appended(ledger, seq, missing[start:]):
                        break
                    n_new = ledger.append(missing[start : start + _PART])
                    seq = ledger.read_last_seq()
                    if n_new:
                        entry = AuditEntry(
                            SYSTEM, "open", "price_ledger", "price_ledger", {source: n_new}
                        )
                        AuditLog(connection).append([entry], self.system_clock.now())
                n_appended += n_new
            else:
                return n_appended


def find_expired_lists(ledger: Ledger, now: datetime) -> Iterator[ExpiredList]:
    """Yield the zones with items whose price lists have ended."""
    for zone in ledger.list_zones():
        ended = ledger.list_expired(zone, now)
        if ended:
            yield ExpiredList(zone, len(ended), max(ended.values()))


def _others_appended(ledger: Ledger, seq: int, prices: Sequence[NewPrice]) -> bool:
    """Return whether a price of these items was appended after number `seq`."""
    last = ledger.read_last_seq()
    if last == seq:
        return False
    keys = {_key(price) for price in prices}
    return any(_key(price) in keys for price in ledger.list_after(seq, last - seq))


def _select_unpriced(ledger: Ledger, prices: Sequence[NewPrice]) -> list[NewPrice]:
    """Return the prices of items and zones that have none in the ledger."""
    if not prices:
        return []
    priced = ledger.list_priced()
    return [price for price in prices if _key(price) not in priced]


def enter_list_prices(
    rows: Sequence[Mapping[str, object]],
    engine: sa.Engine,
    settings: Settings,
    clock: Clock,
    system_clock: Clock,
) -> int:
    """Append the list prices of rows of the catalogue whose items have no price in a zone yet, as
    `open_ledger` does; return how many were new."""
    listed = [row for row in rows if row["list_price_minor"]]
    if not listed:
        return 0
    offered = list(_make_catalogue_prices(listed, settings, clock.now()))
    writer = _LedgerWriter(engine, system_clock)
    return writer.append("catalogue", lambda ledger: _select_unpriced(ledger, offered))


def _read_catalogue(facts: Facts, settings: Settings, now: datetime) -> Iterator[NewPrice]:
    """Yield the list prices of the catalogue, in the zones with the shop's own currency."""
    items = facts.read("items")
    listed = items.filter(items.list_price_minor > 0).order_by("item_id")
    yield from _make_catalogue_prices(listed.to_pyarrow().to_pylist(), settings, now)


def _make_catalogue_prices(
    rows: Sequence[Mapping[str, object]], settings: Settings, now: datetime
) -> Iterator[NewPrice]:
    zones = list_own_currency_zones(settings)
    for row in filter(is_storable, rows):
        price = row["list_price_minor"]
        if not isinstance(price, int):
            continue
        for zone in zones:
            yield NewPrice(
                item_id=str(row["item_id"]),
                zone=zone,
                valid_from=now,
                list_price_minor=price,
                offer_price_minor=price,
                currency=settings.zone(zone).currency,
                source=PriceSource.IMPORTED,
                recorded_at=now,
            )


def _read_sales(facts: Facts, settings: Settings, now: datetime) -> Iterator[NewPrice]:
    """Yield the median regular price of the last weeks of sales, by item and zone."""
    events = facts.read("events")
    since = now - timedelta(weeks=OBSERVED_WEEKS)
    sold = events.filter(
        events.event_type == EventType.PURCHASE.value,
        events.occurred_at >= ibis.literal(since, "timestamp('UTC')"),
        events.occurred_at < ibis.literal(now, "timestamp('UTC')"),
    )
    paid = sold.unit_price_minor.fill_null(sold.line_amount_minor / sold.quantity.nullif(0))
    regular = sold.mutate(regular=sold.list_price_minor.fill_null(paid)).filter(ibis._.regular > 0)
    medians = regular.group_by(["item_id", "zone"]).aggregate(price=regular.regular.median())
    for row in medians.order_by(["item_id", "zone"]).to_pyarrow().to_pylist():
        price = round(row["price"])
        if price == 0:  # less than the smallest amount: nothing that could be charged
            continue
        yield NewPrice(
            item_id=row["item_id"],
            zone=row["zone"],
            valid_from=now,
            list_price_minor=price,
            offer_price_minor=price,
            currency=settings.zone(row["zone"]).currency,
            source=PriceSource.OBSERVED,
            recorded_at=now,
        )


def _key(price: NewPrice) -> tuple[str, str]:
    return price.item_id, price.zone
