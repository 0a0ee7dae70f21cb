"""`shopwright doctor`: every setting and its source, and checks of what the shop needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import typer

from configs.settings import Settings
from features.contracts.errors import ShopwrightError
from features.contracts.tables import DEFAULT_ZONE
from models.registry import NAMES
from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop


@dataclass(frozen=True)
class _Check:
    """The result of one check; `says` is what was found, or the error."""

    check: str
    ok: bool
    says: str


def doctor(json: JsonOption = False) -> None:
    """List every setting with its value, and check database, data, models and cache."""
    shop = Shop()
    settings = [_describe_setting(shop.settings, name) for name in Settings.model_fields]
    checks = [_run_check(name, check) for name, check in _list_checks(shop).items()]
    healthy = all(check.ok for check in checks)
    if json:
        results = [vars(check) for check in checks]
        print_json({"settings": settings, "checks": results, "healthy": healthy})
    else:
        rows = [tuple(map(str, setting.values())) for setting in settings]
        print_table("Settings", ("name", "value", "from", "meaning"), rows)
        print_line()
        rows = [(check.check, "ok" if check.ok else "FAILED", check.says) for check in checks]
        print_table("Checks", ("check", "", ""), rows)
    if not healthy:
        raise typer.Exit(1)


def _describe_setting(settings: Settings, name: str) -> dict[str, object]:
    """Return name, value, from and description of a setting."""
    variable = f"SHOPWRIGHT_{name.upper()}"
    field = Settings.model_fields[name]
    value = getattr(settings, name)
    if variable in os.environ:
        source = "environment"
    elif value == field.get_default(call_default_factory=True):
        source = "default"
    else:
        source = "state folder"
    shown = _hide_password(value) if name.endswith("_url") else value
    return {"name": variable, "value": shown, "from": source, "description": field.description}


def _hide_password(url: str | None) -> str | None:
    if url is None or "@" not in url:
        return url
    scheme, _, rest = url.partition("://")
    credentials, _, host = rest.rpartition("@")
    return f"{scheme}://{credentials.partition(':')[0]}:***@{host}"


def _list_checks(shop: Shop) -> dict[str, Callable[[], str]]:
    return {
        "state folder": lambda: _check_folder(shop),
        "database": lambda: _check_database(shop),
        "price law": lambda: _describe_laws(shop),
        "tables": lambda: _check_tables(shop),
        "features": lambda: _check_features(shop),
        **{
            f"champion of {name}": (lambda name=name: _check_champion(shop, name)) for name in NAMES
        },
        **({"redis": lambda: _check_redis(shop)} if shop.settings.redis_url else {}),
    }


def _run_check(name: str, check: Callable[[], str]) -> _Check:
    try:
        return _Check(name, True, check())
    except ShopwrightError as error:
        return _Check(name, False, str(error))
    except Exception as error:  # whatever a driver raises is the result of the check
        return _Check(name, False, f"{type(error).__name__}: {error}")


def _check_folder(shop: Shop) -> str:
    home = shop.settings.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    probe = home / ".doctor"
    probe.write_text("")
    probe.unlink()
    return str(home)


def _check_database(shop: Shop) -> str:
    from sqlalchemy import text

    with shop.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return f"{shop.engine.dialect.name}, migrated"


def _describe_laws(shop: Shop) -> str:
    """Return the price law of each zone with its options; `default` is every zone not named."""
    zones = dict.fromkeys([DEFAULT_ZONE, *shop.settings.zones])
    return "; ".join(f"{zone}: {shop.settings.zone(zone).describe_law()}" for zone in zones)


def _check_tables(shop: Shop) -> str:
    latest = shop.facts.latest_event_at()
    if latest is None:
        raise ShopwrightError("no events yet", hint="Try: shopwright import --demo-data")
    return f"latest event {latest.isoformat()}"


def _check_features(shop: Shop) -> str:
    from features.online.materialize import load_items

    items = load_items(shop.settings)
    return f"{len(items.item_ids):,} items as of {items.as_of.isoformat()}"


def _check_champion(shop: Shop, name: str) -> str:
    champion = shop.registry.find_champion(name)
    if champion is None:
        raise ShopwrightError("none yet", hint=f"Try: shopwright train {name}")
    shop.registry.fetch_files(champion)
    return f"version {champion.version}"


def _check_redis(shop: Shop) -> str:
    import redis

    client = redis.Redis.from_url(shop.settings.redis_url or "", socket_timeout=2)
    client.ping()
    return "answers"
