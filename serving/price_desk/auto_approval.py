"""Approval without a person: rules with thresholds that a manager sets, off until one is saved.

The approver is named after the rule. A rule never approves what its own author proposed or edited,
what came back to the queue after an approval, what takes a batch back that sold too little, what is
flagged, or what has no expected effect: a person looks at those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.contracts.errors import BadInput
from features.contracts.money import minor_digits
from features.contracts.pricing import EvidenceGrade
from features.database import lock
from serving.access import EVERYWHERE, Area
from serving.database.audit_log import WATCH, AuditEntry, AuditLog, Decider
from serving.price_desk.activation import settle_due
from serving.price_desk.approvals import enact_approvals, plan_approvals
from serving.price_desk.controls_repository import ApprovalRule, Controls
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestion, Suggestions

# A larger change is never approved without a person.
LARGEST_CHANGE = 0.5
_SUBJECT = "approval_rule"


def save_rule(connection: sa.Connection, decider: Decider, rule: ApprovalRule) -> int:
    """Save a rule, apply it to what waits, and return how many suggestions it approved.

    Raises BadInput for thresholds that no rule may have.
    """
    if not 0 < rule.max_change <= LARGEST_CHANGE:
        raise BadInput(
            f"a change of {rule.max_change:.0%} is not approved without a person",
            where="max_change",
            hint=f"Give a share above 0, up to {LARGEST_CHANGE}",
        )
    lock(connection, "price_desk")
    Controls(connection).save_rule(rule)
    values = asdict(rule)
    details = {
        name: values[name] for name in ("enabled", "max_change", "min_profit_p10", "categories")
    }
    details |= {"min_evidence": str(rule.min_evidence), "reason": decider.reason}
    entry = AuditEntry(decider.actor, "save_rule", _SUBJECT, rule.name, details)
    AuditLog(connection).append([entry], decider.at)
    return apply_rules(connection, decider, None)


def apply_rules(connection: sa.Connection, decider: Decider, since: datetime | None) -> int:
    """Approve what the enabled rules approve of the submitted suggestions that changed since.

    Returns how many. The decider says the time and what prices are held against.
    """
    lock(connection, "price_desk")
    settle_due(connection, decider)
    rules = [rule for rule in Controls(connection).list_rules() if rule.enabled]
    if not rules:
        return 0
    submitted = SuggestionFilter(status=("submitted",), updated_since=since)
    waiting = Suggestions(connection).matching(submitted)
    approved = 0
    for rule in rules:
        chosen = [suggestion for suggestion in waiting if is_within(rule, suggestion)]
        if not chosen:
            continue
        reason = f"within the rule {rule.name}"
        system = replace(decider, actor=rule.actor, reason=reason, areas=EVERYWHERE)
        plan = plan_approvals(connection, system, chosen, many=True)
        enact_approvals(connection, system, plan)
        done = {suggestion.id for suggestion in plan.approved}
        waiting = [suggestion for suggestion in waiting if suggestion.id not in done]
        approved += len(done)
    return approved


def is_within(rule: ApprovalRule, suggestion: Suggestion) -> bool:
    """Return whether a suggestion lies within the thresholds of a rule."""
    if rule.changed_by in (suggestion.proposed_by, suggestion.edited_by):
        return False
    if suggestion.proposed_by == WATCH:
        return False
    if suggestion.returned_reason is not None or suggestion.details.get("flags"):
        return False
    if abs(suggestion.share_change) > rule.max_change:
        return False
    grade = suggestion.evidence_grade
    if grade is None or EvidenceGrade(grade) > rule.min_evidence:
        return False
    profit: Any = (suggestion.expected or {}).get("profit") or {}
    gain = profit.get("against_keeping")
    least = rule.min_profit_p10 * 10 ** minor_digits(suggestion.currency)
    if gain is None or gain["p10"] <= least:
        return False
    return not rule.categories or _is_in(rule.categories, suggestion)


def _is_in(categories: Sequence[str], suggestion: Suggestion) -> bool:
    return any(
        Area(category=category).contains(suggestion.category, suggestion.zone)
        for category in categories
    )
