"""A shop in one file, put back into an empty place: equal to the last row and byte."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from configs.settings import Settings
from features.contracts.errors import BadInput, Conflict, Damaged, ShopwrightError
from features.database import engine as open_engine
from features.database import transaction
from features.database_tables import metadata, price_ledger
from features.facts.erased_ids import IdDigests
from features.facts.events import EventLog
from features.facts.facts import Facts
from features.online.materialize import materialize
from features.prices.ledger import Ledger, NewPrice
from serving.backup import service
from serving.backup.service import restore_backup, write_backup
from serving.cli.main import app
from serving.privacy.service import PrivacyService
from tests.shops.clocks import SYSTEM_CLOCK
from tests.shops.environment import point_verbs_at
from tests.shops.event_tables import make_event
from tests.shops.private_servers import POSTGRES_URL, open_schema
from tests.shops.served_shop import make_price
from tests.shops.user_histories import T, import_events


def make_dollar_price(item: str) -> NewPrice:
    return replace(make_price(item, 100), currency="USD")


@pytest.fixture
def shop(settings: Settings, engine: sa.Engine) -> tuple[Settings, sa.Engine]:
    """A shop with rows in files and in the database, among them append-only ones."""
    facts = import_events(settings, [make_event(f"u{n}", "i1", T) for n in range(3)])
    materialize(facts, settings, T + timedelta(days=1))
    privacy = PrivacyService(settings, engine, SYSTEM_CLOCK, SYSTEM_CLOCK, IdDigests(settings))
    with transaction(engine) as connection:
        odd = {"query": "tea\tor\\n\ncoffee"}
        row = make_event("u", "i2", T, "search", attributes=json.dumps(odd))
        EventLog(connection).append([row], T)
        Ledger(connection).append([make_dollar_price("milk")])
        privacy.state_consent(connection, "tests", "u", allowed=False)
    return settings, engine


@pytest.fixture
def empty(settings: Settings, tmp_path: Path):
    """The settings of an empty place for a shop on the same kind of database."""
    (tmp_path / "restored").mkdir()
    if settings.database_url is None:
        yield settings.model_copy(update={"home": tmp_path / "restored"})
        return
    with open_schema(POSTGRES_URL) as url:
        place = {"home": tmp_path / "restored", "database_url": url.render_as_string(False)}
        yield settings.model_copy(update=place)


def read_all(engine: sa.Engine) -> dict[str, list]:
    with engine.connect() as connection:
        return {
            table.name: sorted(map(str, connection.execute(sa.select(table)).all()))
            for table in metadata.sorted_tables
        }


def list_files(home: Path) -> dict[str, bytes]:
    """Return the contents of all files but locks, and databases with what lies beside them."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.name != ".lock" and not path.suffix.startswith(".db")
    }


