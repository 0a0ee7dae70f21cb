"""Sums over the items of a shop, including those without a sale."""

from dataclasses import replace

import numpy as np
import pytest

from models.demand.new_items import ItemRates
from models.demand.panel import DemandPanel
from tests.shops.demand_panels import make_panel
from training.demand.aggregates import CatalogueAggregates
from training.demand.catalogue_items import Catalogue

ORIGIN = 20
NOWHERE = np.full(4, np.datetime64("NaT", "us"))


@pytest.fixture
def panel() -> DemandPanel:
    """Three items of one zone: the third first sells after the origin."""
    units = np.tile(np.array([[1.0], [2.0], [4.0]], np.float32), 24)
    units[2, :ORIGIN] = 0
    names = {
        "zones": np.full(3, "z", object),
        "categories": np.array(["Food > Tea", "Food > Milk", "Toys"], object),
    }
    return replace(make_panel(n_series=3, n_known=24), units=units, **names)


def test_sums_of_units_and_of_means(panel: DemandPanel) -> None:
    ids = np.array([*panel.item_ids, "never"], object)
    catalogue = Catalogue(
        ids, np.array([*panel.categories, "Toys"], object), np.full(4, "", object), NOWHERE
    )
    aggregates = CatalogueAggregates(panel, catalogue)
    names = list(
        zip(
            aggregates.hierarchy.levels.tolist(),
            aggregates.hierarchy.categories.tolist(),
            strict=True,
        )
    )
    sold = aggregates.sum_units(panel.units[:, ORIGIN : ORIGIN + 2].astype(float))
    assert dict(zip(names, sold[:, 0].tolist(), strict=True)) == {
        ("total", ""): 7,
        ("department", "Food"): 3,
        ("department", "Toys"): 4,
        ("category", "Food > Milk"): 2,
        ("category", "Food > Tea"): 1,
        ("category", "Toys"): 4,
    }
    rates = ItemRates(
        np.array(["z"], object), np.array([""], object), np.array([5.0]), np.array([0.25])
    )
    means = aggregates.sum_means(
        panel.truncate(ORIGIN), rates, np.array([[1.5, 1.5], [2.5, 2.5], [9.0, 9.0]])
    )
    # The item that is to sell later and the one that never does have the same forecast: both wait.
    assert dict(zip(names, means[:, 0].tolist(), strict=True))["total", ""] == 1.5 + 2.5 + 2 * 0.25
