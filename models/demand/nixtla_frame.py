"""Forecasts of a long frame: unique_id, ds, y, h and level, as users of Nixtla's libraries know
them.

    forecasts = fit_frame(df).predict(h=4, level=[80, 95])

A frame is anything that Arrow reads: a pandas or polars data frame, an Arrow table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from features.contracts.errors import BadInput
from features.contracts.tables import TIMESTAMP
from models.demand.blend import segments
from models.demand.learner import FitConfig, fit_trees
from models.demand.model import DemandModel
from models.demand.new_items import item_rates
from models.demand.panel import DemandPanel
from models.demand.uncertainty.backtest_calibration import NEAR, Backtest, calibrate

NAME = "Shopwright"
REACH = "reach:"  # prefix of the columns of planned promotions, known for weeks to come
_WEEK = timedelta(weeks=1)
_MIN_WEEKS = NEAR + 5


@dataclass(frozen=True)
class FrameModel:
    """Fitted on a frame; forecasts the weeks after it."""

    panel: DemandPanel
    model: DemandModel

    def predict(self, h: int, level: Sequence[float] = (), X_df: Any = None) -> pa.Table:
        """unique_id, ds, Shopwright, and Shopwright-lo-L and -hi-L of each level L (80: from p10 to
        p90).

        `X_df` holds unique_id, ds and the `reach:` columns of the weeks to come; without it none is
        promoted. Raises BadInput for a level that is not between 0 and 100.
        """
        for each in level:
            if not 0 < each < 100:
                raise BadInput(f"level {each} is not between 0 and 100", hint="80 gives p10 to p90")
        panel = self.panel if X_df is None else _with_plans(self.panel, pa.table(X_df))
        means = self.model.means(panel, self.model.unblended(panel, h))
        at = [side for each in level for side in (0.5 - each / 200, 0.5 + each / 200)]
        quantiles = self.model.quantiles(panel, means, at)
        weeks = np.array(
            [start.replace(tzinfo=None) for start in panel.week_starts], "datetime64[us]"
        )
        columns: dict[str, Any] = {
            "unique_id": pa.array(np.repeat(panel.item_ids, h), pa.string()),
            "ds": pa.array(np.tile(weeks[panel.n_known : panel.n_known + h], panel.n_series)),
            NAME: means.ravel(),
        }
        for place, each in enumerate(level):
            columns[f"{NAME}-lo-{each:g}"] = quantiles[:, :, 2 * place].ravel()
            columns[f"{NAME}-hi-{each:g}"] = quantiles[:, :, 2 * place + 1].ravel()
        return pa.table(columns)


def fit_frame(df: Any, config: FitConfig | None = None, seed: int = 17) -> FrameModel:
    """Fits on weekly rows of unique_id, ds, y and, where there are any, zone, category, brand and
    `reach:KIND`.

    A week without a row sold nothing. Raises BadInput when a column is missing, weeks are not seven
    days apart or there are too few of them.
    """
    config = config or FitConfig()
    panel = _panel(pa.table(df), config.horizon)
    if panel.n_known < _MIN_WEEKS:
        raise BadInput(
            f"{panel.n_known} weeks are too few to forecast from",
            hint=f"At least {_MIN_WEEKS} are needed",
        )
    origin = panel.n_known - NEAR
    earlier = panel.known_until(origin)
    steps = tuple(range(1, NEAR + 1))
    means = fit_trees(earlier, config, seed).means(earlier, steps)
    actual = panel.units[:, origin:].astype(np.float64)
    seen = Backtest(origin, steps, segments(earlier), means, actual)
    calibration = calibrate([seen], panel.n_known, np.random.default_rng(seed))
    rates = item_rates(panel, panel.take(np.arange(0)))
    cut = panel.week_starts[panel.n_known]
    return FrameModel(
        panel, DemandModel(fit_trees(panel, config, seed), calibration, rates, cut, config)
    )


def _panel(rows: pa.Table, ahead: int) -> DemandPanel:
    missing = sorted({"unique_id", "ds", "y"} - set(rows.column_names))
    if missing:
        raise BadInput(
            f"the frame lacks {', '.join(missing)}", hint=f"It has {', '.join(rows.column_names)}"
        )
    names, series = np.unique(
        rows["unique_id"].cast(pa.string()).to_numpy(zero_copy_only=False), return_inverse=True
    )
    known = sorted(set(_weeks(rows)))
    n_known = round((known[-1] - known[0]) / _WEEK) + 1
    starts = tuple(known[0] + n * _WEEK for n in range(n_known + ahead))
    units = np.zeros((len(names), n_known), np.float32)
    np.add.at(
        units,
        (series, _places(rows, starts)),
        rows["y"].cast(pa.float64()).to_numpy(zero_copy_only=False),
    )
    first = np.unique(series, return_index=True)[1]

    def said(name: str, default: str) -> ObjectArray:
        if name not in rows.column_names:
            return np.full(len(names), default, object)
        return np.asarray(
            rows[name].cast(pa.string()).to_numpy(zero_copy_only=False)[first], object
        )

    kinds = tuple(
        sorted(name.removeprefix(REACH) for name in rows.column_names if name.startswith(REACH))
    )
    panel = DemandPanel(
        item_ids=names.astype(object),
        zones=said("zone", "default"),
        categories=said("category", ""),
        week_starts=starts,
        n_known=n_known,
        units=units,
        kinds=kinds,
        reach=np.zeros((len(kinds), len(names), len(starts)), np.float32),
        depth=None,
        list_price=None,
        offer_price=None,
        brands=said("brand", ""),
    )
    return _with_plans(panel, rows)


def _with_plans(panel: DemandPanel, rows: pa.Table) -> DemandPanel:
    """The panel with the reach of these rows; rows of unknown series are left out."""
    place = {name: n for n, name in enumerate(panel.item_ids.tolist())}
    series = np.array(
        [place.get(name, -1) for name in rows["unique_id"].cast(pa.string()).to_pylist()]
    )
    kept = series >= 0
    weeks = _places(rows, panel.week_starts)[kept]
    reach: Float32Array = panel.reach.copy()
    for kind, name in enumerate(panel.kinds):
        if REACH + name in rows.column_names:
            values = pc.fill_null(rows[REACH + name].cast(pa.float32()), 0.0).to_numpy(
                zero_copy_only=False
            )
            reach[kind, series[kept], weeks] = values[kept]
    return replace(panel, reach=reach)


def _weeks(rows: pa.Table) -> list[datetime]:
    return [at.replace(tzinfo=UTC) for at in rows["ds"].cast(pa.timestamp("us")).to_pylist()]


def _places(rows: pa.Table, starts: Sequence[datetime]) -> Int64Array:
    """Which week each row is of."""
    found = pc.index_in(pa.array(_weeks(rows), TIMESTAMP), value_set=pa.array(starts, TIMESTAMP))
    if found.null_count:
        raise BadInput(
            "weeks are not seven days apart", where="ds", hint="Give one row a series and week"
        )
    return np.asarray(found.to_numpy(), np.int64)
