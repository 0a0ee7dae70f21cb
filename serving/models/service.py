"""Registered model versions: which are there, how good they are, and which of them is champion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from features.contracts.clock import Clock
from features.database import transaction
from models.registry import CHAMPION, NAMES, REFUSED, Registry, Version
from serving.database.audit_log import AuditEntry, AuditLog


@dataclass(frozen=True)
class Promotion:
    """A change of champion that was made: `action` is "promote" or "rollback"."""

    action: str
    champion: Version
    previous: Version | None


@dataclass(frozen=True)
class Comparison:
    """One metric of a version beside the baselines of the same run.

    strongest   the baseline that the version must beat
    p_value     of a paired test against it; None without a test
    ours_interval, intervals   95 % intervals, of the baselines by name; those that are known
    """

    metric: str
    better: Literal["higher", "lower"]
    ours: float
    baselines: Mapping[str, float]
    strongest: str
    p_value: float | None = None
    ours_interval: tuple[float, float] | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def gain(self) -> float | None:
        """The share by which it is better than the strongest baseline; None beside one of 0."""
        baseline = self.baselines[self.strongest]
        if not baseline:
            return None
        change = self.ours / baseline - 1
        return change if self.better == "higher" else -change


class ModelService:
    """Lists versions and changes champions; whoever changes one also calls `record` or `write`."""

    def __init__(self, registry: Registry, system_clock: Clock, engine: sa.Engine) -> None:
        self._registry = registry
        self._system_clock = system_clock
        self._engine = engine

    def list_versions(self) -> list[Version]:
        """Return every registered version by model, newest first."""
        return [version for name in NAMES for version in self._registry.list_versions(name)]

    def list_of_model(self, name: str) -> list[Version]:
        """Return the versions of one model, newest first. Raises BadInput for an unknown one."""
        return self._registry.list_versions(name)

    def list_refused(self) -> list[Version]:
        """Return the newest version of each model that the gate refused, and that nobody promoted
        since."""
        newest = [self._registry.find_challenger(name) for name in NAMES]
        return [
            version
            for version in newest
            if version is not None
            and version.tags.get("gate") == REFUSED
            and CHAMPION not in version.aliases
        ]

    def find_previous(self, name: str) -> Version | None:
        """Return the champion to which a rollback would go; None where there was none."""
        return self._registry.find_previous(name)

    def find_page(self, version: Version) -> str | None:
        """Return the address of a version in MLflow; None where no server shows it."""
        return self._registry.find_page(version)

    def read_comparisons(self, version: Version) -> list[Comparison]:
        """Return the metrics of a version beside the baselines, as its training logged them."""
        document = self._registry.read_document(version, "evaluation.json")
        values = [] if document is None else json.loads(document).get("comparisons", [])
        return [_read_comparison(value) for value in values]

    def promote(self, name: str, version: str) -> Promotion:
        """Make `version` the champion. Raises NotFound, BadInput for a model nobody knows."""
        previous = self._registry.find_champion(name)
        return Promotion("promote", self._registry.promote(name, version), previous)

    def rollback(self, name: str) -> Promotion:
        """Make the previous champion the champion again. Raises Conflict when there was none."""
        previous = self._registry.find_champion(name)
        return Promotion("rollback", self._registry.rollback(name), previous)

    def write(self, promotion: Promotion, *, actor: str, reason: str | None = None) -> None:
        """Do `record` in a transaction of its own."""
        with transaction(self._engine) as connection:
            self.record(connection, promotion, actor=actor, reason=reason)

    def record(
        self,
        connection: sa.Connection,
        promotion: Promotion,
        *,
        actor: str,
        reason: str | None = None,
    ) -> None:
        """Write a promotion to the audit log, after it was made: the registry may take long, and
        nobody should wait for the database meanwhile."""
        champion, previous = promotion.champion, promotion.previous
        details = {"version": champion.version, "before": previous.version if previous else None}
        if reason:
            details["reason"] = reason
        entry = AuditEntry(actor, promotion.action, "model", champion.name, details)
        AuditLog(connection).append([entry], self._system_clock.now())


def _read_comparison(values: Mapping[str, Any]) -> Comparison:
    """Return a comparison of `evaluation.json`; our own interval is the one of no baseline."""
    baselines, intervals = values["baselines"], values.get("intervals", {})
    ours = [tuple(span) for name, span in intervals.items() if name not in baselines]
    return Comparison(
        metric=values["metric"],
        better=values["better"],
        ours=values["ours"],
        baselines=baselines,
        strongest=values["strongest"],
        p_value=values.get("p_value"),
        ours_interval=ours[0] if ours else None,
        intervals={name: tuple(span) for name, span in intervals.items() if name in baselines},
    )
