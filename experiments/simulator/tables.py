"""The simulated shop as canonical tables (docs/user-guide/tables.md), and its truth in a file of
its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.simulator.visitors import shopping
from experiments.simulator.world import SimulatedShop
from features.contracts.arrays import Float64Array

START = datetime(2022, 1, 3, tzinfo=UTC)  # a Monday
TRUTH = "truth.json"


def end(shop: SimulatedShop) -> datetime:
    """The instant after the last week: the shop's now."""
    return START + timedelta(weeks=shop.parameters.n_weeks)


def tables(
    shop: SimulatedShop, rng: np.random.Generator, *, clicks: bool = True
) -> dict[str, pa.Table]:
    """Canonical tables by name, in the form of files: money in major units."""
    return {
        "events": shopping(shop, START, rng, clicks=clicks),
        "items": _rows(_items(shop)),
        "users": _rows(
            {"user_id": f"u{number:04d}"} for number in range(shop.parameters.n_shoppers)
        ),
        "price_history": _rows(_prices(shop)),
        "promotions": _rows(_promotions(shop)),
        "costs": _rows(_costs(shop)),
        "stock": _rows(_stock(shop)),
    }


def write_shop(
    folder: Path, shop: SimulatedShop, rng: np.random.Generator, *, clicks: bool = True
) -> dict[str, int]:
    """Writes every table as Parquet, and `truth.json`; returns the rows of each table."""
    folder.mkdir(parents=True, exist_ok=True)
    written = tables(shop, rng, clicks=clicks)
    for name, rows in written.items():
        pq.write_table(rows, folder / f"{name}.parquet")
    (folder / TRUTH).write_text(json.dumps(truth(shop), indent=1) + "\n", encoding="utf-8")
    return {name: rows.num_rows for name, rows in written.items()}


def truth(shop: SimulatedShop) -> dict[str, Any]:
    """What no shop knows: parameters, and by item the elasticities and expected units at three
    prices."""
    effects = shop.elasticities()
    at = {f"{ratio:.2f}": _one_by_one(shop, ratio) for ratio in (0.9, 1.0, 1.1)}
    items = {}
    for item, item_id in enumerate(shop.item_ids):
        neighbours = np.flatnonzero(effects[item])
        items[item_id] = {
            "price": shop.current_minor[item] / 100,
            "unit_cost": shop.unit_cost_minor[item] / 100,
            "elasticity": effects[item, item],
            "cross": {
                shop.item_ids[other]: effects[item, other] for other in neighbours if other != item
            },
            "expected_units": {ratio: units[item] for ratio, units in at.items()},
        }
    return {
        "parameters": asdict(shop.parameters),
        "weeks_ahead": shop.parameters.horizon_weeks,
        "items": items,
    }


def _one_by_one(shop: SimulatedShop, ratio: float) -> Float64Array:
    """(N,) expected units of each item when its own price alone is multiplied by `ratio`."""
    n = len(shop.item_ids)
    sets = np.repeat(shop.current_minor[:, None].astype(np.float64), n, axis=1)
    sets[np.arange(n), np.arange(n)] *= ratio
    return np.asarray(np.diag(shop.units_at(sets)))


def _items(shop: SimulatedShop) -> Iterator[dict[str, Any]]:
    for item, item_id in enumerate(shop.item_ids):
        yield {
            "item_id": item_id,
            "title": f"Item {item}",
            "category": shop.catalogue.path(item),
            "brand": f"Brand {item % 7}",
            "list_price": shop.current_minor[item] / 100,
            "unit_cost": shop.unit_cost_minor[item] / 100,
            "family_id": f"f{shop.catalogue.family[item]:03d}",
        }


def _prices(shop: SimulatedShop) -> Iterator[dict[str, Any]]:
    """One row a step of list or offer price; the last one is open."""
    plan = shop.plan
    for item, item_id in enumerate(shop.item_ids):
        offer, regular = plan.offer[item].tolist(), plan.regular[item].tolist()
        offer.append(regular[-1])  # after the last week nothing is promoted
        regular.append(regular[-1])
        begins = [week for week in range(len(offer)) if week == 0 or _moved(offer, regular, week)]
        for week, following in zip(begins, [*begins[1:], None], strict=True):
            reduced = offer[week] < regular[week]
            yield {
                "item_id": item_id,
                "valid_from": _monday(week),
                "valid_to": None if following is None else _monday(following),
                "list_price": regular[week] / 100,
                "offer_price": offer[week] / 100,
                "promotion_id": f"price-{item_id}-{week}" if reduced else None,
            }


def _moved(offer: list[int], regular: list[int], week: int) -> bool:
    return offer[week] != offer[week - 1] or regular[week] != regular[week - 1]


def _promotions(shop: SimulatedShop) -> Iterator[dict[str, Any]]:
    plan = shop.plan
    sizes = {
        "price": plan.depth,
        "display": plan.display,
        "mailer": plan.mailer,
        "coupon": plan.coupon,
    }
    for kind, size in sizes.items():
        discount = kind in ("price", "coupon")
        for item, week in zip(*np.nonzero(size), strict=True):
            yield {
                "promotion_id": f"{kind}-{shop.item_ids[item]}-{week}",
                "item_id": shop.item_ids[item],
                "starts_at": _monday(week),
                "ends_at": _monday(week + 1),
                "kind": kind,
                "depth": round(float(size[item, week]), 4) if discount else None,
                "reach": 1.0 if discount else round(float(size[item, week]), 4),
            }


def _costs(shop: SimulatedShop) -> Iterator[dict[str, Any]]:
    cost = shop.plan.cost
    moved = np.diff(cost, axis=1, prepend=-1) != 0
    for item, week in zip(*np.nonzero(moved), strict=True):
        yield {
            "item_id": shop.item_ids[item],
            "valid_from": _monday(week),
            "unit_cost": cost[item, week] / 100,
        }


def _stock(shop: SimulatedShop) -> Iterator[dict[str, Any]]:
    """Counted every Monday, and at the end of a week in which the item sold out."""
    for item, item_id in enumerate(shop.item_ids):
        for week in range(shop.parameters.n_weeks):
            on_hand = int(shop.available[item, week])
            yield {"item_id": item_id, "at": _monday(week), "on_hand": float(on_hand)}
            if on_hand == shop.units[item, week]:
                yield {
                    "item_id": item_id,
                    "at": _monday(week + 1) - timedelta(days=1),
                    "on_hand": 0.0,
                }


def _monday(week: int) -> datetime:
    return START + timedelta(weeks=int(week))


def _rows(rows: Iterator[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))
