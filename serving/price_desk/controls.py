"""The controls of the price desk: stop and resume activations, approval without a person, and the
reasons for rejections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from configs.loading import load
from features.contracts.errors import BadInput, Forbidden
from features.contracts.pricing import EvidenceGrade
from features.database import reading
from serving.access import EVERYWHERE, Caller
from serving.database.audit_log import AuditEntry, AuditLog, Decider
from serving.price_desk.activation import resume_activations, stop_activations
from serving.price_desk.auto_approval import save_rule
from serving.price_desk.controls_repository import ApprovalRule, Controls, RejectPolicy
from serving.price_desk.service import PriceDeskService

_SHIPPED_REASONS = "price_desk/reject_reasons"
_LANGUAGE = "en"
MAX_REASONS = 30
MAX_LETTERS = 200


@dataclass(frozen=True)
class RejectReasons:
    """The reasons of the config, by language."""

    reasons: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class RuleValues:
    """The thresholds of an approval rule, as a manager gives them."""

    enabled: bool
    max_change: float
    min_evidence: EvidenceGrade
    min_profit_p10: float
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeskControls:
    """What a manager switches, for the whole shop.

    hold_promotions   sends promotions that have not begun back, and returns how many
    """

    desk: PriceDeskService
    hold_promotions: Callable[[sa.Connection, Decider], int]

    def decider(self, caller: Caller, reason: str | None) -> Decider:
        """Return who switches. Raises Forbidden without the scope, or with it in a part only."""
        decider = self.desk.decider(caller, "pricing.manage", reason)
        if decider.areas != EVERYWHERE:
            raise Forbidden(
                "this is a switch of the whole shop, and your role covers a part of it",
                hint="Ask a manager of every category and zone",
            )
        return decider

    def switch(self, connection: sa.Connection, decider: Decider, *, stopped: bool) -> int:
        """Stop activations or let them go on; returns how many prices and promotions are held, or
        prices released."""
        if not stopped:
            return resume_activations(connection, decider)
        n_prices = stop_activations(connection, decider)
        return n_prices + self.hold_promotions(connection, decider)

    def list_rules(self) -> Sequence[ApprovalRule]:
        """Return the approval rules by name."""
        with reading(self.desk.engine) as connection:
            return Controls(connection).list_rules()

    def save_rule(
        self, connection: sa.Connection, decider: Decider, name: str, values: RuleValues
    ) -> tuple[ApprovalRule, int]:
        """Save a rule; returns it, and how many of the suggestions that wait it approved."""
        if not name.strip() or len(name) > 100:
            raise BadInput("a rule needs a short name", where="name")
        rule = ApprovalRule(
            name=name, **vars(values), changed_by=decider.actor, changed_at=decider.at
        )
        return rule, save_rule(connection, decider, rule)

    def read_reject_policy(self, language: str = _LANGUAGE) -> RejectPolicy:
        """Return the reasons that whoever rejects may choose from: the shop's own, else those of
        the config in a language."""
        with reading(self.desk.engine) as connection:
            own = Controls(connection).find_reject_policy()
        if own is not None:
            return own
        shipped = load(_SHIPPED_REASONS, RejectReasons, overlay=self.desk.settings.config_dir)
        return RejectPolicy(shipped.reasons.get(language) or shipped.reasons.get(_LANGUAGE, ()))

    def save_reject_policy(
        self, connection: sa.Connection, decider: Decider, reasons: Sequence[str], *, required: bool
    ) -> RejectPolicy:
        """Replace the reasons for rejections. Raises BadInput for a list that nobody can use."""
        texts = tuple(reason.strip() for reason in reasons)
        if not all(0 < len(text) <= MAX_LETTERS for text in texts):
            raise BadInput(f"a reason has 1 to {MAX_LETTERS} letters", where="reasons")
        if len(set(texts)) != len(texts):
            raise BadInput("a reason stands in the list once", where="reasons")
        if len(texts) > MAX_REASONS:
            raise BadInput(f"{len(texts)} reasons are too many to choose from", where="reasons")
        policy = RejectPolicy(texts, required, decider.actor, decider.at)
        Controls(connection).save_reject_policy(policy)
        details = {"reasons": list(texts), "required": required, "reason": decider.reason}
        entry = AuditEntry(
            decider.actor, "save_reject_reasons", "reject_reasons", "reject_reasons", details
        )
        AuditLog(connection).append([entry], decider.at)
        return policy
