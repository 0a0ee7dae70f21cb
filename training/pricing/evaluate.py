"""Evaluation of a price response: predicted against actual held-out price changes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.pricing import EvidenceGrade
from features.contracts.seeds import generator
from models.pricing.response.elasticity import ElasticityModel, predict_log_units
from models.pricing.response.fit import ElasticityConfig, FittedElasticities
from models.pricing.response.panel import PricePanel
from models.pricing.response.placebo import fit_next_weeks_price, fit_permuted_prices
from training.pricing import plots
from training.pricing.baselines import (
    EMPIRICAL_BAYES,
    OWN,
    POOLED,
    WITH_PROMOTIONS,
    Baselines,
    compute_weekly_changes,
)
from training.results import Comparison, Evaluation
from training.significance import compute_paired_p_value

PRIMARY = "R2 of held-out price changes"
ALONE = "R2 of held-out price changes, prices alone"
_N_DRAWS = 1000
_SALES_LEVELS = (0.0, 1.0, 3.0, 10.0, np.inf)  # mean units a week
_LEVEL = 0.05  # of the test whether ours is worse than the strongest baseline
_MOSTLY_PROMOTIONS = (
    "held-out price changes are mostly promotions; suggestions rely on the regular response"
)
_NOTES = (
    "prices are those of the price list where it agrees with what was paid, else what was paid",
    "ours knows the promotion calendar, as does empirical Bayes with promotions",
    "no slope is clipped; items whose slope is not clearly below 0 have grade D and no suggestion",
)


@dataclass(frozen=True)
class HeldOutChanges:
    """Changes of price and units from week to week (n,), and the model's predictions of them.

    n_series      number of evaluated series
    series        index of each change's series among them
    announced     whether a reduction was announced in one of both weeks
    reach         (K, n) change of the reach of each kind of promotion
    by_price      change of log units predicted from the price alone
    by_all        the same with promotions, which are planned, and the prices of the family
    """

    n_series: int
    series: Int64Array
    price: Float64Array
    units: Float64Array
    announced: BoolArray
    reach: Float64Array
    by_price: Float64Array
    by_all: Float64Array

    @property
    def are_mostly_promotions(self) -> bool:
        """Whether most of the changes begin or end an announced reduction."""
        return bool(self.announced.mean() > 0.5) if len(self.announced) else False


def collect_held_out_changes(
    model: ElasticityModel, panel: PricePanel, first_week: int, config: ElasticityConfig
) -> HeldOutChanges:
    """Return the price changes of `panel` from `first_week` on, with their predictions."""
    changes = compute_weekly_changes(panel)
    price = np.where(changes.sold_in_both, changes.price, 0.0)
    held_out = changes.sold_in_both & (np.abs(price) > config.min_change)
    held_out[:, : first_week - 1] = False
    by_price, by_all = predict_log_units(model, panel)
    return HeldOutChanges(
        n_series=len(panel.item_ids),
        series=np.nonzero(held_out)[0],
        price=changes.price[held_out],
        units=changes.units[held_out],
        announced=((panel.announced[:, 1:] > 0) | (panel.announced[:, :-1] > 0))[held_out],
        reach=np.diff(panel.reach, axis=2)[:, held_out],
        by_price=np.diff(by_price, axis=1)[held_out],
        by_all=np.diff(by_all, axis=1)[held_out],
    )


def evaluate_predictions(
    fitted: FittedElasticities,
    panel: PricePanel,
    changes: HeldOutChanges,
    baselines: Baselines,
    cut: datetime,
    seed: int,
) -> Evaluation:
    """Return our R² beside that of the baselines, on the same price changes.

    `panel` has the evaluated series; the model was fitted on the weeks before `cut`.
    """
    errors = {
        name: (changes.units - slopes[changes.series] * changes.price) ** 2
        for name, slopes in baselines.slopes.items()
    }
    errors[WITH_PROMOTIONS] = (changes.units - _predict_calendar(baselines, changes)) ** 2
    our_errors = (changes.units - changes.by_all) ** 2
    by_all = _compare(PRIMARY, our_errors, errors, changes)
    by_price = _compare(ALONE, (changes.units - changes.by_price) ** 2, errors, changes)
    metrics: dict[str, float] = {}
    for name in (EMPIRICAL_BAYES, WITH_PROMOTIONS):
        metrics |= _measure_gain(by_all, our_errors, (name, errors[name]), changes, seed)
    metrics |= _describe_slopes(fitted.model, panel, changes, baselines.slopes)
    metrics |= _describe_sales_levels(fitted)
    metrics |= _describe_model(fitted.model, panel)
    return Evaluation(
        task="pricing",
        cut=cut,
        primary=PRIMARY,
        comparisons=(by_all, by_price),
        failed_bars=_find_failed_bars(by_all, by_price),
        metrics=metrics,
        notes=(_MOSTLY_PROMOTIONS, *_NOTES) if changes.are_mostly_promotions else _NOTES,
        figures={"price_response": plots.plot_predicted_changes(changes.by_all, changes.units)},
    )


def _find_failed_bars(by_all: Comparison, by_price: Comparison) -> tuple[str, ...]:
    """Return what the price response must reach and does not.

    Below 0 it predicts worse than "nothing changes"; a tie with the strongest is not held against
    it. One slope for all takes what promotions do for the price's, so either of ours may be what
    beats it.
    """
    bars = []
    if by_all.ours <= 0:
        bars.append(f"{by_all.metric} {by_all.ours:.4f} is no better than to predict no change")
    best, pooled = max(by_all.ours, by_price.ours), by_all.baselines[POOLED]
    if best <= pooled:
        bars.append(f"does not beat one slope for all: {best:.4f} against {pooled:.4f} of {POOLED}")
    tied = by_all.p_value is not None and by_all.p_value > _LEVEL
    if by_all.ours < by_all.baselines[by_all.strongest] and not tied:
        bars.append(f"measurably behind its baseline: {by_all.describe()}")
    return tuple(bars)


def _predict_calendar(baselines: Baselines, changes: HeldOutChanges) -> Float64Array:
    """Return the changes of log units (n,) that prices and promotions predict by the baseline."""
    baseline, series = baselines.calendar, changes.series
    by_promotions = (baseline.lifts[:, series] * changes.reach).sum(0)
    return np.asarray(baseline.slopes[series] * changes.price + by_promotions)


def _describe_sales_levels(fitted: FittedElasticities) -> dict[str, float]:
    """Return the mean responses of all fitted series by level of sales: it should not matter."""
    model, panel = fitted.model, fitted.panel
    weekly = panel.units.mean(1)
    metrics = {}
    for low, high in itertools.pairwise(_SALES_LEVELS):
        rows = np.flatnonzero((weekly >= low) & (weekly < high))
        level = f"{low:g} to {high:g} a week" if np.isfinite(high) else f"{low:g} a week and more"
        for name, column in (("regular", "elasticity"), ("depth", "depth")):
            mean = float(model.columns[column][rows].mean()) if len(rows) else np.nan
            metrics[f"mean {name} response, {level}"] = mean
    return metrics


def add_placebo_tests(
    evaluation: Evaluation, fitted: FittedElasticities, config: ElasticityConfig, seed: int
) -> Evaluation:
    """Return the evaluation with the results of two placebo tests on the earlier weeks."""
    rng = generator(seed, "permuted prices")
    placebos = {
        "permuted prices": fit_permuted_prices(fitted, config, rng),
        "next week's price": fit_next_weeks_price(fitted),
    }
    metrics, notes = dict(evaluation.metrics), list(evaluation.notes)
    for name, placebo in placebos.items():
        metrics[f"placebo slope, {name}"] = placebo.slope
        metrics[f"placebo error, {name}"] = placebo.error
        if placebo.fails:
            notes.append(
                f"placebo test: {name} must explain nothing, and has a slope of "
                f"{placebo.slope:+.3f}"
            )
    return replace(evaluation, metrics=metrics, notes=tuple(notes))


def measure_clipped_share(slopes: Float64Array) -> float:
    """Return the share of slopes that equal others at the lowest or highest, as clipping leaves.

    >>> measure_clipped_share(np.minimum([-2.0, -1.0, 0.5, 0.7], 0.0))  # two of four were cut to 0
    0.5
    """
    at_ends = [slopes == end for end in (slopes.min(), slopes.max())]
    n_clipped = sum(at_end.sum() for at_end in at_ends if at_end.sum() > 1)
    return float(n_clipped / len(slopes))


def _measure_gain(
    comparison: Comparison,
    our_errors: Float64Array,
    baseline: tuple[str, Float64Array],
    changes: HeldOutChanges,
    seed: int,
) -> dict[str, float]:
    """Return our R² over that of a baseline (its name, errors (n,)) less 1, with its interval."""
    name, errors = baseline
    r2 = comparison.baselines[name]
    low, high = _bootstrap_gain(our_errors, errors, changes, seed)
    if r2 <= 0 or np.isnan(low):  # the baseline explains too little to be compared as a ratio
        return {}
    return {
        f"gain over {name}": comparison.ours / r2 - 1,
        f"gain over {name}, 2.5 %": low,
        f"gain over {name}, 97.5 %": high,
    }


def _describe_slopes(
    model: ElasticityModel,
    panel: PricePanel,
    changes: HeldOutChanges,
    baseline_slopes: Mapping[str, Float64Array],
) -> dict[str, float]:
    """Return metrics of the slopes of series with a held-out price change."""
    evaluated = np.unique(changes.series)
    series = model.find_series(zip(panel.item_ids, panel.zones, strict=True))[evaluated]
    slopes, depths = (
        np.where(series >= 0, model.columns[name][series], np.nan)
        for name in ("elasticity", "depth")
    )
    return {
        "share positive elasticities": float((slopes > 0).mean()),
        "share positive responses to depth": float((depths > 0).mean()),
        "share clipped": measure_clipped_share(slopes),
        "share positive, own slopes": float((baseline_slopes[OWN][evaluated] > 0).mean()),
        "items judged": float(len(slopes)),
        "price changes judged": float(len(changes.series)),
        "median elasticity": float(np.median(slopes)),
    }


def _describe_model(model: ElasticityModel, panel: PricePanel) -> dict[str, float]:
    """Return mean lifts by kind and zone, and the number of items of each grade."""
    metrics = {}
    item_ids = sorted(set(panel.item_ids.tolist()))
    for zone in sorted(set(panel.zones.tolist())):
        for kind, lift in model.find_lifts(item_ids, zone).items():
            mean = float(np.nanmean(lift)) if np.isfinite(lift).any() else np.nan
            metrics[f"lift of {kind}, {zone}"] = mean
    for code, grade in enumerate(EvidenceGrade):
        metrics[f"items of grade {grade}"] = float((model.columns["grade"] == code).sum())
    return metrics


def _compare(
    metric: str,
    our_errors: Float64Array,
    errors: Mapping[str, Float64Array],
    changes: HeldOutChanges,
) -> Comparison:
    """Return the comparison of R²; squared errors (n,), those of the baselines by name."""
    scores = {name: _compute_r2(of_baseline, changes.units) for name, of_baseline in errors.items()}
    strongest = max(scores, key=lambda name: scores[name])
    return Comparison(
        metric=metric,
        ours=_compute_r2(our_errors, changes.units),
        baselines=scores,
        better="higher",
        strongest=strongest,
        p_value=compute_paired_p_value(our_errors, errors[strongest]),
    )


def _bootstrap_gain(
    our_errors: Float64Array, bayes_errors: Float64Array, changes: HeldOutChanges, seed: int
) -> tuple[float, float]:
    """Return the 95 % percentile interval of our R² over that of empirical Bayes, less 1.

    Items are drawn with replacement, the same for both (paired bootstrap).
    """
    rng = generator(seed, "price response bootstrap")
    units = changes.units
    parts = [np.ones(len(our_errors)), units, units**2, our_errors, bayes_errors]
    sums = np.stack([np.bincount(changes.series, part, changes.n_series) for part in parts])
    present = np.flatnonzero(sums[0] > 0)
    times = rng.multinomial(len(present), np.full(len(present), 1 / len(present)), _N_DRAWS)
    n, total, squares, ours, bayes = sums[:, present] @ times.T
    spread = np.maximum(squares - total**2 / n, 1e-12)
    bayes_r2 = 1 - bayes / spread
    gains = np.where(
        bayes_r2 > 0, (1 - ours / spread) / np.where(bayes_r2 > 0, bayes_r2, 1.0) - 1, np.nan
    )
    if np.isnan(gains).any():
        return np.nan, np.nan
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)


def _compute_r2(errors: Float64Array, units: Float64Array) -> float:
    """Return 1 less the sum of squared errors over that of the changes in log units."""
    total = float(((units - units.mean()) ** 2).sum())
    return 1 - float(errors.sum()) / total if total else 0.0
