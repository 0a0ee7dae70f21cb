"""Decisions of people about promotions, each in a transaction of its own.

The routes make the same decisions inside the transaction of an Idempotency-Key.
"""

from __future__ import annotations

from dataclasses import dataclass

from features.contracts.errors import BadInput
from features.database import transaction
from serving.access import Caller
from serving.promotions import decisions
from serving.promotions.checks import CheckedPromotion
from serving.promotions.documents import FilePromotionRequest
from serving.promotions.repository import Promotion
from serving.promotions.service import PromotionService

# The scope that each step takes.
SCOPES = {
    "approve": "pricing.approve",
    "reject": "pricing.approve",
    "cancel": "pricing.propose",
    "end": "pricing.rollback",
}


@dataclass(frozen=True)
class PromotionActions:
    """What somebody who signed in does with promotions."""

    promotions: PromotionService

    def check(self, caller: Caller, request: FilePromotionRequest) -> CheckedPromotion:
        """Return what a promotion would do, and what stands against it. Raises as
        PromotionService.prepare."""
        decider = self.promotions.decider(caller, "pricing.propose", request.reason)
        return self.promotions.check(decider, self.promotions.prepare(request))

    def file(self, caller: Caller, request: FilePromotionRequest) -> Promotion:
        """File a promotion with its what-if. Raises as PromotionService.file."""
        decider = self.promotions.decider(caller, "pricing.propose", request.reason)
        prepared = self.promotions.prepare(request)
        with transaction(self.promotions.engine) as connection:
            return self.promotions.file(connection, decider, prepared)

    def decide(
        self,
        caller: Caller,
        step: str,
        promotion_id: str,
        version: int | None = None,
        reason: str | None = None,
    ) -> Promotion:
        """Approve, reject, cancel or end a promotion. Raises as the functions of decisions.py."""
        if step not in SCOPES:
            raise BadInput(f"{step!r} is no step of a promotion", where="step")
        decider = self.promotions.decider(caller, SCOPES[step], reason)
        if step == "approve":
            runs = self.promotions.find_runs(promotion_id)
            with transaction(self.promotions.engine) as connection:
                return decisions.approve(connection, decider, promotion_id, runs, version)
        simple = {"reject": decisions.reject, "cancel": decisions.cancel, "end": decisions.end}
        with transaction(self.promotions.engine) as connection:
            return simple[step](connection, decider, promotion_id, version)
