"""Models fitted at past origins: each is calibrated by the forecasts of earlier origins and
evaluated on the weeks after its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.contracts.arrays import Float64Array, Int64Array, ObjectArray
from features.contracts.seeds import generator
from models.demand.baselines import BIASED, UNBIASED, seasonal_naive
from models.demand.blend import Blend, segments
from models.demand.censoring import uncensored
from models.demand.daily import (
    WEEKDAYS,
    DayCounts,
    DayProfiles,
    DaySales,
    fit_day_counts,
    fit_profiles,
)
from models.demand.learner import Trees, fit_trees
from models.demand.model import DemandModel
from models.demand.new_items import ItemRates, item_rates
from models.demand.panel import DemandPanel
from models.demand.uncertainty.aggregate_errors import NodeBacktest, fit_nodes
from models.demand.uncertainty.backtest_calibration import Backtest, Calibration, calibrate
from training.demand.aggregates import Nodes
from training.demand.config import DemandConfig
from training.demand.daily import DayFold, day_fold, day_forecasts, day_means
from training.demand.origins import calibration_origins
from training.demand.panel import Catalogue, unsold_panel

SEASONAL = "seasonal naive"
_ALIVE_WEEKS = 26
_REVENUE_WEEKS = 4
_WHOLE = 8  # weeks of which a backtest looks at each, so that their sums are known
_FAR = (10, 12)  # weeks beyond them that it looks at


@dataclass(frozen=True)
class Fold:
    """One origin: what was foretold for the judged series and what came, series × weeks ahead.

    `segment` (volume × intermittence at the origin), `bucket` (fifth by volume before the first
    origin) and `categories` are of series; `reconciled` are the means after MinTrace.
    """

    origin: int
    actual: Float64Array
    means: Float64Array
    quantiles: Float64Array
    pit: Float64Array
    baselines: Mapping[str, Float64Array]
    past: Float64Array
    weight: Float64Array
    segment: Int64Array
    bucket: Int64Array
    categories: ObjectArray
    reconciled: Float64Array


class Backtester:
    """Models fitted at origins, each once.

    What it returns for an origin depends on the data, the configuration and the origin alone, not
    on the order in which origins are asked for.
    """

    def __init__(
        self,
        panel: DemandPanel,
        planned: Callable[[int], DemandPanel],
        config: DemandConfig,
        seed: int,
        progress: Callable[[str], None],
        days: DaySales,
        timezone: str,
        items: Catalogue,
    ) -> None:
        """`panel` knows every plan; `planned` gives it with those known at an origin; `days` what
        sold by day.

        timezone    the shop's, for the starts of days
        items       the catalogue, with those that never sold
        """
        self._panel, self._items = panel, items
        self.nodes = Nodes(panel, items)
        self._days, self._timezone = days, timezone
        self._wanted = uncensored(panel).units
        self._planned = planned
        self._known: dict[int, DemandPanel] = {}
        self._config = config
        self._seed = seed
        self._progress = progress
        self._fits: dict[int, Trees] = {}
        self._means: dict[int, tuple[tuple[int, ...], Float64Array]] = {}
        self._calibrations: dict[int, Calibration] = {}
        self._profiles: dict[int, tuple[Int64Array, DayProfiles]] = {}
        self._counts: dict[int, DayCounts | None] = {}
        self._unsold: dict[int, DemandPanel] = {}
        self._models: dict[int, DemandModel] = {}
        self._rates: dict[int, ItemRates] = {}

    def known(self, origin: int) -> DemandPanel:
        """What was known after `origin` weeks: their units, and the plans of then."""
        if origin not in self._known:
            whole = self._panel if origin == self._panel.n_known else self._planned(origin)
            self._known[origin] = whole.known_until(origin)
        return self._known[origin]

    def trees(self, origin: int) -> Trees:
        """The learner as fitted after `origin` weeks."""
        if origin not in self._fits:
            self._progress(f"fitting demand on {origin} weeks")
            self._fits[origin] = fit_trees(self.known(origin), self._config.fit, self._seed)
        return self._fits[origin]

    def means(self, origin: int, steps: Sequence[int]) -> Float64Array:
        """N × steps × METHODS unblended means; what a backtest needs is computed along with
        them."""
        known, means = self._means.get(origin, ((), np.zeros((self._panel.n_series, 0, 0))))
        if not set(steps) <= set(known):
            known = tuple(sorted({*steps, *self._looked_at()}))
            means = self.trees(origin).means(self.known(origin), known)
            self._means[origin] = known, means
        return means[:, [known.index(step) for step in steps]]

    def _looked_at(self) -> list[int]:
        near = range(1, max(_WHOLE, self._config.horizon) + 1)
        return [step for step in sorted({*near, *_FAR}) if step <= self._config.fit.horizon]

    def earlier(self, origin: int) -> list[int]:
        """The earlier origins whose errors calibrate the model of `origin`, newest first."""
        return calibration_origins(origin, self._panel.n_known, self._config)

    def calibration(self, origin: int) -> Calibration:
        """Learnt at the earlier origins."""
        if origin not in self._calibrations:
            rng = generator(self._seed, f"calibration {origin}")
            backtests = [self._backtest(each, origin) for each in self.earlier(origin)]
            found = calibrate(backtests, origin, rng)
            seen = [self._node_backtest(each, origin, found.blend) for each in self.earlier(origin)]
            nodes = fit_nodes(seen, self.nodes.tree.levels, rng)
            self._calibrations[origin] = replace(found, nodes=nodes)
        return self._calibrations[origin]

    def _node_backtest(self, earlier: int, origin: int, blend: Blend) -> NodeBacktest:
        steps = range(1, min(_WHOLE, origin - earlier) + 1)
        known = self.known(earlier)
        means = self.nodes.means(
            known, self.rates(earlier), blend(self.means(earlier, steps), segments(known))
        )
        return NodeBacktest(
            means,
            self.nodes.units(self._wanted[:, earlier : earlier + len(steps)].astype(np.float64)),
        )

    def rates(self, origin: int) -> ItemRates:
        """What items without a sale were thought to sell after `origin` weeks."""
        if origin not in self._rates:
            self._rates[origin] = item_rates(self._sold(origin), self.unsold(origin))
        return self._rates[origin]

    def day_profiles(self, origin: int) -> tuple[Int64Array, DayProfiles]:
        """The series that were dense after `origin` weeks, and the profiles of then."""
        if origin not in self._profiles:
            known = self._days.known_until(origin)
            dense = known.dense(self._config.daily)
            self._profiles[origin] = dense, fit_profiles(known, dense)
        return self._profiles[origin]

    def day_counts(self, origin: int) -> DayCounts | None:
        """How days spread around their means, as the earlier origins saw; None when no series was
        dense at any."""
        if origin not in self._counts:
            self._counts[origin] = self._fitted_counts(origin)
        return self._counts[origin]

    def _fitted_counts(self, origin: int) -> DayCounts | None:
        blend = self.calibration(origin).blend
        actual, means, ahead = [], [], []
        for earlier in self.earlier(origin):
            dense, profiles = self.day_profiles(earlier)
            steps = [step for step in self._looked_at() if earlier + step <= origin]
            segment = segments(self.known(earlier))[dense]
            weekly = blend(self.means(earlier, steps)[dense], segment)
            weeks = np.array(steps) + earlier - 1
            means.append(day_means(self._days, dense, weekly, profiles, weeks).ravel())
            actual.append(
                np.stack(
                    [self._days.of(dense, week, week + 1)[:, 0] for week in weeks], axis=1
                ).ravel()
            )
            ahead.append(np.tile(np.repeat(steps, WEEKDAYS), len(dense)))
        if not sum(len(each) for each in actual):
            return None
        rng = generator(self._seed, f"days {origin}")
        return fit_day_counts(
            np.concatenate(actual), np.concatenate(means), np.concatenate(ahead), rng
        )

    def _backtest(self, earlier: int, origin: int) -> Backtest:
        known = self.known(earlier)
        steps = tuple(step for step in self._looked_at() if earlier + step <= origin)
        alive = np.flatnonzero((known.units[:, -_ALIVE_WEEKS:] > 0).any(axis=1))
        actual = self._wanted[alive][:, np.array(steps, np.int64) + earlier - 1].astype(np.float64)
        return Backtest(
            earlier, steps, segments(known)[alive], self.means(earlier, steps)[alive], actual
        )

    def fold(self, origin: int, revenue: Float64Array, judged: Int64Array, first: int) -> Fold:
        """What the model fitted at `origin` says of the judged series, beside the baselines.

        Fifths by volume are those of the weeks before `first`.
        """
        config, panel = self._config, self._panel
        model, served = self.fitted(origin), self.served(origin)
        calibration = model.calibration
        means = served[judged]
        actual = panel.units[judged, origin : origin + config.horizon].astype(np.float64)
        past = panel.units[judged, :origin].astype(np.float64)
        rng = generator(self._seed, f"pit {origin}")
        segment = segments(self.known(origin))[judged]
        at = range(1, config.horizon + 1)
        pit = [calibration.pit(actual[:, s - 1], means[:, s - 1], segment, s, rng) for s in at]
        levels = {name: level(past) for name, level in {**UNBIASED, **BIASED}.items()}
        flat = {
            name: np.repeat(level[:, None], config.horizon, axis=1)
            for name, level in levels.items()
        }
        return Fold(
            origin,
            actual,
            means,
            np.stack([calibration.quantiles(means[:, s - 1], segment, s) for s in at], axis=1),
            np.column_stack(pit),
            {**flat, SEASONAL: seasonal_naive(past, config.horizon)},
            past,
            revenue[judged, origin - _REVENUE_WEEKS : origin].sum(axis=1),
            segment,
            fifths(panel.units[judged, :first].mean(axis=1)),
            panel.categories[judged],
            model.min_trace(self.known(origin), served)[judged],
        )

    def day_fold(self, origin: int, judged: Int64Array) -> DayFold | None:
        """What the model fitted at `origin` says of the judged series that are dense by then; None
        without any."""
        dense, profiles = self.day_profiles(origin)
        series = np.intersect1d(dense, judged)
        counts = self.day_counts(origin)
        if counts is None or not len(series):
            return None
        rng = generator(self._seed, f"daily pit {origin}")
        return day_fold(
            self._days, origin, series, self.served(origin)[series], profiles, counts, rng
        )

    def served(self, origin: int) -> Float64Array:
        """N × horizon means as served after `origin` weeks."""
        return self.fitted(origin).means(
            self.known(origin), self.means(origin, range(1, self._config.horizon + 1))
        )

    def unsold(self, origin: int) -> DemandPanel:
        """The items of the catalogue that had not sold after `origin` weeks, whether they sold
        later or not."""
        if origin not in self._unsold:
            self._unsold[origin] = unsold_panel(self._sold(origin), self._items)
        return self._unsold[origin]

    def _sold(self, origin: int) -> DemandPanel:
        known = self.known(origin)
        return known.take(np.flatnonzero((known.units > 0).any(axis=1)))

    def fitted(self, origin: int) -> DemandModel:
        """The model fitted after `origin` weeks, without forecasts."""
        if origin not in self._models:
            rates = self.rates(origin)
            cut = self._panel.week_starts[origin]
            calibration = self.calibration(origin)
            self._models[origin] = DemandModel(
                self.trees(origin), calibration, rates, cut, self._config.fit
            )
        return self._models[origin]

    def model(self, origin: int) -> DemandModel:
        """The model fitted after `origin` weeks, with its forecasts of every series and every
        unsold item."""
        panel = self.known(origin)
        unsold = unsold_panel(panel, self._items)
        fit, model = self._config.fit, self.fitted(origin)
        self._progress(f"forecasting {panel.n_series + unsold.n_series} series")
        unblended = self.means(origin, range(1, fit.horizon + 1))
        tables = [model.corrected(panel, unblended), model.predict(unsold)]
        dense, profiles = self.day_profiles(origin)
        counts = self.day_counts(origin)
        daily = None
        if counts is not None and len(dense):
            weekly = model.means(panel, unblended)[dense]
            daily = day_forecasts(
                panel, self._days, dense, weekly, profiles, counts, self._timezone
            )
        return model.with_forecasts(pa.concat_tables(tables).combine_chunks(), daily)


def fifths(volume: npt.NDArray[np.floating]) -> Int64Array:
    """0..4: the fifth of series by volume that each is in, smallest first."""
    edges = np.quantile(volume, [0.2, 0.4, 0.6, 0.8])
    return np.searchsorted(edges, volume, side="right").astype(np.int64)
