"""The data of `shopwright evaluate`: the state folder, or a temporary one for other tables."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
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
class EvaluationData:
    """The data to evaluate on. Without a registry no tracking run is written.

    now   the present of the shop; None: it ends with the data
    """

    facts: Facts
    settings: Settings
    registry: Registry | None
    now: datetime | None = None


@contextmanager
def open_data(
    folder: Path | None, format_: str | None, say: Callable[[str], None]
) -> Iterator[EvaluationData]:
    """Yield the shop's own data; with a folder or a format, those tables in a temporary folder.

    Then only the environment of the shop is used: none of its tables, no database and no tracking
    run is read or written.
    """
    shop = Shop()
    if folder is None and format_ is None:
        yield EvaluationData(shop.facts, shop.settings, shop.registry, shop.now())
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
        yield _import_data(Path(home), folder, say)


def _import_data(home: Path, folder: Path | None, say: Callable[[str], None]) -> EvaluationData:
    from features.facts.facts import Facts
    from features.sources.complete_journey import (
        COUNTRY,
        CURRENCY,
        TIMEZONE,
        import_complete_journey,
    )
    from features.sources.folder import import_folder

    # These values come before the environment: the events of the shop's own database are not part
    # of this data.
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
    _report_rows(report, say)
    return EvaluationData(facts, settings, None)


def _report_rows(report: ImportReport, say: Callable[[str], None]) -> None:
    for name, table in report.tables.items():
        bad_rows = f", {table.n_bad:,} bad ones left out" if table.n_bad else ""
        say(f"{name}: {table.written.new:,} rows{bad_rows}")
