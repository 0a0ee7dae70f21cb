"""Files of prices that people filled in, row by row as proposed prices."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from configs.settings import Settings
from features.contracts.errors import BadInput, ShopwrightError
from features.prices.guards import parse_price
from serving.price_desk.checked_prices import ProposedPrice
from serving.sheet_reading import FilledSheet, SheetRow, clean_id, parse_sheet_amount, read_sheet

ITEM, ZONE, REASON = "item_id", "zone", "reason"
# Names under which files have the new price, the first one that is there.
PRICES = ("new_price", "price", "suggested_price")
_MAX_REASON = 2_000


def read_prices(content: bytes, settings: Settings, zone: str) -> list[ProposedPrice]:
    """Return the prices of a file; rows without a zone are of `zone`.

    A row that cannot be read has its problem with it; rows without a price are left out, so that an
    exported list may be filled in here and there. Raises BadInput for a file that is none, or that
    lacks a column.
    """
    sheet = read_sheet(content)
    column = _find_price_column(sheet)
    prices = [
        _read_row(row, sheet, column, settings, zone) for row in sheet.rows if row.cells.get(column)
    ]
    if not prices:
        raise BadInput(
            f"no row has a price in the column {column}", hint="Fill it in, save, send again"
        )
    return prices


def _find_price_column(sheet: FilledSheet) -> str:
    """Return the column of new prices. Raises BadInput without it, or without the items."""
    column = next((name for name in PRICES if name in sheet.columns), None)
    for name, is_there in ((ITEM, ITEM in sheet.columns), (PRICES[1], column is not None)):
        if not is_there:
            near = get_close_matches(name, sheet.columns, n=1)
            raise BadInput(
                f"the column {name} is missing",
                where="row 1",
                hint=f"Did you mean {near[0]!r}?"
                if near
                else f"The columns are {', '.join(sheet.columns)}",
            )
    assert column is not None  # noqa: S101
    return column


def _read_row(
    row: SheetRow, sheet: FilledSheet, column: str, settings: Settings, zone: str
) -> ProposedPrice:
    price = ProposedPrice(row.number, row.cells.get(ITEM, ""), row.cells.get(ZONE) or zone)
    try:
        item_id = clean_id(price.item_id)
        if not item_id:
            raise BadInput("the row names no item", where=ITEM)
        price = replace(price, item_id=item_id)
        currency = settings.zone(price.zone).currency
        amount = parse_sheet_amount(row.cells[column], currency, sheet.decimal_mark)
        reason = row.cells.get(REASON) or None
        if reason is not None and len(reason) > _MAX_REASON:
            raise BadInput(f"a reason has {_MAX_REASON:,} characters at most", where=REASON)
        return replace(
            price, price_minor=parse_price(amount, currency, where=column), reason=reason
        )
    except ShopwrightError as error:
        return replace(price, problem=error)
