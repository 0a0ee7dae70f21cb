"""Suggestions as the rows of a grid: which ones an address asks for, and how they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from features.contracts.errors import BadInput
from features.contracts.money import minor_digits, to_minor
from serving.console.texts import Texts
from serving.price_desk.filters import SORT_KEYS, SuggestionFilter, SuggestionSort
from serving.price_desk.repository import Suggestion
from serving.price_desk.sheets import compute_margin

WAITING = "submitted"
# The parameters of an address that choose suggestions, and how they are sorted.
FILTERS = (
    "status",
    "category",
    "grade",
    "rule",
    "change",
    "gain",
    "since",
    "text",
    "proposer",
    "run",
)
PARAMETERS = (*FILTERS, "sort", "descending")
DAY = timedelta(days=1)
# Of which an effect consists.
QUANTITIES = ("units", "revenue", "profit")
_WHOLE_FROM = 100  # major units from which an expected gain has no cents: they are noise


def read_filter(
    parameters: Mapping[str, str], zone: str, currency: str, now: datetime
) -> SuggestionFilter:
    """Return the filter of an address. Raises BadInput for numbers that are none."""
    change, gain = parameters.get("change"), parameters.get("gain")
    days = {"yesterday": 1, "week": 7}.get(parameters.get("since", ""))
    return SuggestionFilter(
        status=tuple(filter(None, parameters.get("status", WAITING).split(","))),
        category=parameters.get("category") or None,
        min_change=_read_number(change, "change") / 100 if change else None,
        zone=zone,
        evidence_grades=tuple(filter(None, parameters.get("grade", "").split(","))),
        binding_rule=parameters.get("rule") or None,
        min_gain_minor=to_minor(gain, currency) if gain else None,
        created_since=now - days * DAY if days else None,
        text=parameters.get("text") or None,
        proposed_by=parameters.get("proposer") or None,
        run_id=parameters.get("run") or None,
    )


def read_sort(parameters: Mapping[str, str]) -> SuggestionSort:
    """Return the order of an address; the largest gain first where it names none."""
    key = parameters.get("sort", "")
    if key not in SORT_KEYS:
        return SuggestionSort("gain", descending=True)
    return SuggestionSort(key, descending=parameters.get("descending") == "1")


def _read_number(text: str, name: str) -> float:
    try:
        number = float(text.replace(",", "."))
    except ValueError as error:
        raise BadInput(f"{text!r} is no number", where=name) from error
    if not 0 <= number < 1e9:
        raise BadInput(f"{text} is no size of a change", where=name)
    return number


@dataclass(frozen=True)
class QueueRow:
    """A suggestion as a row reads; `tone` changes how it looks."""

    id: str
    item: str
    title: str
    now: str
    new: str
    change: str
    margin: str
    units: str
    profit: str
    proof: str
    why: str
    waits: str
    status: str
    category: str
    tone: str


def build_row(
    suggestion: Suggestion, texts: Texts, net_share: float, now: datetime
) -> dict[str, Any]:
    """Return a suggestion as a row."""
    currency = suggestion.currency
    share = suggestion.share_change
    arrow = "▲" if share > 0 else "▼" if share < 0 else "="
    gain = find_effect(suggestion, "profit", gain=True)
    row = QueueRow(
        id=suggestion.id,
        item=suggestion.item_id,
        title=suggestion.title or suggestion.item_id,
        now=texts.money(suggestion.current_price_minor, currency),
        new=texts.money(suggestion.suggested_price_minor, currency),
        change=f"{arrow} {texts.share(abs(share))}",
        margin=_write_margins(suggestion, texts, net_share),
        units=write_units(suggestion, texts),
        profit=write_gain(gain, texts, currency),
        proof=suggestion.evidence_grade or "",
        why=name_rule(suggestion.binding_rule, texts),
        waits=texts.ago(suggestion.created_at, now),
        status=texts.get(f"status.{suggestion.status}"),
        category=suggestion.category,
        tone=_find_tone(gain),
    )
    return asdict(row)


def find_effect(suggestion: Suggestion, name: str, *, gain: bool) -> Mapping[str, float] | None:
    """Return the quantiles of units, revenue or profit, or of their gain over keeping the price."""
    values: Mapping[str, Any] | None = (suggestion.expected or {}).get(name)
    if values is None or not gain:
        return values
    against: Mapping[str, float] | None = values.get("against_keeping")
    return against


def write_gain(gain: Mapping[str, float] | None, texts: Texts, currency: str) -> str:
    """Return an expected gain with its range: +51.76 (31–70), or +512 (310–700)."""
    if not gain:
        return texts.money(None, currency)
    is_large = abs(gain["p50"]) >= _WHOLE_FROM * 10 ** minor_digits(currency)
    write = texts.whole_money if is_large else texts.money
    middle = write(gain["p50"], currency, signed=True)
    low, high = (texts.whole_money(gain[name], currency) for name in ("p10", "p90"))
    return f"{middle} ({low} – {high})"


def write_units(suggestion: Suggestion, texts: Texts) -> str:
    """Return the units expected at the price of today, and at the new one: 210 → 186."""
    expected = find_effect(suggestion, "units", gain=False)
    gain = find_effect(suggestion, "units", gain=True)
    if not expected or not gain:
        return texts.number(None)
    after = expected["p50"]
    return f"{texts.number(after - gain['p50'])} → {texts.number(after)}"


def name_rule(rule: str | None, texts: Texts) -> str:
    """Return a binding rule in words."""
    return texts.find(f"rule.{rule.replace(' ', '_')}", rule) if rule else texts.get("rule.none")


def _write_margins(suggestion: Suggestion, texts: Texts, net_share: float) -> str:
    shares = [
        compute_margin(suggestion.details.get("unit_cost_minor"), price, net_share)
        for price in (suggestion.current_price_minor, suggestion.suggested_price_minor)
    ]
    if None in shares:
        return texts.share(None)
    before, after = (texts.share(share, 0) for share in shares)
    mark = " *" if suggestion.details.get("cost_source") == "assumed" else ""
    return f"{before} → {after}{mark}"


def _find_tone(gain: Mapping[str, float] | None) -> str:
    if not gain:
        return ""
    return "better" if gain["p10"] > 0 else "worse" if gain["p50"] < 0 else ""
