"""`shopwright users`: people are created, changed and listed on the command line."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from features.contracts.errors import BadInput, Conflict, NotFound, UnknownName
from serving.cli.main import app
from serving.cli.shop import Shop
from serving.cli.users import open_people, read_demo_people

RUN = CliRunner()
PASSWORD = "five long blue rivers"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: str, typed: str | None = None) -> Result:
    result = RUN.invoke(app, ["users", *arguments], input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_a_password_comes_from_stdin_and_never_from_an_argument() -> None:
    result = run("create", "anna", "--role", "analyst", typed=f"{PASSWORD}\n")
    assert result.stdout == "anna is created\n"
    assert open_people(Shop()).has_password("anna", PASSWORD)
    assert RUN.invoke(
        app, ["users", "create", "x1", "--role", "analyst", "--password", "p"]
    ).exit_code
    with pytest.raises(BadInput, match="no password came on stdin"):
        run("create", "ben", "--role", "analyst", typed="")
    with pytest.raises(BadInput, match="12 to 256"):
        run("create", "ben", "--role", "analyst", typed="short\n")


def test_roles_are_limited_to_categories_and_zones() -> None:
    limits = ("--category", "Food > Dairy", "--category", "Drinks", "--zone", "north")
    created = json.loads(
        run("create", "ben", "--role", "approver", *limits, "--generate", "--json").stdout
    )
    assert created["roles"] == [
        {"role": "approver", "category": "Drinks", "zone": "north"},
        {"role": "approver", "category": "Food > Dairy", "zone": "north"},
    ]
    assert open_people(Shop()).has_password("ben", created["password"])
    run("grant", "ben", "--role", "analyst")
    result = run("revoke", "ben", "--role", "approver")
    assert result.stdout == "ben has the roles analyst\n"
    with pytest.raises(NotFound, match="ben is no approver"):
        run("revoke", "ben", "--role", "approver")
    with pytest.raises(BadInput, match="no role left"):
        run("revoke", "ben", "--role", "analyst")
    with pytest.raises(UnknownName, match="Did you mean 'approver'"):
        run("grant", "ben", "--role", "aprover")


def test_people_are_listed_disabled_enabled_and_reset() -> None:
    run("create", "anna", "--full-name", "安娜", "--role", "analyst", "--generate")
    run("create", "ben", "--role", "admin", "--openid")
    with pytest.raises(Conflict):
        run("create", "ANNA", "--role", "analyst", "--openid")
    run("disable", "anna")
    text = run("list").stdout
    assert "安娜" in text
    assert "disabled" in text
    assert "OpenID Connect" in text
    items = json.loads(run("list", "--json").stdout)["items"]
    assert [item["disabled_at"] is None for item in items] == [False, True]
    assert not {"password_hash", "totp_secret"} & set(items[0])
    run("enable", "anna")
    password = run("reset", "anna", "--generate").stdout.splitlines()[1]
    assert open_people(Shop()).has_password("anna", password)
    with pytest.raises(NotFound, match="no person 'carla'"):
        run("disable", "carla")


def test_the_demo_has_two_people_whose_passwords_are_kept_for_its_owner_alone(home: Path) -> None:
    passwords = read_demo_people(Shop())
    assert list(passwords) == ["anna", "ben"]
    assert read_demo_people(Shop()) == passwords
    path = home / "demo-people.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    people = open_people(Shop())
    assert people.has_password("anna", passwords["anna"])
    assert [grant.role for person in people.list_people() for grant in person.grants] == [
        "analyst",
        "approver",
    ]
    people.reset("ben", PASSWORD)
    assert read_demo_people(Shop()) == {"anna": passwords["anna"], "ben": None}


def test_the_secret_of_the_openid_client_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWRIGHT_OPENID_ISSUER", "https://login.example.com")
    with pytest.raises(BadInput, match="SHOPWRIGHT_PUBLIC_URL"):
        Shop()
    monkeypatch.setenv("SHOPWRIGHT_PUBLIC_URL", "https://prices.example.com")
    monkeypatch.setenv("SHOPWRIGHT_OPENID_CLIENT_ID", "shopwright")
    monkeypatch.setenv("SHOPWRIGHT_OPENID_CLIENT_SECRET", "hush-hush")
    output = RUN.invoke(app, ["doctor", "--json"]).stdout + RUN.invoke(app, ["doctor"]).stdout
    assert "hush-hush" not in output
    assert "**********" in output
