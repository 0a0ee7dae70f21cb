"""Price response: slopes on the earlier weeks -> held-out price changes beside baselines -> refit on all weeks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

from configs.settings import Settings
from features.contracts.calendar import week_starts
from features.contracts.categories import codes
from features.contracts.errors import BadInput
from features.contracts.pricing import EvidenceGrade
from features.pipelines.demand import weekly_demand
from features.store.facts import Facts
from models.pricing.elasticity import ElasticityConfig, ElasticityModel, PricePanel, fit_elasticities
from models.pricing.shrinkage import shrink
from training.metrics import Floats, paired_p_value
from training.pricing_plots import foretold
from training.results import Comparison, Evaluation, Trained
from training.splits import span_of_sales

PRIMARY = "R2 of held-out price changes"


@dataclass(frozen=True)
class PricingConfig:
    """`fit_share`: earlier share of the weeks that is fitted on; the price changes of the later ones are foretold.

    `min_selling_share`: items are judged that sold in at least this share of all weeks.
    """

    fit_share: float = 0.75
    min_selling_share: float = 0.9
    elasticity: ElasticityConfig = field(default_factory=ElasticityConfig)

    def __post_init__(self) -> None:
        if not 0 < self.fit_share < 1 or not 0 < self.min_selling_share <= 1:
            raise BadInput("fit_share and min_selling_share are shares between 0 and 1", where="models/pricing")


CONFIG = PricingConfig
# What of a config decides how it is judged, not what is fitted.
PROTOCOL = ("fit_share", "min_selling_share")


@dataclass(frozen=True)
class _Changes:
    """Week-on-week moves of price and units between two selling weeks that follow each other."""

    series: npt.NDArray[np.int64]
    price: Floats
    units: Floats


def train(
    facts: Facts,
    settings: Settings,
    config: PricingConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Callable[[str], None],
) -> Trained[ElasticityModel]:
    """Fits on the earlier weeks, foretells the later price changes, and refits on all weeks."""
    progress("weekly prices and units")
    _, end = span_of_sales(facts, until, settings.timezone)
    panel, starts = price_panel(facts, settings, end)
    n_fit = int(config.fit_share * len(starts))
    n_weeks = np.bincount(panel.series, minlength=len(panel.item_ids))
    judged = n_weeks >= config.min_selling_share * len(starts)
    earlier = panel.rows(judged[panel.series] & (panel.week < n_fit))
    tests = _changes(panel, judged, n_fit, config.elasticity.min_change)
    if not len(tests.series) or not len(earlier.series):
        raise BadInput(
            f"no price changed by more than {config.elasticity.min_change:.0%} in the last "
            f"{len(starts) - n_fit} of {len(starts)} weeks, so price response cannot be judged",
            hint="Import more history",
        )
    progress("fitting price response on the earlier weeks")
    evaluated = fit_elasticities(panel.rows(panel.week < n_fit), config.elasticity)
    cut = starts[n_fit]
    evaluation = _evaluation(cut, evaluated, earlier, tests, panel)
    if not refit:
        return Trained(evaluation, evaluated, evaluated)
    progress("refitting on all data")
    return Trained(evaluation, evaluated, fit_elasticities(panel, config.elasticity))


def evaluate(
    facts: Facts,
    settings: Settings,
    config: PricingConfig,
    *,
    until: datetime | None,
    progress: Callable[[str], None],
) -> Evaluation:
    """The figures on the later weeks, nothing refitted."""
    return train(facts, settings, config, until=until, refit=False, progress=progress).evaluation


def price_panel(facts: Facts, settings: Settings, end: datetime) -> tuple[PricePanel, list[datetime]]:
    """Selling weeks before `end`, and the starts of all weeks. Reads item, zone and week; nothing about a person."""
    events = facts.read("events")
    first = events.occurred_at.min().to_pyarrow().as_py()
    starts = [start for start in week_starts(first, end, settings.timezone) if start < end]
    weekly = weekly_demand(
        events,
        facts.read("promotions").limit(0),
        facts.read("price_history").limit(0),
        as_of=end,
        week_starts=starts,
        kinds=(),
    )
    sold = weekly.filter((weekly.units > 0) & (weekly.mean_unit_price_minor > 0))
    sold = sold.select("item_id", "zone", "week_start", "units", "mean_unit_price_minor")
    sold = sold.left_join(facts.read("items").select("item_id", "category"), "item_id")
    rows = sold.order_by(["item_id", "zone", "week_start"]).to_pyarrow()
    if not rows.num_rows:
        raise BadInput("nothing was sold, so there is no price response to learn", hint="Import purchases with prices")
    item_ids, zones = (np.array(rows[name].to_pylist(), object) for name in ("item_id", "zone"))
    new = np.ones(len(item_ids), bool)
    new[1:] = (item_ids[1:] != item_ids[:-1]) | (zones[1:] != zones[:-1])
    number = {start: week for week, start in enumerate(starts)}
    category = np.array([each or "" for each in rows["category"].to_pylist()], object)
    panel = PricePanel(
        item_ids[new],
        zones[new],
        category[new],
        np.cumsum(new) - 1,
        np.array([number[start] for start in rows["week_start"].to_pylist()], np.int64),
        np.log(rows["mean_unit_price_minor"].to_numpy()),
        np.log(rows["units"].to_numpy()),
    )
    return panel, starts


def _changes(panel: PricePanel, judged: npt.NDArray[np.bool_], first_week: int, min_change: float) -> _Changes:
    same = np.diff(panel.series, prepend=-1) == 0
    follows = same & (np.diff(panel.week, prepend=-9) == 1)
    price = np.diff(panel.log_price, prepend=0.0)
    units = np.diff(panel.log_units, prepend=0.0)
    kept = follows & judged[panel.series] & (panel.week >= first_week) & (np.abs(price) > min_change)
    return _Changes(panel.series[kept], price[kept], units[kept])


def _evaluation(
    cut: datetime,
    model: ElasticityModel,
    earlier: PricePanel,
    tests: _Changes,
    panel: PricePanel,
) -> Evaluation:
    slopes = _baselines(earlier)
    by_key = dict(zip(zip(model.item_ids, model.zones, strict=True), model.columns["elasticity"], strict=True))
    pooled = float(slopes["pooled"][0])
    ours = np.array([by_key.get(key, pooled) for key in zip(panel.item_ids, panel.zones, strict=True)])
    scores = {name: _r2(values, tests) for name, values in slopes.items()}
    strongest = max(scores, key=lambda name: scores[name])
    p_value = paired_p_value(_errors(ours, tests), _errors(slopes[strongest], tests))
    mine = _r2(ours, tests)
    comparison = Comparison(PRIMARY, mine, scores, "higher", strongest, p_value)
    judged = np.unique(tests.series)
    metrics = {
        "share positive elasticities": float((ours[judged] > 0).mean()),
        "share positive, own slopes": float((slopes["own OLS"][judged] > 0).mean()),
        "items judged": float(len(judged)),
        "price changes judged": float(len(tests.series)),
        "median elasticity": float(np.median(ours[judged])),
    }
    for code, grade in enumerate(EvidenceGrade):
        metrics[f"items of grade {grade}"] = float((model.columns["grade"] == code).sum())
    notes = (
        "prices are those paid: where regular prices hardly move, these are responses to promotions",
        "no slope is clipped; items whose slope is not clearly below zero have grade D and get no suggestion",
    )
    figures = {"price_response": foretold(ours[tests.series] * tests.price, tests.units)}
    # Below 0 the model foretells worse than "nothing changes".
    passed = mine > max(0.0, scores["pooled"]) and (mine >= scores[strongest] or p_value > 0.05)
    return Evaluation("pricing", cut, PRIMARY, (comparison,), passed, metrics, notes, figures=figures)


def _baselines(earlier: PricePanel) -> dict[str, Floats]:
    """A slope per series: one for all, one per category, own least squares, and own drawn to the category.

    Least squares as everyone has it: every week weighs the same, and no common movement is taken out.
    """
    n = len(earlier.item_ids)
    follows = (np.diff(earlier.series, prepend=-1) == 0) & (np.diff(earlier.week, prepend=-9) == 1)
    price = np.diff(earlier.log_price, prepend=0.0)[follows]
    units = np.diff(earlier.log_units, prepend=0.0)[follows]
    series = earlier.series[follows]
    pooled = float(price @ units / max(price @ price, 1e-12))
    category = codes(earlier.category, 2)
    by_category, _ = _slopes(category[series], price, units, int(category.max()) + 1, pooled)
    of_changes, _ = _slopes(series, price, units, n, pooled)
    plain_price = _within(earlier.series, earlier.log_price, n)
    plain_units = _within(earlier.series, earlier.log_units, n)
    own, variances = _slopes(earlier.series, plain_price, plain_units, n, pooled)
    drawn, _ = shrink(own, variances, [category])
    return {
        "pooled": np.full(n, pooled),
        "category": by_category[category],
        "own OLS": own,
        "own OLS of changes": of_changes,
        "empirical Bayes": drawn,
    }


def _slopes(
    groups: npt.NDArray[np.int64], price: Floats, units: Floats, n: int, otherwise: float
) -> tuple[Floats, Floats]:
    """Least squares per group (n,) and its variance; `otherwise` where the price hardly moved."""
    spread = np.bincount(groups, price**2, n)
    moved = spread > 1e-4
    slopes = np.where(moved, np.bincount(groups, price * units, n) / np.maximum(spread, 1e-9), otherwise)
    residual = units - slopes[groups] * price
    degrees = np.maximum(np.bincount(groups, minlength=n) - 2, 1)
    variances = np.bincount(groups, residual**2, n) / degrees / np.maximum(spread, 1e-9)
    return slopes, np.where(moved, np.maximum(variances, 1e-6), 1e4)


def _within(series: npt.NDArray[np.int64], values: Floats, n: int) -> Floats:
    counts = np.maximum(np.bincount(series, minlength=n), 1)
    return values - (np.bincount(series, values, n) / counts)[series]


def _errors(slopes: Floats, tests: _Changes) -> Floats:
    return np.asarray((tests.units - slopes[tests.series] * tests.price) ** 2)


def _r2(slopes: Floats, tests: _Changes) -> float:
    """1 less the squared error of slope × change in log price over the variance of the change in log units."""
    total = float(((tests.units - tests.units.mean()) ** 2).sum())
    return 1 - float(_errors(slopes, tests).sum()) / total if total else 0.0
