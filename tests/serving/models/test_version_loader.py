"""What a server does while it has no version of a model that it can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.contracts.errors import Unavailable
from serving.models import version_loader
from serving.models.version_loader import VersionLoader
from tests.shops.served_shop import make_settings


class SilentRegistry:
    """A registry that does not answer, and counts who asks."""

    n_calls = 0

    def find_previous(self, _name: str) -> None:
        self.n_calls += 1
        raise Unavailable("the registry does not answer")


def test_earlier_versions_are_looked_for_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry: Any = SilentRegistry()
    loader = VersionLoader(make_settings(tmp_path), registry)
    for _ in range(3):
        assert loader.load_earlier("demand", None) is None
    assert registry.n_calls == 1
    assert len(caplog.records) == 1
    monkeypatch.setattr(version_loader, "RETRY_SECONDS", 0.0)
    assert loader.load_earlier("pricing", None) is None
    assert loader.load_earlier("pricing", None) is None
    assert registry.n_calls == 3
