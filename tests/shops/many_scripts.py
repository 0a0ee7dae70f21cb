"""A shop whose words are Chinese, Arabic, accented, emoji and signs, as tables to import.

Two zones; ids that are paths, formulas or patterns; kinds of promotion, categories, brands and ids
that become one word once their capitals, blanks, accents or signs are taken off.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.shops.folders import write_csv

NOW = datetime(2024, 6, 3, tzinfo=UTC)  # a Monday
N_WEEKS = 30
ZONES = ("北京", "القاهرة")
_TEAS = ("茶/红", "茶/绿", "🍵", "🍚", "قهوة", "Crème", "Creme", "crème")
_SIGNS = ("AB/12", "AB%2F12", "ab/12", "a b", "a  b", "..", "#9", "?q=1", "'quoted'", '"x"')
_FORMULAS = ("=1+1", "-7", "@x", "50%", "item[1]", "item*")
ITEMS = (*_TEAS, *_SIGNS, *_FORMULAS)
CATEGORIES = (
    "食品 > 茶",
    "食品 > 饭",
    "Épicerie > Crème",
    "Epicerie > Creme",
    "بقالة > قهوة",
    "🏠 > 🍽",
)
BRANDS = ("北 茶", "北茶", "Åsa", "Asa", "العلامة")
KINDS = ("满减", "秒杀", "BOGO 50%", "bogo-50", "Sale", "sale", "🎁")
USERS = tuple(f"用户/{n}" if n % 3 else f"مستخدم {n}" for n in range(45))
SETTINGS = {
    "SHOPWRIGHT_CLOCK_START": NOW.isoformat(),
    "SHOPWRIGHT_CURRENCY": "CNY",
    "SHOPWRIGHT_ZONES": json.dumps(
        {"北京": {"currency": "CNY"}, "القاهرة": {"currency": "CNY"}}, ensure_ascii=False
    ),
}


def write_shop(folder: Path) -> None:
    """Write events, items, promotions, price_history and stock into a new folder."""
    folder.mkdir(parents=True)
    draw = random.Random(7)
    prices = {item: round(draw.uniform(4, 30), 2) for item in ITEMS}
    items = [
        {
            "item_id": item,
            "title": f"{item} — 标题 🏷",
            "category": CATEGORIES[n % len(CATEGORIES)],
            "brand": BRANDS[n % len(BRANDS)],
            "list_price": prices[item],
            "unit_cost": round(prices[item] * 0.55, 2),
        }
        for n, item in enumerate(ITEMS)
    ]
    plans = _plan_promotions()
    write_csv(folder / "items.csv", items)
    write_csv(folder / "promotions.csv", plans)
    write_csv(folder / "events.csv", _sell(draw, prices, plans))
    stock = [
        {"item_id": item, "zone": zone, "at": _write(NOW - timedelta(hours=2)), "on_hand": 40}
        for item in ITEMS
        for zone in ZONES
    ]
    write_csv(folder / "stock.csv", stock)


def _plan_promotions() -> list[dict[str, object]]:
    """Return a promotion of each item in every sixth week, in both zones, until four weeks ahead;
    each kind has its own depth and reach."""
    rows = []
    for week in range(N_WEEKS + 4):
        for n, item in enumerate(ITEMS):
            if (week + n) % 6:
                continue
            kind = (week + n) // 6 % len(KINDS)
            starts_at = NOW - timedelta(weeks=N_WEEKS - week)
            rows += [
                {
                    "promotion_id": f"促销-{week}-{n}",
                    "item_id": item,
                    "zone": zone,
                    "starts_at": _write(starts_at),
                    "ends_at": _write(starts_at + timedelta(weeks=1)),
                    "kind": KINDS[kind],
                    "depth": 0.1 + 0.05 * kind,
                    "reach": 1 - 0.1 * kind,
                }
                for zone in ZONES
            ]
    return rows


def _sell(
    draw: random.Random, prices: dict[str, float], plans: list[dict[str, object]]
) -> list[dict[str, object]]:
    """Return purchases: six favourites each, at times others, more of what is reduced."""
    depths = {(plan["item_id"], plan["starts_at"]): float(str(plan["depth"])) for plan in plans}
    events = []
    for number, user in enumerate(USERS):
        liked = draw.sample(ITEMS, 6)
        for week in range(N_WEEKS):
            if draw.random() > 0.6:
                continue
            start = NOW - timedelta(weeks=N_WEEKS - week)
            bought = draw.sample(liked, draw.randint(1, 4))
            if draw.random() < 0.2:
                bought.append(draw.choice([item for item in ITEMS if item not in liked]))
            for item in bought:
                depth = depths.get((item, _write(start)), 0.0)
                events.append(
                    {
                        "event_type": "purchase",
                        "occurred_at": _write(start + timedelta(minutes=draw.randint(0, 10_000))),
                        "user_id": user,
                        "item_id": item,
                        "zone": ZONES[number % 2],
                        "quantity": 1 + (draw.random() < 3 * depth),
                        "unit_price": round(prices[item] * (1 - depth), 2),
                        "list_price": prices[item],
                        "order_id": f"订单-{week}-{number}",
                    }
                )
    return events


def _write(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
