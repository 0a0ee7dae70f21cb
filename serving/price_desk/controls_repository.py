"""The stop of activations, the rules that approve by themselves and the reasons for rejections, as
rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from features.contracts.pricing import EvidenceGrade
from features.database import insert
from serving.database.activation_stops import ActivationStop
from serving.database.desk_tables import activation_stops, approval_rules, reject_policies

_ONLY = 1


@dataclass(frozen=True)
class ApprovalRule:
    """Thresholds within which suggestions are approved without a person.

    max_change       largest change of the price, a share, up or down
    min_evidence     worst evidence grade that is approved
    min_profit_p10   the expected gain in profit, at its worse end (p10), is above this; major units
    categories       with all below them; none: every category
    changed_by       who saved it last: their own proposals are left to others
    """

    name: str
    enabled: bool
    max_change: float
    min_evidence: EvidenceGrade
    min_profit_p10: float
    categories: tuple[str, ...]
    changed_by: str
    changed_at: datetime

    @property
    def actor(self) -> str:
        """The approver that the audit log names."""
        return f"rule:{self.name}"


@dataclass(frozen=True)
class RejectPolicy:
    """The reasons that whoever rejects may choose from; `required`: none without a reason.

    changed_by   None for the reasons of the config
    """

    reasons: tuple[str, ...]
    required: bool = False
    changed_by: str | None = None
    changed_at: datetime | None = None


class Controls:
    """The repository of the stop, of the rules and of the reasons, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def set_stop(self, stop: ActivationStop) -> None:
        """Stop activations, or replace the reason of the stop that stands."""
        self.clear_stop()
        self._connection.execute(activation_stops.insert().values(id=_ONLY, **asdict(stop)))

    def clear_stop(self) -> None:
        """Let activations go on."""
        self._connection.execute(activation_stops.delete())

    def list_rules(self) -> list[ApprovalRule]:
        """Return the rules by name, disabled ones too."""
        query = sa.select(approval_rules).order_by(approval_rules.c.name)
        return [
            ApprovalRule(
                **{
                    **row,
                    "categories": tuple(row["categories"]),
                    "min_evidence": EvidenceGrade(row["min_evidence"]),
                }
            )
            for row in map(dict, self._connection.execute(query).mappings())
        ]

    def save_rule(self, rule: ApprovalRule) -> None:
        """Add a rule, or replace the one of its name."""
        values = {
            **asdict(rule),
            "categories": list(rule.categories),
            "min_evidence": str(rule.min_evidence),
        }
        statement = insert(self._connection, approval_rules).values(**values)
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_=values)
        )

    def find_reject_policy(self) -> RejectPolicy | None:
        """Return the shop's own reasons for rejections; None where those of the config hold."""
        table = reject_policies.c
        query = sa.select(table.reasons, table.required, table.changed_by, table.changed_at)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else RejectPolicy(tuple(row[0]), *row[1:])

    def save_reject_policy(self, policy: RejectPolicy) -> None:
        """Replace the shop's own reasons for rejections."""
        self._connection.execute(reject_policies.delete())
        values = {**vars(policy), "reasons": list(policy.reasons)}
        self._connection.execute(reject_policies.insert().values(id=_ONLY, **values))
