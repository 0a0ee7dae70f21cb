"""Somebody asks for their data, or to be erased: one person among others."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import Damaged, NotFound, Unavailable
from features.database import Patience, reading, transaction
from features.database import engine as open_engine
from features.facts import exposures, slates
from features.facts.erased_ids import IdDigests, finish_erasure, strip_erased_ids
from features.facts.events import EventLog
from features.facts.exposures import Exposure
from features.facts.facts import Facts
from features.facts.slates import LoggedSlate, ShownItems
from features.online.materialize import materialize
from features.online.online_store import OnlineHistories
from features.online.restore import write_user_states
from features.online.snapshots import current_version, lock_features
from features.sources.folder import import_folder
from features.sources.report import OF_ERASED
from serving.privacy.repository import PersonRows
from serving.privacy.service import PrivacyService
from serving.recommendations.exposure_writer import ExposureWriter
from tests.shops.clocks import SYSTEM_CLOCK
from tests.shops.event_tables import make_event
from tests.shops.folders import write_csv
from tests.shops.traces import list_traces

NOW = datetime(2024, 6, 1, tzinfo=UTC)
ERIKA, KARL = "erika-77", "karl-88"
PHONE, TABLET = "phone-of-erika", "tablet-of-both"
SESSION = "session-of-erika"
TRACES = (ERIKA, PHONE, SESSION)


def make_row(event_id: str, user: str, visitor: str = "", **values: str) -> dict[str, str]:
    row = {"event_id": event_id, "event_type": "purchase", "occurred_at": "2024-05-01T10:00:00Z"}
    ids = {"user_id": user, "visitor_id": visitor, "session_id": "", "item_id": "a"}
    return {**row, **ids, "quantity": "1", "line_amount": "1.99"} | values


EVENTS = [
    make_row("1", ERIKA, PHONE, session_id=SESSION),
    make_row("2", ERIKA, TABLET),
    make_row("3", "", PHONE, event_type="view_item"),
    make_row("4", "", TABLET, event_type="view_item"),
    make_row("5", KARL, TABLET),
    make_row("6", KARL, "phone-of-karl"),
    make_row("7", ERIKA, quantity="two"),
    make_row("8", KARL, quantity="two"),
]


def make_slate(name: str, unit: str) -> LoggedSlate:
    items = ShownItems(("a", "b"), ("popular", "popular"))
    return LoggedSlate(name, "home", "default", unit, NOW, NOW, items)


def make_exposure(name: str, unit: str, visitor: str | None = None) -> Exposure:
    return Exposure(name, "test", "b", unit, NOW, NOW, visitor_id=visitor)


class Shop:
    """A shop with the same kinds of rows about two people, who share a tablet."""

    def __init__(self, settings: Settings, engine: sa.Engine, folder: Path) -> None:
        self.settings = settings.model_copy(update={"max_bad_share": 0.5})
        self.engine, self.folder = engine, folder
        folder.mkdir(exist_ok=True)
        write_csv(folder / "items.csv", [{"item_id": "a"}, {"item_id": "b"}])
        users = [{"user_id": ERIKA, "club": "gold"}, {"user_id": KARL, "club": "iron"}]
        write_csv(folder / "users.csv", users)
        write_csv(folder / "events.csv", EVENTS)
        self.digests = IdDigests(self.settings)
        self.privacy = PrivacyService(
            self.settings, engine, SYSTEM_CLOCK, SYSTEM_CLOCK, self.digests
        )

    def load(self):
        return import_folder(
            self.folder, Facts(self.settings), self.settings, now=NOW, progress=lambda _: None
        )

    def receive(self, *rows: dict) -> None:
        with transaction(self.engine) as connection:
            EventLog(connection).append(rows, NOW)

    def fill(self) -> None:
        """Receive what came after the import."""
        later = NOW + timedelta(hours=1)
        for user, visitor in ((ERIKA, PHONE), (KARL, "phone-of-karl")):
            self.receive(make_event(user, "a", later, visitor_id=visitor, session_id=f"s-{user}"))
            self.receive(make_event(None, "b", later, "view_item", visitor_id=visitor))
            with transaction(self.engine) as connection:
                rows = [(f"x-{user}", user, visitor), (f"y-{user}", visitor, None)]
                exposures.append(connection, [make_exposure(*row) for row in rows])
                slates.append(
                    connection, [make_slate(f"r{user[-2:]}", user), make_slate(user[-2:], visitor)]
                )
            self.state(user, allowed=True)

    def state(self, user: str, *, allowed: bool):
        with transaction(self.engine) as connection:
            return self.privacy.state_consent(connection, "tests", user, allowed=allowed)

    def export(self, user: str) -> dict:
        document = self.privacy.export("tests", user).model_dump(exclude={"exported_at"})
        return document | {"consent": document["consent"]["personalization_allowed"]}

    def erase(self, user: str):
        report = self.privacy.erase("tests", user)
        self.privacy.empty_logs()
        return report

    def list_traces(self, *texts: str) -> list[str]:
        return list_traces(self.settings.home, self.engine, texts or TRACES)

    def is_known(self, user: str) -> bool:
        """Whether another process than the one that erases knows the user now."""
        online = OnlineHistories(self.settings, self.engine)
        return online.read_visitor(user, None, None, NOW + timedelta(days=1)).allowed

    def list_event_ids(self) -> set[str]:
        rows = Facts(self.settings).read_all_events().event_id.to_pyarrow().to_pylist()
        return {row for row in rows if row.isdigit() and len(row) == 1}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of a shop that has imported and materialized its tables, without a database."""
    root = tmp_path_factory.mktemp("imported")
    settings = Settings(home=root / "home")
    shop = Shop(settings, sa.create_engine("sqlite://"), root / "files")
    shop.load()
    materialize(Facts(shop.settings), shop.settings, NOW)
    return settings.home


