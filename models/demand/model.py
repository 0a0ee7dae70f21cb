"""The demand model: the learner and simple methods blended, with a count distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypedDict

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput
from features.contracts.tables import TIMESTAMP
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.demand.blend import FITTED, METHODS, TSB, Blend, segment_series
from models.demand.censoring import measure_activity
from models.demand.learner import MIN_TRACE, FitConfig, Trees, TreesConfig
from models.demand.lookup import DAILY_FILE, FILE, check_forecasts, read_daily
from models.demand.new_items import ItemRates, find_waiting
from models.demand.panel import DemandPanel
from models.demand.reconcile import Forecasts, reconcile_to_aggregates
from models.demand.seasons import SeasonStrength
from models.demand.simple_methods import predict_simple, predict_tsb
from models.demand.sold_history import SoldHistory
from models.demand.uncertainty.aggregates import (
    AggregateDistributions,
    StoredItemSpread,
    restore_item_spread,
)
from models.demand.uncertainty.backtest_calibration import Calibration
from models.demand.uncertainty.counts import QUANTILE_NAMES, QUANTILES
from models.demand.week_effects import WeekEffects

KIND = "demand"
_TREES_FILE = "trees.txt"
_KEY = [("unique_id", pa.string()), ("zone", pa.string()), ("ds", TIMESTAMP)]
_UNITS = [(name, pa.float64()) for name in ("mean", *QUANTILE_NAMES)]
DAILY_FORECASTS = pa.schema([*_KEY, *_UNITS])
FORECASTS = pa.schema(
    [
        *_KEY,
        *_UNITS,
        # The offer price that the forecast assumes, null where it assumes none.
        ("price_minor", pa.float64()),
        ("alpha", pa.float64()),  # dispersion of the week: variance = mean + alpha × mean²
        ("dense", pa.bool_()),  # sold in a quarter of the last year's weeks or more
    ]
)


def predict_all_methods(trees: Trees, panel: DemandPanel, steps: Sequence[int]) -> Float64Array:
    """Return N × steps × METHODS means of the weeks after the panel's last known one."""
    means = np.concatenate([trees.predict(panel, steps), predict_simple(panel, steps)], axis=2)
    return np.asarray(means * measure_activity(panel)[:, None, None], np.float64)


