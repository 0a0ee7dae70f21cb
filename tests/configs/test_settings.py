"""Settings are names and values that Shopwright knows; others are refused with the nearest right
one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.settings import Settings
from features.contracts.errors import BadInput, Damaged
from serving.cli.shop import Shop


@pytest.mark.parametrize(
    ("variable", "value", "meant"),
    [
        ("SHOPWRIGHT_CURRENCY", "Euro", "Did you mean 'EUR'?"),
        ("SHOPWRIGHT_CURRENCY", "Yen", "Did you mean 'JPY'?"),
        ("SHOPWRIGHT_CURRENCY", "usd", "Did you mean 'USD'?"),
        ("SHOPWRIGHT_CURRENCY", "XYZ", "'XYZ' is no currency"),
        ("SHOPWRIGHT_ZONES", '{"north": {"currency": "Eur"}}', "north: currency"),
        ("SHOPWRIGHT_ZONES", '{"north": {"taxrate": 0.2}}', "Did you mean 'tax_rate'?"),
        ("SHOPWRIGHT_ZONES", '{"north": {"Currency": "EUR"}}', "Did you mean 'currency'?"),
        ("SHOPWRIGHT_CURENCY", "EUR", "Did you mean SHOPWRIGHT_CURRENCY?"),
        ("SHOPWRIGHT_TIME_ZONE", "Europe/Berlin", "Did you mean SHOPWRIGHT_TIMEZONE?"),
        ("SHOPWRIGHT_ZONES", '{"default": {"currency": "JPY"}}', "Set SHOPWRIGHT_CURRENCY=JPY"),
        ("SHOPWRIGHT_SERVES", "prices,forecast", "Did you mean 'forecasts'?"),
    ],
)
def test_a_name_that_nobody_knows_is_refused_with_the_nearest_right_one(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, meant: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadInput) as caught:
        Shop()
    assert meant in str(caught.value)


def test_a_variable_of_something_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWRIGHT_PORT_8000_TCP", "tcp://10.0.0.1:8000")  # a pod of Kubernetes
    monkeypatch.setenv("SHOPWRIGHT_SERVICE_HOST", "10.0.0.1")
    assert Settings().currency == "USD"


def test_a_zone_that_names_no_currency_has_that_of_the_shop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", "EUR")
    monkeypatch.setenv(
        "SHOPWRIGHT_ZONES", '{"north": {"tax_rate": 0.2}, "swiss": {"currency": "CHF"}}'
    )
    settings = Settings()
    currencies = {zone: settings.zone(zone).currency for zone in ("north", "swiss", "default", "x")}
    assert currencies == {"north": "EUR", "swiss": "CHF", "default": "EUR", "x": "EUR"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("prices", ("prices",)),
        ("recommendations, forecasts", ("recommendations", "forecasts")),
        ('["prices", "forecasts"]', ("prices", "forecasts")),
        ("", ()),
    ],
)
def test_the_parts_to_serve_are_a_list(
    monkeypatch: pytest.MonkeyPatch, text: str, parts: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SHOPWRIGHT_SERVES", text)
    assert Settings().serves == parts
    # As the trial of a model gets them.
    assert Settings.model_validate_json(Settings().model_dump_json()).serves == parts


@pytest.mark.parametrize("text", ["", "{", "[]", "\0\0\0"])
@pytest.mark.parametrize("name", ["shop.json", "clock.json"])
def test_a_damaged_file_of_settings_is_named(tmp_path: Path, name: str, text: str) -> None:
    Settings(home=tmp_path).remember(timezone="Europe/Berlin", clock_start="2018-01-01T05:00:00Z")
    Settings(home=tmp_path).business_clock()
    assert Settings(home=tmp_path).timezone == "Europe/Berlin"
    (tmp_path / name).write_text(text)
    with pytest.raises(
        Damaged, match=rf"{name}\). Restore it from a backup; or delete it, and set"
    ):
        Settings(home=tmp_path).business_clock()


@pytest.mark.parametrize("anchored_at", [None, "soon", 3])
def test_a_clock_without_its_time_is_named(tmp_path: Path, anchored_at: object) -> None:
    settings = Settings(home=tmp_path, clock_start=datetime(2018, 1, 1, 5, tzinfo=UTC))
    settings.business_clock()
    stored = json.loads((tmp_path / "clock.json").read_text())
    (tmp_path / "clock.json").write_text(json.dumps(stored | {"anchored_at": anchored_at}))
    with pytest.raises(Damaged, match=r"no time in anchored_at \(in .*clock\.json\)"):
        settings.business_clock()
