"""A small shop as canonical tables: fashion and electronics in two zones and currencies.

Shoppers have tastes, buy consumables again, respond to prices, coupons and banners, and return
some items. Weeks are business weeks of `TIMEZONE`; everything observed lies before `NOW`, planned
promotions lie after it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.contracts.calendar import add_weeks

TIMEZONE = "Europe/Berlin"
NOW = datetime(2024, 6, 3, tzinfo=ZoneInfo(TIMEZONE)).astimezone(ZoneInfo("UTC"))
N_WEEKS = 16
N_PLANNED_WEEKS = 4
N_USERS = 300
N_GUESTS = 700
ZONES = ("north", "south")
CURRENCIES = {"north": "EUR", "south": "SEK"}
NO_PERSONALIZATION = "u007"  # the one user who does not allow personalization
SOLD_OUT = "sku-003"  # has no stock in zone south
# The environment of a process that serves this shop.
SETTINGS = {
    "SHOPWRIGHT_TIMEZONE": TIMEZONE,
    "SHOPWRIGHT_CURRENCY": "EUR",
    "SHOPWRIGHT_CLOCK_START": NOW.isoformat(),
    "SHOPWRIGHT_ZONES": json.dumps(
        {
            "north": {"currency": "EUR", "prices_include_tax": True, "tax_rate": 0.19},
            "south": {"currency": "SEK", "prices_include_tax": True, "tax_rate": 0.25},
        }
    ),
}

_SEK_PER_EUR = 11.3
# By type of item: number of items, lowest and highest price in EUR, share of sessions that buy an
# owned item again, elasticity.
_TYPES: dict[str, tuple[int, float, float, float, float]] = {
    "Fashion > Tops > T-shirts": (24, 12, 35, 0.0, -2.2),
    "Fashion > Tops > Knitwear": (15, 35, 90, 0.0, -1.8),
    "Fashion > Trousers > Jeans": (15, 45, 110, 0.0, -1.6),
    "Fashion > Basics > Socks": (12, 5, 14, 0.30, -1.4),
    "Fashion > Shoes > Sneakers": (16, 50, 140, 0.0, -2.0),
    "Electronics > Audio > Headphones": (16, 25, 220, 0.0, -2.4),
    "Electronics > Power > Batteries": (12, 4, 18, 0.35, -1.2),
    "Electronics > Power > Chargers": (14, 12, 45, 0.05, -1.7),
    "Electronics > Home > Lamps": (12, 15, 80, 0.0, -1.5),
    "Care > Body > Soap": (14, 3, 12, 0.40, -1.1),
}
_LIFT = {"coupon": 1.3, "banner": 1.8}
_SIZES = ("S", "M", "L")


@dataclass(frozen=True)
class _Catalogue:
    """Arrays over items (I) and types (T)."""

    ids: list[str]  # I
    kind: np.ndarray  # I, index of the type
    base_price: np.ndarray  # I, EUR
    appeal: np.ndarray  # I
    reuse: np.ndarray  # I
    elasticity: np.ndarray  # I
    arrives: np.ndarray  # I, week of arrival, 0 for items that were always there


@dataclass(frozen=True)
class _Plan:
    """Arrays over weeks (W, planned weeks included), zones (Z) and items (I).

    Prices are in major units of the zone's currency.
    """

    list_price: np.ndarray  # W, Z, I
    offer_price: np.ndarray  # W, Z, I
    lift: np.ndarray  # W, Z, I
    coupon: np.ndarray  # W, Z, I, depth, 0 for none
    banner: np.ndarray  # W, Z, I, reach, 0 for none


@dataclass(frozen=True)
class _Visit:
    """Who visits which zone in which week; `user` is None for a guest."""

    week_start: datetime
    week: int
    zone: int
    user: int | None
    visitor: str


def write_small_shop(folder: Path, *, seed: int = 5) -> None:
    """Write all tables of the shop, some as CSV, some as Parquet, one in parts.

    The same seed writes the same rows.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    weeks = [add_weeks(NOW, n - N_WEEKS, TIMEZONE) for n in range(N_WEEKS + N_PLANNED_WEEKS + 1)]
    catalogue = _draw_catalogue(rng)
    plan = _draw_plan(rng, catalogue)
    events = _draw_events(rng, catalogue, plan, weeks)
    _write_events(folder / "events", events)
    _write_csv(folder / "items.csv", _draw_items(rng, catalogue, plan, weeks))
    users = [
        {"user_id": f"u{n:03d}", "personalization_allowed": f"u{n:03d}" != NO_PERSONALIZATION}
        for n in range(N_USERS)
    ]
    _write_csv(folder / "users.csv", users)
    pq.write_table(
        pa.Table.from_pylist(_make_price_history(catalogue, plan, weeks)),
        folder / "price_history.parquet",
    )
    _write_csv(folder / "promotions.csv", _make_promotions(catalogue, plan, weeks))
    _write_csv(folder / "costs.csv", _draw_costs(rng, catalogue, weeks))
    pq.write_table(
        pa.Table.from_pylist(_draw_stock(rng, catalogue, weeks)), folder / "stock.parquet"
    )
    _write_csv(
        folder / "competitor_prices.csv", _draw_competitor_prices(rng, catalogue, plan, weeks)
    )


