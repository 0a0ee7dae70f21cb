"""Checks of a whole batch of price suggestions: signs that the run, not the market, moves prices.

A single suggestion may be right at its limit. A thousand that all move one way, or that all stop
at a rule, mean that an input is wrong: a cost, a forecast, a price response. Shares are tested
against their limits (Clopper and Pearson, Biometrika 1934), so that a small batch does not fail by
chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import special

from features.contracts.errors import BadInput
from features.contracts.pricing import PriceSuggestion, PricingItem

_LEVEL = 0.01  # rate at which a batch fails whose share lies exactly at the limit
_MIN_MOVES = 10  # fewer suggestions are read one by one, whatever their mean change
_ROUNDING_RULES = ("ending",)  # they choose among near prices and stop nothing


@dataclass(frozen=True)
class BatchGuards:
    """Limits of a run in one zone; beyond one of them an analyst must submit the suggestions.

    max_share_one_way     of the suggestions that may raise (or lower) prices
    max_share_bound       of the suggestions that a rule stops short of the best price
    max_share_inelastic   of the suggestions at regular prices whose elasticity is above -1
    max_weekly_move       revenue-weighted mean change of the zone's prices within a week, with what
                          was approved in the last seven days, a share; from ten suggestions on
    """

    max_share_one_way: float = 0.9
    max_share_bound: float = 0.8
    max_share_inelastic: float = 0.2
    max_weekly_move: float = 0.03

    def __post_init__(self) -> None:
        shares = (self.max_share_one_way, self.max_share_bound, self.max_share_inelastic)
        if not all(0 < share <= 1 for share in shares) or self.max_weekly_move <= 0:
            raise BadInput(
                "shares lie in 0..1, max_weekly_move is above 0", where="pricing rules: guards"
            )


def find_batch_problems(
    suggestions: Sequence[PriceSuggestion],
    items: Sequence[PricingItem],
    prices_week_ago: Mapping[str, int],
    guards: BatchGuards,
) -> tuple[str, ...]:
    """Return which guards a run trips, in words; empty where none.

    items            every priced item of the zone, with or without a suggestion
    prices_week_ago  list price of a week ago by item id, minor units; an item without one counts
                     as unmoved
    """
    n = len(suggestions)
    n_raises = sum(s.suggested_price_minor > s.current_price_minor for s in suggestions)
    n_bound = sum(
        s.binding_rule is not None and s.binding_rule not in _ROUNDING_RULES for s in suggestions
    )
    known = [s.elasticity for s in suggestions if not math.isnan(s.elasticity)]
    n_inelastic = sum(elasticity > -1 for elasticity in known)
    way, n_one_way = ("raise", n_raises) if 2 * n_raises >= n else ("lower", n - n_raises)
    shares = (
        (n_one_way, n, guards.max_share_one_way, f"{way} the price", "max_share_one_way"),
        (n_bound, n, guards.max_share_bound, "are stopped by a rule", "max_share_bound"),
        (
            n_inelastic,
            len(known),
            guards.max_share_inelastic,
            "have an elasticity above -1",
            "max_share_inelastic",
        ),
    )
    problems = [
        f"{count:,} of {total:,} suggestions {words} ({name} is {limit:g})"
        for count, total, limit, words, name in shares
        if find_least_share(count, total) > limit
    ]
    move = measure_weekly_move(suggestions, items, prices_week_ago)
    if n >= _MIN_MOVES and abs(move) > guards.max_weekly_move:
        problems.append(
            f"prices would move by {move:+.1%} within a week, weighted by revenue "
            f"(max_weekly_move is {guards.max_weekly_move:g})"
        )
    return tuple(problems)


def find_least_share(count: int, total: int) -> float:
    """Return the share that is exceeded at least, by the lower bound of Clopper and Pearson.

    Of 20 suggestions all 20: .01 ** (1 / 20).

    >>> round(find_least_share(20, 20), 3)
    0.794
    >>> find_least_share(0, 20)
    0.0
    """
    return float(special.betaincinv(count, total - count + 1, _LEVEL)) if count else 0.0


def measure_weekly_move(
    suggestions: Sequence[PriceSuggestion],
    items: Sequence[PricingItem],
    prices_week_ago: Mapping[str, int],
) -> float:
    """Return the mean change of all prices: of the list price since a week ago, and as suggested.

    Promotions that began or ended in the week move no list price. Weights are the expected revenue
    at current prices.
    """
    suggested = {s.item_id: s.suggested_price_minor for s in suggestions}
    moves = weights = 0.0
    for item in items:
        now, listed = item.current_price_minor, item.list_price_minor
        before = prices_week_ago.get(item.item_id, listed)
        weight = item.units_mean * now
        if before > 0 and weight > 0:
            moves += weight * (suggested.get(item.item_id, now) / now * listed / before - 1)
            weights += weight
    return moves / weights if weights else 0.0
