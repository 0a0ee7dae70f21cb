"""The learner: one gradient-boosted model of all series with Tweedie loss, for every week ahead.

The trees learn a factor on each series' own level (the offset), so that small and large series
share the effect of promotions. The effect of a whole week on a zone is divided out before and
multiplied back after; forecasts never rise with a planned price. References: Makridakis et al.
(2022), M5 accuracy competition; Tweedie loss as in Zhou, Qian & Yang (2022).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import lightgbm as lgb
import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from models.demand.baselines import tsb
from models.demand.blend import DENSE, FITTED, TREES, TSB
from models.demand.censoring import fill_censored_weeks, find_censored_weeks
from models.demand.features import (
    PRICES,
    History,
    build_features,
    fit_strength_of_seasons,
    season_factors,
    summarize_history,
)
from models.demand.level_drift import measure_drift
from models.demand.panel import DemandPanel
from models.demand.plan_horizon import hide_target_week
from models.demand.seasons import NO_SEASON, SeasonStrength
from models.demand.uncertainty.aggregates import NEAR
from models.demand.week_effects import WeekEffects, fit_week_effects

BOTTOM_UP, MIN_TRACE = RECONCILE = ("bottom_up", "min_trace")
_MIN_ORIGIN = 4  # weeks that a training origin must know
MIN_LEARNT_WEEKS = _MIN_ORIGIN + 1  # below them there is nothing to learn from
_MUCH = 0.5  # units a week from which a series that sells in few weeks is always learnt from
_MIN_STEPS = 3  # weeks ahead learnt from at each origin, so that far ones are among them
_SHARE_OF_SOME_KINDS = 0.25  # of the unknown plans, those in which only some kinds are unknown
# The learner's threads spin while they wait: two on a busy two-core machine take ten times as long.
_THREADS = 1


@dataclass(frozen=True)
class TreesConfig:
    """Parameters of the trees; `power` is Tweedie's variance power, 1 (Poisson) to 2 (gamma)."""

    n_trees: int = 120
    learning_rate: float = 0.08
    n_leaves: int = 31
    power: float = 1.15
    min_rows: int = 100
    share_features: float = 0.7
    share_rows: float = 0.8


@dataclass(frozen=True)
class FitConfig:
    """Training data: origins within `memory_weeks`, at most `max_rows` rows of series × week ahead.

    `share_sparse` of the series that sell in few weeks are learnt from. In `share_unplanned` of the
    rows the plans end before the week to forecast. `reconcile` is how
    forecasts agree with those of categories, departments and zones: "bottom_up" or "min_trace".
    """

    horizon: int = 13
    memory_weeks: int = 30
    max_rows: int = 400_000
    share_sparse: float = 0.1
    share_unplanned: float = 0.4
    reconcile: str = "bottom_up"
    trees: TreesConfig = field(default_factory=TreesConfig)

    def __post_init__(self) -> None:
        if self.reconcile not in RECONCILE:
            raise BadInput(
                f"no reconciliation is called {self.reconcile!r}",
                where="models/demand: fit: reconcile",
                hint=f"One of: {', '.join(RECONCILE)}",
            )


@dataclass(frozen=True)
class Trees:
    """The fitted learner: a factor on each series' level, and the effects of weeks on zones.

    booster         None where too few weeks were known to learn from
    without_drift   it was fitted without the movement of the zones' levels, so their trend is
                    forecast apart; learners of an earlier release learnt it themselves
    season_strength   how far the seasons of the categories come back
    """

    booster: lgb.Booster | None
    names: tuple[str, ...]
    effects: WeekEffects
    without_drift: bool = True
    season_strength: SeasonStrength = NO_SEASON

    def predict(self, panel: DemandPanel, steps: Sequence[int]) -> Float64Array:
        """Return N × steps × FITTED means of the weeks after the panel's last known one.

        Those of the learner are NaN where too few weeks were known to fit it. Raises BadInput for a
        panel with other feature columns than the training data.
        """
        factors = self.effects.factors(panel)
        panel = fill_censored_weeks(panel).divide_units(factors)
        weeks = factors[:, [panel.n_known + step - 1 for step in steps]]
        means = np.full((panel.n_series, len(steps), len(FITTED)), np.nan)
        means[:, :, TSB] = tsb(panel.units.astype(np.float64))[:, None] * weeks
        drift = np.ones((panel.n_series, len(steps)))
        if self.without_drift:
            drift = measure_drift(panel, self.season_strength).forecast(steps)
            means[:, :, TSB] *= drift
        if self.booster is None:
            return means
        past = summarize_history(panel, panel.n_known)
        for column, step in enumerate(steps):
            names, matrix = build_features(panel, past, step)
            if tuple(names) != self.names:
                raise BadInput(
                    "the panel has other features than the model was fitted on",
                    hint=f"Train again; the difference: {sorted(set(names) ^ set(self.names))}",
                )
            relative = np.exp(self.booster.predict(matrix, raw_score=True, num_threads=_THREADS))
            level = past.base * season_factors(panel, past, step, self.season_strength)
            means[:, column, TREES] = level * weeks[:, column] * relative * drift[:, column]
        return means


