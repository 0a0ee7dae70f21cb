"""The demand and pricing models as a process serves them, each with its version.

Apart from the recommender: what makes a price may import no module about a person, not even for a
type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from models.demand.lookup import ForecastTable
from models.registry import Version

# For types only: whoever needs forecasts alone does not load the library of the price response.
if TYPE_CHECKING:
    from models.pricing.response.elasticity import ElasticityModel


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


class PriceModels(Protocol):
    """Holds the models that answer now; the next call may return others."""

    def forecasts(self) -> ServedForecasts:
        """Return the forecasts. Raises Unavailable without a demand champion."""
        ...

    def pricing(self) -> ServedPricing:
        """Return the price response. Raises Unavailable without a pricing champion."""
        ...

    def elasticity(self, item_id: str, zone: str) -> float | None:
        """Return the item's own-price elasticity; None where no pricing champion knows one."""
        ...
