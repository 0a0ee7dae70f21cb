"""`shopwright prices lock|unlock|locks`: prices that stay as they are until a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.clock import parse_time
from features.contracts.errors import NotFound
from serving.access import SCOPES, Caller
from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from serving.database.price_locks import PriceLock
    from serving.price_desk.locks import PriceLockService

_COLUMNS = ("item", "zone", "until", "reason", "locked by", "lock")
ZoneOption = Annotated[str | None, typer.Option(help="One zone; every zone if unset")]
_ALL = 1_000_000


def lock(
    item_id: Annotated[str, typer.Argument(help="Item")],
    until: Annotated[str, typer.Option(help="When the lock ends, RFC 3339, in business time")],
    reason: Annotated[str, typer.Option(help="Why, for whoever wants to change the price")],
    zone: ZoneOption = None,
    json: JsonOption = False,
) -> None:
    """Lock the price of an item: no run, no proposal and no approval changes it."""
    from features.database import transaction
    from serving.price_desk.locks import LockOrder

    order = LockOrder(item_id, reason, parse_time(until, where="--until"), zone)
    locks = _open()
    with transaction(locks.desk.engine) as connection:
        made = locks.set(connection, _operator(), order)
    if json:
        print_json(_describe(made))
    else:
        print_line(f"Item {item_id}: {made.describe()}")


def unlock(
    item_id: Annotated[str, typer.Argument(help="Item")],
    zone: ZoneOption = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log")] = None,
    json: JsonOption = False,
) -> None:
    """Let the locks of an item end now: those of a zone, or those of every zone."""
    from features.database import transaction

    locks = _open()
    active = locks.find_active(item_id, zone)
    if not active:
        raise NotFound(f"no lock of item {item_id!r}", hint="See: shopwright prices locks")
    with transaction(locks.desk.engine) as connection:
        ended = [locks.end(connection, _operator(), each.id, reason) for each in active]
    if json:
        print_json({"items": [_describe(each) for each in ended]})
    else:
        print_line(f"{len(ended):,} locks of item {item_id} have ended")


def locks(json: JsonOption = False) -> None:
    """List the locks that have not ended."""
    documents = [_describe(each) for each in _open().list_locks(limit=_ALL)]
    if json:
        print_json({"items": documents})
        return
    names = ("item_id", "zone", "ends_at", "reason", "locked_by", "id")
    rows = [tuple(str(each[name] or "every") for name in names) for each in documents]
    print_table("Locked prices", _COLUMNS, rows)


def _open() -> PriceLockService:
    from features.facts.item_rules import ItemRules
    from serving.price_desk.locks import PriceLockService
    from serving.price_desk.service import PriceDeskService

    shop = Shop()
    item_rules = ItemRules(shop.settings, shop.clock, shop.engine)
    desk = PriceDeskService(shop.settings, shop.engine, shop.clock, shop.system_clock, item_rules)
    return PriceLockService(desk)


def _operator() -> Caller:
    return Caller(OPERATOR, OPERATOR, frozenset(SCOPES))


def _describe(each: PriceLock) -> dict[str, object]:
    values = {**vars(each), "zone": each.zone or None}
    del values["seq"]
    return {
        name: value.isoformat() if name.endswith("_at") else value for name, value in values.items()
    }