@pytest.fixture
def shop(settings: Settings, engine: sa.Engine, imported: Path, tmp_path: Path) -> Shop:
    shutil.copytree(imported, settings.home, dirs_exist_ok=True)
    shop = Shop(settings, engine, tmp_path / "files")
    shop.fill()
    return shop


def test_an_export_has_everything_of_one_person_and_nothing_of_another(shop: Shop) -> None:
    document = shop.export(ERIKA)
    assert [event["event_id"] for event in document["events"][:3]] == ["1", "2", "3"]
    assert document["events"][0]["line_amount"] == "1.99"
    assert len(document["events"]) == 5
    assert document["linked"] == {
        "visitor_ids": [PHONE],
        "session_ids": [f"s-{ERIKA}", SESSION],
        "shared_ids": [TABLET],
    }
    assert document["profile"]["attributes"] == '{"club":"gold"}'
    assert document["features"].keys() == {"user_features", "user_item", "user_state"}
    assert document["features"]["user_state"][0]["state"]["items"] == ["a"]
    assert [row["exposure_id"] for row in document["exposures"]] == [f"x-{ERIKA}", f"y-{ERIKA}"]
    assert [row["item_id"] for row in document["slates"]] == [["a", "b"]] * 2
    assert "quantity is no number" in document["quarantined"][0]["reasons"]
    assert document["consent"] is True
    assert KARL not in str(document)
    json.dumps(document, default=str, allow_nan=False)
    with pytest.raises(NotFound, match="nothing is kept"):
        shop.export("nobody")


def test_an_erasure_leaves_no_trace_and_all_others_unchanged(shop: Shop) -> None:
    before = shop.export(KARL)
    (shop.settings.home / "quarantine" / ".events.csv").write_text(ERIKA)  # of a killed import
    assert len(shop.list_traces()) > 10
    report = shop.erase(ERIKA)
    assert shop.list_traces() == []
    # The tablet is Karl's alone now.
    after = shop.export(KARL)
    assert before.pop("linked")["shared_ids"] == [TABLET]
    assert TABLET in after.pop("linked")["visitor_ids"]
    after["events"] = [event for event in after["events"] if event["event_id"] != "4"]
    assert after == before
    counts = report.model_dump(exclude={"subject_id", "erased_at"})
    assert counts == {
        "events": 2,
        "imported_rows": 4,
        "feature_rows": 3,
        "exposures": 2,
        "slates": 2,
        "quarantined_rows": 1,
        "rules": 0,
        "statements": 1,
        "linked_ids": 3,
    }
    assert not shop.is_known(ERIKA)
    assert shop.is_known(KARL)
    # Views of the shared tablet may be Karl's.
    assert shop.list_event_ids() == {"4", "5", "6"}
    again = shop.erase(ERIKA).model_dump(exclude={"subject_id", "erased_at"})
    assert set(again.values()) == {0}


