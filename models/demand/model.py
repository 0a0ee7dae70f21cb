"""Weekly demand: a learner over all series blended with TSB by segment, and a count distribution
around the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.errors import BadInput
from features.contracts.tables import TIMESTAMP
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.demand.blend import Blend, segments
from models.demand.learner import MIN_TRACE, FitConfig, Trees, TreesConfig
from models.demand.lookup import DAILY_FILE, FILE, read_daily
from models.demand.new_items import ItemRates, waiting
from models.demand.panel import DemandPanel
from models.demand.reconcile import reconciled
from models.demand.uncertainty.aggregates import Sums, spread_of
from models.demand.uncertainty.backtest_calibration import Calibration
from models.demand.uncertainty.counts import QUANTILES
from models.demand.week_effects import WeekEffects

KIND = "demand"
_KEY = [("unique_id", pa.string()), ("zone", pa.string()), ("ds", TIMESTAMP)]
_UNITS = [(name, pa.float64()) for name in ("mean", "p10", "p50", "p90")]
DAILY_FORECASTS = pa.schema([*_KEY, *_UNITS])
FORECASTS = pa.schema(
    [
        *_KEY,
        *_UNITS,
        (
            "price_minor",
            pa.float64(),
        ),  # the offer price that the forecast assumes, null where no plan told one
        ("alpha", pa.float64()),  # dispersion of the week: variance = mean + alpha × mean²
        ("dense", pa.bool_()),  # sold in a quarter of the last year's weeks or more
    ]
)


class DemandModel:
    """Forecasts of the weeks that follow `cut`, for every series known at it and for items without
    history."""

    def __init__(
        self,
        trees: Trees,
        calibration: Calibration,
        rates: ItemRates,
        cut: datetime,
        config: FitConfig,
        forecasts: pa.Table | None = None,
        daily: pa.Table | None = None,
    ) -> None:
        self.trees = trees
        self.calibration = calibration
        self.rates = rates
        self.forecasts = FORECASTS.empty_table() if forecasts is None else forecasts
        self.daily = DAILY_FORECASTS.empty_table() if daily is None else daily
        self.cut = cut
        self.config = config

    def predict(self, panel: DemandPanel, horizon: int | None = None) -> pa.Table:
        """FORECASTS rows, series by series, for `horizon` weeks after the panel's last known one.

        The panel must hold the plans of those weeks. A series that never sold gets the rate of
        items like it.
        """
        return self.corrected(panel, self.unblended(panel, horizon))

    def unblended(self, panel: DemandPanel, horizon: int | None = None) -> Float64Array:
        """N × H × METHODS means. Raises BadInput for weeks that the panel or the learner does not
        reach."""
        n_steps = self.config.horizon if horizon is None else horizon
        room = len(panel.week_starts) - panel.n_known
        if not 1 <= n_steps <= min(room, self.config.horizon):
            raise BadInput(
                f"a horizon of {n_steps} weeks cannot be forecast",
                hint=f"Choose 1 to {min(room, self.config.horizon)} weeks",
            )
        # Whole panel in, so that a series' category looks the same whichever series are asked for.
        if (panel.units > 0).any():
            return self.trees.means(panel, range(1, n_steps + 1))
        return np.zeros((panel.n_series, n_steps, len(self.calibration.blend.weights[0])))

    def means(self, panel: DemandPanel, unblended: Float64Array) -> Float64Array:
        """N × H served means: blended by segment, series that never sold filled from items like
        them."""
        means = self.calibration.blend(unblended, segments(panel))
        waits = waiting(panel)
        for series in np.flatnonzero(~(panel.units > 0).any(axis=1)):
            about = (
                str(values[series]) for values in (panel.zones, panel.categories, panel.brands)
            )
            means[series] = self.rates.of(*about, waits=bool(waits[series]))
        return (
            self.min_trace(panel, means)
            if self.config.reconcile == MIN_TRACE and len(means)
            else means
        )

    def min_trace(self, panel: DemandPanel, means: Float64Array) -> Float64Array:
        """N × H means moved towards smoothed sums by category, department and zone."""
        level = means.mean(axis=1)
        variance = level + self.calibration.near.alpha(level, segments(panel)) * level**2
        return reconciled(panel, means, variance, self.trees.effects.factors(panel))

    def quantiles(
        self, panel: DemandPanel, means: Float64Array, at: Sequence[float] = QUANTILES
    ) -> Float64Array:
        """N × H × levels around N × H served means, any level between 0 and 1."""
        segment = segments(panel)
        steps = range(1, means.shape[1] + 1)
        return np.stack(
            [self.calibration.quantiles(means[:, s - 1], segment, s, at) for s in steps], axis=1
        )

    def corrected(self, panel: DemandPanel, unblended: Float64Array) -> pa.Table:
        """FORECASTS rows from the N × H × METHODS means."""
        means = self.means(panel, unblended)
        segment = np.repeat(segments(panel), means.shape[1])
        alpha = self.calibration.near.alpha(means.ravel(), segment)
        return forecast_table(panel, means, self.quantiles(panel, means), alpha, segment % 2 == 1)

    @property
    def sums(self) -> Sums:
        """What sums over weeks, and over items, were seen to do."""
        return Sums(self.calibration.sums, self.calibration.nodes)

    def with_forecasts(self, forecasts: pa.Table, daily: pa.Table | None = None) -> DemandModel:
        """The same model, with forecasts by week and by day to keep beside it."""
        return DemandModel(
            self.trees, self.calibration, self.rates, self.cut, self.config, forecasts, daily
        )

    def save(self, folder: Path) -> None:
        """model.json, trees.txt (LightGBM's text), rates.npz, effects.npz, sums.json, forecasts by
        week and by day."""
        write_meta(
            folder,
            KIND,
            {
                "cut": self.cut.isoformat(),
                "config": asdict(self.config),
                "names": list(self.trees.names),
                "calibration": asdict(replace(self.calibration, sums=(), nodes={})),
                "signals": list(self.trees.effects.names),
                "zones": list(self.trees.effects.zones),
            },
        )
        (folder / "trees.txt").write_text(self.trees.booster.model_to_string(), encoding="utf-8")
        rates, effects = self.rates, self.trees.effects
        by_item = {each.name: getattr(rates, each.name) for each in fields(rates)}
        write_arrays(folder / "rates.npz", **by_item)
        write_arrays(folder / "effects.npz", slopes=effects.slopes, usual=effects.usual)
        self.sums.save(folder)
        pq.write_table(self.forecasts, folder / FILE, compression="zstd")
        pq.write_table(self.daily, folder / DAILY_FILE, compression="zstd")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises BadInput when `folder` does not hold a demand model."""
        meta = read_meta(folder, KIND)
        sums = Sums.load(folder)
        if sums is None:
            raise BadInput(
                "the demand model is of an earlier release",
                where=str(folder),
                hint="Train demand again",
            )
        booster = lgb.Booster(model_str=(folder / "trees.txt").read_text(encoding="utf-8"))
        arrays, effects = read_arrays(folder / "rates.npz"), read_arrays(folder / "effects.npz")
        week = WeekEffects(
            tuple(meta["zones"]), tuple(meta["signals"]), effects["slopes"], effects["usual"]
        )
        return cls(
            Trees(booster, tuple(meta["names"]), week),
            _calibration(meta["calibration"], sums),
            ItemRates(arrays["zones"], arrays["attributes"], arrays["rates"], arrays["waiting"]),
            datetime.fromisoformat(meta["cut"]).astimezone(UTC),
            _config(meta["config"]),
            pq.read_table(folder / FILE, schema=FORECASTS),
            read_daily(folder),
        )


def forecast_table(
    panel: DemandPanel,
    means: Float64Array,
    quantiles: Float64Array,
    alpha: Float64Array,
    dense: BoolArray,
) -> pa.Table:
    """N × H means, N × H × 3 quantiles, and alpha and dense N · H as FORECASTS rows, series by
    series."""
    n_steps = means.shape[1]
    weeks = pa.array(panel.week_starts[panel.n_known : panel.n_known + n_steps], TIMESTAMP)
    series = pa.array(np.repeat(np.arange(panel.n_series), n_steps))
    columns: list[Any] = [
        pa.array(panel.item_ids, pa.string()).take(series),
        pa.array(panel.zones, pa.string()).take(series),
        weeks.take(pa.array(np.tile(np.arange(n_steps), panel.n_series))),
        means.ravel(),
        *(quantiles[:, :, q].ravel() for q in range(3)),
        pa.array(panel.assumed_prices(n_steps).ravel(), pa.float64(), from_pandas=True),
        alpha,
        dense,
    ]
    return pa.table(columns, schema=FORECASTS)


def _calibration(stored: dict[str, Any], sums: Sums) -> Calibration:
    blend = Blend(tuple(tuple(weights) for weights in stored["blend"]["weights"]))
    return Calibration(
        blend, spread_of(stored["near"]), spread_of(stored["far"]), sums.items, sums.nodes
    )


def _config(stored: dict[str, Any]) -> FitConfig:
    return FitConfig(**{**stored, "trees": TreesConfig(**stored["trees"])})
