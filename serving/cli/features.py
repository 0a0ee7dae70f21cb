"""`shopwright features build|materialize|check`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from features.contracts.clock import feature_time, parse_time
from features.contracts.errors import BadInput
from serving.cli.output import JsonOption, print_json, print_line, print_table, steps
from serving.cli.shop import Shop

app = typer.Typer(help="Features as of an instant", no_args_is_help=True)

AsOfOption = Annotated[
    str | None,
    typer.Option(help="The instant, 2017-12-04T05:00Z; the shop's present hour if unset"),
]


@app.command()
def build(as_of: AsOfOption = None, json: JsonOption = False) -> None:
    """Compute all features and print how many there are; nothing is written."""
    from features.online.histories import compute_offline_histories, compute_offline_items

    shop = Shop()
    instant = _feature_instant(shop, as_of)
    with steps(2) as progress:
        progress.say("user and user × item features")
        histories = compute_offline_histories(shop.facts, instant)
        progress.done()
        progress.say("item features")
        per_buyer = shop.settings.orders_per_buyer
        items = compute_offline_items(shop.facts, instant, orders_per_buyer=per_buyer)
        progress.done()
    _print_values(
        {
            "as_of": instant,
            "users": len(histories),
            "user_item_pairs": sum(len(history.item_ids) for history in histories.values()),
            "items": len(items.item_ids),
            "item_features": len(items.columns),
        },
        json,
    )


@app.command()
def materialize(as_of: AsOfOption = None, json: JsonOption = False) -> None:
    """Compute all features and publish them for the server; running servers load them by
    themselves."""
    from features.online.materialize import materialize as publish

    shop = Shop()
    with steps(1) as progress:
        report = publish(shop.facts, shop.settings, _feature_instant(shop, as_of), progress.say)
        progress.done()
    _print_values(asdict(report), json)


@app.command()
def check(as_of: AsOfOption = None, json: JsonOption = False) -> None:
    """Compare a sample of the feature store's values with direct ones, and online with offline."""
    from features.online.parity_check import check_parity

    shop = Shop()
    report = check_parity(shop.facts, shop.settings, _feature_instant(shop, as_of))
    if json:
        print_json({"passed": report.passed, **asdict(report)})
    else:
        rows = [tuple(asdict(comparison).values()) for comparison in report.comparisons]
        names = tuple(asdict(report.comparisons[0])) if report.comparisons else ()
        print_table("Compared", names, rows)
        print_line("all the same" if report.passed else "DIFFERENCES FOUND")
    if not report.passed:
        raise typer.Exit(1)


def _feature_instant(shop: Shop, as_of: str | None) -> datetime:
    if shop.facts.is_empty("events"):
        raise BadInput(
            "there are no events to compute features from", hint="Try: shopwright import DIR"
        )
    return feature_time(shop.now()) if as_of is None else parse_time(as_of, where="--as-of")


def _print_values(values: Mapping[str, object], json: bool) -> None:
    if json:
        print_json(values)
    else:
        print_line(", ".join(f"{name} {value}" for name, value in values.items()))
