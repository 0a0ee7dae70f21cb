"""A simulated shop as canonical tables (docs/user-guide/tables.md), and its truth in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.simulator.shop import SimulatedShop
from experiments.simulator.shoppers import draw_events
from features.contracts.arrays import Float64Array

START = datetime(2022, 1, 3, tzinfo=UTC)  # a Monday
TRUTH = "truth.json"
Row = Mapping[str, object]


def end_of_history(shop: SimulatedShop) -> datetime:
    """Return the instant after the last week: the shop's now."""
    return START + timedelta(weeks=shop.parameters.n_weeks)


def build_tables(
    shop: SimulatedShop, rng: np.random.Generator, *, clicks: bool = True, costs: bool = True
) -> dict[str, pa.Table]:
    """Return canonical tables by name, in the form of files: money in major units.

    Without `costs` neither the table of costs nor the items' unit costs are there.
    """
    tables = {
        "events": draw_events(shop, START, rng, clicks=clicks),
        "items": _collect_rows(_list_items(shop, costs=costs)),
        "users": _collect_rows(
            {"user_id": f"u{number:04d}"} for number in range(shop.parameters.n_shoppers)
        ),
        "price_history": _collect_rows(_list_prices(shop)),
        "promotions": _collect_rows(_list_promotions(shop)),
    }
    if costs:
        tables["costs"] = _collect_rows(_list_costs(shop))
    tables["stock"] = _collect_rows(_list_stock(shop))
    if shop.parameters.competitor and shop.parameters.competitor_seen:
        tables["competitor_prices"] = _collect_rows(_list_competitor_prices(shop))
    return tables


def write_shop(
    folder: Path,
    shop: SimulatedShop,
    rng: np.random.Generator,
    *,
    clicks: bool = True,
    costs: bool = True,
) -> dict[str, int]:
    """Write every table as Parquet, and `truth.json`; return the number of rows of each table."""
    folder.mkdir(parents=True, exist_ok=True)
    written = build_tables(shop, rng, clicks=clicks, costs=costs)
    for name, rows in written.items():
        pq.write_table(rows, folder / f"{name}.parquet")
    (folder / TRUTH).write_text(json.dumps(describe_truth(shop), indent=1) + "\n", encoding="utf-8")
    return {name: rows.num_rows for name, rows in written.items()}


def describe_truth(shop: SimulatedShop) -> dict[str, object]:
    """Return what no shop knows: parameters, and by item responses and expected units.

    Elasticities and cross effects are those of regular prices that stay. Expected units are those
    at 90, 100 and 110 % of the current price.
    """
    elasticities = shop.compute_elasticities()
    first_week = shop.compute_first_week_elasticities()
    depth = shop.compute_depth_elasticities()
    announcement = shop.compute_announcement_lifts()
    units_at_ratio = {f"{ratio:.2f}": _predict_one_by_one(shop, ratio) for ratio in (0.9, 1.0, 1.1)}
    items = {}
    for item, item_id in enumerate(shop.item_ids):
        related = np.flatnonzero(elasticities[item])
        items[item_id] = {
            "price": shop.current_minor[item] / 100,
            "unit_cost": shop.unit_cost_minor[item] / 100,
            "elasticity": elasticities[item, item],
            "first_week_elasticity": first_week[item],
            "depth_elasticity": depth[item],
            "announcement_lift": announcement[item],
            "cross": {
                shop.item_ids[other]: elasticities[item, other]
                for other in related
                if other != item
            },
            "expected_units": {ratio: units[item] for ratio, units in units_at_ratio.items()},
        }
    return {
        "parameters": asdict(shop.parameters),
        "weeks_ahead": shop.parameters.horizon_weeks,
        "items": items,
    }


