"""Each file of the materialized features that is damaged or gone is named, and made by nobody who
reads."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.errors import Damaged
from features.contracts.recommendations import ItemFeatures
from features.database import engine as open_engine
from features.online.online_store import OnlineHistories
from features.online.snapshots import (
    Version,
    check_features,
    event_digests_file,
    locate_store,
    publish,
    refused_file,
    users_file,
    version_folder,
    write_items,
)
from features.pipelines.feature_constants import ALL_ZONES

AS_OF = datetime(2024, 6, 3, tzinfo=UTC)
FILES = ["registry.db", "online.db", "events.npy", "users.npy", "refused.npy", "version.json"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A state folder with the files of one version."""
    settings = Settings(home=tmp_path)
    version = Version("first", AS_OF, AS_OF, (ALL_ZONES,), redis=False)
    folder = version_folder(settings, version.name)
    folder.mkdir(parents=True)
    texts = np.array(["tea"], object)
    items = ItemFeatures(AS_OF, texts, {"views_1w": np.ones(1, np.float32)}, texts, texts)
    write_items(folder / "items-0.arrow", items)
    with closing(sqlite3.connect(folder / "online.db")) as online:
        online.execute("CREATE TABLE states (state BLOB)")
    (folder / "registry.db").write_bytes(b"definitions")
    for file in (event_digests_file, users_file, refused_file):
        np.save(file(settings, version.name), np.zeros(1, np.uint64))
    publish(settings, version)
    return settings


def test_whole_files_are_no_damage(settings: Settings) -> None:
    version = check_features(settings)
    assert version is not None
    assert version.name == "first"


@pytest.mark.parametrize("name", [*FILES, "items-0.arrow"])
@pytest.mark.parametrize("content", [None, b"", b"\0\xffgarbage" * 9])
def test_a_damaged_file_is_named(settings: Settings, name: str, content: bytes | None) -> None:
    path = version_folder(settings, "first") / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(Damaged) as caught:
        check_features(settings)
    assert caught.value.where == str(path)


def test_readers_name_online_rows_that_are_gone_and_make_no_empty_ones(settings: Settings) -> None:
    online = locate_store(settings, "first").online
    online.unlink()
    database = open_engine(settings)
    histories = OnlineHistories(settings, database)
    with pytest.raises(Damaged, match=r"version first are damaged: .*online\.db"):
        histories.warm()
    assert "online features of version first are damaged" in str(histories.problem)
    assert not online.exists()
    database.dispose()