# What an erasure calls, in its order.
STEPS = (
    (PersonRows, "erase_linked"),
    ("features.online.erasure", "erase_from_quarantine"),
    (Facts, "rewrite"),
    ("features.online.erasure", "remove_replaced"),
    ("features.online.erasure", "forget_user"),
    (PersonRows, "erase_user"),
    ("serving.privacy.service", "finish_erasure"),
)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_an_erasure_that_breaks_anywhere_is_finished_by_the_next_one(
    shop: Shop, is_done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in STEPS:
        step = import_module(owner) if isinstance(owner, str) else owner
        with monkeypatch.context() as patch:
            work = getattr(step, name)

            def fail(*given, _work=work, **named):
                if is_done:
                    _work(*given, **named)
                raise OSError("the power is gone")

            patch.setattr(step, name, fail)
            with pytest.raises(OSError, match="the power is gone"):
                shop.erase(ERIKA)
        assert not shop.is_known(ERIKA)  # from the first step on
    shop.erase(ERIKA)
    assert shop.list_traces() == []
    assert shop.list_event_ids() == {"4", "5", "6"}


def test_files_that_are_imported_again_bring_nobody_back_without_a_word(shop: Shop) -> None:
    shop.erase(ERIKA)
    report = shop.load()
    assert report.tables["events"].excluded == {OF_ERASED: 4}
    assert report.tables["users"].excluded == {OF_ERASED: 1}
    assert shop.list_traces() == []
    write_csv(shop.folder / "events.csv", [make_row("9", ERIKA), *EVENTS])
    assert shop.load().tables["events"].excluded == {OF_ERASED: 5}

    # Who returns has no past: what was erased stays erased, what comes is kept.
    assert shop.state(ERIKA, allowed=True).erased is False
    assert shop.is_known(ERIKA)
    at = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    write_csv(shop.folder / "events.csv", [make_row("0", ERIKA, occurred_at=at), *EVENTS])
    later = datetime.now(UTC) + timedelta(hours=1)
    report = import_folder(
        shop.folder, Facts(shop.settings), shop.settings, now=later, progress=lambda _: None
    )
    assert report.tables["events"].excluded == {OF_ERASED: 4}
    assert report.tables["users"].written.new == 1
    assert shop.list_event_ids() == {"0", "4", "5", "6"}
    assert [event["event_id"] for event in shop.export(ERIKA)["events"]] == ["0"]


def test_answers_that_wait_to_be_logged_are_written_without_the_id(shop: Shop) -> None:
    digests = IdDigests(shop.settings)
    writer = ExposureWriter(shop.engine, SYSTEM_CLOCK, keep_days=9_999, digests=digests)
    for unit in (ERIKA, PHONE, SESSION):
        writer.add(make_slate(f"late-{len(unit)}", unit))
        writer.add(make_exposure(f"late-{len(unit)}", unit))
    writer.add(make_slate("k", KARL))
    shop.erase(ERIKA)
    writer.start()
    writer.close()
    assert (writer.written, writer.dropped) == (7, 0)
    assert shop.list_traces() == []
    names = {row["recommendation_id"] for row in shop.export(KARL)["slates"]}
    assert names == {"r88", "88", "k"}


def test_a_materialization_before_the_end_of_an_erasure_brings_nobody_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_event(ERIKA, "a", datetime(2023, 1, 1, tzinfo=UTC), visitor_id=PHONE)
    shop.receive(old)
    materialize(Facts(shop.settings), shop.settings, NOW)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="the power is gone"):

        def fail(*_):
            raise OSError("the power is gone")

        patch.setattr("features.online.erasure.erase_from_files", fail)
        shop.erase(ERIKA)
    report = materialize(Facts(shop.settings), shop.settings, NOW + timedelta(days=1))
    assert report.n_sealed == 1
    assert [trace for trace in shop.list_traces() if report.version in trace] == []
    events = Facts(shop.settings).read_imported("events").event_id.to_pyarrow().to_pylist()
    assert old["event_id"] not in events

    # And none runs until its last step: neither that, nor a server that writes rows again.
    def finish(*given):
        with pytest.raises(Unavailable, match="another process"), lock_features(shop.settings, 0):
            pass
        with pytest.raises(Unavailable, match="another process"):
            write_user_states(shop.settings, current_version(shop.settings).name)
        return finish_erasure(*given)

    monkeypatch.setattr("serving.privacy.service.finish_erasure", finish)
    shop.erase(ERIKA)
    assert shop.list_traces() == []


