"""The demand and pricing models that a process serves, as far as prices need them.

`models.served` describes all served models, also those about persons, which nothing that makes a
price may import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from models.demand.lookup import ForecastTable
from models.registry import Version

if TYPE_CHECKING:
    from models.pricing.response.elasticity import ElasticityModel


class ServedForecasts(Protocol):
    """The forecasts that came with the demand champion."""

    @property
    def table(self) -> ForecastTable:
        """The forecasts by item and zone."""
        ...

    @property
    def version(self) -> Version:
        """The version of the demand model."""
        ...


class ServedPricing(Protocol):
    """The price response of the pricing champion."""

    @property
    def model(self) -> ElasticityModel:
        """The price response."""
        ...

    @property
    def version(self) -> Version:
        """The version of the pricing model."""
        ...


class PriceModels(Protocol):
    """The champions of one moment; the next call may return others."""

    def forecasts(self) -> ServedForecasts:
        """Return the forecasts. Raises Unavailable without a demand champion."""
        ...

    def pricing(self) -> ServedPricing:
        """Return the price response. Raises Unavailable without a pricing champion."""
        ...

    def elasticity(self, item_id: str, zone: str) -> float | None:
        """Return the item's own-price elasticity; None where none is known."""
        ...
