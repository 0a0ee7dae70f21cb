"""The arithmetic of what a promotion did: its gain, the return on it, differences of shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from features.contracts.money import to_minor
from features.contracts.pricing import Band
from models.pricing.effects.counterfactuals import ControlShift
from serving.promotions.repository import Promotion

MIN_GROUP = 20  # a mean over fewer says too much of each and too little of all
_Z10 = NormalDist().inv_cdf(0.9)
_NAMES = ("units", "revenue", "profit")


@dataclass(frozen=True)
class Sold:
    """Units sold, and money in minor units of the zone's currency, net of tax.

    profit     None where the cost of any item is not known
    discount   what buyers paid less than at the prices beneath the promotion
    """

    units: float
    revenue: float
    profit: float | None
    discount: float


@dataclass(frozen=True)
class Compared:
    """A value during the promotion and before it, and the difference with its interval."""

    during: float
    before: float
    difference: Band
    n_during: int
    n_before: int


def read_bands(
    document: Mapping[str, object] | None, name: str, share: float, currency: str
) -> dict[str, Band] | None:
    """Return units, revenue and profit of a frozen what-if over a share of its time.

    Money in minor units. The counts of a shorter time vary more than its share of a longer one, so
    the intervals contain the chance of each sale as well. None where nothing was forecast.
    """
    if document is None:
        return None
    effect: Mapping[str, Mapping[str, float | str]] = document[name]  # type: ignore[assignment]
    bands = {}
    for part in _NAMES:
        values = [
            float(value) if part == "units" else float(to_minor(str(value), currency))
            for value in (effect[part][level] for level in ("p10", "p50", "p90"))
        ]
        bands[part] = Band(*(value * share for value in values))
    units = bands["units"]
    half = (units.p90 - units.p10) / 2
    chance = _Z10 * math.sqrt(max(units.p50, 0.0))
    if half <= 0 and chance <= 0:
        return bands
    return {part: _widen(band, units, chance, part) for part, band in bands.items()}


def _widen(band: Band, units: Band, chance: float, part: str) -> Band:
    """Return a band with the chance of each sale in it; `chance` is half its interval in units."""
    worth = 1.0 if part == "units" or not units.p50 else abs(band.p50 / units.p50)
    low = math.hypot(band.p50 - band.p10, chance * worth)
    high = math.hypot(band.p90 - band.p50, chance * worth)
    return Band(band.p50 - low, band.p50, band.p50 + high)


def subtract(sold: Sold, without: Mapping[str, Band]) -> dict[str, Band]:
    """Return what sold less what would have sold without the promotion, where both are known."""
    values = {"units": sold.units, "revenue": sold.revenue, "profit": sold.profit}
    return {
        name: Band(value - without[name].p90, value - without[name].p50, value - without[name].p10)
        for name, value in values.items()
        if value is not None
    }


def compute_roi(promotion: Promotion, sold: Sold, gain: Mapping[str, Band]) -> Band | None:
    """Return the gain in profit, with what suppliers pay and less the costs, over what was put in.

    What was put in are the discounts and the costs, less what suppliers pay. None where nothing
    was, or the profit is not known.

    >>> from types import SimpleNamespace
    >>> paid = SimpleNamespace(funding_minor=20, cost_minor=40)
    >>> compute_roi(paid, Sold(10, 800, 200, 100), {"profit": Band(50, 80, 110)})
    Band(p10=0.25, p50=0.5, p90=0.75)
    """
    invested = sold.discount + promotion.cost_minor - promotion.funding_minor
    if "profit" not in gain or invested <= 0:
        return None
    moved = promotion.funding_minor - promotion.cost_minor
    profit = gain["profit"]
    return Band(*((value + moved) / invested for value in (profit.p10, profit.p50, profit.p90)))


def move_bands(bands: dict[str, Band] | None, shift: ControlShift | None) -> dict[str, Band] | None:
    """Return a forecast moved by what moved demand as a whole since, with the error of that.

    None stays None. Without a shift the forecast is as it was.

    >>> exact, rough = ControlShift("tea", 1.5, 0.0), ControlShift("tea", 1.5, 0.15 / 1.2815515655)
    >>> move_bands({"units": Band(8, 10, 12)}, exact)
    {'units': Band(p10=12.0, p50=15.0, p90=18.0)}
    >>> band = move_bands({"units": Band(8, 10, 12)}, rough)["units"]  # √(3² + 2.25²) = 3.75
    >>> round(band.p10, 6), round(band.p90, 6)
    (11.25, 18.75)
    """
    if bands is None or shift is None:
        return bands
    moved = {}
    for name, band in bands.items():
        middle = shift.factor * band.p50
        open_part = _Z10 * shift.error * middle
        low = math.hypot(shift.factor * (band.p50 - band.p10), open_part)
        high = math.hypot(shift.factor * (band.p90 - band.p50), open_part)
        moved[name] = Band(middle - low, middle, middle + high)
    return moved


def judge(sold: Sold, expected: Mapping[str, Band] | None) -> str:
    """Return as_expected, better or worse than the what-if, by profit where it is known; unknown
    without a what-if."""
    if expected is None:
        return "unknown"
    value, band = sold.units, expected["units"]
    if sold.profit is not None:
        value, band = sold.profit, expected["profit"]
    if value < band.p10:
        return "worse"
    return "better" if value > band.p90 else "as_expected"


def compare_shares(n_during: int, hits: int, n_before: int, hits_before: int) -> Compared | None:
    """Return two shares and their difference with its interval of 80 %; None of small groups.

    >>> shares = compare_shares(100, 30, 100, 20)
    >>> round(shares.difference.p50, 3), round(shares.difference.p10, 3)
    (0.1, 0.022)
    """
    if min(n_during, n_before) < MIN_GROUP:
        return None
    during, before = hits / n_during, hits_before / n_before
    variance = during * (1 - during) / n_during + before * (1 - before) / n_before
    return compare_means(during, before, math.sqrt(variance), n_during, n_before)


def compare_means(
    during: float, before: float, error: float, n_during: int, n_before: int
) -> Compared:
    """Return two values with their difference, whose standard error is `error`."""
    middle, half = during - before, _Z10 * error
    band = Band(middle - half, middle, middle + half)
    return Compared(during, before, band, n_during, n_before)