def _predict_one_by_one(shop: SimulatedShop, ratio: float) -> Float64Array:
    """Return expected units (N,) of each item when its price alone is multiplied by `ratio`."""
    n = len(shop.item_ids)
    price_sets = np.repeat(shop.current_minor[:, None].astype(np.float64), n, axis=1)
    price_sets[np.arange(n), np.arange(n)] *= ratio
    return np.asarray(np.diag(shop.predict_units(price_sets)))


def _list_items(shop: SimulatedShop, *, costs: bool) -> Iterator[Row]:
    names_families = bool(shop.catalogue.family_is_known.any())
    for item, item_id in enumerate(shop.item_ids):
        row: dict[str, object] = {
            "item_id": item_id,
            "title": f"Item {item}",
            "category": shop.catalogue.category_path(item),
            "brand": f"Brand {item % 7}",
            "list_price": shop.current_minor[item] / 100,
        }
        if costs:
            row["unit_cost"] = shop.unit_cost_minor[item] / 100
        if names_families:
            row["family_id"] = shop.catalogue.family_id(item)
        yield row


def _list_prices(shop: SimulatedShop) -> Iterator[Row]:
    """One row for each change of list or offer price; the last one is open."""
    plan = shop.plan
    for item, item_id in enumerate(shop.item_ids):
        offer, regular = plan.offer[item].tolist(), plan.regular[item].tolist()
        offer.append(regular[-1])  # after the last week nothing is promoted
        regular.append(regular[-1])
        starts = [
            week for week in range(len(offer)) if week == 0 or _price_changes(offer, regular, week)
        ]
        for week, following in zip(starts, [*starts[1:], None], strict=True):
            is_announced = week < plan.announced.shape[1] and bool(plan.announced[item, week])
            yield {
                "item_id": item_id,
                "valid_from": _monday(week),
                "valid_to": None if following is None else _monday(following),
                "list_price": regular[week] / 100,
                "offer_price": offer[week] / 100,
                "promotion_id": f"price-{item_id}-{week}" if is_announced else None,
            }


def _price_changes(offer: list[int], regular: list[int], week: int) -> bool:
    return offer[week] != offer[week - 1] or regular[week] != regular[week - 1]


def _list_promotions(shop: SimulatedShop) -> Iterator[Row]:
    plan = shop.plan
    sizes = {
        "price": plan.depth * plan.announced,
        "display": plan.display,
        "mailer": plan.mailer,
        "coupon": plan.coupon,
    }
    for kind, size in sizes.items():
        is_discount = kind in ("price", "coupon")
        for item, week in zip(*np.nonzero(size), strict=True):
            yield {
                "promotion_id": f"{kind}-{shop.item_ids[item]}-{week}",
                "item_id": shop.item_ids[item],
                "starts_at": _monday(week),
                "ends_at": _monday(week + 1),
                "kind": kind,
                "depth": round(float(size[item, week]), 4) if is_discount else None,
                "reach": 1.0 if is_discount else round(float(size[item, week]), 4),
            }


def _list_costs(shop: SimulatedShop) -> Iterator[Row]:
    cost = shop.plan.cost
    changed = np.diff(cost, axis=1, prepend=-1) != 0
    for item, week in zip(*np.nonzero(changed), strict=True):
        yield {
            "item_id": shop.item_ids[item],
            "valid_from": _monday(week),
            "unit_cost": cost[item, week] / 100,
        }


def _list_competitor_prices(shop: SimulatedShop) -> Iterator[Row]:
    """One row a week of each item that the shop watches: every so many, from the first on."""
    seen = np.arange(len(shop.item_ids)) * shop.parameters.competitor_seen % 1
    watched = seen < shop.parameters.competitor_seen
    for item in np.flatnonzero(watched).tolist():
        for week, price in enumerate(shop.plan.competitor[item].tolist()):
            yield {
                "item_id": shop.item_ids[item],
                "competitor": "Shop next door",
                "observed_at": _monday(week),
                "price": price / 100,
            }


def _list_stock(shop: SimulatedShop) -> Iterator[Row]:
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


def _collect_rows(rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))
