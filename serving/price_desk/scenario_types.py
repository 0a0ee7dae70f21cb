"""What a scenario would do, as it is stored and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter

from features.contracts.pricing import Band


@dataclass(frozen=True)
class PriceTotals:
    """What some new prices together would do against keeping every price, over the horizon.

    effects      bands of units, and of revenue and profit in minor units, net of tax
    n_unknown    new prices of which no effect is expected
    forbidden    how many prices of today each hard rule forbids; none for those that wait
    not_kept     rules of many items that no prices satisfy
    """

    n_changes: int
    n_rises: int
    n_unknown: int
    effects: Mapping[str, Band]
    forbidden: Mapping[str, int]
    not_kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScenarioMove:
    """An item with another price than the queue has, in minor units.

    waiting_minor   the price that waits for a decision; None where none does
    today_minor     under the rules of today; the price of now where it would be kept
    """

    item_id: str
    title: str | None
    current_minor: int
    waiting_minor: int | None
    today_minor: int
    new_minor: int


@dataclass(frozen=True)
class ScenarioOutcome:
    """A scenario beside what waits for a decision, and beside a run under the rules of today.

    n_different   items whose new price is another one than the queue has
    moves         the largest of these differences, as shares of the price
    held          why somebody would have to submit the suggestions first
    kept          number of items that keep their price, by reason
    """

    currency: str
    horizon_weeks: int
    objective: str
    n_items: int
    n_different: int
    scenario: PriceTotals
    waiting: PriceTotals
    today: PriceTotals
    moves: tuple[ScenarioMove, ...]
    held: tuple[str, ...]
    kept: Mapping[str, int]


_OUTCOMES = TypeAdapter(ScenarioOutcome)


def write_outcome(outcome: ScenarioOutcome) -> dict[str, object]:
    """Return an outcome as JSON values."""
    document: dict[str, object] = _OUTCOMES.dump_python(outcome, mode="json")
    return document


def read_outcome(document: Mapping[str, object]) -> ScenarioOutcome:
    """Return the outcome of JSON values."""
    return _OUTCOMES.validate_python(document)
