from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import ibis
import numpy as np
import pyarrow as pa
import pytest

from configs.loading import load
from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.tables import TABLES
from models.demand import planned_baseline
from models.demand.model import DAILY_FORECASTS, FORECASTS
from training.demand.catalogue_items import build_unsold_panel, read_catalogue
from training.demand.config import DemandConfig
from training.demand.panel import build_panel
from training.demand.task import evaluate, train

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
N_ITEMS, N_WEEKS = 40, 18
ZONES = ("north", "south")
NEW_YORK = ZoneInfo("America/New_York")


class FewFacts:
    """Tables in memory, read like those of a shop."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        self._backend = ibis.duckdb.connect()
        self._backend.raw_sql("SET TimeZone = 'UTC'")
        for name, schema in TABLES.items():
            self._backend.con.register(name, tables.get(name, schema.arrow.empty_table()))

    def read(self, name: str, known_at: datetime | None = None) -> Any:
        return self._backend.table(name)


def stored(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = TABLES[name].arrow
    return pa.Table.from_pylist(
        [{field.name: row.get(field.name) for field in schema} for row in rows], schema=schema
    )


def shop(*, n_weeks: int = N_WEEKS, price_factor: float | None = None) -> FewFacts:
    rng = np.random.default_rng(11)
    prices = np.random.default_rng(12)
    level = rng.gamma(2.0, 3.0, (N_ITEMS, 2))
    mailed = rng.random((N_ITEMS, n_weeks + 13)) < 0.25
    events, promotions = [], []
    for item, zone, week in np.ndindex(N_ITEMS, 2, n_weeks):
        sold = rng.poisson(level[item, zone] * (1 + mailed[item, week]))
        if sold:
            paid = 500 if price_factor is None else int(500 * prices.random() * price_factor)
            events.append(
                {
                    "event_id": f"{item}-{zone}-{week}",
                    "event_type": "purchase",
                    "occurred_at": MONDAY + timedelta(weeks=week, days=int(sold) % 7 + 0.5),
                    "item_id": f"i{item:02}",
                    "zone": ZONES[zone],
                    "quantity": float(sold),
                    "line_amount_minor": paid * int(sold),
                    "unit_price_minor": float(paid),
                    "list_price_minor": paid * 1.3,
                }
            )
    for item, week in zip(*np.nonzero(mailed), strict=True):
        start = MONDAY + timedelta(weeks=int(week))
        row = {"promotion_id": f"m{week}", "item_id": f"i{item:02}", "kind": "mailer", "reach": 1.0}
        promotions.append({**row, "starts_at": start, "ends_at": start + timedelta(weeks=1)})
    items = [
        {"item_id": f"i{item:02}", "category": f"Food > {'Tea' if item % 2 else 'Milk'}"}
        for item in range(42)
    ]
    return FewFacts(
        {
            n: stored(n, r)
            for n, r in (("events", events), ("promotions", promotions), ("items", items))
        }
    )


def daily_shop() -> FewFacts:
    """Thirty items of New York that sell twice as much on Fridays, through the end of summer time;
    ten hardly sell."""
    rng = np.random.default_rng(21)
    level = np.where(np.arange(40) < 30, rng.gamma(9.0, 0.4, 40), 0.05)
    weekday = np.array([1, 1, 1, 1, 2, 1, 1])
    sold = rng.poisson(level[:, None] * np.tile(weekday, N_WEEKS))
    midnight = datetime(2024, 8, 5, tzinfo=NEW_YORK)
    events = [
        {
            "event_id": f"{item}-{day}",
            "event_type": "purchase",
            "occurred_at": (midnight + timedelta(days=int(day), hours=23)).astimezone(UTC),
            "item_id": f"i{item:02}",
            "zone": "north",
            "quantity": float(sold[item, day]),
            "unit_price_minor": 500.0,
        }
        for item, day in zip(*np.nonzero(sold), strict=True)
    ]
    items = [{"item_id": f"i{item:02}", "category": "Food"} for item in range(40)]
    return FewFacts({n: stored(n, r) for n, r in (("events", events), ("items", items))})


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(home=tmp_path)


CONFIGURED = load(
    "models/demand", DemandConfig, overrides={"fit.trees.n_trees": 40, "fit.max_rows": 20_000}
)


def quiet(_: str) -> None:
    pass


def test_a_small_shop_is_evaluated_and_forecast(settings: Settings) -> None:
    trained = train(shop(), settings, CONFIGURED, until=None, progress=quiet)
    evaluation = trained.evaluation
    assert evaluation.cut == MONDAY + timedelta(
        weeks=13
    )  # 18 weeks, the last one skipped, 4 evaluated
    comparison = evaluation.comparison("WMAPE")
    assert set(comparison.baselines) == {
        "naive",
        "CrostonSBA",
        "TSB",
        "SES",
        "mean of 8 weeks",
        "ADIDA",
        "seasonal naive",
        planned_baseline.NAME,
    }
    planned = comparison.baselines[planned_baseline.NAME]  # it has the true form of this shop
    assert comparison.ours < 1.02 * planned
    assert comparison.ours < min(set(comparison.baselines.values()) - {planned})
    assert abs(evaluation.metrics["bias"]) < 0.1  # 320 evaluated weeks of mean 7.5
    assert 0.8 < evaluation.metrics["coverage p10-p90"] < 0.97
    assert evaluation.metrics["PIT KS"] < 0.1  # 1.36 / sqrt(320) = .076 at p = .05
    assert set(evaluation.figures) == {"demand_total", "demand_calibration"}
    assert trained.evaluated.cut == evaluation.cut
    forecasts = trained.served.forecasts
    assert forecasts.schema == FORECASTS
    assert forecasts.num_rows == 42 * 2 * 13  # two of the 42 items never sold
    assert min(forecasts["ds"].to_pylist()) == trained.served.cut == MONDAY + timedelta(weeks=18)
    assert min(forecasts["mean"].to_pylist()) > 0
    assert [comparison.metric for comparison in evaluation.comparisons] == [
        "WMAPE",
        "revenue-weighted RMSSE",
    ]
    assert trained.served.daily.num_rows == 0  # each item sells on one day a week
    table = evaluation.table("Quantiles of sums")
    assert table.columns == (
        "item, 4 weeks",
        *(
            f"{level}, {time}"
            for level in ("category", "department", "total")
            for time in ("a week", "4 weeks")
        ),
    )
    assert table.n_users == (
        80,
        4 * 4,
        4,
        2 * 4,
        2,
        2 * 4,
        2,
    )  # two zones of Tea and Milk, both Food
    assert table.rows["PIT .1 to .9"][0].value == pytest.approx(
        0.8, abs=0.13
    )  # 80 sums: standard error 4.5 %
    assert set(trained.served.aggregates.levels) == {"category", "department", "total"}
    assert (
        evaluation.table("WMAPE of new items").n_users[-1] == 4
    )  # two items of the catalogue in two zones


def test_dense_series_are_also_forecast_by_day(settings: Settings) -> None:
    there = settings.model_copy(update={"timezone": "America/New_York"})
    trained = train(daily_shop(), there, CONFIGURED, until=None, progress=quiet)  # type: ignore[arg-type]
    comparison = trained.evaluation.comparison("daily WMAPE")
    assert comparison.ours < min(comparison.baselines.values())
    figures = trained.evaluation.metrics
    assert figures["n_daily_series"] == 30
    assert (
        abs(figures["daily bias"]) < 0.1
    )  # 840 days of mean 4.1: standard error of the sum 1.7 %, of a level more
    assert 0.8 < figures["daily coverage p10-p90"] < 0.95
    assert figures["daily PIT KS"] < 0.08
    weekly, daily = trained.served.forecasts, trained.served.daily
    assert daily.schema == DAILY_FORECASTS
    assert daily.num_rows == 30 * 13 * 7
    weeks = {(row["unique_id"], row["ds"]): row["mean"] for row in weekly.to_pylist()}
    starts = np.array(sorted(set(weekly["ds"].to_pylist())))
    sums = dict.fromkeys(((item, start) for item, start in weeks if item < "i30"), 0.0)
    for row in daily.to_pylist():
        local = row["ds"].astimezone(NEW_YORK)
        assert (local.hour, local.minute) == (0, 0)
        sums[row["unique_id"], starts[np.searchsorted(starts, row["ds"], side="right") - 1]] += row[
            "mean"
        ]
    assert sums == pytest.approx({key: weeks[key] for key in sums})
    means = np.array(daily["mean"]).reshape(-1, 7).sum(axis=0)
    assert means[4] / np.delete(means, 4).mean() == pytest.approx(2, rel=0.1)


def test_prices_seen_in_sales_change_no_feature_and_no_forecast(settings: Settings) -> None:
    plain, moved = shop(), shop(price_factor=9.0)
    original, repriced = (
        build_panel(facts, settings, until=None, ahead=13)[0] for facts in (plain, moved)
    )  # type: ignore[arg-type]
    assert np.array_equal(original.units, repriced.units)
    assert np.array_equal(original.reach, repriced.reach)
    assert original.offer_price is None
    assert repriced.offer_price is None
    first, second = (
        train(facts, settings, CONFIGURED, until=None, progress=quiet) for facts in (plain, moved)
    )  # type: ignore[arg-type]
    assert first.served.forecasts.equals(second.served.forecasts)
    assert first.evaluation.comparison("WMAPE") == second.evaluation.comparison("WMAPE")


def test_events_from_until_on_change_nothing(settings: Settings) -> None:
    until = MONDAY + timedelta(weeks=16)
    longer, shorter = shop(n_weeks=18), shop(n_weeks=18)
    events = shorter.read("events").filter(ibis._.occurred_at < until).to_pyarrow()
    tables = {name: shorter.read(name).to_pyarrow() for name in ("promotions", "items")}
    cut = FewFacts({**tables, "events": events})
    longer_evaluation, cut_evaluation = (
        evaluate(f, settings, CONFIGURED, until=until, progress=quiet) for f in (longer, cut)
    )  # type: ignore[arg-type]
    assert longer_evaluation.comparisons == cut_evaluation.comparisons
    assert longer_evaluation.cut == MONDAY + timedelta(weeks=11)


def test_listing_dates_are_read_off_the_catalogue(settings: Settings) -> None:
    plain = shop()
    rows = plain.read("items").to_pyarrow().to_pylist()
    dates = {
        "i00": MONDAY - timedelta(days=1),
        "i01": MONDAY + timedelta(weeks=3, days=2),
        "i40": MONDAY,
    }
    dated = [row | {"available_from": dates.get(row["item_id"])} for row in rows]
    tables = {name: plain.read(name).to_pyarrow() for name in ("events", "promotions")}
    facts: Any = FewFacts({**tables, "items": stored("items", dated)})
    panel = build_panel(facts, settings, until=None, ahead=13).panel
    unsold = build_unsold_panel(panel, read_catalogue(facts))
    assert panel.listed_week[:3].tolist() == [-1, 3, -np.inf]
    assert unsold.item_ids.tolist() == ["i40", "i40", "i41", "i41"]
    assert unsold.listed_week.tolist() == [0, 0, -np.inf, -np.inf]


@pytest.mark.parametrize("n_weeks", [3, 4, 5, 6, 9, 13])
def test_a_shop_of_a_few_weeks_gets_forecasts(n_weeks: int, settings: Settings) -> None:
    trained = train(shop(n_weeks=n_weeks), settings, CONFIGURED, until=None, progress=quiet)  # type: ignore[arg-type]
    forecasts = trained.served.forecasts
    assert forecasts.num_rows == 42 * 2 * 13
    mean, low, high = (forecasts[name].to_numpy() for name in ("mean", "p10", "p90"))
    assert np.isfinite(mean).all()
    assert mean.min() > 0
    assert (low <= high).all()
    assert (high > low).mean() > 0.9  # a few weeks are no certainty
    assert mean[: 40 * 13].mean() == pytest.approx(7.5, rel=0.35)  # 6 units, a quarter doubled
    assert any("weeks of sales" in note for note in trained.evaluation.notes)


def test_too_little_history_says_what_is_needed(settings: Settings) -> None:
    young = train(shop(n_weeks=2), settings, CONFIGURED, until=None, progress=quiet)  # type: ignore[arg-type]
    assert "2 whole weeks of sales are too few to forecast; 3 are" in young.evaluation.notes[-1]
    with pytest.raises(BadInput, match="no purchases"):
        train(FewFacts({}), settings, CONFIGURED, until=None, progress=quiet)  # type: ignore[arg-type]
