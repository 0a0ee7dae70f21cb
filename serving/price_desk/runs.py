"""The runs of `prices suggest`, what each decided about its items, and why a price was kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import BadInput, NotFound
from features.contracts.money import to_major
from features.database import reading
from features.prices.currencies import refuse_unknown_zone
from features.prices.ledger import Ledger
from serving.price_desk.run_outcomes import (
    KEPT_ITEM_RUNS,
    PricingRun,
    PricingRuns,
    RunDifference,
    RunItem,
    RunItemFilter,
)
from serving.spreadsheets import Cell, Sheet, SheetFormat, write_sheet

_COLUMNS = (
    "item_id",
    "title",
    "category",
    "zone",
    "currency",
    "outcome",
    "reason",
    "current_price",
    "suggested_price",
)
_PAGE = 5_000


@dataclass(frozen=True)
class ItemOutcomes:
    """What the kept runs decided about an item, newest first.

    absent   by zone, why the newest run there did not look at the item
    """

    item_id: str
    outcomes: Sequence[tuple[PricingRun, RunItem]]
    absent: Mapping[str, str]


@dataclass(frozen=True)
class RunComparison:
    """Two runs of a zone, and the items whose prices differ most between them.

    shared        items that both looked at; None where the items of one are not kept any more
    n_different   of them, those that end at another price
    largest       a page of these, the largest relative difference first
    """

    first: PricingRun
    second: PricingRun
    shared: int | None = None
    n_different: int = 0
    largest: Sequence[RunDifference] = ()

    @property
    def kept_change(self) -> dict[str, int]:
        """By reason, of how many more items (or fewer, below 0) the second run keeps the price;
        the largest change first."""
        first, second = self.first.kept, self.second.kept
        changes = {
            reason: second.get(reason, 0) - first.get(reason, 0) for reason in {*first, *second}
        }
        ordered = sorted(changes.items(), key=lambda entry: (-abs(entry[1]), entry[0]))
        return {reason: change for reason, change in ordered if change}


@dataclass(frozen=True)
class PricingRunService:
    """Reads runs."""

    settings: Settings
    engine: sa.Engine

    def list_runs(self, zone: str | None, *, before: int | None, limit: int) -> list[PricingRun]:
        """Return runs before number `before`, newest first.

        Raises UnknownName for a zone that nobody knows.
        """
        with reading(self.engine) as connection:
            if zone is not None:
                refuse_unknown_zone(self.settings, connection, zone)
            return PricingRuns(connection).page(zone, before=before, limit=limit)

    def read_run(self, run_id: str) -> PricingRun:
        """Return one run. Raises NotFound."""
        with reading(self.engine) as connection:
            return _require_run(PricingRuns(connection), run_id)

    def compare_runs(
        self, first_id: str, second_id: str, limit: int, *, skip: int = 0
    ) -> RunComparison:
        """Return two runs, and the items whose prices differ most between them, at most `limit`
        after the first `skip`.

        Raises NotFound, and BadInput for the same run twice or runs of different zones.
        """
        with reading(self.engine) as connection:
            runs = PricingRuns(connection)
            first, second = (_require_run(runs, run_id) for run_id in (first_id, second_id))
            if first.id == second.id:
                raise BadInput("a run is compared with another one", where="runs")
            if first.zone != second.zone:
                raise BadInput(
                    f"{first.id} is of zone {first.zone}, {second.id} of {second.zone}",
                    where="runs",
                    hint="Choose two runs of one zone",
                )
            if not (runs.has_items(first.id) and runs.has_items(second.id)):
                return RunComparison(first, second)
            return RunComparison(
                first,
                second,
                shared=runs.count_shared(first.id, second.id),
                n_different=runs.count_differences(first.id, second.id),
                largest=runs.list_differences(first.id, second.id, limit, skip=skip),
            )

    def list_items(
        self, run_id: str, criteria: RunItemFilter, *, after: str, limit: int
    ) -> tuple[PricingRun, list[RunItem]]:
        """Return a run and those of its items that match, whose ids follow `after`.

        Raises NotFound, also for a run whose items are not kept any more.
        """
        with reading(self.engine) as connection:
            runs = PricingRuns(connection)
            run = _require_items(runs, run_id)
            return run, runs.items(run_id, criteria, after=after, limit=limit)

    def write_items(
        self, run_id: str, criteria: RunItemFilter, path: Path, sheet_format: SheetFormat
    ) -> int:
        """Write the items of a run that match to a file, and return how many. Raises NotFound."""
        with reading(self.engine) as connection:
            runs = PricingRuns(connection)
            run = _require_items(runs, run_id)
            rows = _tabulate(run, _iterate_items(runs, run_id, criteria))
            return write_sheet(Sheet(_COLUMNS, rows), path, sheet_format)

    def explain_item(self, item_id: str, zone: str | None = None) -> ItemOutcomes:
        """Return what the kept runs decided about an item, in one zone or in all.

        Raises UnknownName for a zone that nobody knows, NotFound where no run or no price of the
        item is known.
        """
        with reading(self.engine) as connection:
            if zone is not None:
                refuse_unknown_zone(self.settings, connection, zone)
            runs = PricingRuns(connection)
            newest = [run for run in runs.newest() if zone in (None, run.zone)]
            outcomes = runs.of_item(item_id, zone)
            ledger = Ledger(connection)
            is_priced = any(ledger.read_histories([item_id], run.zone) for run in newest)
        if not newest or not (outcomes or is_priced):
            known = "no price is known" if newest else "no run is known, none"
            raise NotFound(f"{known} of item {item_id!r}", hint="Run: shopwright prices suggest")
        answered = {run.id for run, _ in outcomes}
        absent = {
            run.zone: f"no forecast of it was known to {run.id}, so its price was kept"
            for run in newest
            if run.id not in answered
        }
        return ItemOutcomes(item_id, outcomes, absent)


def _require_run(runs: PricingRuns, run_id: str) -> PricingRun:
    run = runs.get(run_id)
    if run is None:
        raise NotFound(f"no run {run_id!r}", hint="See: GET /v1/pricing-runs")
    return run


def _require_items(runs: PricingRuns, run_id: str) -> PricingRun:
    run = _require_run(runs, run_id)
    if run.totals.get("n_forecast") and not runs.has_items(run_id):
        raise NotFound(
            f"the items of {run_id!r} are not kept any more",
            hint=f"Those of the {KEPT_ITEM_RUNS} newest runs of a zone are; the totals stay",
        )
    return run


def _iterate_items(runs: PricingRuns, run_id: str, criteria: RunItemFilter) -> Iterator[RunItem]:
    after = ""
    while page := runs.items(run_id, criteria, after=after, limit=_PAGE):
        yield from page
        after = page[-1].item_id


def _tabulate(run: PricingRun, items: Iterator[RunItem]) -> Iterator[list[Cell]]:
    def money(minor: int | None) -> Decimal | None:
        return None if minor is None else Decimal(to_major(minor, run.currency))

    for item in items:
        yield [
            item.item_id,
            item.title,
            item.category,
            run.zone,
            run.currency,
            item.outcome,
            item.reason,
            money(item.current_price_minor),
            money(item.suggested_price_minor),
        ]
