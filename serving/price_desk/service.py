"""The queue of the price desk as of now, and who decides on it at which time.

Decisions themselves are made inside one transaction: decisions.py and rollback.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.database import reading, transaction
from features.prices.reduction_rule import FindRules
from serving.database.audit_log import Decider
from serving.price_desk.decisions import require_version
from serving.price_desk.lifecycle import settle_due
from serving.price_desk.repository import Suggestion, SuggestionFilter, Suggestions


@dataclass(frozen=True)
class PriceDeskService:
    """Reads suggestions with the status that time has given them."""

    settings: Settings
    engine: sa.Engine
    clock: Clock
    system_clock: Clock
    find_rules: FindRules

    def list_suggestions(
        self, criteria: SuggestionFilter, *, after: int, limit: int
    ) -> list[Suggestion]:
        """Return the suggestions of a filter after number `after`, oldest first."""
        self._catch_up()
        with reading(self.engine) as connection:
            return Suggestions(connection).matching(criteria, after=after, limit=limit)

    def read_suggestion(self, suggestion_id: str) -> Suggestion:
        """Return one suggestion. Raises NotFound."""
        self._catch_up()
        with reading(self.engine) as connection:
            return require_version(Suggestions(connection).get(suggestion_id), suggestion_id, None)

    def decider(self, actor: str, reason: str | None) -> Decider:
        """Return who decides now, under the price laws of the shop's zones."""
        return Decider(actor, self.clock.now(), self.system_clock.now(), reason, self.find_rules)

    def _catch_up(self) -> None:
        now: datetime = self.clock.now()
        with reading(self.engine) as connection:
            due = Suggestions(connection).due(now)
        if due:
            with transaction(self.engine) as connection:
                settle_due(connection, now, self.system_clock.now())
