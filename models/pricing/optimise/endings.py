"""The prices that a shop uses: their last digits, as text, and their smallest step.

An ending with a point is the end of the price as it is written: `.99`, `9.00`. One without a point
is the end of its digits, without those that the step leaves at 0: `9` allows 1.29, and 1,079 where
prices are whole kronor.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from features.contracts.errors import BadInput
from features.contracts.money import minor_digits, to_major, to_minor

Endings = tuple[str | int, ...]

DEFAULT_ENDINGS: Endings = ("9",)
_FORM = re.compile(r"[0-9]{1,6}|[0-9]{0,6}\.[0-9]{1,3}")
_STEPS = (1_000, 500, 100, 50, 10, 5, 1)  # minor units
_MIN_PRICES = 3  # fewer teach nothing
_MANY_PRICES = 10  # from so many on two digits and up to four endings are learnt
_MIN_SHARE = 0.1  # of the prices, for an ending that counts as used
# Of the prices, by the endings that are used: lists hold old prices, and means where they were seen
# in sales.
_COVERED = 0.75


@dataclass(frozen=True)
class PriceGrid:
    """The endings and the smallest step (major units) of a zone's prices.

    n_prices   the list prices that they were learnt from; 0 where they were set
    """

    endings: Endings
    step: str | None = None
    n_prices: int = 0

    def describe(self, currency: str) -> str:
        """Return the grid in words."""
        texts = " or ".join(map(str, self.endings))
        end = f"end in {texts}" if self.endings else "may have any ending"
        step = f", in steps of {self.step} {currency}" if self.step else ""
        if not self.n_prices:
            return f"prices {end}{step}, as set"
        return (
            f"prices {end}{step}, learnt from {self.n_prices:,} list prices; "
            "set `price_endings` and `price_step` of the zone to choose others"
        )


def check_ending(ending: str | int) -> bool:
    """Return whether an ending is written as one; a number is one digit or two."""
    if isinstance(ending, int):
        return 0 <= ending <= 99
    return _FORM.fullmatch(ending) is not None


@lru_cache(maxsize=256)
def find_residues(endings: Endings, digits: int, step_minor: int) -> tuple[int, tuple[int, ...]]:
    """Return a modulus and the remainders of the prices with one of the endings, minor units.

    `digits` are those of the currency after the point. Without endings every step is allowed.

    >>> find_residues(("9",), 2, 1), find_residues((".99",), 2, 1), find_residues(("9",), 2, 100)
    ((10, (9,)), (100, (99,)), (1000, (900,)))
    >>> find_residues((), 2, 5)
    (5, (0,))
    """
    ends = [_parse_ending(ending, digits, step_minor) for ending in endings] or [(1, 0)]
    modulus = math.lcm(step_minor, *(modulus for modulus, _ in ends))
    residues = {
        price
        for ending_modulus, remainder in ends
        for price in range(remainder, modulus, ending_modulus)
        if price % step_minor == 0
    }
    return modulus, tuple(sorted(residues))


def _parse_ending(ending: str | int, digits: int, step_minor: int) -> tuple[int, int]:
    text = str(ending)
    whole, point, fraction = text.partition(".")
    if point:
        if len(fraction) != digits:
            raise BadInput(
                f"no price ends in {text!r}: the currency has {digits} digits after the point",
                where="endings",
            )
        return int(10 ** len(whole + fraction)), int(whole + fraction)
    unit = 1
    while step_minor % (unit * 10) == 0:
        unit *= 10
    return int(10 ** len(text)) * unit, int(text) * unit


def to_step_minor(step: str | None, currency: str) -> int:
    """Return the smallest step in minor units; 1 without one. Raises BadInput below that."""
    minor = 1 if step is None else to_minor(step, currency)
    if minor < 1:
        raise BadInput(f"{step!r} {currency} is no step of prices", where="price_step")
    return minor


def learn_grid(list_prices_minor: Sequence[int], currency: str, max_change: float) -> PriceGrid:
    """Return the step and the endings that the list prices of a zone use.

    The step divides all of them. Step and endings leave the price in the middle another one within
    `max_change`. Of a few prices only the last digit is learnt.

    >>> learn_grid([107_900, 54_900, 129_900, 89_900], "SEK", 0.1)
    PriceGrid(endings=('9.00',), step='1.00', n_prices=4)
    >>> learn_grid([1_99, 4_99, 12_49, 7_99, 3_49, 2_99, 8_99, 6_49, 5_99, 9_99], "EUR", 0.1)
    PriceGrid(endings=('.49', '.99'), step=None, n_prices=10)
    >>> learn_grid([1_29, 2_19], "EUR", 0.1)
    PriceGrid(endings=('9',), step=None, n_prices=0)
    """
    prices = sorted(price for price in list_prices_minor if price > 0)
    if len(prices) < _MIN_PRICES:
        return PriceGrid(DEFAULT_ENDINGS)
    reach = prices[len(prices) // 2] * max_change
    step = next(
        step
        for step in _STEPS
        if step == 1 or (step <= reach and not any(p % step for p in prices))
    )
    unit = 10 ** (len(str(step)) - 1)
    widths, most = ((2, 1), 4) if len(prices) >= _MANY_PRICES else ((1,), 2)
    endings: tuple[str, ...] = ()
    for width in widths:
        tails = Counter(price // unit % 10**width for price in prices)
        used = [tail for tail, count in sorted(tails.items()) if count >= _MIN_SHARE * len(prices)]
        is_covered = sum(tails[tail] for tail in used) >= _COVERED * len(prices)
        # An ending returns in other prices: what one price alone ends in says nothing.
        different = sum(price // unit % 10**width in used for price in set(prices))
        returns = different >= 2 * len(used)
        if is_covered and returns and len(used) <= most and 10**width * unit <= 2 * reach:
            endings = tuple(_write_ending(tail, width, unit, currency) for tail in used)
            break
    return PriceGrid(endings, None if step == 1 else to_major(step, currency), len(prices))


def _write_ending(tail: int, width: int, unit: int, currency: str) -> str:
    """Return an ending as text, with a point where it reaches beyond the digits after it."""
    digits = minor_digits(currency)
    text = f"{tail:0{width}}" + "0" * (len(str(unit)) - 1)
    if digits and len(text) >= digits:
        return f"{text[:-digits]}.{text[-digits:]}"
    return text
