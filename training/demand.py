"""Demand: rolling origins beside the statistical baselines -> the model fitted on all weeks -> the next 13 weeks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from features.store.facts import Facts
from models.demand.baselines import BIASED, UNBIASED
from models.demand.calibration import Backtest, Calibration, calibrate
from models.demand.distribution import QUANTILES
from models.demand.model import (
    DemandModel,
    FitConfig,
    Trees,
    category_rates,
    fit_trees,
)
from models.demand.panel import DemandPanel, rolling_origins
from training import demand_plots as plots
from training.demand_metrics import (
    Doubles,
    bias,
    interval_coverage,
    ks_uniform,
    paired_gain,
    pinball,
    weighted_rmsse,
    wmape,
)
from training.demand_panel import Revenue, build_panel, catalogue_rows, unsold_panel, with_planned_prices
from training.demand_plots import Fold
from training.results import Comparison, Evaluation, Trained

PRIMARY = "WMAPE"
MAX_BIAS = 0.05
_MIN_ORIGIN = 9  # weeks before the first origin: those of one earlier fit, and of the weeks that judge it
_MIN_FIT = 5
_REVENUE_WEEKS = 4
_MOST_CALIBRATIONS = 2


@dataclass(frozen=True)
class DemandConfig:
    """How demand is judged and learnt.

    `n_origins` origins `step_weeks` apart, each judged on `horizon` weeks; the last test window ends `skip_last_weeks`
    before the data (the newest week may still fill up). Judged are series sold in `min_share_sold` of the weeks before
    the first origin.
    """

    horizon: int = 4
    step_weeks: int = 4
    n_origins: int = 3
    skip_last_weeks: int = 1
    min_share_sold: float = 0.25
    fit: FitConfig = field(default_factory=FitConfig)


CONFIG = DemandConfig
# What of a config decides how it is judged, not what is fitted.
PROTOCOL = ("horizon", "step_weeks", "n_origins", "skip_last_weeks", "min_share_sold")


def train(
    facts: Facts,
    settings: Settings,
    config: DemandConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Callable[[str], None],
) -> Trained[DemandModel]:
    """Evaluates at rolling origins within the weeks before `until`, then refits the same on all of them.

    Raises BadInput with too little history, saying how many weeks there are and how many are needed.
    """
    progress("reading weekly demand")
    panel, revenue = build_panel(facts, settings, until=until, ahead=config.fit.horizon)
    origins = _origins(panel, config)

    def planned(origin: int) -> DemandPanel:
        """The whole panel with the prices that were planned when `origin` weeks were over."""
        return with_planned_prices(panel, facts, settings, known_at=panel.week_starts[origin])

    shop = _Backtester(panel, planned, config, settings.seed, progress)
    folds = [shop.fold(origin, revenue, _judged(panel, origins[0], config)) for origin in origins]
    catalogue = catalogue_rows(facts)
    evaluated = shop.model(origins[-1], catalogue)
    evaluation = _evaluation(panel, folds, config, origins)
    return Trained(evaluation, evaluated, shop.model(panel.n_known, catalogue) if refit else evaluated)


def evaluate(
    facts: Facts,
    settings: Settings,
    config: DemandConfig,
    *,
    until: datetime | None,
    progress: Callable[[str], None],
) -> Evaluation:
    """Ours beside the baselines at the rolling origins; the same figures as `train`."""
    return train(facts, settings, config, until=until, refit=False, progress=progress).evaluation


class _Backtester:
    """Fits at origins, each once, and remembers what each fit foretold, so that later origins learn from it."""

    def __init__(
        self,
        panel: DemandPanel,
        planned: Callable[[int], DemandPanel],
        config: DemandConfig,
        seed: int,
        progress: Callable[[str], None],
    ) -> None:
        """`panel` knows every plan; `planned` gives it with those known at an origin."""
        self._panel = panel
        self._planned = planned
        self._known: dict[int, DemandPanel] = {}
        self._config = config
        self._seed = seed
        self._progress = progress
        self._fits: dict[int, Trees] = {}
        self._means: dict[int, Doubles] = {}

    def known(self, origin: int) -> DemandPanel:
        """What was known after `origin` weeks: their units, and the plans of then."""
        if origin not in self._known:
            newest = origin == self._panel.n_known or self._panel.offer_price is None
            self._known[origin] = (self._panel if newest else self._planned(origin)).known_until(origin)
        return self._known[origin]

    def trees(self, origin: int) -> Trees:
        """The learner as fitted after `origin` weeks."""
        if origin not in self._fits:
            self._progress(f"fitting demand on {origin} weeks")
            self._fits[origin] = fit_trees(self.known(origin), self._config.fit, self._seed)
        return self._fits[origin]

    def means(self, origin: int) -> Doubles:
        """Uncorrected means of every series for all weeks ahead of `origin`."""
        if origin not in self._means:
            steps = range(1, self._config.fit.horizon + 1)
            self._means[origin] = self.trees(origin).means(self.known(origin), steps)
        return self._means[origin]

    def calibration(self, origin: int) -> Calibration:
        """Learnt at origins early enough that their near weeks were over at `origin`."""
        step, near = self._config.step_weeks, self._config.horizon
        fitted = [each for each in sorted(self._fits) if each + near <= origin]
        earlier = fitted or [max(origin - near, _MIN_FIT)]
        chosen = sorted(earlier, reverse=True)[:_MOST_CALIBRATIONS]
        if not fitted and origin - near - step >= 4 * _MIN_ORIGIN:
            chosen.append(origin - near - step)
        return calibrate([self._backtest(each, origin) for each in chosen], origin)

    def _backtest(self, earlier: int, origin: int) -> Backtest:
        panel, means = self._panel, self.means(earlier)
        n_steps = min(self._config.fit.horizon, origin - earlier)
        alive = np.flatnonzero((panel.units[:, max(earlier - 26, 0) : earlier] > 0).any(axis=1))
        step = np.tile(np.arange(1, n_steps + 1), len(alive))
        actual = panel.units[alive, earlier : earlier + n_steps].astype(np.float64)
        return Backtest(earlier, step, earlier + step - 1, means[alive, :n_steps].ravel(), actual.ravel())

    def fold(self, origin: int, revenue: Revenue, judged: npt.NDArray[np.int64]) -> Fold:
        """What the model fitted at `origin` says of the judged series, beside the baselines."""
        config, panel = self._config, self._panel
        calibration = self.calibration(origin)
        means = calibration.correction(self.means(origin)[judged, : config.horizon])
        actual = panel.units[judged, origin : origin + config.horizon].astype(np.float64)
        past = panel.units[judged, :origin].astype(np.float64)
        rng = generator(self._seed, f"pit {origin}")
        steps = range(1, config.horizon + 1)
        quantiles = np.stack([calibration.quantiles(means[:, s - 1], s) for s in steps], axis=1)
        levels = {name: level(past) for name, level in {**UNBIASED, **BIASED}.items()}
        return Fold(
            origin,
            actual,
            means,
            quantiles,
            calibration.near.pit(actual.ravel(), means.ravel(), rng),
            {name: np.repeat(level[:, None], config.horizon, axis=1) for name, level in levels.items()},
            past,
            revenue[judged, origin - _REVENUE_WEEKS : origin].sum(axis=1),
        )

    def model(self, origin: int, catalogue: tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]) -> DemandModel:
        """The model fitted after `origin` weeks, with its forecasts of every series and every unsold item."""
        panel = self.known(origin)
        calibration = self.calibration(origin)
        unsold = unsold_panel(panel, *catalogue)
        model = DemandModel(
            self.trees(origin),
            calibration,
            category_rates(panel, unsold),
            panel.week_starts[origin],
            self._config.fit,
        )
        self._progress(f"forecasting {panel.n_series + unsold.n_series} series")
        tables = [model.corrected(panel, self.means(origin)), model.predict(unsold)]
        return model.with_forecasts(pa.concat_tables(tables).combine_chunks())


def _origins(panel: DemandPanel, config: DemandConfig) -> Sequence[int]:
    origins = rolling_origins(
        panel.n_known,
        horizon=config.horizon,
        step=config.step_weeks,
        count=config.n_origins,
        skip_last=config.skip_last_weeks,
        earliest=_MIN_ORIGIN,
    )
    if not origins:
        needed = _MIN_ORIGIN + config.horizon + config.skip_last_weeks
        raise BadInput(
            f"{panel.n_known} whole weeks of sales are too few to judge a demand model; {needed} are needed",
            hint="Import more history, or lower horizon or skip_last_weeks in configs/models/demand.yaml",
        )
    return origins


def _judged(panel: DemandPanel, first: int, config: DemandConfig) -> npt.NDArray[np.int64]:
    """Series sold in enough of the weeks before the first origin."""
    needed = math.ceil(config.min_share_sold * first)
    judged = np.flatnonzero((panel.units[:, :first] > 0).sum(axis=1) >= needed)
    if not len(judged):
        raise BadInput(
            f"no item sold in {needed} of the first {first} weeks, so no forecast can be judged",
            hint="Lower min_share_sold in configs/models/demand.yaml",
        )
    return judged


def _evaluation(panel: DemandPanel, folds: Sequence[Fold], config: DemandConfig, origins: Sequence[int]) -> Evaluation:
    """Figures over all origins together; RMSSE is the mean of the origins."""
    actual = np.concatenate([fold.actual for fold in folds])
    ours = np.concatenate([fold.means for fold in folds])
    theirs = {name: np.concatenate([fold.baselines[name] for fold in folds]) for name in UNBIASED}
    errors = {name: wmape(actual, forecast) for name, forecast in theirs.items()}
    strongest = min(errors, key=lambda name: errors[name])
    p_value = _paired(folds, strongest)
    scaled = {name: _scaled(folds, name) for name in UNBIASED}
    rival = min(scaled, key=lambda name: scaled[name])
    off = bias(actual, ours)
    error = wmape(actual, ours)
    comparisons = (
        Comparison(PRIMARY, error, errors, "lower", strongest, p_value),
        Comparison("revenue-weighted RMSSE", _scaled(folds, None), scaled, "lower", rival),
    )
    return Evaluation(
        task="demand",
        cut=panel.week_starts[origins[-1]],
        primary=PRIMARY,
        comparisons=comparisons,
        # A short history may bias every method: then ours may be no more biased than the baseline it replaces.
        passed=error < errors[strongest] and abs(off) <= max(MAX_BIAS, abs(bias(actual, theirs[strongest]))),
        metrics={"bias": off, **_figures(folds, actual), **{f"bias {n}": bias(actual, f) for n, f in theirs.items()}},
        notes=_notes(panel, folds, config, actual),
        figures={"demand_total": plots.total(panel, folds), "demand_calibration": plots.calibration(folds)},
    )


def _figures(folds: Sequence[Fold], actual: Doubles) -> dict[str, float]:
    quantiles = np.concatenate([fold.quantiles for fold in folds])
    losses = {
        f"pinball p{level * 100:.0f}": pinball(actual, quantiles[:, :, q], level) for q, level in enumerate(QUANTILES)
    }
    per_origin = {f"bias origin {fold.origin}": bias(fold.actual, fold.means) for fold in folds}
    return {
        **per_origin,
        **losses,
        "coverage p10-p90": interval_coverage(actual, quantiles[:, :, 0], quantiles[:, :, 2]),
        "PIT KS": ks_uniform(np.concatenate([fold.pit for fold in folds])),
        "n_series": float(len(folds[0].actual)),
    }


def _paired(folds: Sequence[Fold], rival: str) -> float:
    """Paired by series: its absolute errors of all origins together."""
    actual, ours, theirs = (
        np.concatenate(each, axis=1)
        for each in zip(*((fold.actual, fold.means, fold.baselines[rival]) for fold in folds), strict=True)
    )
    return paired_gain(actual, ours, theirs)


def _scaled(folds: Sequence[Fold], name: str | None) -> float:
    forecasts = [fold.means if name is None else fold.baselines[name] for fold in folds]
    each = [weighted_rmsse(f.actual, forecast, f.past, f.weight) for f, forecast in zip(folds, forecasts, strict=True)]
    return float(np.mean(each))


def _notes(panel: DemandPanel, folds: Sequence[Fold], config: DemandConfig, actual: Doubles) -> tuple[str, ...]:
    (name,) = BIASED
    median = np.concatenate([fold.baselines[name] for fold in folds])
    starts = ", ".join(f"{panel.week_starts[fold.origin]:%Y-%m-%d}" for fold in folds)
    protocol = (
        f"{len(folds[0].actual)} series sold in {config.min_share_sold:.0%} of the weeks before the first origin; "
        f"{config.horizon} weeks from each of {starts} (after {', '.join(str(f.origin) for f in folds)} weeks)"
    )
    notes = [
        protocol,
        f"{name}: WMAPE {wmape(actual, median):.3f} with a bias of {bias(actual, median):+.1%}, so it is no rival",
        "promotions: the planned calendar, known in advance; prices: the price list only, never a price seen in sales",
    ]
    if panel.offer_price is None:
        notes.append("no price list was imported: forecasts know planned promotions but no planned prices")
    if len(folds) < config.n_origins:
        notes.append(f"{panel.n_known} weeks of sales leave room for {len(folds)} of {config.n_origins} origins")
    return tuple(notes)