@contextmanager
def small_disk() -> Iterator[None]:
    """Let no file grow beyond 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_restored_shop_equals_the_one_that_was_backed_up(shop, empty, tmp_path: Path) -> None:
    settings, engine = shop
    file = tmp_path / "shop.tar"
    report = write_backup(settings, engine, file, T)
    assert file.stat().st_mode & 0o077 == 0
    before, files = read_all(engine), list_files(settings.home)
    restored = open_engine(empty)
    volume = empty.home.stat().st_ino  # a mounted one cannot be replaced
    result = restore_backup(empty, restored, file)
    assert (result.made_at, result.engine) == (T.isoformat(), report.engine)
    assert read_all(restored) == before
    assert list_files(empty.home) == files
    assert empty.home.stat().st_ino == volume
    assert Facts(empty).read_all_events().count().to_pyarrow().as_py() == 4
    with transaction(restored) as connection:  # numbers go on, and the ledger stays append-only
        Ledger(connection).append([make_dollar_price("tea")])
        assert connection.execute(sa.select(sa.func.max(price_ledger.c.seq))).scalar() == 2
    with pytest.raises(sa.exc.DatabaseError), transaction(restored) as connection:
        connection.execute(sa.text("DELETE FROM price_ledger"))
    with pytest.raises(Conflict, match="not empty"):
        restore_backup(empty, restored, file)
    restored.dispose()


def test_what_is_no_whole_backup_changes_nothing(shop, empty, tmp_path: Path) -> None:
    settings, engine = shop
    file, restored = tmp_path / "shop.tar", open_engine(empty)
    write_backup(settings, engine, file, T)
    content = file.read_bytes()
    place = content.index(b"PAR1")
    (tmp_path / "bent.tar").write_bytes(content[:place] + b"QAR1" + content[place + 4 :])
    (tmp_path / "half.tar").write_bytes(content[: len(content) // 2])
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(file, arcname="../../evil")
    for name, text in (("list", "[]"), ("short", '{"format": 1}')):
        (tmp_path / "backup.json").write_text(text)
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            archive.add(tmp_path / "backup.json", arcname="backup.json")
    with pytest.raises(Damaged, match="not what was written"):
        restore_backup(empty, restored, tmp_path / "bent.tar")
    for name in ("half.tar", "evil.tar", "list.tar", "short.tar"):
        with pytest.raises(BadInput, match="no whole backup"):
            restore_backup(empty, restored, tmp_path / name)
    with small_disk(), pytest.raises(ShopwrightError, match="cannot be read or written"):
        restore_backup(empty, restored, file)
    assert not any(empty.home.glob("*"))
    restore_backup(empty, restored, file)
    restored.dispose()


def test_a_drill_restores_beside_the_shop_and_leaves_nothing(
    shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, engine = shop
    point_verbs_at(monkeypatch, settings, T.isoformat())
    before = sorted(path.name for path in tmp_path.iterdir())
    done = CliRunner().invoke(app, ["drill", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["passed"]
    checks = {check["check"]: check["restored"] for check in document["checks"]}
    assert (
        checks["database"] and checks["tables"] and checks["features"] and checks["erased people"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    if engine.dialect.name == "postgresql":
        names = sa.inspect(engine).get_schema_names()
        assert not [name for name in names if name.startswith("shopwright_drill")]


@pytest.fixture
def distant(tmp_path: Path, migrated_sqlite: Path) -> Iterator[tuple[Settings, sa.Engine]]:
    """A shop on SQLite with its database outside of the state folder, which has a linked folder."""
    (tmp_path / "home").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "notes").write_text("on another disk")
    (tmp_path / "home" / "linked").symlink_to(tmp_path / "disk")
    shutil.copy(migrated_sqlite, tmp_path / "distant.db")
    url = f"sqlite:///{tmp_path / 'distant.db'}"
    settings = Settings(home=tmp_path / "home", database_url=url)
    engine = open_engine(settings)
    with transaction(engine) as connection:
        Ledger(connection).append([make_dollar_price("milk")])
    yield settings, engine
    engine.dispose()


@pytest.mark.parametrize("name", [None, "other.db"])
def test_a_backup_has_the_database_and_folders_from_outside(
    distant, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, engine = distant
    listed = service.list_home_files
    monkeypatch.setattr(
        service, "list_home_files", lambda home, out: [*listed(home, out), home / "gone"]
    )
    write_backup(settings, engine, tmp_path / "shop.tar", T)
    url = None if name is None else f"sqlite:///{tmp_path / name}"
    target = Settings(home=tmp_path / "restored", database_url=url)
    restored = open_engine(target)
    restore_backup(target, restored, tmp_path / "shop.tar")
    assert read_all(restored) == read_all(engine)
    assert (target.home / "linked" / "notes").read_text() == "on another disk"
    restored.dispose()
    target = target.model_copy(update={"home": tmp_path / "empty", "database_url": str(engine.url)})
    with pytest.raises(Conflict, match="there is a database already"):
        restore_backup(target, engine, tmp_path / "shop.tar")


def test_a_backup_that_would_harm_or_lack_something_is_refused(distant, tmp_path: Path) -> None:
    settings, engine = distant
    with pytest.raises(BadInput, match="the database of the shop"):
        write_backup(settings, engine, tmp_path / "distant.db", T)
    with pytest.raises(BadInput, match="that of the backup"):
        write_backup(settings, engine, tmp_path / "disk" / "shop.tar", T)
    (tmp_path / "disk" / "loop").symlink_to(settings.home)
    with pytest.raises(BadInput, match="a folder that it is in"):
        write_backup(settings, engine, tmp_path / "shop.tar", T)
    shutil.rmtree(tmp_path / "disk")
    with pytest.raises(BadInput, match="leads nowhere"):
        write_backup(settings, engine, tmp_path / "shop.tar", T)
    assert not (tmp_path / "shop.tar").exists()


def test_a_drill_checks_the_copy_of_a_distant_database(
    distant, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = distant
    point_verbs_at(monkeypatch, settings, T.isoformat())
    environments = []

    def run(command: list[str], env: dict[str, str], **_: object):
        environments.append(env)
        return subprocess.CompletedProcess(command, 0, '{"checks": []}', "")

    monkeypatch.setattr(subprocess, "run", run)
    assert CliRunner().invoke(app, ["drill"]).exit_code == 0
    of_shop, of_copy = environments
    assert of_shop["SHOPWRIGHT_DATABASE_URL"] == settings.database_url
    assert "SHOPWRIGHT_DATABASE_URL" not in of_copy
