"""Forecasts of a long frame with the names of Nixtla's libraries: unique_id, ds, y, h, level.

    forecasts = fit_frame(df).predict(h=4, level=[80, 95])

A frame is anything that Arrow reads: a pandas or polars data frame, an Arrow table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from features.contracts.errors import BadInput
from features.contracts.tables import TIMESTAMP
from models.demand.blend import expect_learner, segment_series
from models.demand.learner import FitConfig, fit_trees
from models.demand.level_drift import measure_past_drift
from models.demand.model import DemandModel, predict_all_methods
from models.demand.new_items import fit_item_rates
from models.demand.panel import DemandPanel
from models.demand.plan_horizon import find_plan_ends, hide_unplanned_weeks
from models.demand.uncertainty.aggregates import NEAR
from models.demand.uncertainty.backtest_calibration import PastForecasts, calibrate

NAME = "Shopwright"
REACH = "reach:"  # prefix of the columns of planned promotions, known for weeks to come
_WEEK = timedelta(weeks=1)
_MIN_WEEKS = NEAR + 5


class _ArrowStream(Protocol):
    """A data frame that hands itself to Arrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


ArrowFrame: TypeAlias = pa.Table | _ArrowStream | Mapping[str, Sequence[object]]


@dataclass(frozen=True)
class FrameModel:
    """A model fitted on a frame; it forecasts the weeks after it."""

    panel: DemandPanel
    model: DemandModel

    def predict(
        self, h: int, level: Sequence[float] = (), X_df: ArrowFrame | None = None
    ) -> pa.Table:
        """Return unique_id, ds, Shopwright, and Shopwright-lo-L and -hi-L of each level L.

        level   percent; 80 gives p10 and p90
        X_df    unique_id, ds and the `reach:` columns of the weeks to come; without it no plan
                of them is known

        Raises BadInput for a level that is not between 0 and 100.
        """
        for percent in level:
            if not 0 < percent < 100:
                raise BadInput(
                    f"level {percent} is not between 0 and 100", hint="80 gives p10 to p90"
                )
        if X_df is None:
            panel = hide_unplanned_weeks(self.panel, find_plan_ends(self.panel))
        else:
            panel = _add_plans(self.panel, pa.table(X_df))
        means = self.model.blend_means(panel, self.model.predict_methods(panel, h))
        weeks = np.array(
            [start.replace(tzinfo=None) for start in panel.week_starts], "datetime64[us]"
        )
        columns = {
            "unique_id": pa.array(np.repeat(panel.item_ids, h), pa.string()),
            "ds": pa.array(np.tile(weeks[panel.n_known : panel.n_known + h], panel.n_series)),
            NAME: pa.array(means.ravel()),
        }
        for percent in level:
            low, high = 0.5 - percent / 200, 0.5 + percent / 200
            quantiles = self.model.quantiles(panel, means, (low, high))
            columns[f"{NAME}-lo-{percent:g}"] = pa.array(quantiles[:, :, 0].ravel())
            columns[f"{NAME}-hi-{percent:g}"] = pa.array(quantiles[:, :, 1].ravel())
        return pa.table(columns)


def fit_frame(df: ArrowFrame, config: FitConfig | None = None, seed: int = 17) -> FrameModel:
    """Fit on weekly rows of unique_id, ds, y and, if present, zone, category, brand, `reach:KIND`.

    A week without a row sold nothing. Raises BadInput when a column is missing, weeks are not seven
    days apart or there are too few of them.
    """
    config = config or FitConfig()
    panel = _build_panel(pa.table(df), config.horizon)
    if panel.n_known < _MIN_WEEKS:
        raise BadInput(
            f"{panel.n_known} weeks are too few to forecast from",
            hint=f"At least {_MIN_WEEKS} are needed",
        )
    origin = panel.n_known - NEAR
    earlier = panel.truncate(origin)
    steps = tuple(range(1, NEAR + 1))
    trees = fit_trees(earlier, config, seed)
    weeks = np.arange(origin, panel.n_known)
    past = PastForecasts(
        origin=origin,
        steps=steps,
        segments=segment_series(earlier),
        means=predict_all_methods(trees, earlier, steps),
        actual=panel.units[:, origin:].astype(np.float64),
        drift=measure_past_drift(panel, trees.effects, trees.season_strength, origin, weeks),
    )
    model = DemandModel(
        trees=fit_trees(panel, config, seed),
        calibration=calibrate(
            [past],
            panel.n_known,
            np.random.default_rng(seed),
            learner_share=expect_learner(panel),
        ),
        rates=fit_item_rates(panel, panel.take(np.arange(0))),
        cut=panel.week_starts[panel.n_known],
        config=config,
    )
    return FrameModel(panel, model)


