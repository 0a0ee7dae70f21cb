"""Demand: rolling origins beside the statistical baselines -> the model fitted on all weeks -> the next 13 weeks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from features.store.facts import Facts
from models.demand.baselines import BIASED, UNBIASED
from models.demand.distribution import QUANTILES
from models.demand.model import (
    FORECASTS,
    Backtest,
    Calibration,
    DemandModel,
    FitConfig,
    Trees,
    calibrate,
    category_rates,
    fit_trees,
    forecast_table,
)
from models.demand.panel import DemandPanel, rolling_origins
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
from training.demand_panel import Revenue, build_panel, catalogue_rows, unsold_panel
from training.results import Comparison, Evaluation, Trained

PRIMARY = "WMAPE"
MAX_BIAS = 0.05
_MIN_ORIGIN = 9  # weeks before the first origin: those of one earlier fit, and of the weeks that judge it
_MIN_FIT = 5
_REVENUE_WEEKS = 4
_MOST_CALIBRATIONS = 3


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


@dataclass(frozen=True)
class _Fold:
    """One origin: what was foretold for the judged series and what came, series × weeks ahead."""

    origin: int
    actual: Doubles
    means: Doubles
    quantiles: Doubles
    pit: Doubles
    baselines: Mapping[str, Doubles]
    past: Doubles
    weight: Doubles


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
    shop = _Backtester(panel, config, settings.seed, progress)
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
        self, panel: DemandPanel, config: DemandConfig, seed: int, progress: Callable[[str], None]
    ) -> None:
        self._panel = panel
        self._config = config
        self._seed = seed
        self._progress = progress
        self._fits: dict[int, Trees] = {}
        self._means: dict[int, Doubles] = {}

    def trees(self, origin: int) -> Trees:
        """The learner as fitted after `origin` weeks."""
        if origin not in self._fits:
            self._progress(f"fitting demand on {origin} weeks")
            self._fits[origin] = fit_trees(self._panel.known_until(origin), self._config.fit, self._seed)
        return self._fits[origin]

    def means(self, origin: int) -> Doubles:
        """Uncorrected means of every series for all weeks ahead of `origin`."""
        if origin not in self._means:
            steps = range(1, self._config.fit.horizon + 1)
            self._means[origin] = self.trees(origin).means(self._panel.known_until(origin), steps)
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

    def fold(self, origin: int, revenue: Revenue, judged: npt.NDArray[np.int64]) -> _Fold:
        """What the model fitted at `origin` says of the judged series, beside the baselines."""
        config, panel = self._config, self._panel
        calibration = self.calibration(origin)
        means = self.means(origin)[judged, : config.horizon] * calibration.factor
        actual = panel.units[judged, origin : origin + config.horizon].astype(np.float64)
        past = panel.units[judged, :origin].astype(np.float64)
        rng = generator(self._seed, f"pit {origin}")
        steps = range(1, config.horizon + 1)
        quantiles = np.stack([calibration.quantiles(means[:, s - 1], s) for s in steps], axis=1)
        levels = {name: level(past) for name, level in {**UNBIASED, **BIASED}.items()}
        return _Fold(
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
        panel = self._panel.known_until(origin)
        calibration = self.calibration(origin)
        rates = category_rates(panel)
        cut = panel.week_starts[origin]
        model = DemandModel(
            self.trees(origin), calibration, rates, FORECASTS.empty_table(), cut, self._config.fit
        )
        sold = forecast_table(panel, *self._served(origin, calibration, panel))
        new = unsold_panel(panel, *catalogue)
        tables = [sold, model.predict(new)] if new.n_series else [sold]
        return DemandModel(model.trees, calibration, rates, pa.concat_tables(tables).combine_chunks(), cut, model.config)
