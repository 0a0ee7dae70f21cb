"""The learner: one gradient-boosted model over all series with Tweedie loss, direct for every week
ahead.

The trees learn a factor on each series' own level (the offset), so small and large series share
what promotions do. What a whole week does to a zone is taken out before and put back after; demand
falls as a planned price rises. References: Makridakis et al. (2022), M5 accuracy competition;
Tweedie loss as in Zhou, Qian & Yang (2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from features.contracts.arrays import BoolArray, Float32Array, Float64Array
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from models.demand.baselines import tsb
from models.demand.blend import DENSE
from models.demand.censoring import censored, uncensored
from models.demand.features import PRICES, features, history
from models.demand.panel import DemandPanel
from models.demand.uncertainty.backtest_calibration import NEAR
from models.demand.week_effects import WeekEffects, fit_week_effects

BOTTOM_UP, MIN_TRACE = RECONCILE = ("bottom_up", "min_trace")
_EARLIEST = 4  # weeks that a training origin must know
# the learner's threads spin while they wait: two on a busy two-core machine take ten times as long
_THREADS = 1


@dataclass(frozen=True)
class TreesConfig:
    """The learner. `power` is Tweedie's variance power, between 1 (Poisson) and 2 (gamma)."""

    n_trees: int = 120
    learning_rate: float = 0.08
    n_leaves: int = 31
    power: float = 1.15
    min_rows: int = 100
    share_features: float = 0.7
    share_rows: float = 0.8


@dataclass(frozen=True)
class FitConfig:
    """What is learnt from: origins within `memory_weeks`, at most `max_rows` rows of series ×
    origin × week.

    `reconcile` says how forecasts agree with those of categories, departments and zones:
    "bottom_up" or "min_trace".
    """

    horizon: int = 13
    memory_weeks: int = 30
    max_rows: int = 400_000
    share_sparse: float = 0.1
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
    """The fitted learner: a factor on each series' level."""

    booster: lgb.Booster
    names: tuple[str, ...]
    effects: WeekEffects

    def means(self, panel: DemandPanel, steps: Sequence[int]) -> Float64Array:
        """N × steps × METHODS: unblended means for the weeks after the panel's last known one."""
        factors = self.effects.factors(panel)
        panel = uncensored(panel).divided_by(factors)
        past = history(panel, panel.n_known)
        result = np.empty((panel.n_series, len(steps), 2))
        level = tsb(panel.units.astype(np.float64))
        for column, step in enumerate(steps):
            names, rows = features(panel, past, step)
            if tuple(names) != self.names:
                raise BadInput(
                    "the panel has other features than the model was fitted on",
                    hint=f"Train again; the difference: {sorted(set(names) ^ set(self.names))}",
                )
            relative = np.exp(self.booster.predict(rows, raw_score=True, num_threads=_THREADS))
            week = factors[:, panel.n_known + step - 1]
            result[:, column, 0] = past.base * week * relative
            result[:, column, 1] = level * week
        return result


def fit_trees(panel: DemandPanel, config: FitConfig, seed: int) -> Trees:
    """Learns from every origin that the panel's known weeks can judge. Raises BadInput with too
    little history."""
    effects = fit_week_effects(uncensored(panel))
    names, rows, actual, base = _training_rows(panel, effects.factors(panel), config, seed)
    trees = config.trees
    parameters = {
        "objective": "tweedie",
        "tweedie_variance_power": trees.power,
        "learning_rate": trees.learning_rate,
        "num_leaves": trees.n_leaves,
        "min_data_in_leaf": max(5, min(trees.min_rows, len(actual) // 50)),
        "feature_fraction": trees.share_features,
        "bagging_fraction": trees.share_rows,
        "bagging_freq": 1,
        "max_bin": 63,
        "num_threads": _THREADS,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "boost_from_average": False,
        "monotone_constraints": [-1 if name in PRICES else 0 for name in names],
        "verbosity": -1,
    }
    data = lgb.Dataset(
        rows, actual, init_score=np.log(base), feature_name=_safe(names), free_raw_data=True
    )
    return Trees(lgb.train(parameters, data, num_boost_round=trees.n_trees), tuple(names), effects)


def _training_rows(
    panel: DemandPanel, factors: Float32Array, config: FitConfig, seed: int
) -> tuple[list[str], Float32Array, Float32Array, Float32Array]:
    """Series × origin × week ahead: all weeks ahead where they fit in `max_rows`, else some, the
    near ones first."""
    newest = panel.n_known - 1
    origins = list(range(max(_EARLIEST, panel.n_known - config.memory_weeks), newest + 1))
    if not origins or not panel.n_series:
        raise BadInput(
            f"{panel.n_known} weeks of sales are too few to learn from",
            hint=f"At least {_EARLIEST + 1} whole weeks and one item sold are needed",
        )
    rng = generator(seed, "demand rows")
    chosen = _dense(panel) | (rng.random(panel.n_series) < config.share_sparse)
    series = np.flatnonzero(chosen if chosen.any() else ~chosen)
    part, factors = panel.take(series), factors[series]
    raw, told = part.units, ~censored(part)
    part = uncensored(part).divided_by(factors)
    per_origin = max(1, config.max_rows // (part.n_series * len(origins)))
    share = min(1.0, config.max_rows / (part.n_series * len(origins) * per_origin))
    blocks, actual, base = [], [], []
    names: list[str] = []
    for origin in origins:
        past = history(part, origin)
        possible = np.arange(1, min(config.horizon, panel.n_known - origin) + 1)
        for step in _some(possible, per_origin, rng):
            names, rows = features(part, past, int(step))
            drawn = (
                rng.random(part.n_series) < share if share < 1.0 else np.ones(part.n_series, bool)
            )
            kept = np.flatnonzero(drawn & told[:, origin + step - 1])
            blocks.append(rows[kept])
            actual.append(raw[kept, origin + step - 1])
            base.append(past.base[kept] * factors[kept, origin + step - 1])
    return names, np.concatenate(blocks), np.concatenate(actual), np.concatenate(base)


def _some(
    possible: npt.NDArray[np.integer], count: int, rng: np.random.Generator
) -> npt.NDArray[np.integer]:
    """`count` of the weeks ahead; half of them (rounded up) near."""
    if len(possible) <= count:
        return possible
    near = possible[possible <= NEAR]
    far = possible[possible > NEAR]
    n_far = min(len(far), count // 2)
    picked = [
        rng.choice(near, min(len(near), count - n_far), replace=False),
        rng.choice(far, n_far, replace=False),
    ]
    return np.sort(np.concatenate(picked))


def _dense(panel: DemandPanel) -> BoolArray:
    """Series sold in a quarter of the known weeks."""
    return np.asarray((panel.units > 0).mean(axis=1) >= DENSE)


def _safe(names: Sequence[str]) -> list[str]:
    """Column names without the characters that the learner refuses."""
    return [
        f"{number}_{''.join(c if c.isalnum() else '_' for c in name)}"
        for number, name in enumerate(names)
    ]