def _draw_catalogue(rng: np.random.Generator) -> _Catalogue:
    counts = [values[0] for values in _TYPES.values()]
    kind = np.repeat(np.arange(len(_TYPES)), counts)
    n_items = len(kind)
    low, high, reuse, elasticity = np.array([values[1:] for values in _TYPES.values()])[kind].T
    base_price = np.exp(rng.uniform(np.log(low), np.log(high)))
    arrives = np.zeros(n_items, dtype=int)
    arrives[rng.choice(n_items, 8, replace=False)] = rng.integers(N_WEEKS - 3, N_WEEKS, 8)
    shirts = np.arange(counts[0])
    base_price[shirts] = base_price[shirts - shirts % len(_SIZES)]  # one price per family of sizes
    arrives[shirts] = arrives[shirts - shirts % len(_SIZES)]
    return _Catalogue(
        ids=[f"sku-{n:03d}" for n in range(n_items)],
        kind=kind,
        base_price=base_price,
        appeal=rng.lognormal(0.0, 0.9, n_items),
        reuse=reuse,
        elasticity=elasticity + rng.normal(0.0, 0.2, n_items),
        arrives=arrives,
    )


def _draw_plan(rng: np.random.Generator, catalogue: _Catalogue) -> _Plan:
    """Draw regular prices with some changes, coupon weeks and banner weeks."""
    n_items = len(catalogue.ids)
    shape = (N_WEEKS + N_PLANNED_WEEKS, len(ZONES), n_items)
    changed = rng.random(shape) < 0.12
    changed[0] = False
    changed[N_WEEKS:] = False
    steps = np.where(changed, rng.choice([-0.14, -0.09, 0.08, 0.13], shape), 0.0)
    level = np.clip(np.exp(np.cumsum(steps, axis=0)), 0.75, 1.35)
    rate = np.array([1.0, _SEK_PER_EUR])[:, None]
    list_price = _round_prices(level * rate * catalogue.base_price)
    coupon = np.where(rng.random(shape) < 0.07, rng.choice([0.1, 0.15, 0.2, 0.25], shape), 0.0)
    banner = np.where(rng.random(shape) < 0.06, rng.choice([0.5, 0.75, 1.0], shape), 0.0)
    banner[:, 1] = banner[:, 0]  # a banner is shown in both zones
    lift = np.where(coupon > 0, _LIFT["coupon"], 1.0) * (1 + (_LIFT["banner"] - 1) * banner)
    return _Plan(
        list_price=list_price,
        offer_price=np.where(coupon > 0, _round_prices(list_price * (1 - coupon)), list_price),
        lift=lift,
        coupon=coupon,
        banner=banner,
    )


def _round_prices(prices: np.ndarray) -> np.ndarray:
    """Return prices that end in .95 (EUR) or 9 (SEK); the zone is the last axis but one."""
    euros = np.maximum(np.floor(prices[..., 0, :]), 1) + 0.95
    kronor = np.maximum(np.round(prices[..., 1, :] / 10) * 10, 20) - 1
    return np.stack([euros, kronor], axis=-2)


