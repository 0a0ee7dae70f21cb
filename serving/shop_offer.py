"""What a shop has to serve, and whether that is enough for a server to be ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from features.database import reading
from features.prices.ledger import Ledger
from serving.models.served_models import ServedModels

if TYPE_CHECKING:
    pass

# What a part cannot be answered without: models, their features, and prices.
_NEEDS = {
    "recommendations": ("recommendations", "features"),
    "forecasts": ("demand",),
    "prices": ("prices",),
}


class ShopOffer:
    """What a shop has to serve, and whether that is enough.

    required   the parts that must be answered; without any, prices alone will do, or any model
    """

    def __init__(
        self, served_models: ServedModels, engine: sa.Engine, required: Sequence[str]
    ) -> None:
        self._served_models, self._engine = served_models, engine
        self._required = required
        self._has_prices = False

    def refresh(self) -> None:
        """Read whether the ledger has prices; it never loses them."""
        if not self._has_prices:
            with reading(self._engine) as connection:
                self._has_prices = not Ledger(connection).is_empty()

    def list_served(self) -> list[str]:
        """Return what is answered now, of recommendations, forecasts and prices."""
        models, missing = self._served_models.versions, self._served_models.missing
        is_ranking = "recommendations" in models and "features" not in missing
        served = {
            "recommendations": is_ranking,
            "forecasts": "demand" in models,
            "prices": self._has_prices,
        }
        return [name for name, is_served in served.items() if is_served]

    def find_missing(self) -> dict[str, str]:
        """Return why a required part is not answered; where none is, why a champion cannot answer,
        and in a shop without anything all that is missing."""
        missing, unused = self._served_models.missing, self._served_models.unused
        if self._required:
            problems = missing | unused
            if not self._has_prices:
                problems["prices"] = "no prices yet; try: shopwright import DIR"
            needs = [name for part in self._required for name in _NEEDS[part]]
            return {name: problems[name] for name in needs if name in problems}
        serves = self._has_prices or bool(read_versions(self._served_models))
        return missing if serves else missing | unused


def read_versions(served_models: ServedModels) -> dict[str, str]:
    """Return the versions that serve, by the name of the model."""
    return {name: version.version for name, version in served_models.versions.items()}
