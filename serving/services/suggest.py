"""Opens the price ledger: with the shop's own price history, else its catalogue, else what its sales show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import ibis
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock, SystemClock
from features.contracts.tables import DEFAULT_ZONE, EventType
from features.store.database import lock, transaction
from features.store.facts import Facts
from features.store.ledger import Ledger, NewPrice, PriceSource
from serving.store.audit import SYSTEM, AuditEntry, AuditLog
from serving.store.suggestions import OPEN, NewSuggestion, Suggestions

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


@dataclass(frozen=True)
class FiledSuggestions:
    """The ids of a run's suggestions in the order filed, and how many open ones gave way."""

    ids: list[str]
    superseded: int


def open_ledger(facts: Facts, engine: sa.Engine, settings: Settings, clock: Clock) -> OpeningReport:
    """Appends what the ledger lacks, and can be repeated after every import.

    Every row of `price_history` is taken as it stands. An item and zone without any price begins now with the list
    price of the catalogue, else with the median regular price of the last four weeks of sales (`source=observed`),
    which is an opening balance for the desk and never a feature of demand.
    """
    now = clock.now()
    with transaction(engine) as connection:
        ledger = Ledger(connection)
        imported = ledger.append(list(_imported(facts, settings, now)))
        priced = ledger.priced()
        catalogue = ledger.append([row for row in _catalogue(facts, settings, now) if _key(row) not in priced])
        priced = ledger.priced()
        observed = ledger.append([row for row in _observed(facts, settings, now) if _key(row) not in priced])
        report = OpeningReport(imported, catalogue, observed)
        if report.total:
            counts = {"imported": imported, "catalogue": catalogue, "observed": observed}
            entry = AuditEntry(SYSTEM, "open", "price_ledger", "price_ledger", counts)
            AuditLog(connection).append([entry], SystemClock().now())
    return report


def file_suggestions(
    connection: sa.Connection, drafts: Sequence[NewSuggestion], *, at: datetime, run: Mapping[str, Any]
) -> FiledSuggestions:
    """Files a run's suggestions in the given order; open ones of the same items and zones give way to them.

    `at` is system time; `run` says in the audit log what the run was (objective, versions, zone). Every draft has the
    same creation time and run.
    """
    lock(connection, "price_desk")
    repository = Suggestions(connection)
    waiting = repository.of_items(((draft.item_id, draft.zone) for draft in drafts), OPEN)
    ids = repository.add(drafts)
    deeds = []
    if drafts:
        repository.change([place.id for place in waiting], drafts[0].created_at, status="superseded")
        deeds = [
            AuditEntry(
                SYSTEM, "supersede", "price_suggestion", place.id, {"item_id": place.item_id, "zone": place.zone}
            )
            for place in waiting
        ]
        counts = {"filed": len(ids), "superseded": len(waiting)}
        deeds.append(AuditEntry(SYSTEM, "suggest", "pricing_run", drafts[0].run_id, {**run, **counts}))
    AuditLog(connection).append(deeds, at)
    return FiledSuggestions(ids, len(waiting))


def _imported(facts: Facts, settings: Settings, now: datetime) -> Iterator[NewPrice]:
    history = facts.read("price_history")
    for row in _rows(history.order_by(["valid_from", "item_id", "zone"])):
        offer = row["offer_price_minor"]
        yield NewPrice(
            item_id=row["item_id"],
            zone=row["zone"],
            valid_from=row["valid_from"],
            valid_to=row["valid_to"],
            list_price_minor=max(row["list_price_minor"], offer),
            offer_price_minor=offer,
            currency=settings.zone(row["zone"]).currency,
            source=PriceSource.IMPORTED,
            recorded_at=now,
            promotion_id=row["promotion_id"],
        )


def _catalogue(facts: Facts, settings: Settings, now: datetime) -> Iterator[NewPrice]:
    """List prices of the catalogue, for the zones that use the shop's own currency."""
    items = facts.read("items")
    zones = [zone for zone in settings.zones or (DEFAULT_ZONE,) if settings.zone(zone).currency == settings.currency]
    for row in _rows(items.filter(items.list_price_minor.notnull()).order_by("item_id")):
        for zone in zones:
            yield _plain(row["item_id"], zone, row["list_price_minor"], PriceSource.IMPORTED, settings, now)


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
    item_id: str, zone: str, price_minor: int, source: PriceSource, settings: Settings, now: datetime
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
