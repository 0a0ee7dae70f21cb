"""The report of an import for people: everything that its JSON document says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from features.contracts.money import to_major
from serving.cli.output import print_line, print_table

if TYPE_CHECKING:
    from features.prices.held_prices import HeldPrice
    from features.prices.ledger import NewPrice
    from features.sources.report import ImportReport, TableReport
    from serving.prices.listed_prices import ShortenedPrice
    from serving.prices.opening import OpeningReport

_MAX_HELD = 100  # prices of a report; all of them are on the price desk

_COLUMNS = (
    "table",
    "read",
    "new",
    "replaced",
    "unchanged",
    "duplicates",
    "excluded",
    "quarantined",
)


def print_report(report: ImportReport) -> None:
    """Print rows per table, then what was left out or looks wrong, a line each."""
    rows = [
        (
            name,
            table.rows_read,
            table.written.new,
            table.written.replaced,
            table.written.unchanged,
            table.duplicates,
            table.excluded.total(),
            table.n_bad,
        )
        for name, table in report.tables.items()
    ]
    print_table(f"Imported {report.source}", _COLUMNS, rows)
    if report.share_bad:
        print_line(f"{report.share_bad:.2%} of the rows were quarantined")
    for file in report.ignored:
        print_line(f"{file} is no table and was ignored{_ask_for_table(report, file)}")
    for zone, count in report.zones.items():
        print_line(f"zone {zone}: {count.rows:,} rows, amounts in {count.currency}")
    for name, table in report.tables.items():
        for remark in _describe_table(table):
            print_line(f"{name}: {remark}")


def describe_opening(opening: OpeningReport) -> dict[str, object]:
    """Return the JSON of what an import did to the price ledger beside the prices entered."""
    return {
        "held": len(opening.held),
        "held_prices": [_describe_held(held) for held in opening.held[:_MAX_HELD]],
        "ended": len(opening.ended),
        "ended_prices": [_describe_ended(price) for price in opening.ended[:_MAX_HELD]],
        "shortened": len(opening.shortened),
        "shortened_prices": [_describe_shortened(price) for price in opening.shortened[:_MAX_HELD]],
        "expired_lists": [
            {"zone": expired.zone, "items": expired.n_items, "ended_at": expired.ended_at}
            for expired in opening.expired
        ],
    }


def _describe_held(held: HeldPrice) -> dict[str, object]:
    price, before = held.price, held.before
    return {
        "item_id": price.item_id,
        "zone": price.zone,
        "valid_from": price.valid_from,
        "list_price": to_major(price.list_price_minor, price.currency),
        "offer_price": to_major(price.offer_price_minor, price.currency),
        "currency": price.currency,
        "current_price": before and to_major(before.offer_price_minor, before.currency),
        "reason": held.reason,
        "accepted_by": [
            option
            for option, why in (
                ("--accept-price-jumps", held.jump),
                ("--accept-unlawful-reductions", held.unlawful),
            )
            if why is not None
        ],
    }


def _describe_ended(price: NewPrice) -> dict[str, object]:
    return {
        "item_id": price.item_id,
        "zone": price.zone,
        "valid_from": price.valid_from,
        "valid_to": price.valid_to,
        "offer_price": to_major(price.offer_price_minor, price.currency),
        "currency": price.currency,
    }


def _print_ended(prices: Sequence[NewPrice]) -> None:
    if not prices:
        return
    print_line(
        f"ledger: {len(prices):,} prices change at another time than earlier lists said, because "
        "the price list ends promotions earlier, leaves them out, brings them back, or changes a "
        "price that a rollback restored"
    )
    rows = [tuple(_describe_ended(price).values()) for price in prices[:_MAX_HELD]]
    columns = ("item", "zone", "from", "until", "offer", "currency")
    print_table("Prices from then on", columns, rows)


def _describe_shortened(shortened: ShortenedPrice) -> dict[str, object]:
    price, goes_on = shortened.price, shortened.goes_on
    return {
        "item_id": price.item_id,
        "zone": price.zone,
        "valid_from": price.valid_from,
        "ends_at": price.valid_to,
        "goes_on_until": goes_on.valid_to,
        "offer_price": to_major(goes_on.offer_price_minor, goes_on.currency),
        "currency": goes_on.currency,
    }


def _print_shortened(prices: Sequence[ShortenedPrice]) -> None:
    if not prices:
        return
    print_line(
        f"ledger: {len(prices):,} prices end earlier in the price list or are left out of it, and "
        "go on all the same: the list has no row with an earlier end for them, somebody approved "
        "them on the price desk, or the item has no other price. To end one, import its row with "
        "an earlier valid_to, or roll it back on the price desk"
    )
    rows = [tuple(_describe_shortened(price).values()) for price in prices[:_MAX_HELD]]
    columns = ("item", "zone", "from", "new end", "goes on until", "offer", "currency")
    print_table("Prices that go on", columns, rows)


def print_opening(opening: OpeningReport) -> None:
    """Print the prices that the ledger took, those that wait, and the price lists that ended."""
    if opening.total:
        print_line(
            f"ledger: {opening.imported:,} prices of price_history, "
            f"{opening.catalogue:,} of the catalogue entered"
        )
    for expired in opening.expired:
        print_line(
            f"ledger: zone {expired.zone}: the price lists of {expired.n_items:,} items have "
            f"ended, the last on {expired.ended_at}; their last list prices go on, marked as "
            "expired"
        )
    _print_ended(opening.ended)
    _print_shortened(opening.shortened)
    if not opening.held:
        return
    print_line(
        f"held: {len(opening.held):,} prices wait and are not served. They are on the price desk, "
        "except those of items that have no other price"
    )
    n_jumps = sum(held.jump is not None for held in opening.held)
    if n_jumps:
        print_line(
            f"held: {n_jumps:,} of them jump: approve them there, or, if all are meant, import "
            "again with --accept-price-jumps"
        )
    n_unlawful = sum(held.unlawful is not None for held in opening.held)
    if n_unlawful:
        print_line(
            f"held: the price law forbids {n_unlawful:,} of them: edit or reject them there, or, "
            "if prices that the ledger does not know allow them, import again with "
            "--accept-unlawful-reductions"
        )
    described = [_describe_held(held) for held in opening.held[:_MAX_HELD]]
    rows = [
        tuple(value for name, value in row.items() if name != "accepted_by") for row in described
    ]
    columns = ("item", "zone", "from", "list", "offer", "currency", "now", "why it waits")
    print_table("Prices that wait", columns, rows)


def _ask_for_table(report: ImportReport, file: str) -> str:
    names = report.near_tables.get(file)
    return f"; is it meant to be {' or '.join(names)}?" if names else ""


def _describe_table(table: TableReport) -> Iterator[str]:
    """Yield what the report says of one table beyond its row of counts."""
    from features.sources.advice import advise

    for rule, count in table.excluded.items():
        yield f"{count:,} excluded, {rule}"
    for reason, count in table.quarantined.items():
        advice = advise(reason)
        example = f": {table.examples[reason]}" if reason in table.examples else ""
        yield f"{count:,} quarantined, {reason}{example}{'' if advice is None else f'. {advice}'}"
    if table.quarantine_file:
        yield f"quarantined rows are in {table.quarantine_file}"
    if table.attributes:
        names = _list_columns(table.attributes, table.near_columns)
        yield f"extra columns, kept as attributes: {names}"
    if table.n_unknown_zones:
        yield f"{table.n_unknown_zones:,} rows of unknown zones became rows of the zone default"
    for column, count in table.rounded.items():
        yield (
            f"{column} was rounded by more than half a percent in {count:,} rows: is the currency "
            "of the zone right?"
        )
    if table.decimal_ids:
        names = ", ".join(table.decimal_ids)
        yield f"decimal numbers read as whole ones (101 for 101.0): {names}"
    if table.n_unknown_items:
        yield (
            f"item_id is not among the imported items in {table.n_unknown_items:,} rows, which "
            "are kept"
        )
    if table.n_older:
        yield (
            f"{table.n_older:,} rows are older than the stored ones by updated_at, which stay: "
            f"{', '.join(table.older)}"
        )
    if table.n_overwritten:
        yield (
            f"{table.n_overwritten:,} rows written over HTTP were replaced, since the file gives "
            f"no updated_at and counts as of now: {', '.join(table.overwritten)}"
        )
    yield from _describe_amounts(table)
    yield from _describe_price_list(table)


def _describe_price_list(table: TableReport) -> Iterator[str]:
    """Yield what looks wrong in the price list."""
    if table.n_unlawful_reductions:
        yield (
            f"{table.n_unlawful_reductions:,} announced reductions are unlawful: the offer price "
            "is not below the prior price, or no price before is known. They are kept as history"
        )
    if table.n_overlapping:
        yield (
            f"{table.n_overlapping:,} regular prices begin and end within an earlier one, "
            f"of {', '.join(table.overlapping)}: each is valid until its end, then the earlier one "
            "again"
        )


def _describe_amounts(table: TableReport) -> Iterator[str]:
    """Yield which amounts contradict each other."""
    if table.n_contradicting:
        yield (
            f"line_amount is not unit_price times quantity in {table.n_contradicting:,} rows; both "
            "are kept. line_amount is what the whole line cost: give one of the two columns where "
            "you have one"
        )
    if table.n_without_amount:
        yield (
            f"{table.n_without_amount:,} purchases have neither line_amount nor unit_price: they "
            "count as sold, and for no revenue"
        )
    for zone, ratio in table.paid_to_list.items():
        yield (
            f"zone {zone}: half of the purchases paid {ratio:,.3g} times the list price or more: "
            "are both in major units (1.99) of the same currency? Import into a new state folder "
            "once they are"
        )
    for zone, count in table.cost_above_price.items():
        yield (
            f"zone {zone}: unit_cost is above the list price of {count:,} items: are both of one "
            "unit, in the same currency?"
        )


def _list_columns(names: Sequence[str], near: Mapping[str, Sequence[str]]) -> str:
    """Return the names of unknown columns, each with the known one that it may stand for."""
    return ", ".join(
        f"{name} (is it {' or '.join(near[name])}?)" if name in near else name for name in names
    )
