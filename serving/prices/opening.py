"""Brings the shop's own prices into the price ledger: its price list, its catalogue, else what its
sales show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import ibis
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.tables import DEFAULT_ZONE, EventType
from features.database import lock, transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from serving.database.audit_log import SYSTEM, AuditEntry, AuditLog

OBSERVED_WEEKS = 4


@dataclass(frozen=True)
class OpeningReport:
    """How many prices each way gave; 0 everywhere when the ledger held them all already."""

    imported: int
    catalogue: int
    observed: int

    @property
    def total(self) -> int:
        """All prices that were new."""
        return self.imported + self.catalogue + self.observed


def open_ledger(
    facts: Facts,
    engine: sa.Engine,
    settings: Settings,
    clock: Clock,
    system_clock: Clock,
    *,
    observe: bool = True,
) -> OpeningReport:
    """Appends what the ledger lacks, and can be repeated after every import.

    Every row of `price_history` is taken as it stands; one that says something else than it said
    before is a correction, and a later row of the ledger. In a shop whose zones do not include the
    default zone, rows of the default zone hold in each zone of the shop's own currency for the
    items without rows of that zone. An item and zone without any price begins now with the list
    price of the catalogue, else, with `observe`, with the median regular price of the last four
    weeks of sales (`source=observed`), which is an opening balance for the desk and never a feature
    of demand.
    """
    now = clock.now()
    with transaction(engine) as connection:
        lock(connection, "price_ledger")
        ledger = Ledger(connection)
        listed = list(_listed(facts, settings, now))
        imported = ledger.append(list(_unsaid(listed, ledger.everything())))
        imported += ledger.append(list(_restated(listed, ledger.openings(), now)))
        priced = ledger.priced()
        catalogue = ledger.append(
            [row for row in _catalogue(facts, settings, now) if _key(row) not in priced]
        )
        observed = 0
        if observe:
            priced = ledger.priced()
            observed = ledger.append(
                [row for row in _observed(facts, settings, now) if _key(row) not in priced]
            )
        report = OpeningReport(imported, catalogue, observed)
        if report.total:
            counts = {"imported": imported, "catalogue": catalogue, "observed": observed}
            entry = AuditEntry(SYSTEM, "open", "price_ledger", "price_ledger", counts)
            AuditLog(connection).append([entry], system_clock.now())
    return report


def _listed(facts: Facts, settings: Settings, now: datetime) -> Iterator[NewPrice]:
    """The price list, each row in the zones in which it holds."""
    zones = [] if DEFAULT_ZONE in settings.zones else _own_zones(settings)
    rows = list(_rows(facts.imported("price_history").order_by(["valid_from", "item_id", "zone"])))
    own = {(row["item_id"], row["zone"]) for row in rows}
    for row in rows:
        yield _price_of(row, row["zone"], settings, now)
        if row["zone"] == DEFAULT_ZONE:
            lacking = (zone for zone in zones if (row["item_id"], zone) not in own)
            yield from (_price_of(row, zone, settings, now) for zone in lacking)


def _price_of(row: dict[str, Any], zone: str, settings: Settings, now: datetime) -> NewPrice:
    offer = row["offer_price_minor"]
    return NewPrice(
        item_id=row["item_id"],
        zone=zone,
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        list_price_minor=max(row["list_price_minor"], offer),
        offer_price_minor=offer,
        currency=settings.zone(zone).currency,
        source=PriceSource.IMPORTED,
        recorded_at=now,
        promotion_id=row["promotion_id"],
    )


def _unsaid(listed: Iterable[NewPrice], held: Iterable[Price]) -> Iterator[NewPrice]:
    """The listed rows that say something else than the price list said last, or the ledger holds,
    for their beginning.

    What comes back to an earlier price undoes the correction that stands between
    (`reverts_price_id`).
    """
    last: dict[tuple[str, str, datetime], Price] = {}
    last_listed: dict[tuple[str, str, datetime], Price] = {}
    known = set()
    for price in held:
        place = price.item_id, price.zone, price.valid_from
        last[place] = price
        known.add(price.price_id)
        if price.source is PriceSource.IMPORTED:
            last_listed[place] = price
    for row in listed:
        place = row.item_id, row.zone, row.valid_from
        before = last_listed.get(place)
        if any(
            other is not None and _says(other) == _says(row) for other in (before, last.get(place))
        ):
            continue
        if before is not None and row.content_id() in known:
            row = replace(row, reverts_price_id=before.price_id)
        yield row


def _restated(
    listed: Iterable[NewPrice], openings: Iterable[Price], now: datetime
) -> Iterator[NewPrice]:
    """Listed prices that hold when an item's ledger opened without them, from that instant on.

    An opening balance begins later than the price list that is imported after it, and would hide
    it.
    """
    opened = {(price.item_id, price.zone): price.valid_from for price in openings}
    rows = [row for row in listed if (row.item_id, row.zone) in opened]
    said = {(row.item_id, row.zone, row.valid_from) for row in rows}
    for row in rows:
        since = opened[_key(row)]
        holds = row.valid_from < since and (row.valid_to is None or row.valid_to > since)
        if holds and (row.item_id, row.zone, since) not in said:
            yield replace(row, valid_from=since, recorded_at=now)


def _says(price: NewPrice) -> tuple[object, ...]:
    """What a row says of the time from its beginning on."""
    return (
        price.valid_to,
        price.list_price_minor,
        price.offer_price_minor,
        price.currency,
        price.promotion_id,
    )


def _own_zones(settings: Settings) -> list[str]:
    """The configured zones that use the shop's own currency; the default zone where none is
    configured."""
    zones = settings.zones or (DEFAULT_ZONE,)
    return [zone for zone in zones if settings.zone(zone).currency == settings.currency]


def _catalogue(facts: Facts, settings: Settings, now: datetime) -> Iterator[NewPrice]:
    """List prices of the catalogue, for the zones that use the shop's own currency."""
    items = facts.read("items")
    zones = _own_zones(settings)
    for row in _rows(items.filter(items.list_price_minor.notnull()).order_by("item_id")):
        for zone in zones:
            yield _plain(
                row["item_id"], zone, row["list_price_minor"], PriceSource.IMPORTED, settings, now
            )


def _observed(facts: Facts, settings: Settings, now: datetime) -> Iterator[NewPrice]:
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
    for row in _rows(medians.order_by(["item_id", "zone"])):
        price = max(1, round(row["price"]))
        yield _plain(row["item_id"], row["zone"], price, PriceSource.OBSERVED, settings, now)


def _plain(
    item_id: str,
    zone: str,
    price_minor: int,
    source: PriceSource,
    settings: Settings,
    now: datetime,
) -> NewPrice:
    return NewPrice(
        item_id=item_id,
        zone=zone,
        valid_from=now,
        list_price_minor=price_minor,
        offer_price_minor=price_minor,
        currency=settings.zone(zone).currency,
        source=source,
        recorded_at=now,
    )


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    for batch in table.to_pyarrow().to_batches():
        yield from batch.to_pylist()


def _key(row: NewPrice) -> tuple[str, str]:
    return row.item_id, row.zone
