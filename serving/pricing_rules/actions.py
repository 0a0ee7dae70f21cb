"""Changes of pricing rules by people, each in a transaction of its own.

The routes make the same changes inside the transaction of an Idempotency-Key.
"""

from __future__ import annotations

from dataclasses import dataclass

from features.database import transaction
from serving.access import Caller
from serving.pricing_rules.repository import RuleVersion
from serving.pricing_rules.service import NewVersion, PricingRulesService

_SCOPE = "pricing.manage"


@dataclass(frozen=True)
class RuleActions:
    """What somebody who signed in does to the rules. Raises Forbidden without the scope."""

    rules: PricingRulesService

    def save(self, caller: Caller, new: NewVersion) -> RuleVersion:
        """Store a version, which is valid at once. Raises as PricingRulesService.save."""
        caller.require(_SCOPE)
        with transaction(self.rules.engine) as connection:
            return self.rules.save(connection, new, author=caller.id)

    def restore(self, caller: Caller, name: str, number: int, comment: str) -> RuleVersion:
        """Store an earlier version anew. Raises as PricingRulesService.restore."""
        caller.require(_SCOPE)
        with transaction(self.rules.engine) as connection:
            return self.rules.restore(connection, name, number, comment, author=caller.id)
