"""Price response: slopes on the earlier weeks -> held-out price changes beside baselines -> refit
on all weeks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput
from features.contracts.pricing import EvidenceGrade
from features.contracts.seeds import generator
from features.facts.facts import Facts
from models.pricing.response.elasticity import (
    ElasticityConfig,
    ElasticityModel,
    FittedElasticities,
    fit_elasticities,
    fit_with_residuals,
    predict_log_units,
)
from models.pricing.response.panel import PricePanel
from models.pricing.response.placebo import fit_next_weeks_price, fit_permuted_prices
from training.pricing import plots
from training.pricing.baselines import EMPIRICAL_BAYES, OWN, POOLED, baseline_slopes, changes
from training.pricing.panel import price_panel
from training.results import Comparison, Evaluation, Trained
from training.significance import paired_p_value
from training.splits import span_of_sales
from training.task import TIME, Progress

PRIMARY = "R2 of held-out price changes"
ALONE = "R2 of held-out price changes, prices alone"
_N_DRAWS = 1000
_LEVEL = 0.05  # of the test whether ours is behind


@dataclass(frozen=True)
class PricingConfig:
    """`fit_share`: earlier share of the weeks that is fitted on; the price changes of the later
    ones are foretold.

    `min_selling_share`: items are judged that sold in at least this share of all weeks.
    """

    fit_share: float = 0.75
    min_selling_share: float = 0.9
    elasticity: ElasticityConfig = field(default_factory=ElasticityConfig)

    def __post_init__(self) -> None:
        if not 0 < self.fit_share < 1 or not 0 < self.min_selling_share <= 1:
            raise BadInput(
                "fit_share and min_selling_share are shares between 0 and 1", where="models/pricing"
            )


@dataclass(frozen=True)
class _Tests:
    """Held-out moves of price and units from week to week (n,), and the moves that our model
    foretells.

    series   place of the item among the judged ones, of which there are `n_series`
    alone    foretold from the price alone; whole: with promotions, which are planned, and
             neighbours' prices
    """

    n_series: int
    series: np.ndarray
    price: Float64Array
    units: Float64Array
    alone: Float64Array
    whole: Float64Array


def train(
    facts: Facts,
    settings: Settings,
    config: PricingConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Progress,
) -> Trained[ElasticityModel]:
    """Fits on the earlier weeks, foretells the later price changes, and refits on all weeks."""
    progress("weekly prices and units")
    _, end = span_of_sales(facts, until, settings.timezone)
    panel, starts = price_panel(facts, settings, end)
    n_fit = int(config.fit_share * len(starts))
    judged = panel.select_series(panel.sold.sum(1) >= config.min_selling_share * len(starts))
    progress("fitting price response on the earlier weeks")
    fitted = fit_with_residuals(panel.select_first_weeks(n_fit), config.elasticity)
    tests = _tests(fitted.model, judged, n_fit, config.elasticity)
    if not len(tests.series):
        raise BadInput(
            f"no price changed by more than {config.elasticity.min_change:.0%} in the last "
            f"{len(starts) - n_fit} of {len(starts)} weeks, so price response cannot be judged",
            hint="Import more history",
        )
    slopes = baseline_slopes(judged.select_first_weeks(n_fit))
    evaluation = _evaluation(starts[n_fit], fitted, slopes, tests, judged, settings.seed)
    progress("placebo tests")
    evaluation = _with_placebos(evaluation, fitted, config, settings.seed)
    if not refit:
        return Trained(evaluation, fitted.model, fitted.model)
    progress("refitting on all data")
    return Trained(evaluation, fitted.model, fit_elasticities(panel, config.elasticity))


def evaluate(
    facts: Facts,
    settings: Settings,
    config: PricingConfig,
    *,
    until: datetime | None,
    split: str = TIME,  # noqa: ARG001
    progress: Progress,
) -> Evaluation:
    """The figures on the later weeks, nothing refitted."""
    return train(facts, settings, config, until=until, refit=False, progress=progress).evaluation


def _tests(
    model: ElasticityModel, judged: PricePanel, first_week: int, config: ElasticityConfig
) -> _Tests:
    price, units, both = changes(judged)
    chosen = both & (np.abs(np.where(both, price, 0.0)) > config.min_change)
    chosen[:, : first_week - 1] = False
    alone, whole = (
        np.diff(each, axis=1)[chosen]
        for each in predict_log_units(model, judged, config.category_depths)
    )
    return _Tests(
        len(judged.item_ids), np.nonzero(chosen)[0], price[chosen], units[chosen], alone, whole
    )


def _evaluation(
    cut: datetime,
    fitted: FittedElasticities,
    slopes: dict[str, Float64Array],
    tests: _Tests,
    judged: PricePanel,
    seed: int,
) -> Evaluation:
    model = fitted.model
    known = dict(
        zip(zip(model.item_ids, model.zones, strict=True), model.columns["elasticity"], strict=True)
    )
    keys = zip(judged.item_ids, judged.zones, strict=True)
    ours = np.array([known.get(key, np.nan) for key in keys])[np.unique(tests.series)]
    errors = {
        name: (tests.units - values[tests.series] * tests.price) ** 2
        for name, values in slopes.items()
    }
    mine = (tests.units - tests.whole) ** 2
    whole = _comparison(PRIMARY, mine, errors, tests)
    alone = _comparison(ALONE, (tests.units - tests.alone) ** 2, errors, tests)
    low, high = _gain_interval(mine, errors[EMPIRICAL_BAYES], tests, seed)
    bayes = whole.baselines[EMPIRICAL_BAYES]
    metrics = {
        "gain over empirical Bayes": whole.ours / bayes - 1 if bayes > 0 else np.nan,
        "gain over empirical Bayes, 2.5 %": low,
        "gain over empirical Bayes, 97.5 %": high,
        "share positive elasticities": float((ours > 0).mean()),
        "share clipped": share_at_a_bound(ours),
        "share positive, own slopes": float((slopes[OWN][np.unique(tests.series)] > 0).mean()),
        "items judged": float(len(ours)),
        "price changes judged": float(len(tests.series)),
        "median elasticity": float(np.median(ours)),
    }
    judged_ids = sorted(set(judged.item_ids.tolist()))
    for zone in sorted(set(judged.zones.tolist())):
        for kind, lift in model.find_lifts(judged_ids, zone).items():
            metrics[f"lift of {kind}, {zone}"] = (
                float(np.nanmean(lift)) if np.isfinite(lift).any() else np.nan
            )
    for code, grade in enumerate(EvidenceGrade):
        metrics[f"items of grade {grade}"] = float((model.columns["grade"] == code).sum())
    notes = (
        "where regular prices hardly move, what is learnt is the response to promotions",
        "prices are those of the price list where it agrees with what was paid, else what was paid",
        "ours foretells from price and promotion calendar; the second table has its price part alone",
        "no slope is clipped; items whose slope is not clearly below zero have grade D and get no suggestion",
    )
    figures = {"price_response": plots.foretold(tests.whole, tests.units)}
    # Below 0 the model foretells worse than "nothing changes"; a tie with the strongest is not held
    # against it. One slope for all takes what promotions do for the price's, so either of ours may
    # be what beats it.
    tied = whole.p_value is not None and whole.p_value > _LEVEL
    beats_pooled = max(whole.ours, alone.ours) > whole.baselines[POOLED]
    passed = (
        whole.ours > 0 and beats_pooled and (whole.ours >= whole.baselines[whole.strongest] or tied)
    )
    return Evaluation(
        "pricing", cut, PRIMARY, (whole, alone), passed, metrics, notes, figures=figures
    )


def share_at_a_bound(slopes: Float64Array) -> float:
    """Share of the slopes that pile up at the lowest or the highest of them, as clipping would
    leave them.

    >>> share_at_a_bound(np.minimum([-2.0, -1.0, 0.5, 0.7], 0.0))  # two of four were cut to 0
    0.5
    """
    piles = [slopes == end for end in (slopes.min(), slopes.max())]
    return float(sum(pile.sum() for pile in piles if pile.sum() > 1) / len(slopes))


def _comparison(
    metric: str, mine: Float64Array, errors: dict[str, Float64Array], tests: _Tests
) -> Comparison:
    scores = {name: _r2(each, tests.units) for name, each in errors.items()}
    strongest = max(scores, key=lambda name: scores[name])
    p_value = paired_p_value(mine, errors[strongest])
    return Comparison(metric, _r2(mine, tests.units), scores, "higher", strongest, p_value)


def _gain_interval(
    mine: Float64Array, bayes: Float64Array, tests: _Tests, seed: int
) -> tuple[float, float]:
    """95 % percentile interval of ours / empirical Bayes - 1 in R², items drawn with replacement
    (paired bootstrap)."""
    rng = generator(seed, "price response bootstrap")
    parts = [np.ones(len(mine)), tests.units, tests.units**2, mine, bayes]
    sums = np.stack([np.bincount(tests.series, part, tests.n_series) for part in parts])
    present = np.flatnonzero(sums[0] > 0)
    times = rng.multinomial(len(present), np.full(len(present), 1 / len(present)), _N_DRAWS)
    n, total, squares, ours, theirs = sums[:, present] @ times.T
    spread = np.maximum(squares - total**2 / n, 1e-12)
    reference = 1 - theirs / spread
    gains = np.where(
        reference > 0, (1 - ours / spread) / np.where(reference > 0, reference, 1.0) - 1, np.nan
    )
    if np.isnan(gains).any():
        return np.nan, np.nan
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)


def _with_placebos(
    evaluation: Evaluation, fitted: FittedElasticities, config: PricingConfig, seed: int
) -> Evaluation:
    """The evaluation with what two placebo tests found on the earlier weeks."""
    rng = generator(seed, "permuted prices")
    found = {
        "permuted prices": fit_permuted_prices(fitted, config.elasticity, rng),
        "next week's price": fit_next_weeks_price(fitted),
    }
    metrics, notes = dict(evaluation.metrics), list(evaluation.notes)
    for name, placebo in found.items():
        metrics[f"placebo slope, {name}"] = placebo.slope
        metrics[f"placebo error, {name}"] = placebo.error
        if placebo.fails:
            notes.append(
                f"placebo test: {name} must explain nothing, and has a slope of {placebo.slope:+.3f}"
            )
    return replace(evaluation, metrics=metrics, notes=tuple(notes))


def _r2(errors: Float64Array, units: Float64Array) -> float:
    """1 less the squared errors over the variance of the change in log units."""
    total = float(((units - units.mean()) ** 2).sum())
    return 1 - float(errors.sum()) / total if total else 0.0


class PricingTask:
    """Price response, beside simpler slopes on held-out price changes."""

    name = "pricing"
    config = PricingConfig
    protocol = ("fit_share", "min_selling_share")
    splits = (TIME,)
    train = staticmethod(train)
    evaluate = staticmethod(evaluate)
