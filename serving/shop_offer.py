"""What a shop has to serve, and whether that is enough for a server to be ready."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from features.database import reading
from features.prices.ledger import Ledger
from serving.models.served_models import ServedModels
from serving.stored_tables import StoredTables

TABLES = "tables"
# What a part cannot be answered without: models, their features, prices, and the
# catalogue.
_NEEDS = {
    "recommendations": ("recommendations", "features", TABLES),
    "forecasts": ("demand",),
    "prices": ("prices", TABLES),
}


class ShopOffer:
    """What a shop has to serve, and whether that is enough.

    required   the parts that must be answered; without any, prices alone will do, or any model
    """

    def __init__(
        self,
        served_models: ServedModels,
        tables: StoredTables,
        engine: sa.Engine,
        required: Sequence[str],
    ) -> None:
        self._served_models, self._tables, self._engine = served_models, tables, engine
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
        is_readable = self._tables.unreadable is None
        is_ranking = "recommendations" in models and "features" not in missing
        served = {
            "recommendations": is_ranking and is_readable,
            "forecasts": "demand" in models,
            "prices": self._has_prices and is_readable,
        }
        return [name for name, is_served in served.items() if is_served]

    def find_missing(self) -> dict[str, str]:
        """Return why a required part is not answered; where none is, why a champion cannot answer,
        and in a shop without anything all that is missing."""
        missing, unused = self._served_models.missing, self._served_models.unused
        if self._required:
            problems = missing | unused | self._find_lost_tables()
            if not self._has_prices:
                problems["prices"] = "no prices yet; try: shopwright import DIR"
            needs = [name for part in self._required for name in _NEEDS[part]]
            return {name: problems[name] for name in needs if name in problems}
        versions = read_versions(self._served_models)
        if self._has_prices or "recommendations" in versions:
            missing = missing | self._find_lost_tables()
        return missing if self._has_prices or versions else missing | unused

    def _find_lost_tables(self) -> dict[str, str]:
        reason = self._tables.unreadable
        return {} if reason is None else {TABLES: reason}


def read_versions(served_models: ServedModels) -> dict[str, str]:
    """Return the versions that serve, by the name of the model."""
    return {name: version.version for name, version in served_models.versions.items()}
