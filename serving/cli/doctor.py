"""`shopwright doctor`: every setting and its source, and checks of what the shop needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import typer

from configs.settings import Settings, list_unknown_variables
from features.contracts.errors import ShopwrightError
from features.contracts.files import check_sqlite
from features.contracts.manifest import check_tables
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
        rows = [tuple(map(_show_value, setting.values())) for setting in settings]
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


def _show_value(value: object) -> str:
    """Return a value as a variable of the environment would hold it; a dash where it is unset."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return "-" if value in (None, "", {}) else str(value)


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
        "environment": lambda: _check_environment(),
        "currencies": lambda: _check_currencies(shop),
        "price law": lambda: _describe_laws(shop),
        "price lists": lambda: _describe_price_lists(shop),
        "price desk": lambda: _check_desk(shop),
        "erased people": lambda: _check_erased(shop),
        "tables": lambda: _check_tables(shop),
        "features": lambda: _check_features(shop),
        "model registry": lambda: _check_registry(shop),
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
    if others := home.stat().st_mode & 0o077:
        raise ShopwrightError(
            f"other users of this machine may open it (mode {others:03o} for them)",
            where=str(home),
            hint=f"Try: chmod 700 {home}",
        )
    shop.settings.business_clock()  # reads its file
    return str(home)


def _check_database(shop: Shop) -> str:
    from sqlalchemy import text

    from features.database import RESTORE_DATABASE

    if shop.settings.database_url is None:
        check_sqlite(shop.settings.home.absolute() / "shopwright.db", hint=RESTORE_DATABASE)
    with shop.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return f"{shop.engine.dialect.name}, migrated"


def _check_environment() -> str:
    unknown = list_unknown_variables()
    return f"no settings, and without effect: {', '.join(unknown)}" if unknown else "all are known"


def _check_currencies(shop: Shop) -> str:
    kept = shop.check_currencies()
    if not kept:
        return f"no amounts yet; the shop's currency is {shop.settings.currency}"
    return ", ".join(f"{zone}: {currency}" for zone, currency in sorted(kept.items()))


def _describe_laws(shop: Shop) -> str:
    """Return the price law of each zone with its options; `default` is every zone not named."""
    zones = dict.fromkeys([DEFAULT_ZONE, *shop.settings.zones])
    return "; ".join(f"{zone}: {shop.settings.zone(zone).describe_law()}" for zone in zones)


def _describe_price_lists(shop: Shop) -> str:
    """Return how many items are sold at the last list price of a list that has ended."""
    from features.database import reading
    from features.prices.ledger import Ledger

    with reading(shop.engine) as connection:
        ledger = Ledger(connection)
        ended = {zone: ledger.list_expired(zone, shop.now()) for zone in ledger.list_zones()}
    texts = [
        f"{zone}: {len(items):,} items go on at their last list price, since "
        f"{max(items.values()).isoformat()}"
        for zone, items in ended.items()
        if items
    ]
    return "; ".join(texts) or "no list has ended"


def _check_desk(shop: Shop) -> str:
    """Return that approved prices become valid. Raises where somebody stopped them."""
    from features.database import reading
    from serving.database.activation_stops import find_stop
    from serving.price_desk.ticker import describe_stop

    with reading(shop.engine) as connection:
        stop = find_stop(connection)
    if stop is not None:
        raise ShopwrightError(describe_stop(stop))
    return "approved prices become valid"


def _check_erased(shop: Shop) -> str:
    """Return that erased people are recognised. Raises where an erasure did not end."""
    from features.database import reading
    from features.facts.erased_ids import IdDigests, count_erasures

    with reading(shop.engine) as connection:
        IdDigests(shop.settings).check(connection)
        n_finished, n_unfinished = count_erasures(connection)
    if n_unfinished:
        raise ShopwrightError(
            f"{n_unfinished:,} erasures did not end",
            hint="Send them again: shopwright privacy erase USER",
        )
    return f"{n_finished:,} are kept out"


def _check_tables(shop: Shop) -> str:
    check_tables(shop.settings.home / "tables")
    latest = shop.facts.latest_event_at()
    if latest is None:
        raise ShopwrightError("no events yet", hint="Try: shopwright import --demo-data")
    return f"latest event {latest.isoformat()}"


def _check_features(shop: Shop) -> str:
    from features.online.snapshots import check_features, load_items

    if check_features(shop.settings) is None and not shop.facts.is_empty("events"):
        return "none yet; `shopwright serve` makes them"
    items = load_items(shop.settings)
    return f"{len(items.item_ids):,} items as of {items.as_of.isoformat()}"


def _check_registry(shop: Shop) -> str:
    url, local = shop.registry.url, shop.settings.mlflow_url
    if url != local:
        return "MLFLOW_TRACKING_URI"
    hint = "Restore it from a backup; or delete it, and train again"
    check_sqlite(shop.settings.home.absolute() / "mlflow.db", hint=hint)
    return "mlflow.db"


def _check_champion(shop: Shop, name: str) -> str:
    from models.digests import read_digest
    from serving.models.served_versions import ServedVersions
    from serving.models.trial import try_version

    champion = shop.registry.find_champion(name)
    if champion is None:
        if served := ServedVersions(shop.settings.home).read(name):
            raise ShopwrightError(
                f"none, although version {served[0].version.version} has served here",
                where=shop.registry.url,
                hint="If that is not the registry of this shop, restore mlflow.db from a backup",
            )
        raise ShopwrightError("none yet", hint=f"Try: shopwright train {name}")
    folder = shop.registry.fetch_files(champion)
    if read_digest(folder) is None:  # of an earlier release: only a trial tells
        try_version(shop.settings, name, folder)
    return f"version {champion.version}"


def _check_redis(shop: Shop) -> str:
    import redis

    client = redis.Redis.from_url(shop.settings.redis_url or "", socket_timeout=2)
    client.ping()
    return "answers"