def test_a_visitor_id_that_is_the_user_id_of_another_erases_nothing_of_them(shop: Shop) -> None:
    shop.receive(make_event("7", "a", NOW, visitor_id=KARL))
    before = shop.export(KARL)
    document = shop.export("7")
    assert document["exposures"] == document["slates"] == []
    report = shop.erase("7")
    assert (report.events, report.exposures, report.slates) == (1, 0, 0)
    assert shop.export(KARL) == before


def test_later_events_of_an_erased_user_become_nobody_elses(shop: Shop) -> None:
    shop.erase(ERIKA)
    at = datetime.now(UTC) + timedelta(minutes=1)
    rows = [make_event(user, "c", at, visitor_id=TABLET) for user in (ERIKA, KARL)]
    with reading(shop.engine) as connection:
        assert strip_erased_ids(connection, shop.digests, rows) == 1
    assert [(row["user_id"], row["visitor_id"]) for row in rows] == [(None, None), (KARL, TABLET)]


def test_an_erasure_that_misses_redis_says_what_to_do(shop: Shop) -> None:
    shop.privacy = replace(
        shop.privacy,
        settings=shop.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}),
    )
    with pytest.raises(Unavailable, match="does not answer"):
        shop.erase(ERIKA)


def test_who_was_erased_and_refuses_is_not_stored_again(shop: Shop) -> None:
    shop.erase(ERIKA)
    assert shop.state(ERIKA, allowed=False).erased is True
    assert shop.list_traces() == []


def test_the_audit_log_names_who_asked_and_the_person_by_a_digest_alone(shop: Shop) -> None:
    shop.export(ERIKA)
    subject = shop.erase(ERIKA).subject_id
    query = "SELECT actor, action FROM audit_log WHERE subject_id = :subject ORDER BY seq"
    with shop.engine.connect() as connection:
        rows = connection.execute(sa.text(query), {"subject": subject}).all()
    actions = ["state_consent", "export_user", "erase_user", "finish_erasure"]
    assert [tuple(row) for row in rows] == [("tests", action) for action in actions]


def test_without_the_secret_nothing_is_imported_and_nobody_erased(shop: Shop) -> None:
    shop.erase(ERIKA)
    (shop.settings.home / "privacy-secret").unlink()
    with pytest.raises(Damaged, match="erased under another secret"):
        shop.load()
    for text in ("", "f" * 64):  # no process that runs without it knows who was erased
        if text:
            (shop.settings.home / "privacy-secret").write_text(text)
        online = OnlineHistories(shop.settings, shop.engine)
        with pytest.raises(Damaged, match="erased under another secret"):
            online.read_visitor(ERIKA, None, None, NOW + timedelta(days=1))
        with pytest.raises(Damaged), reading(shop.engine) as connection:
            row = make_event(ERIKA, "a", NOW)
            strip_erased_ids(connection, IdDigests(shop.settings), [row])
    with pytest.raises(Damaged, match="SHOPWRIGHT_PRIVACY_SECRET"):
        PrivacyService(
            shop.settings, shop.engine, SYSTEM_CLOCK, SYSTEM_CLOCK, IdDigests(shop.settings)
        ).erase("tests", KARL)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_reader_delays_the_log_of_the_database_and_no_writer(shop: Shop) -> None:
    log = shop.settings.home / "shopwright.db-wal"
    writer = open_engine(shop.settings, Patience(lock=1.0))
    with shop.engine.connect() as reader, ThreadPoolExecutor(1) as workers:
        reader.execute(sa.text("SELECT count(*) FROM events")).all()
        shop.erase(ERIKA)
        attempts = workers.submit(shop.privacy.empty_logs)
        while not attempts.done():
            with transaction(writer):  # which would fail after a second
                pass
        assert not attempts.result()
        with pytest.raises(Unavailable, match="still holds rows"):
            shop.privacy.empty_logs_left()
    shop.privacy.empty_logs_left()
    assert log.stat().st_size == 0
    assert shop.list_traces() == []
    writer.dispose()
