"""The champions that this process answers with, replaced when others are promoted or features are
materialized."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from configs.loading import list_configs, load
from configs.settings import Settings
from features.contracts.errors import ShopwrightError, Unavailable
from features.contracts.recommendations import ItemFeatures
from features.online.snapshots import current_version, load_items, pointer_stamp
from features.pipelines.feature_constants import ALL_ZONES
from models.demand.lookup import ForecastTable, load_forecasts
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement, check_rules
from models.ranking.recommender import Recommender
from models.ranking.slate.merchandising_rules import RuleSet
from models.registry import NAMES, Registry, Version
from models.served_prices import ServedForecasts, ServedPricing
from models.served_recommender import ServedRecommender

if TYPE_CHECKING:
    from models.pricing.response.elasticity import ElasticityModel

log = logging.getLogger(__name__)

RECOMMENDATIONS, DEMAND, PRICING = NAMES
FEATURES = "features"
_STOCK = "stock_on_hand"

Model = TypeVar("Model")


@dataclass(frozen=True)
class _Loaded(Generic[Model]):
    """A champion that was loaded."""

    version: Version
    model: Model


def load_placements(settings: Settings) -> dict[str, Placement]:
    """Return the shop's placements by name."""
    overlay = settings.config_dir
    return {
        name: load(f"placements/{name}", Placement, overlay=overlay)
        for name in list_configs("placements", overlay=overlay)
    }


def load_rules(settings: Settings) -> dict[str, RuleSet]:
    """Return the shop's sets of merchandising rules by name."""
    overlay = settings.config_dir
    return {
        name: load(f"rules/{name}", RuleSet, overlay=overlay)
        for name in list_configs("rules", overlay=overlay)
    }


