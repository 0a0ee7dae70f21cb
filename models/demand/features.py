"""Features of demand at an origin: units sold before it, and plans for the week to forecast.

Every function takes the number of known weeks (`origin`) and reads units of earlier weeks only.
Quantities are relative to the series' own level (`base`), so that one tree serves small and large
series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from models.demand.item_seasons import fit_exponents
from models.demand.launches import count_weeks_since_launch
from models.demand.panel import PRICE_MEMORY, DemandPanel, encode, sum_by_group
from models.demand.seasons import (
    NO_SEASON,
    Seasons,
    SeasonStrength,
    fit_season_strength,
    knows_season,
    measure_seasons,
    sum_by_category,
)

SEASON_WEEKS = 52
PRICES = ("price_to_list", "price_to_usual")  # the columns that fall when a planned price falls
PROMOTED_REACH = 0.1  # a week counts as promoted when a kind reaches at least this share
_LAGS = (1, 2, 3, 4)
_MEANS = (2, 4, 8, 13, 26, 52)
_MEMORY = 26  # weeks that promotion response is read from
_SIMILARITY = 0.15  # reach distance at which a past week counts 1/e
_DECAYS = (0.1, 0.3)
_FLOOR = 0.02


@dataclass(frozen=True)
class History:
    """What an origin knows of R series: each one's level and the same columns for all weeks ahead.

    rows    R, of the panel; None for all its series
    units_by_category   C × origin, of the whole panel; None where no year before is known
    exponent   how strongly each series follows its category, R; None likewise
    """

    origin: int
    rows: Int64Array | None
    base: Float32Array
    columns: dict[str, Float32Array]
    units_by_category: Float64Array | None
    exponent: Float64Array | None

    def select(self, values: Float32Array) -> Float32Array:
        """Return the rows of N values, or rows of N series."""
        return values if self.rows is None else values[self.rows]


def summarize_history(panel: DemandPanel, origin: int, rows: Int64Array | None = None) -> History:
    """Return the history columns at `origin`: weeks before it are known.

    With `rows`, of these series only; what they share with their category is that of the whole
    panel all the same.
    """
    units = panel.units[:, :origin] if rows is None else panel.units[rows, :origin]
    n_open = _count_weeks_since_opening(panel, origin)
    n_open = n_open if rows is None else n_open[rows]
    means = {n_weeks: _mean_of_last(units, n_weeks, n_open) for n_weeks in _MEANS}
    base = _compute_level(units, n_open) + _FLOOR
    columns: dict[str, Float32Array] = {"log_base": np.log(base)}
    for lag in _LAGS:
        columns[f"lag_{lag}"] = units[:, -lag] / base
    for n_weeks, mean in means.items():
        columns[f"mean_{n_weeks}"] = mean / base
    for share in _DECAYS:
        columns[f"decayed_{share}"] = _decay_mean(units, share, n_open) / base
    columns |= _intermittency_columns(units, base)
    by_category = exponent = None
    if knows_season(origin):
        known, category = panel.units[:, :origin].astype(np.float64), panel.groups[1]
        by_category, exponent = sum_by_category(known, category), fit_exponents(known, category)
        exponent = exponent if rows is None else exponent[rows]
    past = History(origin, rows, base.astype(np.float32), columns, by_category, exponent)
    columns |= _group_columns(panel, past)
    columns |= _past_promotion_columns(panel, past, units)
    return past


def build_features(panel: DemandPanel, past: History, step: int) -> tuple[list[str], Float32Array]:
    """Return names and R × F columns of the week `step` weeks after the last known one (from 1)."""
    target = past.origin + step - 1
    columns = dict(past.columns)
    columns["horizon"] = np.full(len(past.base), step, np.float32)
    columns |= _promotion_plan_columns(panel, past, target)
    columns |= _price_plan_columns(panel, past, target)
    columns["season"] = _season(panel, past, target)
    matrix = np.column_stack([np.asarray(values, np.float32) for values in columns.values()])
    return list(columns), matrix


def _count_weeks_since_opening(panel: DemandPanel, origin: int) -> Int64Array:
    """Return N: the known weeks since the zone of each series began to sell.

    Those before are no weeks in which its items sold nothing.
    """
    zone = encode(panel.zones.tolist())
    totals = sum_by_category(panel.units[:, :origin], zone)
    return count_weeks_since_launch(totals)[zone]


def compute_levels_of_sums(units: Float64Array) -> Float64Array:
    """Return the level of each row of sums over series, as of single series."""
    known = units.astype(np.float32)
    return np.asarray(_compute_level(known, count_weeks_since_launch(known)), np.float64)


def _compute_level(units: Float32Array, n_open: Int64Array) -> Float32Array:
    """Return the level of each row after the last of its weeks."""
    shares = {8: 0.5, 26: 0.3, 4: 0.2}
    parts = [share * _mean_of_last(units, n_weeks, n_open) for n_weeks, share in shares.items()]
    return np.asarray(sum(parts), np.float32)


def _decay_mean(units: Float32Array, share: float, n_open: Int64Array) -> Float32Array:
    """Return the exponentially weighted mean of the weeks of an open zone.

    Weights shrink by `share` a week and sum to 1.
    """
    weights = (1 - share) ** np.arange(units.shape[1] - 1, -1, -1)
    # Not by BLAS: for so few weeks it is no faster, and its vector kernels once reported an invalid
    # value of finite numbers.
    sums = np.einsum("rw,w->r", units, weights.astype(np.float32))
    return np.asarray(sums * share / (1 - (1 - share) ** n_open), np.float32)


def _mean_of_last(units: Float32Array, n_weeks: int, n_open: Int64Array) -> Float32Array:
    """Return the mean of the last weeks in which the zone was open."""
    counted = np.minimum(n_open, n_weeks)
    return np.asarray(units[:, -n_weeks:].sum(axis=1) / counted, np.float32)


def _intermittency_columns(units: Float32Array, base: Float32Array) -> dict[str, Float32Array]:
    n_weeks = units.shape[1]
    sold = units > 0
    recent = units[:, -13:]
    last = np.where(sold.any(axis=1), np.argmax(sold[:, ::-1], axis=1), n_weeks)
    first = np.where(sold.any(axis=1), n_weeks - np.argmax(sold, axis=1), 0)
    count = sold[:, -26:].sum(axis=1)
    return {
        "share_sold_8": sold[:, -8:].mean(axis=1),
        "share_sold_26": sold[:, -26:].mean(axis=1),
        "weeks_since_sale": last.astype(np.float32),
        "age_weeks": np.minimum(first, SEASON_WEEKS).astype(np.float32),
        "size_when_sold": units[:, -26:].sum(axis=1) / np.maximum(count, 1) / base,
        "deviation_13": recent.std(axis=1) / base,
        "max_13": recent.max(axis=1) / base,
    }


def _group_columns(panel: DemandPanel, past: History) -> dict[str, Float32Array]:
    """Return recent units of the department and of the category over those of 13 weeks."""
    units = panel.units[:, max(past.origin - 13, 0) : past.origin]
    four, thirteen = units[:, -4:].mean(axis=1), units[:, -13:].mean(axis=1)
    last = units[:, -1]
    columns: dict[str, Float32Array] = {}
    for name, codes in zip(("department", "category"), panel.groups, strict=True):
        level = sum_by_group(thirteen, codes) + 0.5
        columns[f"{name}_trend_4"] = (sum_by_group(four, codes) + 0.5) / level
        columns[f"{name}_trend_1"] = (sum_by_group(last, codes) + 0.5) / level
        columns[f"{name}_log_size"] = np.log(level / np.maximum(np.bincount(codes)[codes], 1))
    return {name: past.select(values) for name, values in columns.items()}


def _past_promotion_columns(
    panel: DemandPanel, past: History, units: Float32Array
) -> dict[str, Float32Array]:
    columns: dict[str, Float32Array] = {}
    recent_reach = _reach_before(panel, past)
    for kind, reach in zip(panel.kinds, recent_reach, strict=True):
        columns[f"reach_last:{kind}"] = reach[:, -1]
        columns[f"reach_mean_4:{kind}"] = reach[:, -4:].mean(axis=1)
        columns[f"reach_mean_26:{kind}"] = reach.mean(axis=1)
    if panel.kinds:
        base, reach = past.base, recent_reach
        promoted = np.any(reach >= PROMOTED_REACH, axis=0)
        recent = units[:, -promoted.shape[1] :]
        columns["mean_promoted"] = _mean_of_chosen(recent, promoted) / base
        columns["mean_unpromoted"] = _mean_of_chosen(recent, ~promoted) / base
        columns["share_promoted"] = promoted.mean(axis=1)
    return columns


def _reach_before(panel: DemandPanel, past: History) -> Float32Array:
    """Return K × R × weeks: the reach of the last weeks before the origin."""
    recent = panel.reach[:, :, max(past.origin - _MEMORY, 0) : past.origin]
    return recent if past.rows is None else recent[:, past.rows]


def _mean_of_chosen(units: Float32Array, chosen: BoolArray) -> Float32Array:
    """Return the mean over the chosen weeks; NaN where there are none."""
    count = chosen.sum(axis=1)
    sums = np.where(chosen, units, 0).sum(axis=1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan).astype(np.float32)


def _promotion_plan_columns(
    panel: DemandPanel, past: History, target: int
) -> dict[str, Float32Array]:
    """Return the target week's promotions, and units of past weeks with similar ones."""
    columns: dict[str, Float32Array] = {}
    for kind, reach in zip(panel.kinds, panel.reach, strict=True):
        columns[f"reach:{kind}"] = past.select(reach[:, target])
        columns[f"reach_before:{kind}"] = past.select(reach[:, target - 1])
        columns[f"reach_category:{kind}"] = past.select(_mean_of_category(panel, reach[:, target]))
    if panel.kinds:
        planned = np.stack([columns[f"reach:{kind}"] for kind in panel.kinds])
        distance = np.abs(_reach_before(panel, past) - planned[:, :, None])
        # All past weeks are alike for a kind of which the plan is not known.
        weights = np.exp(-np.nansum(distance, axis=0) / _SIMILARITY)
        weights *= 0.95 ** np.arange(weights.shape[1] - 1, -1, -1, dtype=np.float32)
        total = weights.sum(axis=1)
        units = past.select(panel.units[:, max(past.origin - _MEMORY, 0) : past.origin])
        similar = (weights * units).sum(axis=1)
        columns["mean_similar"] = (similar + 0.5 * past.base) / (total + 0.5) / past.base
        columns["n_similar"] = total
    if panel.depth is not None:
        columns["depth"] = past.select(panel.depth[:, target])
    return columns


