"""`shopwright effects --since DATE`: what price changes and promotions brought."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from configs.settings import Settings
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import JsonOption, print_json, print_line, print_table, replacing
from serving.cli.pricing import check_zone
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.effects.documents import (
        ChangeEffectResponse,
        EffectFiguresResponse,
        EffectsResponse,
        GroupEffectResponse,
    )
    from serving.effects.repository import ChangeFilter
    from serving.effects.service import EffectService
    from serving.promotions.documents import PromotionEffectResponse

_SHOWN = 50


def list_effects(
    since: Annotated[
        str, typer.Option(help="When they began at the earliest; without an offset, local time")
    ],
    zone: Annotated[str | None, typer.Option(help="One zone; all if unset")] = None,
    category: Annotated[
        str | None, typer.Option(help="Price changes of this one and all below it")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Price changes of a run of `suggest` or a proposal")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also a file of the price changes, .csv or .xlsx")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare what sold with the forecasts of the approvals: price changes, batches, promotions."""
    from features.contracts.local_times import parse_local_time
    from serving.effects.change_sheet import tabulate_effects
    from serving.effects.documents import describe_effects
    from serving.effects.repository import ChangeFilter
    from serving.spreadsheets import parse_format, write_sheet

    sheet_format, shop = None if out is None else parse_format(out), Shop()
    if zone is not None:
        check_zone(shop, zone)
    timezone = shop.settings.find_timezone(zone or DEFAULT_ZONE)
    begin = parse_local_time(since, shop.now(), timezone, where="--since")
    criteria = ChangeFilter(since=begin, zone=zone, category=category, run_id=run)
    effects = _open_service(shop)
    document = describe_effects(effects.measure_listed(criteria), effects.list_warnings(zone))
    promotions = _measure_promotions(shop, effects, criteria)
    if out is not None and sheet_format is not None:
        with replacing(out) as staging:
            write_sheet(tabulate_effects(document), staging, sheet_format)
    if json:
        values = document.model_dump(mode="json")
        print_json(values | {"promotions": [one.model_dump(mode="json") for one in promotions]})
        return
    _print_changes(document, shop.settings)
    _print_groups("Batches", document.batches)
    _print_groups("Categories", document.categories)
    _print_warnings(document)
    _print_promotions(promotions, shop.settings)
    if out is not None:
        print_line(f"{len(document.items):,} price changes in {out}")


def _open_service(shop: Shop) -> EffectService:
    from features.facts.item_rules import ItemRules
    from serving.effects.service import EffectService
    from serving.price_desk.present_items import read_present_items
    from serving.price_desk.service import PriceDeskService

    desk = PriceDeskService(
        shop.settings,
        shop.engine,
        shop.clock,
        shop.system_clock,
        ItemRules(shop.settings, shop.clock, shop.engine),
        read_items=read_present_items,
    )
    return EffectService(
        shop.settings, shop.engine, shop.clock, shop.system_clock, settle=desk.catch_up
    )


def _measure_promotions(
    shop: Shop, effects: EffectService, criteria: ChangeFilter
) -> list[PromotionEffectResponse]:
    """Return the effects of the promotions that began since a time; none of a category or run."""
    from features.database import reading
    from serving.promotions.documents import find_phase
    from serving.promotions.effect import PromotionEffectService
    from serving.promotions.effect_response import describe_effect
    from serving.promotions.repository import Promotions

    since = criteria.since
    if since is None or criteria.category is not None or criteria.run_id is not None:
        return []
    with reading(shop.engine) as connection:
        listed = Promotions(connection).list_between(since, shop.now(), criteria.zone)
    service = PromotionEffectService(shop.settings, shop.engine, shop.clock, effects.find_control)
    ran = [
        promotion
        for promotion in listed
        if promotion.starts_at >= since and find_phase(promotion) in ("live", "ended")
    ]
    return [describe_effect(service.measure(promotion.id)) for promotion in ran]


