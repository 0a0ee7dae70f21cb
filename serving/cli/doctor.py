"""`shopwright doctor`: every setting, where it lies, and whether what the shop needs answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import typer

from configs.settings import Settings
from features.contracts.errors import ShopwrightError
from models.registry import NAMES
from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop


def doctor(json: JsonOption = False) -> None:
    """List every setting with its value, and check database, data, models and cache."""
    shop = Shop()
    settings = [_setting(shop.settings, name) for name in Settings.model_fields]
    checks = [_check(name, run) for name, run in _checks(shop).items()]
    healthy = all(check["ok"] for check in checks)
    if json:
        print_json({"settings": settings, "checks": checks, "healthy": healthy})
    else:
        rows = [
            (each["name"], str(each["value"]), each["from"], each["description"])
            for each in settings
        ]
        print_table("Settings", ("name", "value", "from", "meaning"), rows)
        print_line()
        print_table(
            "Checks",
            ("check", "", ""),
            [(c["check"], "ok" if c["ok"] else "FAILED", c["says"]) for c in checks],
        )
    if not healthy:
        raise typer.Exit(1)


def _setting(settings: Settings, name: str) -> dict[str, Any]:
    variable = f"SHOPWRIGHT_{name.upper()}"
    field = Settings.model_fields[name]
    value = getattr(settings, name)
    if variable in os.environ:
        source = "environment"
    else:
        source = (
            "default" if value == field.get_default(call_default_factory=True) else "state folder"
        )
    shown = _without_password(value) if name.endswith("_url") else value
    return {"name": variable, "value": shown, "from": source, "description": field.description}


def _without_password(url: str | None) -> str | None:
    if url is None or "@" not in url:
        return url
    scheme, _, rest = url.partition("://")
    credentials, _, host = rest.rpartition("@")
    return f"{scheme}://{credentials.partition(':')[0]}:***@{host}"


def _checks(shop: Shop) -> dict[str, Callable[[], str]]:
    return {
        "state folder": lambda: _writable(shop),
        "database": lambda: _database(shop),
        "tables": lambda: _tables(shop),
        "features": lambda: _features(shop),
        **{f"champion of {name}": (lambda name=name: _champion(shop, name)) for name in NAMES},
        **({"redis": lambda: _redis(shop)} if shop.settings.redis_url else {}),
    }


def _check(name: str, run: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"check": name, "ok": True, "says": run()}
    except ShopwrightError as error:
        return {"check": name, "ok": False, "says": str(error)}
    except Exception as error:  # whatever a driver raises is the finding
        return {"check": name, "ok": False, "says": f"{type(error).__name__}: {error}"}


def _writable(shop: Shop) -> str:
    home = shop.settings.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    probe = home / ".doctor"
    probe.write_text("")
    probe.unlink()
    return str(home)


def _database(shop: Shop) -> str:
    from sqlalchemy import text

    with shop.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return f"{shop.engine.dialect.name}, migrated"


def _tables(shop: Shop) -> str:
    latest = shop.facts.latest_event_at()
    if latest is None:
        raise ShopwrightError("no events yet", hint="Try: shopwright import --demo-data")
    return f"latest event {latest.isoformat()}"


def _features(shop: Shop) -> str:
    from features.online.materialize import load_items

    items = load_items(shop.settings)
    return f"{len(items.item_ids):,} items as of {items.as_of.isoformat()}"


def _champion(shop: Shop, name: str) -> str:
    champion = shop.registry.champion(name)
    if champion is None:
        raise ShopwrightError("none yet", hint=f"Try: shopwright train {name}")
    shop.registry.fetch(champion)
    return f"version {champion.version}"


def _redis(shop: Shop) -> str:
    import redis

    client = redis.Redis.from_url(shop.settings.redis_url or "", socket_timeout=2)
    client.ping()
    return "answers"
