"""Where `shopwright evaluate` takes its data from: the state folder, or one that lives as long as
the command."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from configs.settings import Settings
from features.contracts.errors import BadInput, TooManyBadRows
from models.registry import Registry
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from features.facts.facts import Facts
    from features.sources.report import ImportReport

CANONICAL, COMPLETE_JOURNEY = "canonical", "complete-journey"
FORMATS = (CANONICAL, COMPLETE_JOURNEY)


@dataclass(frozen=True)
class EvaluatedData:
    """What is evaluated on. Without a registry the tracking run is left out."""

    facts: Facts
    settings: Settings
    registry: Registry | None


@contextmanager
def opened_data(
    folder: Path | None, format_: str | None, say: Callable[[str], None]
) -> Iterator[EvaluatedData]:
    """The shop's own data; or with a folder or a format, those tables in a temporary state folder.

    Of the shop only the environment counts then: no table, no database, no tracking run is read or
    written.
    """
    shop = Shop()
    if folder is None and format_ is None:
        yield EvaluatedData(shop.facts, shop.settings, shop.registry)
        return
    chosen = format_ or CANONICAL
    if chosen not in FORMATS:
        raise BadInput(
            f"no format {chosen!r}", where="--format", hint=f"One of: {', '.join(FORMATS)}"
        )
    if chosen == CANONICAL and folder is None:
        raise BadInput(
            "the canonical format needs a folder",
            hint="Try: --data FOLDER, of events.csv and items.csv",
        )
    if chosen == COMPLETE_JOURNEY and folder is not None:
        raise BadInput(
            "the Complete Journey comes with its package", where="--data", hint="Leave --data out"
        )
    with tempfile.TemporaryDirectory(prefix="shopwright-") as home:
        yield _imported(Path(home), folder, say)


def _imported(home: Path, folder: Path | None, say: Callable[[str], None]) -> EvaluatedData:
    from features.facts.facts import Facts
    from features.sources.complete_journey import (
        COUNTRY,
        CURRENCY,
        TIMEZONE,
        import_complete_journey,
    )
    from features.sources.folder import import_folder

    # Given values win over the environment: the events of the shop's own database are not part of
    # this data.
    if folder is None:
        settings = Settings(
            home=home, database_url=None, timezone=TIMEZONE, currency=CURRENCY, country=COUNTRY
        )
        facts = Facts(settings)
        report = import_complete_journey(facts, settings, progress=say)
    else:
        settings = Settings(home=home, database_url=None)
        facts = Facts(settings)
        try:
            report = import_folder(
                folder, facts, settings, now=settings.business_clock().now(), progress=say
            )
        except TooManyBadRows as error:
            hint = f"Bad rows and their reasons: shopwright import {folder}"
            raise TooManyBadRows(error.what, where=str(folder), hint=hint) from error
    _say_what_was_read(report, say)
    return EvaluatedData(facts, settings, None)


def _say_what_was_read(report: ImportReport, say: Callable[[str], None]) -> None:
    for name, table in report.tables.items():
        left_out = f", {table.n_bad:,} bad ones left out" if table.n_bad else ""
        say(f"{name}: {table.written.new:,} rows{left_out}")