def predict_without_learner(panel: DemandPanel, steps: Sequence[int]) -> Float64Array:
    """Return N × steps × METHODS means in which the learner's are NaN.

    TSB knows no effects of whole weeks, since none were fitted.
    """
    fitted = np.full((panel.n_series, len(steps), len(FITTED)), np.nan)
    fitted[:, :, TSB] = predict_tsb(panel, steps)
    means = np.concatenate([fitted, predict_simple(panel, steps)], axis=2)
    return np.asarray(means * measure_activity(panel)[:, None, None], np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class DemandModel:
    """Forecasts of the weeks after `cut`, for every series known then and items without sales.

    rates       of items that never sold
    forecasts   FORECASTS rows of the weeks after the cut, saved with the model
    daily       DAILY_FORECASTS rows of the series that sell on most days, saved with the model
    sold        what was sold before the cut, which forecasts are compared with; saved with them
    """

    trees: Trees
    calibration: Calibration
    rates: ItemRates
    cut: datetime
    config: FitConfig
    forecasts: pa.Table = field(default_factory=FORECASTS.empty_table)
    daily: pa.Table = field(default_factory=DAILY_FORECASTS.empty_table)
    sold: SoldHistory | None = None

    def predict(self, panel: DemandPanel, horizon: int | None = None) -> pa.Table:
        """Return FORECASTS rows of `horizon` weeks after the panel's last known one.

        The panel must hold the plans of those weeks. Rows are in the order of series, then weeks. A
        series that never sold gets the rate of items like it.
        """
        return self.build_forecasts(panel, self.predict_methods(panel, horizon))

    def predict_methods(self, panel: DemandPanel, horizon: int | None = None) -> Float64Array:
        """Return N × H × METHODS means.

        Raises BadInput for weeks that the panel or the learner does not reach.
        """
        n_steps = self.config.horizon if horizon is None else horizon
        n_planned = len(panel.week_starts) - panel.n_known
        if not 1 <= n_steps <= min(n_planned, self.config.horizon):
            raise BadInput(
                f"a horizon of {n_steps} weeks cannot be forecast",
                hint=f"Choose 1 to {min(n_planned, self.config.horizon)} weeks",
            )
        # Features of a category are read off all its series, so the learner gets the whole panel.
        if (panel.units > 0).any():
            return predict_all_methods(self.trees, panel, range(1, n_steps + 1))
        return np.zeros((panel.n_series, n_steps, len(METHODS)))

    def blend_means(self, panel: DemandPanel, means_by_method: Float64Array) -> Float64Array:
        """Return N × H means as served, from N × H × METHODS means.

        They are blended by segment; series that never sold get the rate of items like them. On
        closed days nothing sells.
        """
        means = self._blend_open_means(panel, means_by_method)
        return means * panel.forecast_open_shares(means.shape[1])

    def _blend_open_means(self, panel: DemandPanel, means_by_method: Float64Array) -> Float64Array:
        """Return N × H means as if no day were closed."""
        means = self.calibration.blend.combine(means_by_method, segment_series(panel))
        waits = find_waiting(panel)
        for series in np.flatnonzero(~(panel.units > 0).any(axis=1)):
            means[series] = self.rates.look_up(
                str(panel.zones[series]),
                str(panel.categories[series]),
                str(panel.brands[series]),
                waits=bool(waits[series]),
            )
        if self.config.reconcile == MIN_TRACE and len(means):
            return self.reconcile(panel, means)
        return means

    def reconcile(self, panel: DemandPanel, means: Float64Array) -> Float64Array:
        """Return N × H means moved towards smoothed aggregates by category, department, zone."""
        level = means.mean(axis=1)
        alpha = self.calibration.near.alpha(level, segment_series(panel).dense)
        items = Forecasts(means, level + alpha * level**2)
        return reconcile_to_aggregates(panel, items, self.trees.effects.factors(panel))

    def quantiles(
        self, panel: DemandPanel, means: Float64Array, levels: Sequence[float] = QUANTILES
    ) -> Float64Array:
        """Return N × H × levels around N × H served means; levels lie between 0 and 1."""
        return self.calibration.quantiles(means, segment_series(panel), levels)

    def build_forecasts(self, panel: DemandPanel, means_by_method: Float64Array) -> pa.Table:
        """Return FORECASTS rows from the N × H × METHODS means."""
        open_means = self._blend_open_means(panel, means_by_method)
        n_steps = open_means.shape[1]
        means = open_means * panel.forecast_open_shares(n_steps)
        quantiles = self.quantiles(panel, means)
        dense = segment_series(panel).dense.repeat(n_steps)
        weeks = pa.array(panel.week_starts[panel.n_known : panel.n_known + n_steps], TIMESTAMP)
        series = pa.array(np.repeat(np.arange(panel.n_series), n_steps))
        prices = panel.forecast_prices(n_steps).ravel()
        columns = {
            "unique_id": pa.array(panel.item_ids, pa.string()).take(series),
            "zone": pa.array(panel.zones, pa.string()).take(series),
            "ds": weeks.take(pa.array(np.tile(np.arange(n_steps), panel.n_series))),
            "mean": means.ravel(),
            **{name: quantiles[:, :, q].ravel() for q, name in enumerate(QUANTILE_NAMES)},
            "price_minor": pa.array(prices, pa.float64(), from_pandas=True),
            "alpha": self.calibration.near.alpha(open_means.ravel(), dense),
            "dense": dense,
        }
        return pa.table(columns, schema=FORECASTS)

    @property
    def aggregates(self) -> AggregateDistributions:
        """Distributions of sums over weeks, and over items."""
        return AggregateDistributions(self.calibration.spans, self.calibration.levels)

    def with_forecasts(
        self,
        forecasts: pa.Table,
        daily: pa.Table | None = None,
        sold: SoldHistory | None = None,
    ) -> DemandModel:
        """Return the same model, with forecasts by week and by day to save with it, and the sales
        that they follow."""
        daily = DAILY_FORECASTS.empty_table() if daily is None else daily
        return replace(self, forecasts=forecasts, daily=daily, sold=sold)

    def save(self, folder: Path) -> None:
        """Write the model's files.

        They are model.json, trees.txt (LightGBM's text, where the learner was fitted), rates.npz,
        effects.npz, sums.json, history.npz, and the forecasts by week and by day. Raises Damaged
        for absurd forecasts.
        """
        for rows in (self.forecasts, self.daily):
            check_forecasts(rows)
        if self.sold is not None:
            self.sold.check(self.forecasts)
        effects = self.trees.effects
        write_meta(
            folder,
            KIND,
            {
                "cut": self.cut.isoformat(),
                "config": asdict(self.config),
                "names": list(self.trees.names),
                "calibration": _store_calibration(self.calibration),
                "signals": list(effects.names),
                "zones": list(effects.zones),
                "without_drift": self.trees.without_drift,
                "season_strength": asdict(self.trees.season_strength),
            },
        )
        booster = self.trees.booster
        if booster is not None:
            (folder / _TREES_FILE).write_text(booster.model_to_string(), encoding="utf-8")
        rates = {column.name: getattr(self.rates, column.name) for column in fields(self.rates)}
        write_arrays(folder / "rates.npz", **rates)
        write_arrays(folder / "effects.npz", slopes=effects.slopes, usual=effects.usual)
        self.aggregates.save(folder)
        if self.sold is not None:
            self.sold.save(folder)
        pq.write_table(self.forecasts, folder / FILE, compression="zstd")
        pq.write_table(self.daily, folder / DAILY_FILE, compression="zstd")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a saved model. Raises BadInput when `folder` does not hold a demand model."""
        meta = read_meta(folder, KIND)
        aggregates = AggregateDistributions.load(folder)
        if aggregates is None:
            raise BadInput(
                "the demand model is of an earlier release",
                where=str(folder),
                hint="Train demand again",
            )
        config, daily = meta["config"], read_daily(folder)
        booster = None
        if meta["names"]:
            booster = lgb.Booster(model_str=(folder / _TREES_FILE).read_text(encoding="utf-8"))
        rates, effects = read_arrays(folder / "rates.npz"), read_arrays(folder / "effects.npz")
        week_effects = WeekEffects(
            tuple(meta["zones"]), tuple(meta["signals"]), effects["slopes"], effects["usual"]
        )
        return cls(
            trees=Trees(
                booster,
                tuple(meta["names"]),
                week_effects,
                bool(meta.get("without_drift", False)),
                _restore_strength(meta.get("season_strength", 0.0)),
            ),
            calibration=_restore_calibration(meta["calibration"], aggregates),
            rates=ItemRates(rates["zones"], rates["attributes"], rates["rates"], rates["waiting"]),
            cut=datetime.fromisoformat(meta["cut"]).astimezone(UTC),
            config=FitConfig(**{**config, "trees": TreesConfig(**config["trees"])}),
            forecasts=pq.read_table(folder / FILE, schema=FORECASTS),
            daily=DAILY_FORECASTS.empty_table() if daily is None else daily,
            sold=SoldHistory.load(folder),
        )


def _restore_strength(stored: Mapping[str, float] | float) -> SeasonStrength:
    """Return the stored strength; an earlier release had one for shop and categories."""
    if isinstance(stored, Mapping):
        return SeasonStrength(**stored)
    return SeasonStrength(float(stored), float(stored))


class _StoredBlend(TypedDict, total=False):
    """Weights of `methods` by segment; an earlier release had FITTED only and named none."""

    methods: list[str]
    weights: list[list[float]]


class _StoredCalibration(TypedDict):
    """A calibration as JSON in model.json; sums.json holds its spans and levels."""

    blend: _StoredBlend
    near: StoredItemSpread
    far: StoredItemSpread


def _store_calibration(calibration: Calibration) -> Mapping[str, object]:
    return {
        "blend": {"methods": METHODS, "weights": calibration.blend.weights},
        "near": asdict(calibration.near),
        "far": asdict(calibration.far),
        "sums": (),
        "nodes": {},
    }


def _restore_calibration(
    stored: _StoredCalibration, aggregates: AggregateDistributions
) -> Calibration:
    return Calibration(
        blend=_restore_blend(stored["blend"]),
        near=restore_item_spread(stored["near"]),
        far=restore_item_spread(stored["far"]),
        spans=aggregates.items,
        levels=aggregates.levels,
    )


def _restore_blend(stored: _StoredBlend) -> Blend:
    """Return the stored weights in the order of METHODS; methods without one have weight 0.

    Raises BadInput for a method that this release does not know.
    """
    names = stored.get("methods", list(FITTED))
    unknown = sorted(set(names) - set(METHODS))
    if unknown:
        raise BadInput(
            f"the demand model blends methods of another release: {', '.join(unknown)}",
            hint="Train demand again",
        )
    weights = np.zeros((len(stored["weights"]), len(METHODS)))
    weights[:, [METHODS.index(name) for name in names]] = stored["weights"]
    return Blend(tuple(tuple(row) for row in weights.tolist()))
