"""How each person likes to see the console: language, theme, zone, columns, saved views."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from features.contracts.errors import BadInput
from features.database import reading, transaction
from serving.database.tables import preferences

_MAX_BYTES = 64_000  # of one preference


@dataclass(frozen=True)
class Preferences:
    """The preferences of all people of one database. They decide nothing, so no audit."""

    engine: sa.Engine

    def read(self, person: str) -> dict[str, Any]:
        """Return the preferences of a person by name."""
        query = sa.select(preferences.c.name, preferences.c.value).where(
            preferences.c.person == person
        )
        with reading(self.engine) as connection:
            return {row.name: row.value for row in connection.execute(query)}

    def write(self, person: str, name: str, value: Any) -> None:
        """Keep a preference in place of the one before; None removes it."""
        if len(json.dumps(value)) > _MAX_BYTES:
            raise BadInput(f"{name} is too large to keep", where=name)
        is_it = (preferences.c.person == person) & (preferences.c.name == name)
        with transaction(self.engine) as connection:
            connection.execute(preferences.delete().where(is_it))
            if value is not None:
                connection.execute(
                    preferences.insert().values(person=person, name=name, value=value)
                )
