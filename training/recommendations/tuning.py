"""Ranker parameters by Optuna on windows that end before any window that is judged, every trial in
MLflow.

Each trial fits the ranker for several past windows, each on the windows before it, and its value is
the mean NDCG@10 of all their users, or carts. Akiba et al., Optuna: A Next-generation
Hyperparameter Optimization Framework, KDD 2019; the sampler is the tree-structured Parzen estimator
of Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import numpy as np
import optuna

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from features.facts.facts import Facts
from models.ranking.cart import cart_columns
from models.ranking.columns import column_names
from models.ranking.lambdarank import RankerConfig, fit_ranker
from models.ranking.model import TASKS, RankingTask
from models.registry import Registry
from training.recommendations.cart_rows import cart_rows
from training.recommendations.config import RecommendationsConfig
from training.recommendations.ranking_rows import Names, Rows, joined, ranking_rows
from training.recommendations.snapshots import Workshop, item_columns_of, user_columns_of
from training.splits import Window, end_of_data, windows
from training.tracking import tracking_run

K = 10
N_JUDGED = 2  # windows a trial is judged on
# A recommendation walks every tree, so more of them are not for free.
_MOST_TREES = 200


@dataclass(frozen=True)
class Tuned:
    """What the trials of one task found; `before` and `best` are mean NDCG@10 of what was given and
    of `ranker`."""

    task: RankingTask
    ranker: RankerConfig
    before: float
    best: float
    n_trials: int


@dataclass(frozen=True)
class _Fold:
    """The rows that a window's ranker learns from, and the window's own."""

    past: Rows
    judged: Rows


def tune(
    facts: Facts,
    settings: Settings,
    registry: Registry,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    n_trials: int,
    progress: Callable[[str], None],
) -> list[Tuned]:
    """The best parameters of each task's ranker in `n_trials` trials, the first of which is
    `config` itself.

    Nothing from `until` on is looked at. The same data, seed and number of trials give the same
    parameters.
    """
    end = end_of_data(facts, until, settings.timezone)
    workshop = Workshop(facts, settings, config, progress)
    parameters = {
        "config": asdict(config),
        "until": end.isoformat(),
        "n_trials": n_trials,
        "seed": settings.seed,
    }
    tuned = []
    tasks: tuple[RankingTask, ...] = (*TASKS, "cart")
    for task in tasks:
        folds, names = _folds(workshop, end, task)
        if not all(fold.past.relevant.any() and len(fold.judged.sizes) for fold in folds):
            progress(f"ranker_{task}: too few purchases in one of the windows to learn from")
            continue
        tags = {"task": "tune", "ranker": task}
        with tracking_run(
            settings, registry, name="recommendations", parameters=parameters, tags=tags
        ) as run:
            study = _study(settings.seed, task)
            given = config.ranker(task)
            study.enqueue_trial(_within_reach(given))
            for number in range(n_trials):
                trial = study.ask()
                tried = suggested(trial, given)
                with run.trial(asdict(tried), tags={**tags, "trial": str(number)}) as tracked:
                    value = _value(folds, names, tried, settings.seed)
                    tracked.log_metrics({"NDCG_10": value})
                study.tell(trial, value)
                progress(
                    f"ranker_{task}, trial {number + 1} of {n_trials}: {value:.4f}, best {study.best_value:.4f}"
                )
            run.log_metrics(
                {"NDCG_10": study.best_value, "NDCG_10.given": study.trials[0].values[0]}
            )
        best = suggested(optuna.trial.FixedTrial(study.best_params), given)
        tuned.append(Tuned(task, best, study.trials[0].values[0], study.best_value, n_trials))
    if not tuned:
        raise BadInput(
            "no ranker has purchases to learn from in every window", hint="Import more history"
        )
    return tuned


def suggested(trial: optuna.trial.BaseTrial, given: RankerConfig) -> RankerConfig:
    """The parameters of one trial; what is not searched is as `given`."""
    return replace(
        given,
        n_trees=trial.suggest_int("n_trees", 60, _MOST_TREES, step=20),
        learning_rate=trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
        n_leaves=trial.suggest_int("n_leaves", 8, 63),
        min_rows_in_leaf=trial.suggest_int("min_rows_in_leaf", 20, 500, log=True),
        share_features=trial.suggest_float("share_features", 0.2, 1.0),
        share_rows=trial.suggest_float("share_rows", 0.4, 1.0),
        l2=trial.suggest_float("l2", 0.1, 100.0, log=True),
        truncation=trial.suggest_int("truncation", 10, 60),
    )


def _study(seed: int, task: RankingTask) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=int(generator(seed, f"tuning {task}").integers(2**31))
    )
    return optuna.create_study(direction="maximize", sampler=sampler)


def _within_reach(given: RankerConfig) -> dict[str, float]:
    """The given parameters as a trial, each inside what is searched."""
    probe = optuna.trial.FixedTrial(asdict(given))
    suggested(probe, given)
    within: dict[str, float] = {}
    for name, space in probe.distributions.items():
        value = min(max(getattr(given, name), space.low), space.high)
        step = space.step or 1
        within[name] = (
            space.low + round((value - space.low) / step) * step
            if isinstance(value, int)
            else value
        )
    return within


def _folds(
    workshop: Workshop, end: datetime, task: RankingTask
) -> tuple[list[_Fold], tuple[str, ...]]:
    """The last N_JUDGED windows before `end`, each with those before it."""
    config, zone = workshop.config, workshop.settings.timezone
    every = windows(end, N_JUDGED + config.n_windows, config.window_weeks, zone)
    latest = workshop.snapshot(every[0].cut)
    names = item_columns_of(latest.items), user_columns_of(latest.histories)
    learnt = {each.cut: _rows(workshop, each, task, names, thinned=True) for each in every[1:]}
    folds = []
    for at in range(N_JUDGED):
        past = [learnt[each.cut] for each in every[at + 1 : at + 1 + config.n_windows]]
        folds.append(_Fold(joined(past), _rows(workshop, every[at], task, names, thinned=False)))
    return folds, cart_columns(*names) if task == "cart" else column_names(*names)


def _rows(
    workshop: Workshop, window: Window, task: RankingTask, names: Names, *, thinned: bool
) -> Rows:
    if task == "cart":
        return cart_rows(workshop, window, names, thinned=thinned)
    return ranking_rows(workshop, window, task, names, thinned=thinned)


def _value(folds: list[_Fold], names: tuple[str, ...], config: RankerConfig, seed: int) -> float:
    found = []
    for fold in folds:
        past = fold.past
        ranker = fit_ranker(
            past.matrix, past.relevant, past.sizes, names, config, seed=seed, n_threads=1
        )
        found.append(fold.judged.ndcg(ranker.score(fold.judged.matrix), K))
    return float(np.concatenate(found).mean())
