"""The shop of the teas, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from tests.shops.changed_prices import TeaShop, open_tea_shop


@pytest.fixture
def teas(engine: sa.Engine, settings: Settings) -> TeaShop:
    return open_tea_shop(settings, engine)
