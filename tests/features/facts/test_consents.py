"""Statements about personalization by both doors: the later one counts."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from features.contracts.errors import TooManyBadRows
from features.contracts.person_ids import USER
from features.database import transaction
from features.facts import consents
from features.facts.consents import (
    Consent,
    read_consent,
    store_consents,
    take_over_imported_consents,
)
from features.facts.erased_ids import IdDigests, note_erasure
from tests.shops.folders import EVENT, NOW, Shop, write_csv

DAY = timedelta(days=1)


class StatedShop(Shop):
    """A shop whose people state something by import, or to the shop."""

    def __init__(self, root, settings, engine) -> None:
        url = {"database_url": settings.database_url} if settings.database_url else {}
        super().__init__(root, **url)
        self.engine, self.digests = engine, IdDigests(self.settings)
        self.load([EVENT])

    def state(self, allowed: bool, at: datetime) -> None:
        with transaction(self.engine) as connection:
            store_consents(connection, {"u": Consent(allowed, at)})

    def import_statement(self, at: datetime, **values: str):
        write_csv(self.folder / "users.csv", [{"user_id": "u", **values}])
        report = self.load(now=at)
        take_over_imported_consents(self.facts, self.engine, self.digests)
        return report.tables["users"]

    def read(self) -> bool:
        """What training and materialization read, which is what servers read."""
        (row,) = self.rows("users")
        with transaction(self.engine) as connection:
            stated = read_consent(connection, "u")
        if stated is not None:
            assert stated.personalization_allowed == row["personalization_allowed"]
        return row["personalization_allowed"]


@pytest.fixture
def shop(tmp_path, settings, engine):
    return StatedShop(tmp_path, settings, engine)


def test_the_later_statement_counts_whichever_door_it_came_by(shop) -> None:
    refuses = {"personalization_allowed": "false"}
    shop.import_statement(NOW, **refuses)
    assert shop.read() is False
    shop.state(True, NOW + DAY)
    assert shop.read() is True
    # The same file says the same as of the same time.
    assert shop.import_statement(NOW + 2 * DAY, **refuses).written.unchanged == 1
    assert shop.read() is True
    shop.import_statement(NOW + 3 * DAY, personalization_allowed="true")
    shop.import_statement(NOW + 4 * DAY, **refuses)
    assert shop.read() is False
    shop.state(True, NOW + 3 * DAY + DAY / 2)
    shop.import_statement(NOW + 5 * DAY, **refuses)
    assert shop.read() is False


def test_a_default_is_no_statement_and_a_time_in_the_file_counts(shop) -> None:
    shop.state(False, NOW)
    shop.import_statement(NOW + DAY)
    assert shop.read() is False
    early = {"personalization_allowed": "true", "updated_at": (NOW - DAY).isoformat()}
    shop.import_statement(NOW + DAY, **early)
    assert shop.read() is False
    shop.import_statement(NOW + DAY, **early | {"updated_at": (NOW + DAY / 2).isoformat()})
    assert shop.read() is True
    older = shop.import_statement(NOW + DAY, **early)
    assert (older.n_older, older.older) == (1, ["u"])
    far = (NOW + 9 * DAY).isoformat()
    with pytest.raises(TooManyBadRows, match="updated_at lies in the future"):
        shop.import_statement(NOW + DAY, **early | {"updated_at": far})


def test_an_import_overrules_nothing_that_happens_while_it_runs(shop, monkeypatch) -> None:
    """Between its look at the statements and its own, somebody refuses, and somebody is erased."""
    shop.import_statement(NOW, personalization_allowed="false")
    others = [{"user_id": "gone", "personalization_allowed": "false"}]
    write_csv(
        shop.folder / "users.csv", [{"user_id": "u", "personalization_allowed": "true"}, *others]
    )
    shop.load(now=NOW + DAY)

    def open_later(engine):
        monkeypatch.undo()
        shop.state(False, NOW + 2 * DAY)
        with transaction(engine) as connection:
            note_erasure(connection, shop.digests, {USER: ["gone"]}, NOW + 2 * DAY)
        return transaction(engine)

    monkeypatch.setattr(consents, "transaction", open_later)
    take_over_imported_consents(shop.facts, shop.engine, shop.digests)
    with transaction(shop.engine) as connection:
        assert read_consent(connection, "u") == Consent(False, NOW + 2 * DAY)
        assert read_consent(connection, "gone") is None
