"""`shopwright prices stop|resume`: halt every activation of prices, and let them go on."""

from __future__ import annotations

from typing import Annotated

import typer

from serving.access import SCOPES, Caller
from serving.cli.output import JsonOption, print_json, print_line
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR


def stop(
    reason: Annotated[str, typer.Option(help="Why, for the people who wait and the audit log")],
    json: JsonOption = False,
) -> None:
    """Halt every activation at once: scheduled prices are held, and what is approved waits."""
    held = _switch(reason, stopped=True)
    if json:
        print_json({"stopped": True, "prices": held})
    else:
        print_line(f"Activations are stopped; {held:,} scheduled prices are held")


def resume(
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log")] = None,
    json: JsonOption = False,
) -> None:
    """Let activations go on: what waits is checked again, and begins when it should."""
    released = _switch(reason, stopped=False)
    if json:
        print_json({"stopped": False, "prices": released})
    else:
        print_line(f"Activations go on; {released:,} approved prices are in the ledger again")


def _switch(reason: str | None, *, stopped: bool) -> int:
    from features.database import transaction
    from features.facts.item_rules import ItemRules
    from serving.price_desk.controls import DeskControls
    from serving.price_desk.present_items import read_present_items
    from serving.price_desk.service import PriceDeskService
    from serving.promotions.lifecycle import hold_scheduled

    shop = Shop()
    rules = ItemRules(shop.settings, shop.clock, shop.engine)
    desk = PriceDeskService(
        shop.settings,
        shop.engine,
        shop.clock,
        shop.system_clock,
        rules,
        read_items=read_present_items,
    )
    controls = DeskControls(desk, hold_scheduled)
    decider = controls.decider(Caller(OPERATOR, OPERATOR, frozenset(SCOPES)), reason)
    with transaction(shop.engine) as connection:
        return controls.switch(connection, decider, stopped=stopped)