def _mean_of_category(panel: DemandPanel, planned: Float32Array) -> Float32Array:
    """Return the mean planned reach of each series' category; NaN where most of it is unknown."""
    category = panel.groups[1]
    size = np.bincount(category)[category].astype(np.float32)
    n_unknown = sum_by_group(np.isnan(planned).astype(np.float32), category)
    mean = sum_by_group(np.nan_to_num(planned), category) / size
    return np.where(2 * n_unknown > size, np.nan, mean).astype(np.float32)


def _price_plan_columns(panel: DemandPanel, past: History, target: int) -> dict[str, Float32Array]:
    """Return the target week's offer price over its list price, and over that of recent weeks.

    Where it is not known whether the price will be reduced, the list price is compared with those
    of recent weeks.
    """
    if panel.offer_price is None or panel.list_price is None:
        return {}
    recent = slice(max(past.origin - PRICE_MEMORY, 0), past.origin)
    offer = past.select(panel.offer_price[:, target])
    list_price = past.select(panel.list_price[:, target])
    usual_offer = _mean_of_known(past.select(panel.offer_price[:, recent]))
    usual_list = _mean_of_known(past.select(panel.list_price[:, recent]))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {
            "price_to_list": np.log(offer / list_price),
            "price_to_usual": np.where(
                np.isfinite(offer), np.log(offer / usual_offer), np.log(list_price / usual_list)
            ),
        }
    return {
        name: np.where(np.isfinite(values), values, np.nan).astype(np.float32)
        for name, values in ratios.items()
    }


