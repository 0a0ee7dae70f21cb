"""`shopwright import` on PostgreSQL, in a database of the test's own."""

from __future__ import annotations

import json
import os
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

from configs.settings import Settings
from features.contracts.tables import ITEMS, PRICE_HISTORY
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from serving.cli.main import app
from tests.shops.folders import EVENT, write_csv
from tests.shops.private_servers import POSTGRES_URL

NUL = "a\x00b"
PRICE = {"item_id": "a", "valid_from": "2024-04-01", "list_price": "5", "offer_price": "4"}


@pytest.fixture
def database() -> Iterator[sa.Engine]:
    """An empty database, dropped after the test."""
    admin = sa.create_engine(
        POSTGRES_URL, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3}
    )
    name = f"shopwright_{uuid.uuid4().hex[:12]}"
    try:
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except sa.exc.OperationalError:
        message = f"no PostgreSQL answers at {POSTGRES_URL}; set SHOPWRIGHT_TEST_POSTGRES_URL"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    opened = sa.create_engine(sa.make_url(POSTGRES_URL).set(database=name))
    yield opened
    opened.dispose()
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


class Shop:
    """A state folder, a folder of tables, and the command line on them."""

    def __init__(self, root: Path, database: sa.Engine) -> None:
        self.folder = root / "tables"
        self.folder.mkdir()
        self.database = database
        url = database.url.render_as_string(hide_password=False)
        self.environment = {
            "SHOPWRIGHT_HOME": str(root / "home"),
            "SHOPWRIGHT_DATABASE_URL": url,
            "SHOPWRIGHT_CLOCK_START": "2024-06-03T00:00:00Z",
        }
        self.settings = Settings(home=root / "home", database_url=url)
        write_csv(self.folder / "items.csv", [{"item_id": "a", "list_price": "6"}])
        write_csv(self.folder / "events.csv", [EVENT])

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--json"], env=self.environment)

    def load(self, *options: str) -> Result:
        return self.run("import", str(self.folder), *options)

    def list_prices(self) -> list[tuple[str, int]]:
        with self.database.connect() as connection:
            return [(row.item_id, row.offer_price_minor) for row in Ledger(connection).read_all()]


@pytest.fixture
def shop(tmp_path: Path, database: sa.Engine) -> Shop:
    return Shop(tmp_path, database)


def test_a_nul_in_an_id_is_quarantined_in_every_table(shop: Shop) -> None:
    write_csv(
        shop.folder / "items.csv",
        [{"item_id": "a", "list_price": "6"}, {"item_id": NUL, "list_price": "7"}],
    )
    write_csv(shop.folder / "price_history.csv", [PRICE, PRICE | {"item_id": NUL}])
    first = shop.load("--max-bad-share", "0.6")
    assert first.exit_code == 0, first.output
    tables = json.loads(first.stdout)["tables"]
    reason = {"item_id holds a character that cannot be kept": 1}
    assert tables["items"]["quarantined"] == tables["price_history"]["quarantined"] == reason
    write_csv(shop.folder / "price_history.csv", [PRICE | {"offer_price": "3"}])
    assert shop.load("--max-bad-share", "0.6").exit_code == 0
    assert shop.list_prices() == [("a", 400), ("a", 300)]


def test_rows_that_an_earlier_version_let_through_harm_no_import(shop: Shop) -> None:
    price = {
        "item_id": NUL,
        "zone": "default",
        "valid_from": datetime(2024, 4, 1, tzinfo=UTC),
        "list_price_minor": 500,
        "offer_price_minor": 400,
    }
    Facts(shop.settings).write(
        {
            "items": pa.Table.from_pylist([{"item_id": NUL, "list_price_minor": 700}], ITEMS.arrow),
            "price_history": pa.Table.from_pylist([price], PRICE_HISTORY.arrow),
        }
    )
    result = shop.load()
    assert result.exit_code == 0, result.output
    assert shop.list_prices() == [("a", 600)]


def test_tables_are_published_after_the_ledger_took_their_prices(shop: Shop) -> None:
    assert shop.load().exit_code == 0
    write_csv(shop.folder / "events.csv", [EVENT, EVENT | {"quantity": "9"}])
    write_csv(shop.folder / "price_history.csv", [PRICE])
    with shop.database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE price_ledger RENAME TO price_ledger_away"))
    assert shop.load().exit_code == 1
    facts = Facts(shop.settings)
    assert facts.read_imported("price_history").count().to_pyarrow().as_py() == 0
    assert facts.read_imported("events").count().to_pyarrow().as_py() == 1
    with shop.database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE price_ledger_away RENAME TO price_ledger"))
    assert shop.load().exit_code == 0
    assert facts.read_imported("events").count().to_pyarrow().as_py() == 2
    # That of the catalogue, that of the list from its beginning, and again from the opening on.
    assert shop.list_prices() == [("a", 600), ("a", 400), ("a", 400)]
