"""Fixtures of the server: a running application of a tiny shop, and a shop of three items."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import transaction
from features.facts.facts import Facts
from serving.database.migrate import upgrade
from serving.experiments.repository import ExperimentState, ExperimentStates
from tests.shops.built_once import build_once
from tests.shops.served_shop import NOW, build_shop, copy_shop, make_settings, run_shop
from tests.shops.three_items import write_three_items


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop, not to be changed; its experiment on the home page runs."""
    home = tmp_path_factory.mktemp("tiny") / "home"
    copy_shop(build_once(tmp_path_factory, "tiny_shop", _build_tiny_shop), home)
    return home


def _build_tiny_shop(home: Path) -> None:
    build_shop(home)
    opened = open_engine(Settings(home=home))
    upgrade(opened)
    with transaction(opened) as connection:
        ExperimentStates(connection).set("home_ranker", ExperimentState("running", None), NOW)
    opened.dispose()


@pytest.fixture
def tiny(tiny_home: Path, tmp_path: Path) -> Settings:
    """The settings of a copy of the shop."""
    copy_shop(tiny_home, tmp_path / "home")
    return make_settings(tmp_path / "home")


@pytest.fixture
def served(tiny: Settings) -> Iterator[SimpleNamespace]:
    """A running application of the tiny shop: app, client (with every scope), server, keys."""
    yield from run_shop(tiny)


@pytest.fixture(scope="module")
def shared(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The same for the tests of one file that leave no trace."""
    home = tmp_path_factory.mktemp("shared") / "home"
    copy_shop(tiny_home, home)
    yield from run_shop(make_settings(home))


@pytest.fixture
def three_items(engine: sa.Engine, settings: Settings) -> tuple[Facts, sa.Engine, Settings]:
    """Facts, database and settings of a shop of three items at 1.00."""
    return write_three_items(engine, settings)
