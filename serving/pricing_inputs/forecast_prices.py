"""How far the price of an item has moved from the one that its forecast assumes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from features.contracts.calendar import add_weeks
from features.prices.ledger import Price
from features.prices.timeline import compute_mean_offer

_SAME = 1e-6  # forecasts keep prices as the model saw them, in single precision


@dataclass(frozen=True)
class PriceMove:
    """The offer price that a week's forecast assumes, and the one of the ledger; minor units."""

    then_minor: float
    now_minor: float

    def factor(self, elasticity: float) -> float:
        """Return the factor of the units: (price now / price then) ** elasticity."""
        return float((self.now_minor / self.then_minor) ** elasticity)


def find_price_moves(
    history: Sequence[Price],
    weeks: Iterable[tuple[datetime, float | None]],
    now: datetime,
    timezone: str,
) -> list[PriceMove | None]:
    """Return one move per week, None where the price is as assumed or no price is known.

    history     the ledger's rows of the item and zone, in the order of appending
    weeks       start of each week, and the price its forecast assumes, minor units
    timezone    the shop's, for the ends of the weeks

    A forecast without an assumed price was learnt from sales alone. They were made at the price
    with which the ledger opened (it was derived from them, or is the shop's own): that one is
    taken. A price planned for a part of a week counts for that part; in the week of `now`, a price
    that moved against the plan counts for the rest of the week only.
    """
    return [_find_move(history, start, assumed, now, timezone) for start, assumed in weeks]


def _find_move(
    history: Sequence[Price], start: datetime, assumed: float | None, now: datetime, timezone: str
) -> PriceMove | None:
    if not history:
        return None
    then = float(history[0].offer_price_minor) if assumed is None else assumed
    end = add_weeks(start, 1, timezone)
    planned = compute_mean_offer(history, start, end)
    if planned is None or min(planned, then) <= 0 or _is_same(planned, then):
        return None
    ahead = compute_mean_offer(history, max(start, now), end) if start < now < end else planned
    if ahead is None or ahead <= 0 or _is_same(ahead, then):
        return None
    return PriceMove(then, ahead)


def _is_same(price: float, other: float) -> bool:
    return abs(price - other) <= _SAME * max(price, other)
