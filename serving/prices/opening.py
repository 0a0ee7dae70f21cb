"""The import of the shop's own prices into the ledger: its price list, its catalogue, its sales."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypedDict

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
    """The number of new prices from each source; all 0 when the ledger had them already."""

    imported: int
    catalogue: int
    observed: int

    @property
    def total(self) -> int:
        """All prices that were new."""
        return self.imported + self.catalogue + self.observed


class _ListedRow(TypedDict):
    """A row of the table price_history."""

    item_id: str
    zone: str
    valid_from: datetime
    valid_to: datetime | None
    list_price_minor: int
    offer_price_minor: int
    promotion_id: str | None


def open_ledger(
    facts: Facts,
    engine: sa.Engine,
    settings: Settings,
    clock: Clock,
    system_clock: Clock,
    *,
    observe: bool = True,
) -> OpeningReport:
    """Append the prices that the ledger lacks; may be repeated after every import.

    Every row of `price_history` is taken unchanged. One that differs from what the price list said
    before is a correction, and a later row of the ledger. In a shop whose zones do not include the
    default zone, rows of the default zone are valid in each zone of the shop's own currency, for
    the items without rows of that zone. An item and zone without any price gets one from now on:
    the list price of the catalogue, else, with `observe`, the median regular price of the last four
    weeks of sales (`source=observed`), which is an opening balance for the desk and never a feature
    of demand.
    """
    now = clock.now()
    with transaction(engine) as connection:
        lock(connection, "price_ledger")
        ledger = Ledger(connection)
        listed = list(_read_price_list(facts, settings, now))
        imported = ledger.append(list(_select_changed(listed, ledger.read_all())))
        imported += ledger.append(
            list(_continue_past_openings(listed, ledger.list_openings(), now))
        )
        catalogue = _append_unpriced(ledger, _read_catalogue(facts, settings, now))
        observed = _append_unpriced(ledger, _read_sales(facts, settings, now)) if observe else 0
        report = OpeningReport(imported, catalogue, observed)
        if report.total:
            counts = {"imported": imported, "catalogue": catalogue, "observed": observed}
            entry = AuditEntry(SYSTEM, "open", "price_ledger", "price_ledger", counts)
            AuditLog(connection).append([entry], system_clock.now())
    return report


def _append_unpriced(ledger: Ledger, prices: Iterable[NewPrice]) -> int:
    """Append the prices of items and zones that have none, and return their number."""
    priced = ledger.list_priced()
    return ledger.append([price for price in prices if _key(price) not in priced])


def _read_price_list(facts: Facts, settings: Settings, now: datetime) -> Iterator[NewPrice]:
    """Yield the rows of the price list, each in the zones in which it is valid."""
    zones = [] if DEFAULT_ZONE in settings.zones else _own_currency_zones(settings)
    table = facts.read_imported("price_history").order_by(["valid_from", "item_id", "zone"])
    rows: list[_ListedRow] = table.to_pyarrow().to_pylist()
    keys = {(row["item_id"], row["zone"]) for row in rows}
    for row in rows:
        yield _build_listed_price(row, row["zone"], settings, now)
        if row["zone"] == DEFAULT_ZONE:
            for zone in zones:
                if (row["item_id"], zone) not in keys:
                    yield _build_listed_price(row, zone, settings, now)


def _build_listed_price(row: _ListedRow, zone: str, settings: Settings, now: datetime) -> NewPrice:
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


def _select_changed(listed: Iterable[NewPrice], ledger_rows: Iterable[Price]) -> Iterator[NewPrice]:
    """Yield the listed rows that differ from the last row of the ledger with their beginning.

    A row that equals the last one of the price list, or the last one of any source, is no change.
    What returns to an earlier price undoes the correction made in between (`reverts_price_id`).
    """
    last: dict[tuple[str, str, datetime], Price] = {}
    last_listed: dict[tuple[str, str, datetime], Price] = {}
    known = set()
    for price in ledger_rows:
        key = price.item_id, price.zone, price.valid_from
        last[key] = price
        known.add(price.price_id)
        if price.source is PriceSource.IMPORTED:
            last_listed[key] = price
    for row in listed:
        key = row.item_id, row.zone, row.valid_from
        before = last_listed.get(key)
        if _is_same(before, row) or _is_same(last.get(key), row):
            continue
        if before is not None and row.content_id() in known:
            row = replace(row, reverts_price_id=before.price_id)
        yield row


def _is_same(price: Price | None, row: NewPrice) -> bool:
    return price is not None and _terms(price) == _terms(row)


def _continue_past_openings(
    listed: Iterable[NewPrice], openings: Iterable[Price], now: datetime
) -> Iterator[NewPrice]:
    """Yield listed prices that were valid when an item's ledger opened without them, from then on.

    An opening balance begins later than the price list that is imported after it, and would hide
    it.
    """
    opened_at = {(price.item_id, price.zone): price.valid_from for price in openings}
    rows = [row for row in listed if _key(row) in opened_at]
    beginnings = {(row.item_id, row.zone, row.valid_from) for row in rows}
    for row in rows:
        since = opened_at[_key(row)]
        valid = row.valid_from < since and (row.valid_to is None or row.valid_to > since)
        if valid and (row.item_id, row.zone, since) not in beginnings:
            yield replace(row, valid_from=since, recorded_at=now)


def _terms(price: NewPrice) -> tuple[object, ...]:
    """Return what a row says of the time from its beginning on."""
    return (
        price.valid_to,
        price.list_price_minor,
        price.offer_price_minor,
        price.currency,
        price.promotion_id,
    )


def _own_currency_zones(settings: Settings) -> list[str]:
    """Return the configured zones with the shop's own currency; the default zone without any."""
    zones = settings.zones or (DEFAULT_ZONE,)
    return [zone for zone in zones if settings.zone(zone).currency == settings.currency]


def _read_catalogue(facts: Facts, settings: Settings, now: datetime) -> Iterator[NewPrice]:
    """Yield the list prices of the catalogue, in the zones with the shop's own currency."""
    items = facts.read("items")
    zones = _own_currency_zones(settings)
    listed = items.filter(items.list_price_minor.notnull()).order_by("item_id")
    for row in listed.to_pyarrow().to_pylist():
        for zone in zones:
            yield NewPrice(
                item_id=row["item_id"],
                zone=zone,
                valid_from=now,
                list_price_minor=row["list_price_minor"],
                offer_price_minor=row["list_price_minor"],
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
        price = max(1, round(row["price"]))
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
