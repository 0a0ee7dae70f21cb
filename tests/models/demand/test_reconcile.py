import numpy as np
import pyarrow as pa
import pytest

from models.demand.reconcile import Forecasts, build_hierarchy, sum_to_level

ZONES = np.array(["z"] * 4, object)
CATEGORIES = np.array(["Food > Tea", "Food > Tea", "Food > Milk", "Toys"], object)


def test_sums_agree_from_item_to_total() -> None:
    tree = build_hierarchy(ZONES, CATEGORIES)
    names = [f"{level}:{name}" for level, name in zip(tree.levels, tree.categories, strict=True)]
    sums = dict(
        zip(names, tree.bottom_up(np.array([[1.0], [2.0], [4.0], [8.0]]))[:, 0], strict=True)
    )
    assert sums == {
        "total:": 15,
        "department:Food": 7,
        "department:Toys": 8,
        "category:Food > Milk": 4,
        "category:Food > Tea": 3,
        "category:Toys": 8,
    }


def test_exported_sums_agree_with_the_items() -> None:
    rows = pa.table(
        {
            "unique_id": ["a", "b", "c", "unknown"],
            "zone": ["z"] * 4,
            "ds": [1] * 4,
            "mean": [1.0, 2.0, 4.0, 8.0],
            **{name: [0.0] * 4 for name in ("p10", "p50", "p90")},
        }
    )
    items = pa.table(
        {
            "item_id": ["a", "b", "c"],
            "category": ["Food > Tea > Green", "Food > Tea > Black", "Food > Milk"],
        }
    )
    tables = {
        level: sum_to_level(rows, items, level) for level in ("total", "department", "category")
    }
    sums = {
        level: dict(zip(*(table[name].to_pylist() for name in ("unique_id", "mean")), strict=True))
        for level, table in tables.items()
    }
    assert sums == {
        "total": {"total": 15},
        "department": {"": 8, "Food": 7},
        "category": {"": 8, "Food > Milk": 4, "Food > Tea": 3},
    }
    assert tables["total"].column_names == ["unique_id", "zone", "ds", "mean"]


def test_a_zone_is_a_tree_of_its_own() -> None:
    tree = build_hierarchy(np.array(["a", "b"], object), np.array(["Food", "Food"], object))
    assert tree.bottom_up(np.array([[1.0], [2.0]]))[tree.levels == "total", 0].tolist() == [1, 2]


def test_min_trace_is_the_generalised_least_squares_answer() -> None:
    rng = np.random.default_rng(2)
    tree = build_hierarchy(ZONES, CATEGORIES)
    items, aggregates = rng.gamma(4, 2, (4, 3)), rng.gamma(4, 5, (6, 3))
    variance, aggregate_variance = rng.gamma(2, 1, 4), rng.gamma(2, 3, 6)
    ours = tree.min_trace(Forecasts(items, variance), Forecasts(aggregates, aggregate_variance))
    every = np.vstack([tree.sums.toarray(), np.eye(4)])  # S of the paper
    weights = np.diag(1 / np.concatenate([aggregate_variance, variance]))
    least_squares = np.linalg.solve(
        every.T @ weights @ every, every.T @ weights @ np.vstack([aggregates, items])
    )
    assert ours == pytest.approx(np.maximum(least_squares, 0))


def test_a_sure_total_is_met_and_an_unsure_one_is_not() -> None:
    tree = build_hierarchy(ZONES[:2], np.array(["Food > Tea"] * 2, object))
    items, aggregates = np.array([[4.0], [6.0]]), np.full((3, 1), 20.0)
    own = Forecasts(items, np.array([1.0, 3.0]))
    sure = tree.min_trace(own, Forecasts(aggregates, np.full(3, 1e-6)))
    assert sure[:, 0] == pytest.approx([4 + 10 * 1 / 4, 6 + 10 * 3 / 4], rel=1e-3)
    unsure = tree.min_trace(own, Forecasts(aggregates, np.full(3, 1e9)))
    assert unsure == pytest.approx(items, rel=1e-3)
