"""`shopwright items retire|restore`: take items off sale by hand, and put them back."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from features.contracts.errors import BadInput
from serving.cli.output import JsonOption, print_json, print_line
from serving.cli.shop import Shop

app = typer.Typer(help="Items off sale", no_args_is_help=True)

IdsArgument = Annotated[list[str], typer.Argument(metavar="ITEM...", help="Ids of the catalogue")]


@app.command()
def retire(item_ids: IdsArgument, json: JsonOption = False) -> None:
    """Take items off sale: they leave slates, price suggestions, order lists and sums of forecasts.

    An import does not bring them back; `items restore` does."""
    _decide(item_ids, retired=True, json=json)


@app.command()
def restore(item_ids: IdsArgument, json: JsonOption = False) -> None:
    """Put retired items back on sale, where the catalogue does not end their sale itself."""
    _decide(item_ids, retired=False, json=json)


def _decide(item_ids: list[str], *, retired: bool, json: bool) -> None:
    """Write the decision for the items and to the audit log, and report what it changed."""
    import pyarrow as pa

    from features.contracts.tables import RETIRED_ITEMS
    from features.database import transaction
    from features.facts.off_sale import find_ended, read_retired
    from serving.database.audit_log import OPERATOR, AuditEntry, AuditLog

    shop = Shop()
    ids = list(dict.fromkeys(item_ids))
    _refuse_unknown(shop, ids)
    before = read_retired(shop.settings)
    changed = [item_id for item_id in ids if (item_id in before) != retired]
    now = shop.now()
    if changed:
        rows = [{"item_id": i, "retired": retired, "decided_at": now} for i in changed]
        decisions = pa.Table.from_pylist(rows, RETIRED_ITEMS.arrow)
        shop.facts.write({RETIRED_ITEMS.name: decisions})
        action = "retire" if retired else "restore"
        with transaction(shop.engine) as connection:
            entries = [AuditEntry(OPERATOR, action, "item", item_id) for item_id in changed]
            AuditLog(connection).append(entries, shop.system_clock.now())
    ended = [] if retired else find_ended(shop.settings, ids, now)
    if json:
        print_json({"changed": changed, "retired": retired, "still_off_sale": ended})
        return
    state = "retired" if retired else "back on sale"
    print_line(f"{len(changed):,} of {len(ids):,} items are now {state}")
    if ended:
        print_line(
            f"{', '.join(ended)}: still off sale, by status, published or available_to of the "
            "catalogue. Import items with other values"
        )


def _refuse_unknown(shop: Shop, item_ids: list[str]) -> None:
    items = shop.facts.read("items")
    known = set(items.filter(items.item_id.isin(item_ids)).item_id.to_pyarrow().to_pylist())
    unknown = [item_id for item_id in item_ids if item_id not in known]
    if not unknown:
        return
    nearest = difflib.get_close_matches(unknown[0], items.item_id.to_pyarrow().to_pylist(), n=1)
    raise BadInput(
        f"the catalogue has no item {', '.join(map(repr, unknown[:5]))}; nothing was changed",
        where=f"{len(unknown):,} of {len(item_ids):,} ids",
        hint=f"Did you mean {nearest[0]!r}?" if nearest else "Ids are those of the table items",
    )