def _build_panel(rows: pa.Table, ahead: int) -> DemandPanel:
    missing = sorted({"unique_id", "ds", "y"} - set(rows.column_names))
    if missing:
        raise BadInput(
            f"the frame lacks {', '.join(missing)}", hint=f"It has {', '.join(rows.column_names)}"
        )
    ids = rows["unique_id"].cast(pa.string()).to_numpy(zero_copy_only=False)
    names, first, series = np.unique(ids, return_index=True, return_inverse=True)
    known = sorted(set(_read_weeks(rows)))
    n_known = round((known[-1] - known[0]) / _WEEK) + 1
    starts = tuple(known[0] + n * _WEEK for n in range(n_known + ahead))
    units = np.zeros((len(names), n_known), np.float32)
    sold = rows["y"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    np.add.at(units, (series, _week_positions(rows, starts)), sold)

    def read_labels(name: str, default: str) -> ObjectArray:
        if name not in rows.column_names:
            return np.full(len(names), default, object)
        labels = rows[name].cast(pa.string()).to_numpy(zero_copy_only=False)
        return np.asarray(labels[first], object)

    reach_columns = [name for name in rows.column_names if name.startswith(REACH)]
    kinds = tuple(sorted(name.removeprefix(REACH) for name in reach_columns))
    panel = DemandPanel(
        item_ids=names.astype(object),
        zones=read_labels("zone", "default"),
        categories=read_labels("category", ""),
        week_starts=starts,
        n_known=n_known,
        units=units,
        kinds=kinds,
        reach=np.zeros((len(kinds), len(names), len(starts)), np.float32),
        depth=None,
        list_price=None,
        offer_price=None,
        brands=read_labels("brand", ""),
    )
    return _add_plans(panel, rows)


def _add_plans(panel: DemandPanel, rows: pa.Table) -> DemandPanel:
    """Return the panel with the reach of these rows; rows of unknown series are left out."""
    series_of = {name: row for row, name in enumerate(panel.item_ids.tolist())}
    ids = rows["unique_id"].cast(pa.string()).to_pylist()
    series = np.array([series_of.get(item_id, -1) for item_id in ids])
    known = series >= 0
    weeks = _week_positions(rows, panel.week_starts)[known]
    reach: Float32Array = panel.reach.copy()
    for kind, name in enumerate(panel.kinds):
        if REACH + name in rows.column_names:
            column = pc.fill_null(rows[REACH + name].cast(pa.float32()), 0.0)
            reach[kind, series[known], weeks] = column.to_numpy(zero_copy_only=False)[known]
    return replace(panel, reach=reach)


def _read_weeks(rows: pa.Table) -> list[datetime]:
    starts = rows["ds"].cast(pa.timestamp("us")).to_pylist()
    return [start.replace(tzinfo=UTC) for start in starts]


def _week_positions(rows: pa.Table, starts: Sequence[datetime]) -> Int64Array:
    """Return the position in `starts` of each row's week. Raises BadInput for any other week."""
    weeks = pa.array(_read_weeks(rows), TIMESTAMP)
    positions = pc.index_in(weeks, value_set=pa.array(starts, TIMESTAMP))
    if positions.null_count:
        raise BadInput(
            "weeks are not seven days apart", where="ds", hint="Give one row a series and week"
        )
    return np.asarray(positions.to_numpy(), np.int64)
