"""Whether a baseline serves: where it is measurably better than what was trained, on the last
window before the cut.

The window after the cut, which is reported, decides nothing but what is looked at: a baseline that
is behind there is not fitted once more, so that a shop whose ranker is ahead pays nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from features.contracts.arrays import Float64Array
from features.contracts.errors import TooLittleData
from models.ranking.model import TASKS, Policy, RankingTask, RecommendationModel
from models.retrieval.als import AlsConfig, fit_als
from models.retrieval.bm25_knn import Bm25KnnConfig, fit_bm25_knn
from models.retrieval.bpr import BprConfig, fit_bpr
from models.retrieval.ease import EaseConfig, fit_ease
from models.retrieval.purchase_method import PurchaseMethod
from models.retrieval.tifu_knn import TifuKnnConfig, fit_tifu_knn
from training.recommendations.baselines import (
    BUY_AGAIN_RULE,
    MethodConfig,
    list_methods,
    make_baseline_slates,
)
from training.recommendations.evaluate import evaluate_model
from training.recommendations.evaluation_input import EvaluationInput, RelevantItems
from training.recommendations.method_metrics import SLATE_LENGTH
from training.recommendations.model_fitting import fit_model
from training.recommendations.snapshots import Snapshot, TrainingContext, find_relevant_items
from training.recommendations.user_values import UserWindow
from training.results import Evaluation
from training.significance import compute_paired_p_value, correct_p_values
from training.splits import Window, windows

_SIGNIFICANCE_LEVEL = 0.05
# The kinds of settings whose method can serve; the other baselines have policies of their own.
ServedConfig = TifuKnnConfig | Bm25KnnConfig | EaseConfig | AlsConfig | BprConfig


@dataclass(frozen=True)
class ChosenBaseline:
    """A baseline that serves one task, and what showed that it is better.

    value, served   NDCG at 10 of the baseline and of what would serve without it
    p_value         of a paired test, corrected for the number of baselines that could serve
    """

    name: str
    value: float
    served: float
    p_value: float
    n_users: int
    n_baselines: int
    cut: datetime

    def describe(self, policy: Policy) -> str:
        """Return why it serves in place of `policy`."""
        return (
            f"NDCG@10 {self.value:.4f} against {self.served:.4f} of {policy} by {self.n_users:,} "
            f"users in the window after {self.cut:%Y-%m-%d}, p {self.p_value:.2g} corrected for "
            f"{self.n_baselines} baselines"
        )


Chosen = Mapping[RankingTask, ChosenBaseline]


class EvaluatedChoice(NamedTuple):
    """A model with the policies that won, its evaluation, and the baselines among them."""

    model: RecommendationModel
    evaluation: Evaluation
    baselines: Chosen


def evaluate_and_choose(
    context: TrainingContext, window: Window, data: EvaluationInput
) -> EvaluatedChoice:
    """Evaluate a model on `window`, once more with the baselines that serve in its place."""
    context.progress("slates of every user, the baselines'")
    tasks = [task for task in TASKS if data.relevant[task]]
    slates = make_baseline_slates(data, tasks, SLATE_LENGTH)
    model, evaluation = evaluate_model(data, context.progress, slates)
    chosen = choose_baselines(context, window, model.policies, evaluation)
    if not chosen:
        return EvaluatedChoice(model, evaluation, chosen)
    choices = _describe(chosen, model.policies)
    data = replace(data, model=attach_baselines(context, window.cut, model, chosen))
    policies: dict[RankingTask, Policy] = dict.fromkeys(chosen, "baseline")
    model, evaluation = evaluate_model(data, context.progress, slates, policies)
    notes = [
        f"{choice.name} ranks {task} items: {choices[f'baseline_{task}_why']}"
        for task, choice in chosen.items()
    ]
    evaluation = replace(evaluation, notes=(*evaluation.notes, *notes), choices=choices)
    return EvaluatedChoice(model, evaluation, chosen)


def choose_baselines(
    context: TrainingContext,
    window: Window,
    policies: Mapping[RankingTask, Policy],
    evaluation: Evaluation,
) -> dict[RankingTask, ChosenBaseline]:
    """Return the baselines that serve, by task; none where what `policies` name is as good.

    Everything is fitted anew at the cut of the last window before that of `window`.
    """
    ahead = {task: _list_ahead(context, task, policies[task], evaluation) for task in TASKS}
    if not any(ahead.values()):
        return {}
    config, timezone = context.config, context.settings.timezone
    (earlier,) = windows(window.cut, 1, config.window_weeks, timezone)
    context.progress(f"baselines that may serve, as of {earlier.cut:%Y-%m-%d}")
    branch = context.branch()
    try:
        model = fit_model(branch, earlier.cut)
    except TooLittleData:
        return {}
    snapshot = branch.snapshot(earlier.cut)
    relevant = find_relevant_items(context.facts, earlier, snapshot)
    chosen = {}
    for task in TASKS:
        if ahead[task] and relevant[task]:
            choice = _WindowChoice(branch, snapshot, model, task, relevant[task])
            if (best := choice.find_best(policies[task], ahead[task])) is not None:
                chosen[task] = best
    return chosen


def attach_baselines(
    context: TrainingContext, cut: datetime, model: RecommendationModel, chosen: Chosen
) -> RecommendationModel:
    """Return the model of `cut` with the baselines that serve, fitted there."""
    snapshot = context.snapshot(cut)
    baselines = {
        task: _fit(context, snapshot, _list_served(context, task)[choice.name])
        for task, choice in chosen.items()
    }
    policies = model.policies | dict.fromkeys(chosen, "baseline")
    return replace(model, policies=policies, baselines=baselines)


def _describe(chosen: Chosen, policies: Mapping[RankingTask, Policy]) -> dict[str, str]:
    """Return what serves in place of `policies` and why, by name."""
    described = {}
    for task, choice in chosen.items():
        described[f"baseline_{task}"] = choice.name
        described[f"baseline_{task}_why"] = choice.describe(policies[task])
    return described


@dataclass(frozen=True)
class _WindowChoice:
    """The choice for one task, on one window.

    context, snapshot, model   of the cut of the window
    relevant                   what was bought in it, by user
    """

    context: TrainingContext
    snapshot: Snapshot
    model: RecommendationModel
    task: RankingTask
    relevant: RelevantItems

    def find_best(self, policy: Policy, names: Collection[str]) -> ChosenBaseline | None:
        """Return the best of the named baselines that are measurably better than `policy`."""
        configs = _list_served(self.context, self.task)
        served = self._measure(self.model, policy)
        values: dict[str, Float64Array] = {}
        for name in names:
            method = _fit(self.context, self.snapshot, configs[name])
            model = replace(self.model, baselines={self.task: method})
            values[name] = self._measure(model, "baseline")
        # What is behind on the window that is reported counts as compared, too.
        p_values = dict.fromkeys(configs, 1.0)
        for name, by_user in values.items():
            p_values[name] = compute_paired_p_value(by_user, served)
        p_values = correct_p_values(p_values)
        better = [
            name
            for name, by_user in values.items()
            if p_values[name] < _SIGNIFICANCE_LEVEL and by_user.mean() > served.mean()
        ]
        if not better:
            return None
        best = max(better, key=lambda name: float(values[name].mean()))
        return ChosenBaseline(
            name=best,
            value=float(values[best].mean()),
            served=float(served.mean()),
            p_value=p_values[best],
            n_users=len(served),
            n_baselines=len(configs),
            cut=self.snapshot.cut,
        )

    def _measure(self, model: RecommendationModel, policy: Policy) -> Float64Array:
        """Return NDCG at 10 of the slates that a policy serves, by user."""
        relevant: dict[RankingTask, RelevantItems] = {task: {} for task in TASKS}
        relevant[self.task] = self.relevant
        users = UserWindow(self.snapshot.histories, self.snapshot.items, relevant, ())
        (values,) = users.measure(
            model.with_policies({**model.policies, self.task: policy})
        ).values()
        return values.amounts


def _list_served(context: TrainingContext, task: RankingTask) -> dict[str, ServedConfig]:
    """Return the settings of the baselines that can serve a task, by name."""
    methods: Mapping[str, MethodConfig | None] = list_methods(context.config.baselines.of(task))
    return {name: config for name, config in methods.items() if isinstance(config, ServedConfig)}


def _list_ahead(
    context: TrainingContext, task: RankingTask, policy: Policy, evaluation: Evaluation
) -> list[str]:
    """Return the baselines that can serve and are ahead of what serves in the evaluation."""
    metric = f"NDCG@10 {task} items"
    comparisons = [one for one in evaluation.comparisons if one.metric == metric]
    if not comparisons:
        return []
    (comparison,) = comparisons
    served = comparison.ours
    if policy == "buy_again":
        served = comparison.baselines[BUY_AGAIN_RULE]
    names = _list_served(context, task)
    return [name for name in names if comparison.baselines[name] > served]


def _fit(context: TrainingContext, snapshot: Snapshot, config: ServedConfig) -> PurchaseMethod:
    """Fit a baseline on what is known at the cut of a snapshot, as it serves."""
    interactions, seed = snapshot.interactions, context.settings.seed
    if isinstance(config, TifuKnnConfig):
        return fit_tifu_knn(interactions, snapshot.histories, config)
    if isinstance(config, Bm25KnnConfig):
        return fit_bm25_knn(interactions, config)
    if isinstance(config, EaseConfig):
        return fit_ease(interactions, config)
    if isinstance(config, AlsConfig):
        return fit_als(interactions, config, seed=seed)
    return fit_bpr(interactions, config, seed=seed).model
