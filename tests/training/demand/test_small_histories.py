"""Every shop with a week of sales has forecasts, from the present on, whatever evaluates well."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from configs.loading import load
from configs.settings import Settings
from features.contracts.errors import Damaged, TooLittleData
from models.demand.blend import METHODS
from models.demand.model import DemandModel
from tests.shops.steady_sales import open_shop, sell, week
from training.demand import task
from training.demand.config import DemandConfig
from training.results import Trained

CONFIG = load(
    "models/demand", DemandConfig, overrides={"fit.trees.n_trees": 5, "fit.max_rows": 5_000}
)


def train(
    home: Path, weeks: range, present: datetime, *, data_until: datetime | None = None
) -> Trained[DemandModel]:
    settings = Settings(home=home, data_until=data_until)
    facts = open_shop(settings, sell(weeks), ("a", "b", "c", "never sold"))
    return task.train(facts, settings, CONFIG, until=present, progress=lambda _: None)


def weekly_means(model: DemandModel, item: str = "a") -> tuple[list[datetime], list[float]]:
    rows = [row for row in model.forecasts.to_pylist() if row["unique_id"] == item]
    return [row["ds"] for row in rows], [row["mean"] for row in rows]


@pytest.mark.parametrize("n_weeks", [1, 2])
def test_one_week_of_sales_is_a_forecast_that_says_so(n_weeks: int, tmp_path: Path) -> None:
    trained = train(tmp_path, range(n_weeks), week(n_weeks))
    starts, means = weekly_means(trained.served)
    assert starts == [week(n_weeks + ahead) for ahead in range(13)]
    assert means == pytest.approx([14.0] * 13, rel=0.15)
    assert trained.evaluation.comparisons == ()
    assert trained.evaluation.passed and np.isnan(trained.evaluation.primary_value)
    assert "3 are needed" in trained.evaluation.notes[-1]
    trained.served.save(tmp_path)
    assert DemandModel.load(tmp_path).forecasts.equals(trained.served.forecasts)


def test_less_than_a_week_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TooLittleData, match="began on 2024-01-01, and no whole week"):
        train(tmp_path, range(1), week(1) - (week(1) - week(0)) / 2)


def test_forecasts_of_a_shop_that_stopped_begin_now_and_know_that_it_did(tmp_path: Path) -> None:
    stopped = train(tmp_path / "zero", range(20), week(26))
    starts, means = weekly_means(stopped.served)
    assert (starts[0], len(starts)) == (week(26), 13)
    assert max(means) < 7  # half of what it sold
    assert stopped.evaluation.notes[0].startswith("data end 2024-05-19, 6 weeks before now")


def test_forecasts_reach_over_missing_weeks_and_begin_now(tmp_path: Path) -> None:
    missing = train(tmp_path, range(20), week(26), data_until=week(20))
    starts, means = weekly_means(missing.served)
    assert (starts[0], len(starts)) == (week(26), 13)
    assert means == pytest.approx([14.0] * 13, rel=0.1)
    assert min(missing.served.daily["ds"].to_pylist()) == week(26)


@pytest.mark.parametrize("behind", [True, False])
def test_the_better_one_serves_where_the_blend_fails_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: bool
) -> None:
    evaluate = task.evaluate_origins

    def fail(*arguments: Any) -> task.EvaluatedOrigins:
        found = evaluate(*arguments)
        first, *others = found.evaluation.comparisons
        first = replace(first, ours=first.baselines[first.strongest] + (0.01 if behind else -0.01))
        evaluation = replace(
            found.evaluation, comparisons=(first, *others), failed_bars=("a bias of 40%",)
        )
        return replace(found, evaluation=evaluation)

    monkeypatch.setattr(task, "evaluate_origins", fail)
    trained = train(tmp_path, range(20), week(20))
    strongest = trained.evaluation.comparison("WMAPE").strongest
    assert trained.evaluation.passed
    weights = np.array(trained.served.calibration.blend.weights)
    method = METHODS.index({"SES": "decaying mean"}.get(strongest, strongest))
    assert (weights[:, method] == 1).all() == behind
    start = f"{strongest} serves alone" if behind else "no baseline is better than what serves"
    assert trained.evaluation.notes[-1].startswith(start)
    assert trained.evaluation.notes[-1].endswith("fails: a bias of 40%")


def test_a_shop_that_grows_by_half_every_week_is_forecast_and_its_sales_are_saved(
    tmp_path: Path,
) -> None:
    events = [
        event | {"quantity": 1.5 ** round((event["occurred_at"] - week(0)).days // 7)}
        for event in sell(range(12))
    ]
    settings = Settings(home=tmp_path)
    trained = task.train(
        open_shop(settings, events), settings, CONFIG, until=week(12), progress=lambda _: None
    )
    trained.served.save(tmp_path / "model")
    saved = DemandModel.load(tmp_path / "model")
    assert saved.forecasts.equals(trained.served.forecasts)
    assert saved.sold is not None
    assert saved.sold.highest == pytest.approx([7 * 1.5**11] * 3)
    assert saved.sold.zone_highest == pytest.approx([21 * 1.5**11])


def test_a_training_whose_forecasts_are_absurd_saves_none(tmp_path: Path) -> None:
    trained = train(tmp_path, range(20), week(20))
    rows = trained.served.forecasts
    rows = rows.set_column(rows.column_names.index("p90"), "p90", pc.multiply(rows["p90"], 100.0))
    rows = rows.set_column(rows.column_names.index("mean"), "mean", pc.multiply(rows["mean"], 90.0))
    absurd = trained.served.with_forecasts(rows, sold=trained.served.sold)
    with pytest.raises(Damaged, match=r"3 of 3 items are forecast at more than 50 times"):
        absurd.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
