"""Publishes the imported tables, with the currency of every zone that has amounts.

Rows of zones that nobody knows may become rows of the zone default, by setting: the manifest keeps
under which currency they were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.manifest import CURRENCIES, UNKNOWN_ZONES, is_whole, write_manifest
from features.contracts.tables import DEFAULT_ZONE, TableSchema, find_schema
from features.prices.currencies import (
    Currencies,
    find_currencies,
    read_manifest_currencies,
    read_unknown_zones,
    refuse_other_currencies,
)


@dataclass(frozen=True)
class GivenZones:
    """The zones of rows that are written.

    with_amounts   those of rows of tables with money, as they are stored
    unknown        those that nobody knows, whose rows with amounts became rows of the default zone
    """

    with_amounts: frozenset[str]
    unknown: frozenset[str] = frozenset()

    @classmethod
    def of(cls, tables: Mapping[str, pa.Table], unknown: Iterable[str] = ()) -> Self:
        """Return the zones of the rows of these tables."""
        named = [list_zones_with_amounts(find_schema(name), rows) for name, rows in tables.items()]
        return cls(frozenset[str]().union(*named), frozenset(unknown))


def list_zones_with_amounts(schema: TableSchema, rows: pa.Table) -> frozenset[str]:
    """Return the zones of rows of a table with money; rows without a zone count as default."""
    if not schema.has_money or not rows.num_rows:
        return frozenset()
    in_zones = "zone" in rows.column_names
    named = pc.unique(rows["zone"]).to_pylist() if in_zones else [None]
    return frozenset(zone or DEFAULT_ZONE for zone in named)


def publish_tables(
    settings: Settings, manifest: Mapping[str, list[str]], zones: GivenZones, *, changed: bool
) -> None:
    """Write the manifest with the currencies of all zones that have amounts.

    Without a change nothing is written but the currencies that are not kept yet.
    """
    folder = settings.home / "tables"
    kept = read_manifest_currencies(settings)
    given = find_currencies(settings, zones.with_amounts)
    refuse_other_currencies(kept, given)
    known_before = read_unknown_zones(settings)
    unknown = {**find_currencies(settings, zones.unknown), **known_before}
    is_kept = given.keys() <= kept.keys() and len(unknown) == len(known_before)
    if not changed and is_kept and is_whole(folder):
        return
    named = {CURRENCIES: _name_currencies({**given, **kept})}
    if unknown:
        named[UNKNOWN_ZONES] = _name_currencies(unknown)
    write_manifest(folder, {**manifest, **named})


def _name_currencies(currencies: Currencies) -> dict[str, tuple[str, int]]:
    """Return the currencies by zone as the manifest holds them."""
    return {zone: (kept.currency, kept.digits) for zone, kept in sorted(currencies.items())}
