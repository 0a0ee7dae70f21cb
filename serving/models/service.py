"""Makes model versions champions, and writes down who did."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from models.registry import Registry, Version
from serving.audit.repository import AuditEntry, AuditLog


def promote(
    connection: sa.Connection,
    registry: Registry,
    name: str,
    version: str,
    *,
    actor: str,
    at: datetime,
) -> Version:
    """Makes `version` the champion. Raises NotFound, BadInput for a model nobody knows."""
    before = registry.champion(name)
    done = registry.promote(name, version)
    _write(connection, "promote", done, before, actor, at)
    return done


def rollback(
    connection: sa.Connection, registry: Registry, name: str, *, actor: str, at: datetime
) -> Version:
    """Makes the previous champion the champion again. Raises Conflict when there was none."""
    before = registry.champion(name)
    done = registry.rollback(name)
    _write(connection, "rollback", done, before, actor, at)
    return done


def promoted(
    connection: sa.Connection, done: Version, before: Version | None, *, actor: str, at: datetime
) -> None:
    """Writes down a promotion that was made elsewhere: by the gate, after a training."""
    _write(connection, "promote", done, before, actor, at)


def _write(
    connection: sa.Connection,
    action: str,
    done: Version,
    before: Version | None,
    actor: str,
    at: datetime,
) -> None:
    details = {"version": done.version, "before": before.version if before else None}
    AuditLog(connection).append([AuditEntry(actor, action, "model", done.name, details)], at)
