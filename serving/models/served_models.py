"""The champions this process serves, exchanged when others are promoted or features are
materialized."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.loading import load, names
from configs.settings import Settings
from features.contracts.errors import ShopwrightError, Unavailable
from features.contracts.recommendations import ItemFeatures
from features.online.snapshots import current_version, load_items, pointer_stamp
from features.pipelines.rules import ALL_ZONES
from models.demand.lookup import ForecastTable, load_forecasts
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement, check_rules
from models.ranking.recommender import Recommender
from models.ranking.slate.merchandising_rules import RuleSet
from models.registry import NAMES, Registry, Version

if TYPE_CHECKING:
    from models.pricing.response.elasticity import ElasticityModel

log = logging.getLogger(__name__)

RECOMMENDATIONS, DEMAND, PRICING = NAMES
FEATURES = "features"
_STOCK = "stock_on_hand"


@dataclass(frozen=True)
class ServedRecommender:
    """A recommender with the version and the catalogue it was made from, and that catalogue with
    each zone's stock."""

    recommender: Recommender
    items: ItemFeatures
    version: Version
    zones: Mapping[str, ItemFeatures]

    def in_zone(self, zone: str) -> ItemFeatures:
        """The catalogue with the stock of `zone`; of all zones where that one has no snapshot."""
        return self.zones.get(zone, self.items)


@dataclass(frozen=True)
class ServedForecasts:
    """The forecasts that came with a demand champion."""

    table: ForecastTable
    version: Version


def load_placements(settings: Settings) -> dict[str, Placement]:
    """The shop's placements by name."""
    overlay = settings.config_dir
    found = names("placements", overlay=overlay)
    return {name: load(f"placements/{name}", Placement, overlay=overlay) for name in found}


def load_rules(settings: Settings) -> dict[str, RuleSet]:
    """The shop's sets of merchandising rules by name."""
    overlay = settings.config_dir
    return {
        name: load(f"rules/{name}", RuleSet, overlay=overlay)
        for name in names("rules", overlay=overlay)
    }


class Champions:
    """Holds what is served; readers take no lock."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._placements = load_placements(settings)
        self._rules = load_rules(settings)
        check_rules(self._placements, self._rules)
        self._lock = threading.Lock()
        self._registry_stamp: object = None
        self._features_stamp: object = None
        self._models: dict[str, tuple[Version, Any]] = {}
        self._problems: dict[str, str] = dict.fromkeys((*NAMES, FEATURES), "not loaded yet")
        self._recommender: ServedRecommender | None = None
        self._forecasts: ServedForecasts | None = None

    @property
    def missing(self) -> dict[str, str]:
        """What this process cannot serve yet, and why, by name: a model's, or "features"."""
        return dict(self._problems)

    @property
    def placements(self) -> Mapping[str, Placement]:
        return self._placements

    @property
    def versions(self) -> dict[str, Version]:
        """The loaded versions by model name."""
        return {name: version for name, (version, _) in self._models.items()}

    def elasticity(self, item_id: str, zone: str) -> float | None:
        """The item's own-price elasticity; None where the pricing champion knows none, or without
        one."""
        held = self._models.get(PRICING)
        if held is None:
            return None
        value = float(held[1].find_response([item_id], zone).elasticity[0])
        return None if math.isnan(value) else value

    def pricing(self) -> tuple[Version, ElasticityModel]:
        """The price response; Unavailable without a pricing champion."""
        if PRICING not in self._models:
            raise self._unavailable(PRICING)
        return self._models[PRICING]

    def recommender(self) -> ServedRecommender:
        """The recommender; Unavailable when model or features are missing."""
        if self._recommender is None:
            name = RECOMMENDATIONS if RECOMMENDATIONS in self._problems else FEATURES
            raise self._unavailable(name)
        return self._recommender

    def forecasts(self) -> ServedForecasts:
        """The forecasts; Unavailable without a demand champion."""
        if self._forecasts is None:
            raise self._unavailable(DEMAND)
        return self._forecasts

    def refresh(self) -> None:
        """Loads what was promoted or materialized since the last call; where that fails, what is
        served stays."""
        with self._lock:
            stamp = self._registry.stamp()
            if stamp is None or stamp != self._registry_stamp:
                loaded = [self._refresh_model(name) for name in NAMES]
                self._registry_stamp = stamp if all(loaded) else None
            self._refresh_recommender()

    def _refresh_model(self, name: str) -> bool:
        """Whether the champion of `name`, if there is one, is served now."""
        try:
            version = self._registry.champion(name)
            if version is None:
                self._problems[name] = f"no champion yet; try: shopwright train {name}"
                return True
            held = self._models.get(name)
            if held is None or held[0].version != version.version:
                self._serve(version, _LOADERS[name](self._registry.fetch(version)))
                log.info("serving %s %s", name, version.version)
        except (
            Exception
        ) as error:  # a broken version or registry must not stop what is served already
            if name not in self._models:
                self._problems[name] = _said(error)
            log.warning("cannot load the champion of %s: %s", name, _said(error))
            return False
        self._problems.pop(name, None)
        return True

    def _serve(self, version: Version, model: Any) -> None:
        self._models[version.name] = (version, model)
        if version.name == DEMAND:
            self._forecasts = ServedForecasts(model, version)

    def _refresh_recommender(self) -> None:
        """A recommender for the present model and the present catalogue."""
        stamp = pointer_stamp(self._settings)
        held = self._models.get(RECOMMENDATIONS)
        present = self._recommender
        if (
            present is not None
            and held is not None
            and stamp == self._features_stamp
            and present.version == held[0]
        ):
            return
        try:
            items = load_items(self._settings)
            if held is not None:
                version, model = held
                zones = _stocked_by_zone(self._settings, items)
                recommender = Recommender(model, items, self._placements, self._rules)
                recommender.warm()
                made = ServedRecommender(recommender, items, version, zones)
                self._recommender, self._features_stamp = made, stamp
        except Exception as error:  # as above
            if present is None:
                self._problems[FEATURES] = _said(error)
            log.warning("cannot use the features: %s", _said(error))
        else:
            self._problems.pop(FEATURES, None)

    def _unavailable(self, name: str) -> Unavailable:
        return Unavailable(
            f"nothing to answer with: {self._problems.get(name, 'not loaded yet')}", where=name
        )


def _stocked_by_zone(settings: Settings, items: ItemFeatures) -> dict[str, ItemFeatures]:
    """`items` with the stock of each zone that has a snapshot; all else stays, since rankers learnt
    from all zones."""
    version = current_version(settings)
    zones = () if version is None or _STOCK not in items.columns else version.zones
    found = {}
    for zone in zones:
        if zone == ALL_ZONES:
            continue
        there = load_items(settings, zone)
        stock = items.columns[_STOCK].copy()
        _, places, others = np.intersect1d(
            items.item_ids, there.item_ids, assume_unique=True, return_indices=True
        )
        counted = there.columns[_STOCK][others]
        stock[places] = np.where(np.isnan(counted), stock[places], counted)
        found[zone] = replace(items, columns={**items.columns, _STOCK: stock})
    return found


def _load_pricing(folder: Path) -> Any:
    from models.pricing.response.elasticity import ElasticityModel

    return ElasticityModel.load(folder)


_LOADERS: dict[str, Callable[[Path], Any]] = {
    RECOMMENDATIONS: RecommendationModel.load,
    DEMAND: load_forecasts,
    PRICING: _load_pricing,
}


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ShopwrightError) else f"{type(error).__name__}: {error}"
