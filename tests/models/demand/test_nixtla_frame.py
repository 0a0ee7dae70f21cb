from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.contracts.errors import BadInput
from models.demand.learner import FitConfig, TreesConfig
from models.demand.nixtla_frame import fit_frame

CONFIG = FitConfig(max_rows=20_000, trees=TreesConfig(n_trees=40, min_rows=20))
MONDAY = datetime(2024, 1, 1)  # noqa: DTZ001  # as in Nixtla's frames
N_SERIES, N_WEEKS = 80, 24


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(6)
    level = rng.gamma(2.0, 3.0, N_SERIES)
    mailed = rng.random((N_SERIES, N_WEEKS)) < 0.25
    units = rng.poisson(level[:, None] * (1 + mailed))
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{n:02}" for n in range(N_SERIES)], N_WEEKS),
            "ds": np.tile([MONDAY + timedelta(weeks=n) for n in range(N_WEEKS)], N_SERIES),
            "y": units.ravel(),
            "reach:mailer": mailed.ravel().astype(float),
        }
    )


def test_a_long_frame_in_and_a_long_frame_out() -> None:
    sold = frame()
    model = fit_frame(sold, CONFIG)
    forecasts = model.predict(h=4, level=[80, 99]).to_pandas()
    assert list(forecasts.columns) == [
        "unique_id",
        "ds",
        "Shopwright",
        "Shopwright-lo-80",
        "Shopwright-hi-80",
        "Shopwright-lo-99",
        "Shopwright-hi-99",
    ]
    assert len(forecasts) == N_SERIES * 4
    assert forecasts["ds"].min() == MONDAY + timedelta(weeks=N_WEEKS)
    assert (forecasts["Shopwright-lo-99"] <= forecasts["Shopwright-lo-80"]).all()
    assert (forecasts["Shopwright-hi-80"] <= forecasts["Shopwright-hi-99"]).all()
    # No plan of these weeks is known, so they are forecast with as many mailers as usual.
    assert forecasts["Shopwright"].sum() / 4 == pytest.approx(sold["y"].mean() * 80, rel=0.1)
    nothing_planned = sold[sold["reach:mailer"] == 0]["y"].mean() * 80
    planned = {
        "unique_id": np.repeat(model.panel.item_ids, 4),
        "ds": np.tile([MONDAY + timedelta(weeks=N_WEEKS + n) for n in range(4)], N_SERIES),
        "reach:mailer": np.zeros(4 * N_SERIES),
    }
    without = model.predict(h=4, X_df=pa.table(planned)).to_pandas()
    assert without["Shopwright"].sum() / 4 == pytest.approx(nothing_planned, rel=0.1)


def test_plans_for_weeks_to_come_lift_the_forecast() -> None:
    model = fit_frame(frame(), CONFIG)
    ids = model.panel.item_ids.tolist()
    plans = pa.table(
        {
            "unique_id": ids,
            "ds": [MONDAY + timedelta(weeks=N_WEEKS)] * N_SERIES,
            "reach:mailer": [1.0] * N_SERIES,
        }
    )
    plain, promoted = model.predict(h=1), model.predict(h=1, X_df=plans)
    assert sum(promoted["Shopwright"].to_pylist()) > 1.4 * sum(
        plain["Shopwright"].to_pylist()
    )  # a mailer doubles


def test_a_frame_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(BadInput, match="lacks y"):
        fit_frame(frame().drop(columns="y"))
    with pytest.raises(BadInput, match="seven days apart"):
        fit_frame(
            frame().assign(
                ds=lambda rows: rows["ds"].where(rows.index != 5, MONDAY + timedelta(days=3))
            )
        )
    with pytest.raises(BadInput, match="5 weeks are too few"):
        fit_frame(frame()[lambda rows: rows["ds"] < MONDAY + timedelta(weeks=5)])
    with pytest.raises(BadInput, match="level 100"):
        fit_frame(frame(), CONFIG).predict(h=1, level=[100])