def _draw_events(
    rng: np.random.Generator, catalogue: _Catalogue, plan: _Plan, weeks: list[datetime]
) -> list[dict[str, Any]]:
    """Return the events of users and guests, who view, put into the cart and buy items."""
    n_types = len(_TYPES)
    taste = rng.dirichlet(np.full(n_types, 0.35), N_USERS)[:, catalogue.kind] + 0.01  # users x I
    activity = rng.gamma(2.0, 0.55, N_USERS)
    reference = plan.list_price[:N_WEEKS].mean(axis=0)  # Z, I
    reaction = (plan.offer_price[:N_WEEKS] / reference) ** catalogue.elasticity * plan.lift[
        :N_WEEKS
    ]  # W, Z, I
    here = catalogue.arrives[None, :] <= np.arange(N_WEEKS)[:, None]  # W, I
    owned: list[set[int]] = [set() for _ in range(N_USERS)]
    events: list[dict[str, Any]] = []
    for week in range(N_WEEKS):
        visits = [
            (user, f"v{user:03d}") for user in np.repeat(np.arange(N_USERS), rng.poisson(activity))
        ]
        visits += [(None, f"g{guest:03d}") for guest in rng.integers(0, N_GUESTS, 60)]
        for user, visitor in visits:
            zone = (int(visitor[1:]) // 2) % 2
            pull = catalogue.appeal * reaction[week, zone] * here[week]
            again: list[int] = []
            if user is not None:
                pull = pull * taste[user]
                again = [i for i in sorted(owned[user]) if rng.random() < catalogue.reuse[i]]
            seen = rng.choice(len(pull), 4, replace=False, p=pull / pull.sum())
            bought = [
                i for i in seen if rng.random() < min(0.35 * reaction[week, zone, i] ** 0.5, 0.9)
            ]
            chosen = list(dict.fromkeys([*again, *bought]))
            if user is not None:
                owned[user].update(i for i in chosen if catalogue.reuse[i] > 0)
            visit = _Visit(weeks[week], week, zone, user, visitor)
            events += _draw_visit_events(rng, catalogue, plan, visit, seen, chosen)
    for number, event in enumerate(
        sorted(events, key=lambda e: (e["occurred_at"], e["session_id"], e["event_type"]))
    ):
        event["event_id"] = f"e{number:06d}"
    return sorted(events, key=lambda e: e["event_id"])


def _draw_visit_events(
    rng: np.random.Generator,
    catalogue: _Catalogue,
    plan: _Plan,
    visit: _Visit,
    seen: np.ndarray,
    chosen: list[int],
) -> list[dict[str, Any]]:
    """Return the events of one visit, a minute apart, and refunds some days later."""
    started_at = visit.week_start + timedelta(minutes=int(rng.integers(0, 7 * 24 * 60 - 120)))
    session = f"{visit.visitor}-{visit.week}-{int(started_at.timestamp()) // 60}"
    common = {
        "user_id": None if visit.user is None else f"u{visit.user:03d}",
        "visitor_id": visit.visitor,
        "session_id": session,
        "zone": ZONES[visit.zone],
        "device": ("phone", "desktop")[int(rng.integers(0, 2))],
    }
    steps = [("view_item", i) for i in seen]
    steps += [("add_to_cart", i) for i in chosen]
    steps += [("purchase", i) for i in chosen]
    events = []
    for minute, (event_type, item) in enumerate(steps):
        event: dict[str, Any] = {
            **common,
            "event_type": event_type,
            "occurred_at": started_at + timedelta(minutes=minute),
            "item_id": catalogue.ids[item],
            "quantity": 1.0,
            "unit_price": None,
            "list_price": None,
            "order_id": None,
        }
        events.append(event)
        if event_type != "purchase":
            continue
        event["quantity"] = float(1 + rng.poisson(0.9 if catalogue.reuse[item] else 0.05))
        event["unit_price"] = round(float(plan.offer_price[visit.week, visit.zone, item]), 2)
        event["list_price"] = round(float(plan.list_price[visit.week, visit.zone, item]), 2)
        event["order_id"] = f"o-{session}"
        returned_at = event["occurred_at"] + timedelta(days=int(rng.integers(3, 11)))
        if not catalogue.reuse[item] and rng.random() < 0.06 and returned_at < NOW:
            refund = {"event_type": "refund", "occurred_at": returned_at, "quantity": 1.0}
            events.append({**event, **refund})
    return events


def _draw_items(
    rng: np.random.Generator, catalogue: _Catalogue, plan: _Plan, weeks: list[datetime]
) -> list[dict[str, Any]]:
    names = list(_TYPES)
    rows = []
    for i, item_id in enumerate(catalogue.ids):
        category = names[catalogue.kind[i]]
        family = i // len(_SIZES) if catalogue.kind[i] == 0 else None
        rows.append(
            {
                "item_id": item_id,
                "title": f"{category.split(' > ')[-1]} No. {i if family is None else family}",
                "category": category,
                "brand": ("Nordlys", "Fjordline", "Kupfer", "Alba")[int(rng.integers(0, 4))],
                "list_price": round(float(plan.list_price[N_WEEKS - 1, 0, i]), 2),
                "unit_cost": None,
                "stock_on_hand": int(rng.integers(5, 200)),
                "family_id": None if family is None else f"shirt-{family}",
                "size": None if family is None else _SIZES[i % len(_SIZES)],
                "available_from": weeks[catalogue.arrives[i]].isoformat()
                if catalogue.arrives[i]
                else None,
                "image_url": f"https://shop.example/{item_id}.webp",
                "material": ("cotton", "wool", "steel", "oak")[int(rng.integers(0, 4))],
            }
        )
    return rows


def _make_price_history(
    catalogue: _Catalogue, plan: _Plan, weeks: list[datetime]
) -> list[dict[str, Any]]:
    """Return a row per span of weeks with one price; the last price is regular and open-ended."""
    rows: list[dict[str, Any]] = []
    for zone, name in enumerate(ZONES):
        for i, item_id in enumerate(catalogue.ids):
            first = catalogue.arrives[i]
            prices = [
                (
                    plan.list_price[w, zone, i],
                    plan.offer_price[w, zone, i],
                    f"coupon-{w}-{name}" if plan.coupon[w, zone, i] else None,
                )
                for w in range(first, N_WEEKS)
            ]
            prices.append(
                (plan.list_price[N_WEEKS - 1, zone, i], plan.list_price[N_WEEKS - 1, zone, i], None)
            )
            starts = [w for w in range(len(prices)) if w == 0 or prices[w] != prices[w - 1]]
            for w, following in zip(starts, [*starts[1:], None], strict=True):
                rows.append(
                    {
                        "item_id": item_id,
                        "zone": name,
                        "valid_from": weeks[first + w],
                        "valid_to": None if following is None else weeks[first + following],
                        "list_price": round(float(prices[w][0]), 2),
                        "offer_price": round(float(prices[w][1]), 2),
                        "promotion_id": prices[w][2],
                    }
                )
    return rows


def _make_promotions(
    catalogue: _Catalogue, plan: _Plan, weeks: list[datetime]
) -> list[dict[str, Any]]:
    rows = []
    for kind, values in (("coupon", plan.coupon), ("banner", plan.banner)):
        for w, zone, i in np.argwhere(values > 0):
            if catalogue.arrives[i] > w:
                continue
            rows.append(
                {
                    "promotion_id": f"{kind}-{w}-{ZONES[zone]}",
                    "item_id": catalogue.ids[i],
                    "zone": ZONES[zone],
                    "starts_at": weeks[w].isoformat(),
                    "ends_at": weeks[w + 1].isoformat(),
                    "kind": kind,
                    "depth": float(values[w, zone, i]) if kind == "coupon" else None,
                    "reach": float(values[w, zone, i]) if kind == "banner" else None,
                }
            )
    return rows


def _draw_costs(
    rng: np.random.Generator, catalogue: _Catalogue, weeks: list[datetime]
) -> list[dict[str, Any]]:
    """Return costs in the zone's currency; some rise after eight weeks."""
    share = rng.uniform(0.35, 0.55, len(catalogue.ids))
    is_raised = rng.random(len(catalogue.ids)) < 0.3
    return [
        {
            "item_id": item_id,
            "zone": zone,
            "valid_from": weeks[week].isoformat(),
            "unit_cost": round(float(catalogue.base_price[i] * share[i] * rate * factor), 2),
        }
        for zone, rate in zip(ZONES, (1.0, _SEK_PER_EUR), strict=True)
        for i, item_id in enumerate(catalogue.ids)
        for week, factor in ((0, 1.0), *(((8, 1.06),) if is_raised[i] else ()))
    ]


def _draw_stock(
    rng: np.random.Generator, catalogue: _Catalogue, weeks: list[datetime]
) -> list[dict[str, Any]]:
    """Return counts of every fourth week, the last at `NOW`."""
    return [
        {
            "item_id": item_id,
            "zone": zone,
            "at": weeks[week],
            "on_hand": 0.0
            if (item_id, zone) == (SOLD_OUT, "south")
            else float(rng.integers(1, 150)),
        }
        for week in range(0, N_WEEKS + 1, 4)
        for zone in ZONES
        for item_id in catalogue.ids
    ]


def _draw_competitor_prices(
    rng: np.random.Generator, catalogue: _Catalogue, plan: _Plan, weeks: list[datetime]
) -> list[dict[str, Any]]:
    """Return prices of two competitors, in EUR, observed in the last four weeks."""
    return [
        {
            "item_id": catalogue.ids[i],
            "competitor": competitor,
            "observed_at": (weeks[week] + timedelta(hours=6)).isoformat(),
            "price": round(float(plan.list_price[week, 0, i] * rng.uniform(0.88, 1.12)), 2),
        }
        for competitor in ("kaufgut", "billigare")
        for i in range(0, len(catalogue.ids), 2)
        for week in range(N_WEEKS - 4, N_WEEKS)
    ]


def _write_events(folder: Path, events: list[dict[str, Any]]) -> None:
    """Write two parts, like an export by halves of the year."""
    folder.mkdir(exist_ok=True)
    rows = pa.Table.from_pylist(events)
    half = rows.num_rows // 2
    pq.write_table(rows.slice(0, half), folder / "part-0.parquet")
    pq.write_table(rows.slice(half), folder / "part-1.parquet")


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    pa_csv.write_csv(pa.Table.from_pylist(rows), path)
