"""Ranker parameters by Optuna, on windows before every evaluated one, each trial a tracked run.

Each trial fits the ranker for several past windows, each on the windows before it; its value is the
mean NDCG@10 of all their users, or carts. Akiba et al., Optuna: A Next-generation Hyperparameter
Optimization Framework, KDD 2019; the sampler is the tree-structured Parzen estimator of Bergstra et
al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime

import numpy as np
import optuna

from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from models.ranking.cart import cart_columns
from models.ranking.columns import FeatureNames, column_names
from models.ranking.lambdarank import RankerConfig, fit_ranker
from models.ranking.model import TASKS, RankingTask
from models.registry import Registry
from training.recommendations.cart_rows import make_cart_rows
from training.recommendations.config import RecommendationsConfig
from training.recommendations.ease_choice import use_chosen_ease
from training.recommendations.ranking_rows import (
    Rows,
    join_rows,
    make_test_rows,
    make_thinned_rows,
)
from training.recommendations.snapshots import TrainingContext
from training.run import TrainingRun
from training.splits import Window, end_of_data, windows
from training.tracking import tracking_run

K = 10
N_TEST_WINDOWS = 2  # that a trial is evaluated on
# A recommendation goes through every tree, so that more of them cost time.
_MAX_TREES = 200


@dataclass(frozen=True)
class TuningResult:
    """The best parameters of one task's ranker, `ranker`.

    before, best   mean NDCG@10 of the given parameters and of `ranker`
    """

    task: RankingTask
    ranker: RankerConfig
    before: float
    best: float
    n_trials: int


@dataclass(frozen=True)
class _Fold:
    """One test window: the rows that its ranker is fitted on, and its own."""

    past: Rows
    test: Rows


@dataclass(frozen=True)
class _Folds:
    """The folds of one task, and the names of their columns."""

    folds: tuple[_Fold, ...]
    columns: tuple[str, ...]

    def can_be_learnt(self) -> bool:
        """Return whether every fold has purchases to fit on and a user to test on."""
        return all(fold.past.relevant.any() and len(fold.test.sizes) for fold in self.folds)

    def mean_ndcg(self, config: RankerConfig, seed: int) -> float:
        """Return the mean NDCG at K over the users of all folds."""
        values = []
        for fold in self.folds:
            past = fold.past.to_grouped(self.columns)
            ranker = fit_ranker(past, config, seed=seed, n_threads=1)
            values.append(fold.test.ndcg(ranker.score(fold.test.matrix), K))
        return float(np.concatenate(values).mean())


def tune_rankers(
    run: TrainingRun, config: RecommendationsConfig, *, n_trials: int
) -> list[TuningResult]:
    """Return the best parameters of each task's ranker in `n_trials` trials.

    The first trial is `config` itself. The same data, seed and number of trials give the same
    parameters. Raises BadInput when no ranker has purchases to learn from in every window.
    """
    if run.registry is None:
        raise BadInput("tuning needs a registry")
    settings = run.settings
    end = end_of_data(run.facts, run.until, settings.timezone)
    context = TrainingContext(run.facts, settings, config, run.progress)
    test_windows = windows(end, N_TEST_WINDOWS, config.window_weeks, settings.timezone)
    context = use_chosen_ease(context, test_windows[-1].cut).context
    results = []
    tasks: tuple[RankingTask, ...] = (*TASKS, "cart")
    for task in tasks:
        folds = _make_folds(context, end, task)
        if not folds.can_be_learnt():
            run.progress(f"ranker_{task}: too few purchases in one of the windows to learn from")
            continue
        results.append(_tune_ranker(context, run.registry, task, folds, n_trials, end))
    if not results:
        raise BadInput(
            "no ranker has purchases to learn from in every window", hint="Import more history"
        )
    return results


def _tune_ranker(
    context: TrainingContext,
    registry: Registry,
    task: RankingTask,
    folds: _Folds,
    n_trials: int,
    end: datetime,
) -> TuningResult:
    settings, given = context.settings, context.config.ranker(task)
    parameters = {
        "config": asdict(context.config),
        "until": end.isoformat(),
        "n_trials": n_trials,
        "seed": settings.seed,
    }
    tags = {"task": "tune", "ranker": task}
    with tracking_run(
        settings, registry, name="recommendations", parameters=parameters, tags=tags
    ) as run:
        study = _create_study(settings.seed, task)
        study.enqueue_trial(_clip_to_search_space(given))
        for number in range(n_trials):
            trial = study.ask()
            trial_config = suggest_config(trial, given)
            trial_tags = {**tags, "trial": str(number)}
            with run.trial(asdict(trial_config), tags=trial_tags) as tracked:
                value = folds.mean_ndcg(trial_config, settings.seed)
                tracked.log_metrics({"NDCG_10": value})
            study.tell(trial, value)
            context.progress(
                f"ranker_{task}, trial {number + 1} of {n_trials}: {value:.4f}, "
                f"best {study.best_value:.4f}"
            )
        before = study.trials[0].values[0]
        run.log_metrics({"NDCG_10": study.best_value, "NDCG_10.given": before})
    best = suggest_config(optuna.trial.FixedTrial(study.best_params), given)
    return TuningResult(task, best, before, study.best_value, n_trials)


def suggest_config(trial: optuna.trial.BaseTrial, given: RankerConfig) -> RankerConfig:
    """Return the parameters of one trial; what is not searched is as `given`."""
    return replace(
        given,
        n_trees=trial.suggest_int("n_trees", 60, _MAX_TREES, step=20),
        learning_rate=trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
        n_leaves=trial.suggest_int("n_leaves", 8, 63),
        min_rows_in_leaf=trial.suggest_int("min_rows_in_leaf", 20, 500, log=True),
        share_features=trial.suggest_float("share_features", 0.2, 1.0),
        share_rows=trial.suggest_float("share_rows", 0.4, 1.0),
        l2=trial.suggest_float("l2", 0.1, 100.0, log=True),
        truncation=trial.suggest_int("truncation", 10, 60),
    )


def _create_study(seed: int, task: RankingTask) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=int(generator(seed, f"tuning {task}").integers(2**31))
    )
    return optuna.create_study(direction="maximize", sampler=sampler)


def _clip_to_search_space(given: RankerConfig) -> dict[str, float]:
    """Return the given parameters as a trial, each clipped to its range and rounded to its step."""
    probe = optuna.trial.FixedTrial(asdict(given))
    suggest_config(probe, given)
    clipped: dict[str, float] = {}
    for name, space in probe.distributions.items():
        value = min(max(getattr(given, name), space.low), space.high)
        step = space.step or 1
        if isinstance(value, int):
            value = space.low + round((value - space.low) / step) * step
        clipped[name] = value
    return clipped


def _make_folds(context: TrainingContext, end: datetime, task: RankingTask) -> _Folds:
    """Return the last N_TEST_WINDOWS windows before `end`, each with those before it."""
    config, zone = context.config, context.settings.timezone
    all_windows = windows(end, N_TEST_WINDOWS + config.n_windows, config.window_weeks, zone)
    names = context.snapshot(all_windows[0].cut).feature_names()
    past_rows = {
        window.cut: _make_rows(context, window, task, names, thinned=True)
        for window in all_windows[1:]
    }
    folds = []
    for number in range(N_TEST_WINDOWS):
        past = all_windows[number + 1 : number + 1 + config.n_windows]
        test = _make_rows(context, all_windows[number], task, names, thinned=False)
        folds.append(_Fold(join_rows([past_rows[window.cut] for window in past]), test))
    columns = cart_columns(*names) if task == "cart" else column_names(*names)
    return _Folds(tuple(folds), columns)


def _make_rows(
    context: TrainingContext,
    window: Window,
    task: RankingTask,
    names: FeatureNames,
    *,
    thinned: bool,
) -> Rows:
    if task == "cart":
        return make_cart_rows(context, window, names, context.settings.seed, thinned=thinned)
    if not thinned:
        return make_test_rows(context, window, task, names)
    (rows,) = make_thinned_rows(context, window, [task], names, [context.settings.seed])[task]
    return rows
