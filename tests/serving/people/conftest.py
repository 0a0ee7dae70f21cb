"""The fixture of these tests: two people of a small shop."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.shops.people import Desk, open_desk


@pytest.fixture
def desk(engine: sa.Engine) -> Desk:
    """Two people, anna (analyst) and ben (approver of food in north), on either database."""
    return open_desk(engine)
