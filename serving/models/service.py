"""Registered model versions: which are there, and which of them is champion."""

from __future__ import annotations

import sqlalchemy as sa

from features.contracts.clock import Clock
from models.registry import NAMES, Registry, Version
from serving.database.audit_log import AuditEntry, AuditLog


class ModelService:
    """Lists versions and changes champions; every change is written to the audit log."""

    def __init__(self, registry: Registry, system_clock: Clock) -> None:
        self._registry = registry
        self._system_clock = system_clock

    def list_versions(self) -> list[Version]:
        """Return every registered version by model, newest first."""
        return [version for name in NAMES for version in self._registry.list_versions(name)]

    def promote(self, connection: sa.Connection, name: str, version: str, *, actor: str) -> Version:
        """Make `version` the champion. Raises NotFound, BadInput for a model nobody knows."""
        previous = self._registry.find_champion(name)
        champion = self._registry.promote(name, version)
        self._record(connection, "promote", champion, previous, actor)
        return champion

    def rollback(self, connection: sa.Connection, name: str, *, actor: str) -> Version:
        """Make the previous champion the champion again. Raises Conflict when there was none."""
        previous = self._registry.find_champion(name)
        champion = self._registry.rollback(name)
        self._record(connection, "rollback", champion, previous, actor)
        return champion

    def record_promotion(
        self, connection: sa.Connection, champion: Version, previous: Version | None, *, actor: str
    ) -> None:
        """Write a promotion to the audit log that was made elsewhere: by the gate, after a
        training."""
        self._record(connection, "promote", champion, previous, actor)

    def _record(
        self,
        connection: sa.Connection,
        action: str,
        champion: Version,
        previous: Version | None,
        actor: str,
    ) -> None:
        details = {"version": champion.version, "before": previous.version if previous else None}
        entry = AuditEntry(actor, action, "model", champion.name, details)
        AuditLog(connection).append([entry], self._system_clock.now())