def _print_changes(document: EffectsResponse, settings: Settings) -> None:
    known = document.sales_known_until
    until = "no sales are known"
    if known is not None:
        until = f"sales are known until {_write_day(known, DEFAULT_ZONE, settings)}"
    rows = [_make_row(item, settings) for item in document.items[:_SHOWN]]
    columns = (
        *("item", "zone", "price", "began", "weeks", "verdict"),
        *("units", "profit", "expected profit", "control", "note"),
    )
    n = len(document.items)
    print_table(f"{n:,} price changes, against keeping; {until}", columns, rows)
    if n > _SHOWN:
        print_line(f"{n - _SHOWN:,} more: --json or --out")


def _write_day(at: datetime, zone: str, settings: Settings) -> str:
    """Return the day of a time, in the time zone in which the prices of a zone begin."""
    return at.astimezone(ZoneInfo(settings.find_timezone(zone))).date().isoformat()


def _make_row(item: ChangeEffectResponse, settings: Settings) -> tuple[object, ...]:
    left_out = [f"{n} weeks left out: {reason}" for reason, n in item.weeks.left_out.items()]
    return (
        item.item_id,
        item.zone,
        f"{item.price_before} to {item.price_after} {item.currency}",
        _write_day(item.begins_at, item.zone, settings),
        f"{item.weeks.counted} of {item.weeks.over}",
        item.verdict,
        *_describe_figures(item),
        item.control,
        "; ".join([*([item.unknown] if item.unknown else []), *left_out]) or None,
    )


def _print_groups(title: str, groups: list[GroupEffectResponse]) -> None:
    rows = [
        (
            group.name,
            group.zone,
            f"{group.n_measured} of {group.n_changes}",
            group.verdict,
            *_describe_figures(group),
            "; ".join(group.controls) or None,
            group.unknown,
        )
        for group in groups
    ]
    columns = (
        *("name", "zone", "measured", "verdict"),
        *("units", "profit", "expected profit", "control", "note"),
    )
    if rows:
        print_table(title, columns, rows)


def _describe_figures(item: EffectFiguresResponse) -> tuple[str | None, str | None, str | None]:
    """Return units and profit with their intervals, and the profit that was expected."""
    effect, expected = item.effect, item.expected
    units = profit = None
    if effect is not None:
        units = f"{effect.units.p50:+,.1f} ({effect.units.p10:,.1f} to {effect.units.p90:,.1f})"
    if effect is not None and effect.profit is not None:
        profit = f"{effect.profit.p50} ({effect.profit.p10} to {effect.profit.p90})"
    return units, profit, None if expected is None else expected.profit


def _print_warnings(document: EffectsResponse) -> None:
    for warning in document.warnings:
        profit = warning.profit
        proposed = warning.proposal_id or "nothing"
        print_line(
            f"Warning: batch {warning.run_id} in {warning.zone} sells less than its forecast: "
            f"profit {profit.p50} ({profit.p10} to {profit.p90}) {warning.currency} after "
            f"{warning.week} weeks; proposed: {proposed}"
            + (f"; {warning.note}" if warning.note else "")
        )


def _print_promotions(promotions: list[PromotionEffectResponse], settings: Settings) -> None:
    rows = []
    for one in promotions:
        gain = None if one.gain is None else one.gain.get("profit")
        rows.append(
            (
                one.id,
                _write_day(one.starts_at, one.zone, settings),
                _write_day(one.until, one.zone, settings),
                one.verdict,
                None if one.sold is None else one.sold.units,
                None if gain is None else f"{gain.p50} ({gain.p10} to {gain.p90}) {one.currency}",
                None if one.roi is None else f"{one.roi.p50:.0%}",
                "; ".join(f"{name}: {reason}" for name, reason in one.unknown.items()) or None,
            )
        )
    columns = ("promotion", "from", "until", "verdict", "units", "profit gained", "ROI", "unknown")
    if rows:
        print_table("Promotions", columns, rows)
