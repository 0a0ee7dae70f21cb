"""Model versions as a process serves them: the loaded model beside its version, and their source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

# For types only: a command that needs one model does not load the libraries of the others.
if TYPE_CHECKING:
    from features.contracts.recommendations import ItemFeatures
    from models.demand.lookup import ForecastTable
    from models.pricing.response.elasticity import ElasticityModel
    from models.ranking.recommender import Recommender
    from models.registry import Version


@dataclass(frozen=True)
class ServedRecommender:
    """A recommender with its model version, and the catalogue it was made from.

    zones   the same catalogue with the stock of each zone that counts its own
    """

    recommender: Recommender
    items: ItemFeatures
    version: Version
    zones: Mapping[str, ItemFeatures]

    def in_zone(self, zone: str) -> ItemFeatures:
        """Return the catalogue with the stock of `zone`; of all zones where that one has no
        snapshot."""
        return self.zones.get(zone, self.items)


@dataclass(frozen=True)
class ServedForecasts:
    """The forecasts that came with a demand champion."""

    table: ForecastTable
    version: Version


@dataclass(frozen=True)
class ServedPricing:
    """The price response of a pricing champion."""

    model: ElasticityModel
    version: Version


class ModelSource(Protocol):
    """Whoever holds the models that answer now. Each method raises Unavailable while there is
    none."""

    def recommender(self) -> ServedRecommender: ...

    def forecasts(self) -> ServedForecasts: ...

    def pricing(self) -> ServedPricing: ...

    def elasticity(self, item_id: str, zone: str) -> float | None:
        """Return the item's own-price elasticity; None where no pricing champion knows one."""
        ...
