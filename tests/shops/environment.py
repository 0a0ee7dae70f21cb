"""The environment in which verbs find a shop of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.settings import Settings
from features.database import engine as open_engine
from serving.database.migrate import upgrade


def point_verbs_at(monkeypatch: pytest.MonkeyPatch, settings: Settings, clock_start: str) -> None:
    """Let verbs of this process run on the state folder and the database of `settings`."""
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(settings.home))
    if settings.database_url:
        monkeypatch.setenv("SHOPWRIGHT_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", clock_start)


def make_database(home: Path) -> None:
    """Make the database that an import would have made, for a shop whose tables a test writes."""
    opened = open_engine(Settings(home=home))
    upgrade(opened)
    opened.dispose()
