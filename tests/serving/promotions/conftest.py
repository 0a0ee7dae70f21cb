"""The desk of promotions, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from tests.shops.promotion_desk import serve_desk


@pytest.fixture
def desk(engine: sa.Engine, settings: Settings) -> Iterator[SimpleNamespace]:
    with serve_desk(engine, settings.model_copy(update={"currency": "EUR"})) as served:
        yield served