def fit_trees(panel: DemandPanel, config: FitConfig, seed: int) -> Trees:
    """Fit on every origin that has known weeks after it; no trees with too few weeks.

    Raises BadInput for a panel without series.
    """
    effects = fit_week_effects(fill_censored_weeks(panel))
    if panel.n_known < MIN_LEARNT_WEEKS:
        return Trees(None, (), effects)
    factors = effects.factors(panel)
    strength = fit_strength_of_seasons(fill_censored_weeks(panel).divide_units(factors))
    data = _build_training_data(panel, factors, config, seed, strength)
    if not len(data.actual):
        return Trees(None, (), effects, season_strength=strength)
    trees = config.trees
    parameters = {
        "objective": "tweedie",
        "tweedie_variance_power": trees.power,
        "learning_rate": trees.learning_rate,
        "num_leaves": trees.n_leaves,
        "min_data_in_leaf": max(5, min(trees.min_rows, len(data.actual) // 50)),
        "feature_fraction": trees.share_features,
        "bagging_fraction": trees.share_rows,
        "bagging_freq": 1,
        "max_bin": 63,
        "num_threads": _THREADS,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "boost_from_average": False,
        "monotone_constraints": [-1 if name in PRICES else 0 for name in data.names],
        "verbosity": -1,
    }
    dataset = lgb.Dataset(
        data.features,
        data.actual,
        weight=data.weight,
        init_score=np.log(data.base),
        feature_name=_clean_names(data.names),
        free_raw_data=True,
    )
    booster = lgb.train(parameters, dataset, num_boost_round=trees.n_trees)
    return Trees(booster, tuple(data.names), effects, season_strength=strength)


def _learnt_origins(panel: DemandPanel, config: FitConfig) -> range:
    return range(max(_MIN_ORIGIN, panel.n_known - config.memory_weeks), panel.n_known)


@dataclass(frozen=True)
class _TrainingData:
    """R rows of series × origin × week ahead.

    names      of F features
    features   R × F
    actual     R units sold
    base       R, the level of the series, with the season and the effect of the week
    weight     R, how many series the row's stands for
    """

    names: list[str]
    features: Float32Array
    actual: Float32Array
    base: Float32Array
    weight: Float32Array

    @classmethod
    def concatenate(cls, parts: Sequence[_TrainingData]) -> _TrainingData:
        """Return the rows of all parts, in their order."""
        return cls(
            names=parts[0].names,
            features=np.concatenate([part.features for part in parts]),
            actual=np.concatenate([part.actual for part in parts]),
            base=np.concatenate([part.base for part in parts]),
            weight=np.concatenate([part.weight for part in parts]),
        )


def _build_training_data(
    panel: DemandPanel,
    factors: Float32Array,
    config: FitConfig,
    seed: int,
    season_strength: SeasonStrength,
) -> _TrainingData:
    """Return all weeks ahead if they fit in `max_rows`, else some of them, the near ones first."""
    origins = _learnt_origins(panel, config)
    if not panel.n_series:
        raise BadInput("no item was sold: there is nothing to learn from")
    rng = generator(seed, "demand rows")
    series, weights = _choose_series(panel, config.share_sparse, rng)
    uncensored, actual_units = ~find_censored_weeks(panel)[series], panel.units[series]
    whole = fill_censored_weeks(panel).divide_units(factors)
    drift = measure_drift(whole, season_strength).take(series)
    steps_per_origin = max(_MIN_STEPS, config.max_rows // (len(series) * len(origins)))
    n_rows = len(series) * len(origins) * min(steps_per_origin, config.horizon)
    share = min(1.0, config.max_rows / n_rows)
    parts: list[_TrainingData] = []
    for origin in origins:
        past = summarize_history(whole, origin, series)
        possible = np.arange(1, min(config.horizon, panel.n_known - origin) + 1)
        for step in _choose_steps(possible, steps_per_origin, rng).tolist():
            week = origin + step - 1
            names, matrix = _build_rows(whole, past, step, config.share_unplanned, rng)
            rows = np.flatnonzero((rng.random(len(series)) < share) & uncensored[:, week])
            level = past.base * season_factors(whole, past, step, season_strength)
            level *= factors[series, week] * drift.factors(origin, week)
            parts.append(
                _TrainingData(
                    names=names,
                    features=matrix[rows],
                    actual=actual_units[rows, week],
                    base=level[rows],
                    weight=weights[rows],
                )
            )
    return _TrainingData.concatenate(parts)


def _choose_series(
    panel: DemandPanel, share_sparse: float, rng: np.random.Generator
) -> tuple[Int64Array, Float32Array]:
    """Return the series to learn from, and how many series each one stands for.

    All that sell often or much, and a share of the others. Without the weights the learner would
    take items that fade or begin for ones that sell on as usual.
    """
    mean = panel.units.mean(axis=1)
    certain = _find_dense(panel) | (mean >= _MUCH)
    chosen = certain | (rng.random(panel.n_series) < share_sparse)
    series = np.flatnonzero(chosen if chosen.any() else ~chosen)
    weights = np.where(certain, 1.0, 1.0 / share_sparse if chosen.any() else 1.0)
    return series, weights[series].astype(np.float32)


def _build_rows(
    panel: DemandPanel, past: History, step: int, share_unplanned: float, rng: np.random.Generator
) -> tuple[list[str], Float32Array]:
    """Return names and features of a week ahead; of some series without knowing its plan."""
    names, matrix = build_features(panel, past, step)
    if panel.kinds or panel.offer_price is not None:
        unknown = rng.random(len(matrix)) < share_unplanned
        masked = hide_target_week(panel, *_draw_unknown_plans(panel, past, step, rng))
        matrix[unknown] = build_features(masked, past, step)[1][unknown]
    return names, matrix


def _draw_unknown_plans(
    panel: DemandPanel, past: History, step: int, rng: np.random.Generator
) -> tuple[Collection[int], int, int]:
    """Return kinds of which a plan is unknown at an origin, from which week on, and the target.

    Mostly all kinds, since the plans of a shop tend to end together.
    """
    target = past.origin + step - 1
    kinds = np.arange(len(panel.kinds))
    if len(kinds) > 1 and rng.random() < _SHARE_OF_SOME_KINDS:
        kinds = rng.choice(kinds, rng.integers(1, len(kinds)), replace=False)
    return kinds.tolist(), past.origin + int(rng.integers(step)), target


def _choose_steps(possible: Int64Array, count: int, rng: np.random.Generator) -> Int64Array:
    """Return at most `count` of the weeks ahead; half of them, rounded up, are near ones."""
    if len(possible) <= count:
        return possible
    near = possible[possible <= NEAR]
    far = possible[possible > NEAR]
    n_far = min(len(far), count // 2)
    chosen = [
        rng.choice(near, min(len(near), count - n_far), replace=False),
        rng.choice(far, n_far, replace=False),
    ]
    return np.sort(np.concatenate(chosen))


def _find_dense(panel: DemandPanel) -> BoolArray:
    """Return N: series sold in a quarter of the known weeks."""
    return np.asarray((panel.units > 0).mean(axis=1) >= DENSE)


def _clean_names(names: Sequence[str]) -> list[str]:
    """Return column names without the characters that LightGBM refuses."""
    cleaned = ["".join(c if c.isalnum() else "_" for c in name) for name in names]
    return [f"{number}_{name}" for number, name in enumerate(cleaned)]
