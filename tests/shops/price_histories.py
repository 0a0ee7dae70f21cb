"""Price histories of one item, by days since the start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from features.prices.ledger import NewPrice, Price, PriceSource

START = datetime(2018, 1, 1, tzinfo=UTC)


def day(n):
    return START + timedelta(days=n)


def new(n, offer, until=None, list_price=None, zone="default"):
    return NewPrice(
        item_id="milk",
        zone=zone,
        valid_from=day(n),
        valid_to=None if until is None else day(until),
        list_price_minor=list_price or offer,
        offer_price_minor=offer,
        currency="EUR",
        source=PriceSource.IMPORTED,
        recorded_at=START,
    )


def history(*rows):
    return [
        Price(**vars(row), seq=seq, price_id=row.content_id()) for seq, row in enumerate(rows, 1)
    ]