def _mean_of_known(prices: Float32Array) -> Float32Array:
    """Return the mean of each row's known prices; NaN where none is known."""
    known = np.isfinite(prices)
    sums = np.where(known, prices, 0).sum(axis=1)
    return np.where(known.any(axis=1), sums / np.maximum(known.sum(axis=1), 1), np.nan).astype(
        np.float32
    )


def _season(panel: DemandPanel, past: History, target: int) -> Float32Array:
    """Return the three weeks around the target a year ago over the level at the origin a year ago.

    NaN where these weeks are not known.
    """
    year = target - SEASON_WEEKS
    level = past.origin - SEASON_WEEKS
    if level < 4 or year + 2 > past.origin:
        return np.full(len(past.base), np.nan, np.float32)
    then = past.select(panel.units[:, year - 1 : year + 2]).mean(axis=1)
    usual = past.select(panel.units[:, level - 4 : level]).mean(axis=1)
    return np.asarray((then + past.base * 0.25) / (usual + past.base * 0.25), np.float32)


def season_factors(
    panel: DemandPanel, past: History, step: int, strength: SeasonStrength
) -> Float32Array:
    """Return R factors on the level at the origin by the season of each series' category, as far
    as the series follows it.

    strength   how far seasons come back, of fit_strength_of_seasons
    """
    if past.units_by_category is None or past.exponent is None or not strength:
        return np.ones(len(past.base), np.float32)
    season = measure_level_seasons(past.units_by_category, step).scale(strength)
    of_series = past.select(season[panel.groups[1], 0].astype(np.float32))
    return np.asarray(of_series**past.exponent, np.float32)


def measure_level_seasons(units: Float64Array, step: int) -> Seasons:
    """Return the seasons of the week `step` weeks after the last over the levels of C × T units."""
    return measure_seasons(units, [step], _forecast_level)


def fit_strength_of_seasons(panel: DemandPanel) -> SeasonStrength:
    """Return how far the seasons of a panel's categories come back."""
    if not knows_season(panel.n_known):
        return NO_SEASON
    return fit_season_strength(sum_by_category(panel.units, panel.groups[1]), _forecast_level)


def _forecast_level(units: Float64Array) -> Float64Array:
    return compute_levels_of_sums(units)[:, None]
