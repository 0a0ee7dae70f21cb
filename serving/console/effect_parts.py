"""What price changes brought, as pages show it: verdict, effect with its interval, the control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from nicegui import ui

from serving.console.parts import Column, show_badge, show_table
from serving.console.queue_rows import QUANTITIES
from serving.console.section import show_error
from serving.console.texts import UNKNOWN, Texts
from serving.console.visit import Visit
from serving.database.audit_log import WATCH
from serving.effects.repository import BatchLook, ChangeFilter
from serving.price_desk.repository import Suggestion

if TYPE_CHECKING:
    from serving.effects.measured import ChangeEffect, GroupEffect, Quantities

_SIGNS = {"as_expected": "=", "better": "▲", "worse": "▼", "too_early": "…", "unknown": "?"}
_TONES = {"better": "better", "worse": "worse"}
# Statuses of prices that were served long enough to have an effect.
MEASURED = ("live", "rolled_back", "superseded")


def read_effects(visit: Visit, suggestions: Sequence[Suggestion]) -> dict[str, ChangeEffect]:
    """Return what the changes of suggestions brought, by suggestion id."""
    ids = tuple(one.id for one in suggestions if one.status in MEASURED and one.price_id)
    if not ids:
        return {}
    measured = visit.server.effects.measure(ChangeFilter(suggestion_ids=ids))
    return {effect.change.id: effect for effect in measured.changes}


def read_batch(visit: Visit, run_id: str) -> GroupEffect | None:
    """Return what the changes of a run or a proposal brought together; None without any."""
    measured = visit.server.effects.measure(ChangeFilter(run_id=run_id, zone=visit.zone))
    return measured.batches[0] if measured.batches else None


def write_profit(effect: ChangeEffect | GroupEffect, texts: Texts, currency: str) -> str:
    """Return the effect on profit with its interval."""
    if effect.effect is None or math.isnan(effect.effect.profit.p50):
        return UNKNOWN
    return texts.band(effect.effect.profit, currency)


def show_verdict(effect: ChangeEffect | GroupEffect, texts: Texts, hint: str = "") -> None:
    """Show the verdict as a word with a sign; why there is none, else `hint`, is one hover away."""
    badge = show_verdict_badge(effect.verdict.value.replace(" ", "_"), texts)
    if hint := effect.unknown or hint:
        badge.tooltip(hint)


def show_verdict_badge(verdict: str, texts: Texts) -> ui.label:
    """Show a verdict as a word with a sign."""
    word = texts.get(f"effects.verdict_{verdict}")
    return show_badge(f"{_SIGNS[verdict]} {word}", _TONES.get(verdict, ""))


def describe_control(effect: ChangeEffect, texts: Texts) -> str:
    """Return what the effect is measured against, in words."""
    control = effect.control
    if control is None:
        return ""
    if not control.carries:
        return texts.get("effects.control_forecast")
    category = control.category or texts.get("effects.zone")
    return texts.get("effects.control_items", category=category, n=control.shift.n_items)


def show_batch(visit: Visit, batch: GroupEffect) -> None:
    """Show in one line what a batch brought."""
    texts = visit.texts
    with ui.element("div").classes("effect-line").props('id="batch-effect"'):
        show_verdict(batch, texts)
        ui.label(
            texts.get(
                "effects.batch",
                profit=write_profit(batch, texts, batch.currency),
                measured=texts.number(batch.n_measured),
                n=batch.n_changes,
            )
        )


def add_warnings(visit: Visit) -> None:
    """Add the warnings of batches that sell less than their forecast, once they are read; nothing
    where there is none."""
    area = ui.element("div")

    async def fill() -> None:
        try:
            looks = await visit.read(visit.server.effects.list_warnings, visit.zone)
        except Exception as error:
            area.clear()
            with area:
                show_error(visit, error, fill)
            return
        area.clear()
        with area:
            _show_warnings(visit, looks)

    ui.timer(0, fill, once=True)


def _show_warnings(visit: Visit, looks: Sequence[BatchLook]) -> None:
    """Show the batches that sell less than their forecast, with the way to the proposals."""
    texts = visit.texts
    for look in looks:
        profit = {
            name: texts.money(value, look.currency, signed=True)
            for name, value in look.profit.items()
        }
        text = texts.get(
            "effects.warning",
            run=look.run_id,
            n=look.week,
            profit=profit["p50"],
            low=profit["p10"],
            high=profit["p90"],
        )
        with ui.element("div").classes("notice batch-warning").props("role=note"):
            ui.label(text)
            if look.proposal_id is None:
                ui.label(look.note or texts.get("effects.not_proposed")).classes("muted")
                continue
            query = urlencode({"status": "submitted", "proposer": WATCH})
            ui.link(texts.get("effects.to_proposal"), f"/queue?{query}")


def show_change_effect(visit: Visit, effect: ChangeEffect | None) -> None:
    """Show all that is known of what one change brought."""
    texts = visit.texts
    if effect is None:
        ui.label(texts.get("effects.nothing")).classes("muted")
        return
    with ui.element("div").classes("effect-line"):
        show_verdict(effect, texts)
        weeks = effect.weeks
        ui.label(texts.get("effects.weeks", counted=texts.number(weeks.n_counted), n=weeks.n_over))
        ui.label(describe_control(effect, texts)).classes("muted")
    if effect.unknown:
        ui.label(effect.unknown).classes("muted")
    for reason, n in weeks.left_out.items():
        ui.label(texts.get("effects.left_out", n=n, reason=_name_reason(reason, texts))).classes(
            "muted"
        )
    if effect.effect is None:
        return
    _show_quantities(effect, texts)


def _show_quantities(effect: ChangeEffect, texts: Texts) -> None:
    currency = effect.change.currency

    def write(quantities: Quantities | None, name: str, *, signed: bool = False) -> str:
        value = None if quantities is None else getattr(quantities, name)
        return write_value(value, texts, None if name == "units" else currency, signed=signed)

    def write_effect(name: str) -> str:
        band = getattr(effect.effect, name)
        if math.isnan(band.p50):
            return UNKNOWN
        return texts.band(band, None if name == "units" else currency, digits=1)

    columns = [
        Column("", lambda name: texts.get(f"suggestion.{name}")),
        Column(texts.get("effects.sold"), lambda name: write(effect.sold, name), is_number=True),
        Column(
            texts.get("effects.keeping"), lambda name: write(effect.keeping, name), is_number=True
        ),
        Column(
            texts.get("effects.effect"),
            write_effect,
            is_number=True,
            hint=texts.get("suggestion.range_hint"),
        ),
        Column(
            texts.get("effects.expected"),
            lambda name: write(effect.predicted, name, signed=True),
            is_number=True,
        ),
    ]
    show_table(QUANTITIES, columns, caption=texts.get("effects.heading"))


def write_value(
    value: float | None, texts: Texts, currency: str | None, *, signed: bool = False
) -> str:
    """Return an amount, or units without a currency."""
    if value is None:
        return UNKNOWN
    if currency is not None:
        return texts.money(value, currency, signed=signed)
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    return sign + texts.number(abs(value), 1)


def _name_reason(reason: str, texts: Texts) -> str:
    return texts.find(f"effects.reason_{reason.replace(' ', '_')}", reason)
