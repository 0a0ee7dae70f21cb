"""The same evaluation with several seeds: means, their spread, and paired tests of the means.

The seed draws the negatives and fits the rankers; sources, features and baselines are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput
from features.contracts.recommendations import RecommendationQuery
from models.ranking.model import TASKS, RankingTask, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from training.recommendations.baselines import BaselineSlates, make_baseline_slates
from training.recommendations.ease_choice import use_chosen_ease
from training.recommendations.evaluate import K, evaluate_model
from training.recommendations.evaluation_input import EvaluationInput, Slates
from training.recommendations.method_metrics import SLATE_LENGTH
from training.recommendations.model_fitting import fit_models
from training.recommendations.slate_metrics import SlateMetrics
from training.recommendations.snapshots import TrainingContext, find_relevant_items
from training.recommendations.task import (
    evaluate_cart_ranker,
    make_evaluation_input,
    measure_window_carts,
)
from training.results import OURS, Evaluation
from training.significance import compute_paired_p_value, correct_p_values
from training.splits import Window


@dataclass(frozen=True)
class TaskSeeds:
    """NDCG@10 of one task.

    ours        float64 (seeds, users), of the ranker, also where EASE alone serves
    baselines   by name, float64 (users,)
    """

    ours: Float64Array
    baselines: Mapping[str, Float64Array]

    def mean(self) -> float:
        """Return the mean over seeds and users."""
        return float(self.ours.mean())

    def spread(self) -> float:
        """Return the standard deviation of the seeds' means; 0 of one seed."""
        means = self.ours.mean(1)
        return float(means.std(ddof=1)) if len(means) > 1 else 0.0

    def p_values(self) -> dict[str, float]:
        """Return the p-value against each baseline, corrected for their number (Holm).

        Of two-sided paired t-tests over users of the mean of the seeds.
        """
        by_user = self.ours.mean(0)
        return correct_p_values(
            {
                name: compute_paired_p_value(by_user, values)
                for name, values in self.baselines.items()
            }
        )

    def format_table(self, task: RankingTask) -> list[str]:
        """Return a line for ours, and one for each baseline, best first."""
        n_seeds, n_users = self.ours.shape
        lowest, highest = self.ours.mean(1).min(), self.ours.mean(1).max()
        spread = f"standard deviation {self.spread():.4f}, {lowest:.4f} to {highest:.4f}"
        means = {name: float(values.mean()) for name, values in self.baselines.items()}
        p_values = self.p_values()
        return [
            f"NDCG@{K} {task} items, {n_users:,} users",
            f"{OURS:<24}{self.mean():.4f}  mean of {n_seeds} seeds, {spread}",
            *(
                f"{name:<24}{means[name]:.4f}  p = {p_values[name]:.2g}"
                for name in sorted(means, key=lambda name: -means[name])
            ),
        ]


@dataclass(frozen=True)
class SeedEvaluation:
    """The evaluation of several seeds on one window.

    first       the full evaluation of the first seed; its model and its input
    baselines   their slates
    tasks       NDCG@10 of all seeds, by task
    carts       float64 (seeds,), recall@10 of carts; empty where there are none
    """

    window: Window
    first: Evaluation
    model: RecommendationModel
    data: EvaluationInput
    baselines: BaselineSlates
    tasks: Mapping[RankingTask, TaskSeeds]
    carts: Float64Array


def evaluate_seeds(
    context: TrainingContext, window: Window, seeds: Sequence[int]
) -> SeedEvaluation:
    """Fit at the cut of `window` with each of `seeds`, and evaluate on the purchases in it."""
    context, ease_choices = use_chosen_ease(context, window.cut)
    models = fit_models(context, window.cut, seeds)
    snapshot = context.snapshot(window.cut)
    relevant = find_relevant_items(context.facts, window, snapshot)
    if not all(relevant[task] for task in TASKS):
        raise BadInput("nobody bought a known item after the cut", hint="Import more history")
    data = make_evaluation_input(context, snapshot, models[0], relevant)
    context.progress("slates of every user, the baselines'")
    baselines = make_baseline_slates(data, TASKS, SLATE_LENGTH)
    model, first = evaluate_model(data, context.progress, baselines)
    model, first = evaluate_cart_ranker(context, window, model, first)
    first = replace(first, choices={**first.choices, **ease_choices})
    slates = [make_ranker_slates(data, other) for other in models]
    tasks: dict[RankingTask, TaskSeeds] = {}
    for task in TASKS:
        metrics = SlateMetrics(data, data.relevant[task])
        by_method = {name: _ndcg(metrics, by_user) for name, by_user in baselines[task].items()}
        ours = np.stack([_ndcg(metrics, by_task[task]) for by_task in slates])
        tasks[task] = TaskSeeds(ours, by_method)
    context.progress("carts of every seed")
    carts = [measure_window_carts(context, window, other) for other in models]
    recalls = [metrics.recall[OURS].mean() for metrics in carts if metrics is not None]
    return SeedEvaluation(
        window=window,
        first=first,
        model=model,
        data=data,
        baselines=baselines,
        tasks=tasks,
        carts=np.array(recalls),
    )


def make_ranker_slates(
    data: EvaluationInput, model: RecommendationModel
) -> dict[RankingTask, Slates]:
    """Return the slates of every known user by task, of SLATE_LENGTH, by the rankers of `model`."""
    placements = {"all": Placement("all"), "new": Placement("new", exclude_purchased=True)}
    ranked = model.with_policies({**model.policies, "all": "ranker", "new": "ranker"})
    recommender = Recommender(ranked, data.items, placements)
    users = sorted(data.histories)
    slates: dict[RankingTask, Slates] = {}
    for task in TASKS:
        queries = [RecommendationQuery(data.histories[user], task, SLATE_LENGTH) for user in users]
        columns = recommender.recommend_columns(queries)
        slates[task] = {
            user: slate.item_ids.tolist() for user, slate in zip(users, columns, strict=True)
        }
    return slates


def _ndcg(metrics: SlateMetrics, slates: Slates) -> Float64Array:
    arrays = metrics.to_arrays(slates, SLATE_LENGTH)
    return metrics.measure_accuracy(arrays, K)["NDCG"]
