"""The currency of each zone, kept with the data whose amounts were converted by it.

Amounts are stored in minor units, so they mean another amount under another currency. The manifest
of the imported tables and the database name the currency of every zone they hold amounts of, and
its digits; settings that say another one are refused, at every door. The same holds for zones that
nobody knew: their rows became rows of the default zone, with its digits (and the ids of events that
bring none are made of amounts), so that they may become known with that currency only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import BadInput, UnknownName
from features.contracts.manifest import CURRENCIES, UNKNOWN_ZONES, read_manifest
from features.contracts.money import minor_digits
from features.contracts.tables import DEFAULT_ZONE
from features.database import insert_new
from features.database_tables import unknown_zones, zone_currencies


@dataclass(frozen=True)
class KeptCurrency:
    """A currency, and the digits after the point with which its amounts were converted."""

    currency: str
    digits: int

    @classmethod
    def of(cls, currency: str) -> KeptCurrency:
        """Return the currency with its digits of today."""
        return cls(currency, minor_digits(currency))

    def __str__(self) -> str:
        return f"{self.currency} ({self.digits} digits)"


Currencies = Mapping[str, KeptCurrency]  # by zone


def find_currencies(settings: Settings, zones: Iterable[str]) -> dict[str, KeptCurrency]:
    """Return the currencies of zones as the settings say."""
    return {zone: KeptCurrency.of(settings.zone(zone).currency) for zone in zones}


def read_manifest_currencies(settings: Settings) -> dict[str, KeptCurrency]:
    """Return the currencies of the imported tables; empty before the first import."""
    stored = read_manifest(settings.home / "tables")
    return {zone: KeptCurrency(*kept) for zone, kept in stored.get(CURRENCIES, {}).items()}


def read_unknown_zones(settings: Settings) -> dict[str, KeptCurrency]:
    """Return the unknown zones whose rows became imported rows of the default zone, with the
    currency under which they were read."""
    stored = read_manifest(settings.home / "tables")
    return {zone: KeptCurrency(*kept) for zone, kept in stored.get(UNKNOWN_ZONES, {}).items()}


def read_database_currencies(connection: sa.Connection) -> dict[str, KeptCurrency]:
    """Return the currencies of the ledger and of the events that came over HTTP."""
    rows = connection.execute(sa.select(zone_currencies))
    return {row.zone: KeptCurrency(row.currency, row.digits) for row in rows}


def keep_currencies(connection: sa.Connection, currencies: Currencies) -> None:
    """Store the currencies of zones that get their first amounts.

    Raises BadInput where a zone is kept in another one.
    """
    kept = read_database_currencies(connection)
    refuse_other_currencies(kept, currencies)
    rows = [
        {"zone": zone, "currency": new.currency, "digits": new.digits}
        for zone, new in currencies.items()
        if zone not in kept
    ]
    insert_new(connection, zone_currencies, "zone", rows)


def keep_unknown_zones(connection: sa.Connection, currencies: Currencies) -> None:
    """Store under which currency events of unknown zones become events of the default zone."""
    rows = [
        {"zone": zone, "currency": kept.currency, "digits": kept.digits}
        for zone, kept in sorted(currencies.items())
    ]
    insert_new(connection, unknown_zones, "zone", rows)


def _refuse_changed_zones(settings: Settings, connection: sa.Connection) -> None:
    """Raise BadInput where a zone has another currency than its rows were read under, imported or
    received, when nobody knew it.

    A zone that is still unknown has the currency of the default zone.
    """
    rows = connection.execute(sa.select(unknown_zones))
    received = {row.zone: KeptCurrency(row.currency, row.digits) for row in rows}
    for read_as in (read_unknown_zones(settings), received):
        given = find_currencies(settings, read_as)
        for zone in sorted(read_as):
            if read_as[zone] != given[zone]:
                raise _describe_changed_zone(zone, read_as[zone], given[zone])


def _describe_changed_zone(zone: str, before: KeptCurrency, given: KeptCurrency) -> BadInput:
    return BadInput(
        f"rows of zone {zone!r} are kept as rows of the zone {DEFAULT_ZONE!r} in {before}, from "
        f"when nobody knew this zone; the settings say {given} for it, and the same rows would "
        "count twice",
        where="SHOPWRIGHT_CURRENCY, SHOPWRIGHT_ZONES",
        hint=f"Set {before.currency} for this zone. If its currency is {given.currency}, name it "
        "in SHOPWRIGHT_ZONES and import all files into a new SHOPWRIGHT_HOME with a new database",
    )


def check_currencies(settings: Settings, connection: sa.Connection) -> dict[str, KeptCurrency]:
    """Return the currencies kept in the tables and the database.

    Raises BadInput where the settings say another one, also for a zone that nobody knew once.
    """
    kept = read_manifest_currencies(settings) | read_database_currencies(connection)
    for stored in (read_manifest_currencies(settings), kept):
        refuse_other_currencies(stored, find_currencies(settings, stored))
    _refuse_changed_zones(settings, connection)
    return kept


def find_unknown_zone(
    settings: Settings, connection: sa.Connection, zone: str
) -> UnknownName | None:
    """Return the error for a zone that neither the settings nor the data know, else None."""
    known = {DEFAULT_ZONE, *settings.zones, *read_database_currencies(connection)}
    return None if zone in known else UnknownName(zone, known, kind="zone")


def refuse_unknown_zone(settings: Settings, connection: sa.Connection, zone: str) -> None:
    """Raise UnknownName for a zone that neither the settings nor the data know."""
    error = find_unknown_zone(settings, connection, zone)
    if error is not None:
        raise error


def refuse_other_currencies(kept: Currencies, given: Currencies) -> None:
    """Raise BadInput for a zone whose given currency is not the kept one."""
    for zone in sorted(kept.keys() & given.keys()):
        if kept[zone] != given[zone]:
            raise BadInput(
                f"the amounts of zone {zone!r} are kept in {kept[zone]}, the settings say "
                f"{given[zone]}",
                where="SHOPWRIGHT_CURRENCY, SHOPWRIGHT_ZONES",
                hint=f"Set {kept[zone].currency} for this zone again. If that was wrong from the "
                "beginning, import all files into a new SHOPWRIGHT_HOME with a new database",
            )
