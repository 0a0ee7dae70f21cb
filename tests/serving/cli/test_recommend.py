"""`shopwright recommend` writes for every user what the server would answer at that time."""

from __future__ import annotations

import json
import os
import time

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from features.contracts.errors import BadInput, UnknownName
from models.ranking.recommender import Recommender
from serving.cli.main import app
from serving.recommendations.batch import _inherited, _split_users
from tests.shops.served_shop import NOW, REFUSER, make_user_id, run_shop

RUN = CliRunner()


@pytest.fixture
def shop(tiny, monkeypatch):
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tiny.home))
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", tiny.currency)
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())
    return tiny


def recommend(*arguments):
    return RUN.invoke(app, ["recommend", *arguments])


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_files_hold_the_slates_that_the_server_answers(shop, tmp_path, processes):
    out = tmp_path / "mail" / "home"
    arguments = [
        "--out",
        str(out),
        "--count",
        "4",
        "--placement",
        "discover",
        "--processes",
        processes,
        "--json",
    ]
    told = json.loads(recommend(*arguments).stdout)
    rows = pq.read_table(out).to_pylist()
    assert (told["rows"], told["folder"]) == (len(rows), str(out))
    slates: dict[str, list[tuple[int, str, str]]] = {}
    for row in rows:
        slates.setdefault(row["user_id"], []).append((row["rank"], row["item_id"], row["reason"]))
    assert len(slates) == told["users"] > 20
    assert REFUSER not in slates
    for served in run_shop(shop):
        for user_id, slate in slates.items():
            body = {"placement": "discover", "user_id": user_id, "count": 4}
            items = served.client.post("/v1/recommendations", json=body).json()["items"]
            assert [(each["rank"], each["item_id"], each["reason"]) for each in items] == slate


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_last_ranks_are_assigned_and_the_first_ranks_stay(shop, tmp_path, processes):
    usual, more = tmp_path / "usual", tmp_path / "more"
    arguments = ["--count", "2", "--processes", processes]
    recommend("--out", str(usual), *arguments)
    recommend("--out", str(more), *arguments, "--long-tail", "1")
    slates = {}
    for name, folder in (("usual", usual), ("more", more)):
        rows = sorted(pq.read_table(folder).to_pylist(), key=lambda row: row["user_id"])
        slates[name] = {}
        for row in rows:
            slates[name].setdefault(row["user_id"], []).append(row)
    assert slates["usual"].keys() == slates["more"].keys()
    for user_id, slate in slates["more"].items():
        items = [row["item_id"] for row in slate]
        assert len(set(items)) == len(slate) == len(slates["usual"][user_id])
        assert [row["rank"] for row in slate] == list(range(1, len(slate) + 1))
        assert slate[0] == slates["usual"][user_id][0]
    shown = {
        name: {row["item_id"] for slate in by_user.values() for row in slate}
        for name, by_user in slates.items()
    }
    assert shown["more"] == {"beer", "bread", "butter", "milk", "wine"} > shown["usual"]
    # One process or two: the same slates.
    again = tmp_path / "again"
    recommend("--out", str(again), "--count", "2", "--processes", "1", "--long-tail", "1")
    key = ["user_id", "rank"]
    assert pq.read_table(again).sort_by([(name, "ascending") for name in key]) == pq.read_table(
        more
    ).sort_by([(name, "ascending") for name in key])


def test_a_list_of_users_may_be_given_and_an_older_folder_is_replaced(shop, tmp_path):
    listed = tmp_path / "users.txt"
    listed.write_text(f"{make_user_id(3)}\nnobody\n{make_user_id(1)}\n")
    out = tmp_path / "slates"
    recommend("--out", str(out), "--processes", "1")
    recommend("--out", str(out), "--processes", "1", "--users", str(listed))
    assert list(dict.fromkeys(pq.read_table(out)["user_id"].to_pylist())) == [
        make_user_id(3),
        make_user_id(1),
    ]


def test_what_cannot_be_is_refused_and_nothing_is_lost(shop, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    assert isinstance(recommend("--out", str(tmp_path)).exception, BadInput)
    assert (tmp_path / "precious.txt").read_text() == "mine"
    assert isinstance(
        recommend("--out", str(tmp_path / "x"), "--placement", "hom").exception, UnknownName
    )
    assert isinstance(
        recommend("--out", str(tmp_path / "x"), "--users", str(tmp_path / "no")).exception, BadInput
    )


@pytest.mark.parametrize("fails_in_first", [True, False])
def test_a_process_that_fails_leaves_the_older_slates_and_nothing_half_written(
    shop, tmp_path, monkeypatch, fails_in_first
):
    out, first = tmp_path / "mail" / "slates", os.getpid()
    recommend("--out", str(out), "--processes", "2")
    before = pq.read_table(out)
    recommend_all = Recommender.recommend_columns

    def recommend_columns(self, queries):
        if (os.getpid() == first) == fails_in_first:
            raise BadInput("cannot go on")
        while (
            not fails_in_first and _inherited[0].n_taken.value < 2
        ):  # the other process has a share as well
            time.sleep(0.01)
        return recommend_all(self, queries)

    monkeypatch.setattr(Recommender, "recommend_columns", recommend_columns)
    assert isinstance(recommend("--out", str(out), "--processes", "2").exception, BadInput)
    assert pq.read_table(out).equals(before)
    assert [each.name for each in out.parent.iterdir()] == ["slates"]


@pytest.mark.parametrize("n_users", [0, 1, 9, 40, 9_000])
def test_every_user_is_in_one_share(n_users):
    users = [str(n) for n in range(n_users)]
    shares = _split_users(users, 2)
    assert [user for share in shares for user in share] == users
    assert all(0 < len(share) <= 2_000 for share in shares)
