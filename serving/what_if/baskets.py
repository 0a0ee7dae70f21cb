"""The spend of orders on the items of a promotion, and during past spend-and-save campaigns.

Only aggregates over many orders leave this module.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import numpy as np

from features.contracts.errors import BadInput
from features.contracts.money import to_minor
from features.contracts.tables import DEFAULT_ZONE
from features.facts.facts import Facts
from features.pipelines.orders import count_spend, spend_per_order
from models.pricing.promotions.spend_threshold import EDGES, PastOffer, SpendOffer, SpendOrders

BASKET_WEEKS = 8
PAST_WEEKS = 104  # campaigns that ended earlier are not looked at
MIN_ORDERS = 20  # a mean over fewer orders reveals too much of each, and too little of all
SPEND_SAVE_KINDS = ("spend_save", "满减")  # of the table promotions


@dataclass(frozen=True)
class Basket:
    """Spend of orders, minor units of the zone's currency: its mean, mean and standard deviation of
    its log, and the number of orders."""

    mean_minor: int
    log_mean: float
    log_sd: float
    n_orders: int


@dataclass(frozen=True)
class PastCampaign:
    """A spend-and-save campaign of the table promotions: its items, time and offer."""

    item_ids: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    offer: SpendOffer


def read_basket(facts: Facts, item_ids: Sequence[str], zone: str, now: datetime) -> Basket | None:
    """Return the spend on the items of the orders that hold any of them; None of too few orders.

    Orders of one zone over the eight weeks before `now` count, outside spend-and-save campaigns.
    """
    past = read_past_campaigns(facts, zone, now, currency="")
    spans = [(campaign.starts_at, campaign.ends_at) for campaign in past]
    since = now - timedelta(weeks=BASKET_WEEKS)
    return _read_spend(facts, item_ids, zone, (since, now), spans)


def require_basket(basket: Basket | None, zone: str) -> Basket:
    """Return the basket. Raises BadInput where too few orders are known."""
    if basket is None:
        raise BadInput(
            f"spend_save needs mean_basket: fewer than {MIN_ORDERS} orders of the last "
            f"{BASKET_WEEKS} weeks in {zone!r} hold these items",
            where="mean_basket",
            hint="Give the mean spend on these items of an order with any, "
            "or import purchases with an order_id",
        )
    return basket


def read_past_offers(facts: Facts, zone: str, now: datetime, currency: str) -> list[PastOffer]:
    """Return past spend-and-save campaigns with the spend of their orders.

    Beside each, the spend of orders on the same items in the eight weeks before it, outside other
    campaigns. Campaigns with too few orders in either time are left out.
    """
    campaigns = read_past_campaigns(facts, zone, now, currency)
    spans = [(campaign.starts_at, campaign.ends_at) for campaign in campaigns]
    events, offers = facts.read("events"), []
    for campaign in campaigns:
        since = campaign.starts_at - timedelta(weeks=BASKET_WEEKS)
        before = _read_spend(facts, campaign.item_ids, zone, (since, campaign.starts_at), spans)
        if before is None or before.log_sd <= 0:
            continue
        edges = [edge * campaign.offer.threshold for edge in EDGES]
        span = campaign.starts_at, min(campaign.ends_at, now)
        counts = count_spend(events, campaign.item_ids, zone, span=span, edges=edges)
        row = counts.to_pyarrow().to_pylist()[0]
        numbers = np.array([row[f"bin_{number}"] for number in range(len(edges) - 1)], np.int64)
        if numbers.sum() >= MIN_ORDERS:
            orders = SpendOrders(before.log_mean, before.log_sd)
            offers.append(PastOffer(campaign.offer, orders, numbers))
    return offers


def read_past_campaigns(
    facts: Facts, zone: str, now: datetime, currency: str
) -> list[PastCampaign]:
    """Return the spend-and-save campaigns that began before `now`, oldest first.

    Rows of the table promotions of one promotion_id and time, of kind spend_save, with the extra
    columns `threshold` and `amount` in major units of `currency`; without a currency their amounts
    are not read. Rows whose amounts are missing are left out.
    """
    table = facts.read("promotions")
    begun = table.filter(
        table.kind.isin(SPEND_SAVE_KINDS),
        table.starts_at < ibis.literal(now, "timestamp('UTC')"),
        table.ends_at > ibis.literal(now - timedelta(weeks=PAST_WEEKS), "timestamp('UTC')"),
        table.zone.isin([DEFAULT_ZONE, zone]),
    )
    rows = begun.order_by(["starts_at", "promotion_id", "item_id"]).to_pyarrow().to_pylist()
    items_of: dict[tuple[str, datetime, datetime], list[str]] = {}
    offers: dict[tuple[str, datetime, datetime], SpendOffer] = {}
    for row in rows:
        key = row["promotion_id"], row["starts_at"], row["ends_at"]
        offer = _read_offer(row["attributes"], currency)
        if offer is not None:
            items_of.setdefault(key, []).append(row["item_id"])
            offers[key] = offer
    return [
        PastCampaign(tuple(item_ids), key[1], key[2], offers[key])
        for key, item_ids in items_of.items()
    ]


def _read_offer(attributes: str | None, currency: str) -> SpendOffer | None:
    """Return the offer of a row; None where its amounts are missing or no amounts."""
    if not currency:
        return SpendOffer(1.0, 1.0)
    values = json.loads(attributes or "{}")
    try:
        threshold = to_minor(str(values["threshold"]), currency)
        saving = to_minor(str(values["amount"]), currency)
    except (KeyError, BadInput):
        return None
    if threshold <= 0 or saving <= 0:
        return None
    return SpendOffer(float(threshold), float(saving), str(values.get("repeats")).lower() == "true")


def _read_spend(
    facts: Facts,
    item_ids: Sequence[str],
    zone: str,
    span: tuple[datetime, datetime],
    without: Sequence[tuple[datetime, datetime]],
) -> Basket | None:
    since, until = span
    table = spend_per_order(
        facts.read("events"), item_ids, zone, since=since, until=until, without=without
    )
    row = table.to_pyarrow().to_pylist()[0]
    if row["n_orders"] < MIN_ORDERS or not math.isfinite(row["log_sd"]):
        return None
    mean_minor = max(round(row["mean_minor"]), 1)
    return Basket(mean_minor, row["log_mean"], row["log_sd"], row["n_orders"])
