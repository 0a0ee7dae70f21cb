"""`shopwright prices runs|why|compare`: runs of suggestions, and why an item keeps its price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.price_desk.run_documents import RunDifferenceResponse, RunItemResponse
    from serving.price_desk.runs import PricingRunService

ZoneOption = Annotated[str | None, typer.Option(help="One zone; all if unset")]
_RUN_COLUMNS = (
    "run",
    "business time",
    "zone",
    "status",
    "objective",
    "suggested",
    "kept",
    "on assumed costs",
    "profit gained",
)
_WHY_COLUMNS = ("business time", "zone", "run", "now", "suggested", "why not")
_TOTALS = ("n_forecast", "n_suggested", "n_rises", "n_kept", "n_superseded", "n_flagged")
_DIFFERENCE_COLUMNS = ("item", "title", "now", "first", "second", "difference")


def runs(
    zone: ZoneOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="So many, the newest first")] = 20,
    json: JsonOption = False,
) -> None:
    """List the runs of `suggest` with their totals, newest first."""
    from serving.price_desk.run_documents import describe_run

    documents = [describe_run(run) for run in _open().list_runs(zone, before=None, limit=limit)]
    if json:
        print_json({"items": [document.model_dump(mode="json") for document in documents]})
        return
    rows = [
        (
            document.id,
            f"{document.created_at:%Y-%m-%d %H:%M}",
            document.zone,
            document.status,
            document.objective,
            f"{document.totals.n_suggested:,}",
            f"{document.totals.n_kept:,}",
            f"{document.totals.share_assumed_costs:.0%}",
            f"{document.profit_gain} {document.currency}",
        )
        for document in documents
    ]
    print_table("Runs of price suggestions", _RUN_COLUMNS, rows)


def why(
    item_id: Annotated[str, typer.Argument(help="Item")],
    zone: ZoneOption = None,
    json: JsonOption = False,
) -> None:
    """Explain why the newest runs kept the price of an item, or which price they suggested."""
    from serving.price_desk.run_documents import describe_outcomes

    document = describe_outcomes(_open().explain_item(item_id, zone))
    if json:
        print_json(document.model_dump(mode="json"))
        return
    rows = [
        (
            f"{outcome.created_at:%Y-%m-%d %H:%M}",
            outcome.zone,
            outcome.run_id,
            outcome.current_price or "-",
            outcome.suggested_price or "-",
            outcome.reason or "",
        )
        for outcome in document.items
    ]
    if rows:
        print_table(f"Item {item_id} in the newest runs", _WHY_COLUMNS, rows)
    for name, reason in document.absent.items():
        print_line(f"Zone {name}: {reason}")


def compare(
    first: Annotated[str, typer.Argument(help="Run, as `prices runs` lists it")],
    second: Annotated[str, typer.Argument(help="Another run of the same zone")],
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Items at most")] = 20,
    json: JsonOption = False,
) -> None:
    """Compare two runs: their totals, and the items whose prices differ most."""
    from serving.price_desk.run_documents import describe_comparison

    document = describe_comparison(_open().compare_runs(first, second, limit))
    if json:
        print_json(document.model_dump(mode="json"))
        return
    runs = (document.first, document.second)
    rows: list[tuple[str, ...]] = [
        ("business time", *(f"{run.created_at:%Y-%m-%d %H:%M}" for run in runs)),
        ("objective", *(run.objective for run in runs)),
        ("rules", *(run.rules for run in runs)),
        *((name, *(f"{getattr(run.totals, name):,}" for run in runs)) for name in _TOTALS),
        ("profit gained", *(f"{run.profit_gain} {run.currency}" for run in runs)),
    ]
    print_table("Totals", ("", *(run.id for run in runs)), rows)
    for reason, change in document.kept_change.items():
        print_line(f"{change:+,} items keep their price: {reason}")
    if document.shared is None:
        print_line("The items of one of the runs are not kept any more, so none are compared")
        return
    print_line(f"{document.n_different:,} of {document.shared:,} items end at another price")
    if document.items:
        print_table("Items that differ most", _DIFFERENCE_COLUMNS, _tabulate(document.items))


def _tabulate(differences: list[RunDifferenceResponse]) -> list[tuple[str, ...]]:
    return [
        (
            difference.item_id,
            difference.title or "",
            difference.second.current_price or "-",
            _write_price(difference.first),
            _write_price(difference.second),
            f"{difference.change:+.1%}",
        )
        for difference in differences
    ]


def _write_price(item: RunItemResponse) -> str:
    """Return the suggested price, or why the price is kept."""
    return item.suggested_price or f"kept: {item.reason}"


def _open() -> PricingRunService:
    from serving.price_desk.runs import PricingRunService

    shop = Shop()
    return PricingRunService(shop.settings, shop.engine)