class ServedModels:
    """Holds the loaded champions; readers take no lock."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._placements = load_placements(settings)
        self._rules = load_rules(settings)
        check_rules(self._placements, self._rules)
        self._lock = threading.Lock()
        self._registry_stamp: object = None
        self._features_stamp: object = None
        self._recommendations: _Loaded[RecommendationModel] | None = None
        self._demand: _Loaded[ForecastTable] | None = None
        self._pricing: _Loaded[ElasticityModel] | None = None
        self._problems: dict[str, str] = dict.fromkeys((*NAMES, FEATURES), "not loaded yet")
        self._recommender: ServedRecommender | None = None

    @property
    def missing(self) -> dict[str, str]:
        """Why a model, or "features", that answers need is missing, by its name."""
        # Without a price model forecasts are not adjusted and nothing else is missed.
        return {name: why for name, why in self._problems.items() if name != PRICING}

    @property
    def placements(self) -> Mapping[str, Placement]:
        """The shop's placements by name."""
        return self._placements

    @property
    def versions(self) -> dict[str, Version]:
        """The loaded versions by model name."""
        loaded = (self._recommendations, self._demand, self._pricing)
        return {model.version.name: model.version for model in loaded if model is not None}

    def serves(self, version: Version) -> bool:
        """Return whether this process answers with this version."""
        loaded = self.versions.get(version.name)
        return loaded is not None and loaded.version == version.version

    def elasticity(self, item_id: str, zone: str) -> float | None:
        """Return the item's own-price elasticity; None where no pricing champion knows one."""
        if self._pricing is None:
            return None
        value = float(self._pricing.model.find_response([item_id], zone).elasticity[0])
        return None if math.isnan(value) else value

    def pricing(self) -> ServedPricing:
        """Return the price response. Raises Unavailable without a pricing champion."""
        if self._pricing is None:
            raise self._unavailable(PRICING)
        return ServedPricing(self._pricing.model, self._pricing.version)

    def recommender(self) -> ServedRecommender:
        """Return the recommender. Raises Unavailable when model or features are missing."""
        if self._recommender is None:
            name = RECOMMENDATIONS if RECOMMENDATIONS in self._problems else FEATURES
            raise self._unavailable(name)
        return self._recommender

    def forecasts(self) -> ServedForecasts:
        """Return the forecasts. Raises Unavailable without a demand champion."""
        if self._demand is None:
            raise self._unavailable(DEMAND)
        return ServedForecasts(self._demand.model, self._demand.version)

    def refresh(self) -> None:
        """Load what was promoted or materialized since the last call; where that fails, what is
        served stays."""
        with self._lock:
            stamp = self._registry.read_stamp()
            if stamp is None or stamp != self._registry_stamp:
                self._recommendations, recommendations_current = self._load_champion(
                    RECOMMENDATIONS, RecommendationModel.load, self._recommendations
                )
                self._demand, demand_current = self._load_champion(
                    DEMAND, load_forecasts, self._demand
                )
                self._pricing, pricing_current = self._load_champion(
                    PRICING, _load_pricing, self._pricing
                )
                current = recommendations_current and demand_current and pricing_current
                self._registry_stamp = stamp if current else None
            self._refresh_recommender()

    def _load_champion(
        self, name: str, load_model: Callable[[Path], Model], served: _Loaded[Model] | None
    ) -> tuple[_Loaded[Model] | None, bool]:
        """Return what to serve from now on, and whether that is the champion of `name`, if there
        is one."""
        try:
            version = self._registry.find_champion(name)
            if version is None:
                self._problems[name] = f"no champion yet; try: shopwright train {name}"
                return served, True
            if served is None or served.version.version != version.version:
                served = _Loaded(version, load_model(self._registry.fetch_files(version)))
                log.info("serving %s %s", name, version.version)
        # A broken version or registry must not stop what is served already.
        except Exception as error:
            if served is None:
                self._problems[name] = _describe_error(error)
            log.warning("cannot load the champion of %s: %s", name, _describe_error(error))
            return served, False
        self._problems.pop(name, None)
        return served, True

    def _refresh_recommender(self) -> None:
        """Make a recommender of the loaded model and the current catalogue."""
        stamp = pointer_stamp(self._settings)
        loaded = self._recommendations
        current = self._recommender
        if (
            current is not None
            and loaded is not None
            and stamp == self._features_stamp
            and current.version == loaded.version
        ):
            return
        try:
            items = load_items(self._settings)
            if loaded is not None:
                zones = _catalogue_by_zone(self._settings, items)
                recommender = Recommender(loaded.model, items, self._placements, self._rules)
                recommender.warm_up()
                self._recommender = ServedRecommender(recommender, items, loaded.version, zones)
                self._features_stamp = stamp
        # As above.
        except Exception as error:
            if current is None:
                self._problems[FEATURES] = _describe_error(error)
            log.warning("cannot use the features: %s", _describe_error(error))
        else:
            self._problems.pop(FEATURES, None)

    def _unavailable(self, name: str) -> Unavailable:
        return Unavailable(
            f"nothing to answer with: {self._problems.get(name, 'not loaded yet')}", where=name
        )


def _catalogue_by_zone(settings: Settings, items: ItemFeatures) -> dict[str, ItemFeatures]:
    """Return `items` with the stock of each zone that has a snapshot.

    All other columns stay, since rankers learnt from all zones.
    """
    version = current_version(settings)
    zones = () if version is None or _STOCK not in items.columns else version.zones
    catalogues = {}
    for zone in zones:
        if zone == ALL_ZONES:
            continue
        zone_items = load_items(settings, zone)
        stock = items.columns[_STOCK].copy()
        _, positions, zone_positions = np.intersect1d(
            items.item_ids, zone_items.item_ids, assume_unique=True, return_indices=True
        )
        zone_stock = zone_items.columns[_STOCK][zone_positions]
        stock[positions] = np.where(np.isnan(zone_stock), stock[positions], zone_stock)
        catalogues[zone] = replace(items, columns={**items.columns, _STOCK: stock})
    return catalogues


def _load_pricing(folder: Path) -> ElasticityModel:
    from models.pricing.response.elasticity import ElasticityModel

    return ElasticityModel.load(folder)


def _describe_error(error: Exception) -> str:
    return str(error) if isinstance(error, ShopwrightError) else f"{type(error).__name__}: {error}"
