"""Training of recommendations: fit on past windows, evaluate at the cut, refit on all data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from configs.settings import Settings
from features.contracts.errors import BadInput, TooLittleData
from features.contracts.seeds import generator
from features.facts.facts import Facts
from models.ranking.model import Policy, RankingTask, RecommendationModel
from models.retrieval.item_knn import fit_item_knn
from training.non_inferiority import UnitValues
from training.recommendations.baseline_choice import (
    EvaluatedChoice,
    attach_baselines,
    evaluate_and_choose,
)
from training.recommendations.carts import (
    ASSOCIATION,
    CartMetrics,
    IncompleteCart,
    hold_out_last_items,
    measure_carts,
)
from training.recommendations.config import RecommendationsConfig
from training.recommendations.ease_choice import use_chosen_ease
from training.recommendations.evaluate import evaluate_model
from training.recommendations.evaluation_input import EvaluationInput, RelevantItems
from training.recommendations.learning_targets import count_events, format_weights
from training.recommendations.leave_one_out import (
    LEAVE_ONE_OUT,
    TIME_SPLIT,
    HeldOutPurchases,
    hold_out_last_purchases,
)
from training.recommendations.model_fitting import fit_cart_ranker, fit_model
from training.recommendations.purchases import read_purchases
from training.recommendations.query_weight import add_query_weight
from training.recommendations.snapshots import (
    Snapshot,
    TrainingContext,
    find_relevant_items,
    group_by_task,
    read_orders,
)
from training.recommendations.user_values import UserWindow
from training.recommendations.visit_part import SESSIONS, add_visits, evaluate_sessions
from training.recommendations.young_shop import (
    find_cut,
    fit_without_rankers,
    train_without_rankers,
)
from training.results import OURS, Evaluation, Measure, Trained
from training.splits import Window, end_of_data, windows
from training.task import TIME, Progress

_CART_RANKER_LOST = "the ranker of carts did not beat the rules between items here; the rules serve"


def train(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Progress,
) -> Trained[RecommendationModel]:
    """Fit at the last cut, evaluate beside the baselines, and refit on all visible data.

    Windows shrink to the time that there is. Where purchases of known users are too few for
    rankers, a model without them is returned.
    """
    end = end_of_data(facts, until, settings.timezone)
    config = shrink_windows(facts, config, end)
    context = TrainingContext(facts, settings, config, progress)
    trained = _train_on_purchases(context, end, refit=refit)
    trained = add_visits(context, trained, end, refit=refit)
    return add_query_weight(context, trained, end)


def _train_on_purchases(
    context: TrainingContext, end: datetime, *, refit: bool
) -> Trained[RecommendationModel]:
    (window,) = windows(end, 1, context.config.window_weeks, context.settings.timezone)
    try:
        _require_history(context, window)
        context, ease_choices = use_chosen_ease(context, window.cut)
        evaluated, evaluation, chosen = _fit_and_evaluate(context, window)
        evaluation = replace(evaluation, choices={**evaluation.choices, **ease_choices})
    except TooLittleData as error:
        return train_without_rankers(context, end, error, refit=refit)
    measure = _prepare_measure(context, end, evaluated)
    if not refit:
        return Trained(evaluation, evaluated, evaluated, evaluation.cut, measure)
    context.progress("refitting on all data")
    served = fit_model(context, end).with_policies(evaluated.policies)
    served = attach_baselines(context, end, served, chosen)
    return Trained(evaluation, evaluated, served, end, measure)


def shrink_windows(
    facts: Facts, config: RecommendationsConfig, end: datetime
) -> RecommendationsConfig:
    """Return the config with shorter windows where there is less history than they need.

    They need their own time, for the test and for the rankers, and one window more before.
    """
    first = facts.read("events").occurred_at.min().to_pyarrow().as_py()
    n_weeks = math.ceil((end - first) / timedelta(weeks=1))
    longest = max(1, n_weeks // (config.n_windows + 2))
    return replace(config, window_weeks=min(config.window_weeks, longest))


def evaluate(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    split: str = TIME,
    progress: Progress,
) -> Evaluation:
    """Evaluate at the last cut, or with each user's last purchase held out; nothing is refitted.

    The split "sessions" looks at the visits of the last part of the data.
    """
    if split == SESSIONS:
        return _evaluate_sessions(facts, settings, config, until, progress)
    if split == TIME:
        return train(
            facts, settings, config, until=until, refit=False, progress=progress
        ).evaluation
    end = end_of_data(facts, until, settings.timezone)
    held_out = hold_out_last_purchases(facts, end)
    context = TrainingContext(held_out, settings, config, progress)
    return _evaluate_leave_one_out(held_out, context, end)


def evaluate_carts(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    progress: Progress,
) -> tuple[Window, CartMetrics]:
    """Evaluate carts at the last cut on every order of the window after it.

    No other ranker is fitted.
    """
    context = TrainingContext(facts, settings, config, progress)
    (window,) = windows(
        end_of_data(facts, until, settings.timezone), 1, config.window_weeks, settings.timezone
    )
    context = use_chosen_ease(context, window.cut).context
    past = windows(window.cut, config.n_windows, config.window_weeks, settings.timezone)
    snapshot = context.snapshot(window.cut)
    names = snapshot.feature_names()
    ranker = fit_cart_ranker(context, past, names, context.settings.seed)
    model = RecommendationModel(
        retrieval=snapshot.retrieval,
        candidates=config.candidates,
        rankers={} if ranker is None else {"cart": ranker},
        item_columns=names.item,
        user_columns=names.user,
        policies={"cart": "ranker"},
        calibrations={},
    )
    orders = hold_out_last_items(facts, window, snapshot.interactions.item_ids.tolist())
    progress(f"slates of {len(orders)} orders")
    by_orders = fit_item_knn(*read_orders(facts, window.cut), config.item_knn)
    return window, measure_carts(orders, model, snapshot.histories, snapshot.items, by_orders)


def _evaluate_sessions(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    until: datetime | None,
    progress: Progress,
) -> Evaluation:
    end = end_of_data(facts, until, settings.timezone)
    context = TrainingContext(facts, settings, config, progress)
    cut = find_cut(context, end)
    return evaluate_sessions(context, fit_without_rankers(context, cut), end, cut)


def _evaluate_leave_one_out(
    held_out: HeldOutPurchases, context: TrainingContext, end: datetime
) -> Evaluation:
    """Evaluate one model, fitted on all but the held-out purchases, on each of them."""
    context, ease_choices = use_chosen_ease(context, end)
    model = fit_model(context, end)
    snapshot = context.snapshot(end)
    relevant = group_by_task(held_out.targets(), snapshot)
    if not relevant["all"]:
        raise BadInput("no user's last purchase is of a known item", hint="Import more history")
    data = make_evaluation_input(context, snapshot, model, relevant)
    _, evaluation = evaluate_model(data, context.progress)
    described: dict[str, str | int] = {
        "protocol": LEAVE_ONE_OUT,
        "known": f"events before {end.isoformat()}, without the held-out ones",
        "purchases held out": sum(map(len, relevant["all"].values())),
    }
    return replace(
        evaluation,
        data=described | _count_data(snapshot, relevant),
        choices={**evaluation.choices, **ease_choices},
    )


def _fit_and_evaluate(context: TrainingContext, window: Window) -> EvaluatedChoice:
    """Fit at the cut of `window`, and evaluate on the purchases after it."""
    model = fit_model(context, window.cut)
    snapshot = context.snapshot(window.cut)
    relevant = find_relevant_items(context.facts, window, snapshot)
    if not relevant["all"]:
        raise TooLittleData(
            "nobody bought a known item after the cut",
            hint="Import more history, or choose another --until",
        )
    data = make_evaluation_input(context, snapshot, model, relevant)
    model, evaluation, chosen = evaluate_and_choose(context, window, data)
    model, evaluation = evaluate_cart_ranker(context, window, model, evaluation)
    described = {
        "protocol": TIME_SPLIT,
        "known": f"events before {window.cut.isoformat()}",
        "to be predicted": f"purchases until {window.end.isoformat()}",
    }
    evaluation = replace(
        evaluation,
        data=described | _count_data(snapshot, relevant),
        choices={**evaluation.choices, **_describe_targets(context, window.cut)},
    )
    return EvaluatedChoice(model, evaluation, chosen)


def _require_history(context: TrainingContext, window: Window) -> None:
    """Raise TooLittleData where there is no event before the windows that rankers learn from."""
    config, timezone = context.config, context.settings.timezone
    past = windows(window.cut, config.n_windows, config.window_weeks, timezone)
    begin = min(earlier.cut for earlier in past)
    first = context.facts.read("events").occurred_at.min().to_pyarrow().as_py()
    if first >= begin:
        raise TooLittleData(
            f"the first event is of {first:%Y-%m-%d}, and rankers need events before "
            f"{begin:%Y-%m-%d}, {config.n_windows} windows to learn from and one to evaluate",
            hint="Import more history, or choose a later --until",
        )


def _describe_targets(context: TrainingContext, cut: datetime) -> dict[str, str]:
    """Return what the rankers learnt, and the counts that decided it."""
    targets = context.config.parsed_targets
    counts = count_events(context.facts, cut)
    return {
        "targets": format_weights(targets.of_rankers),
        "targets_why": (
            f"{targets.setting}: {counts.describe()} before {cut:%Y-%m-%d}; rankers need one event "
            f"by a known user in the {context.config.n_windows} windows that they learn from"
        ),
    }


def _prepare_measure(
    context: TrainingContext, end: datetime, evaluated: RecommendationModel
) -> Measure:
    """Return what measures a model by user on the last window before `end`."""
    (window,) = windows(end, 1, context.config.window_weeks, context.settings.timezone)
    snapshot = context.snapshot(window.cut)

    def measure(folder: Path | None) -> dict[str, UnitValues]:
        model = evaluated if folder is None else RecommendationModel.load(folder)
        relevant = find_relevant_items(context.facts, window, snapshot)
        orders = _choose_orders(context, window, snapshot)
        return UserWindow(snapshot.histories, snapshot.items, relevant, orders).measure(model)

    return measure


def _choose_orders(
    context: TrainingContext, window: Window, snapshot: Snapshot
) -> list[IncompleteCart]:
    """Return the orders that are evaluated, drawn by the seed."""
    orders = hold_out_last_items(context.facts, window, snapshot.interactions.item_ids.tolist())
    shuffled = generator(context.settings.seed, "judged carts").permutation(len(orders))
    return [orders[row] for row in np.sort(shuffled[: context.config.carts.judged])]


def evaluate_cart_ranker(
    context: TrainingContext,
    window: Window,
    model: RecommendationModel,
    evaluation: Evaluation,
) -> tuple[RecommendationModel, Evaluation]:
    """Return the model with the policy that serves carts, and the evaluation with their metrics.

    Where the ranker loses to the association rules these serve; the metrics are the ranker's.
    Whether the model may serve does not depend on carts.
    """
    policies = dict(model.policies)
    context.progress("what completes the carts of the test window, ours and the baselines'")
    carts = measure_window_carts(context, window, model)
    if carts is None:
        return model.with_policies(policies | {"cart": "association"}), evaluation
    comparisons, metrics = carts.compare(seed=context.settings.seed)
    policy: Policy = "ranker"
    notes = evaluation.notes
    if carts.recall[OURS].mean() < carts.recall[ASSOCIATION].mean():
        policy = "association"
        notes = (*notes, _CART_RANKER_LOST)
    with_carts = replace(
        evaluation,
        comparisons=(*evaluation.comparisons, *comparisons),
        metrics={**evaluation.metrics, **metrics},
        notes=notes,
    )
    return model.with_policies(policies | {"cart": policy}), with_carts


def measure_window_carts(
    context: TrainingContext, window: Window, model: RecommendationModel
) -> CartMetrics | None:
    """Return the metrics of the window's orders, or of `carts.judged` of them, drawn by the seed.

    None without a ranker of carts, or without orders.
    """
    snapshot = context.snapshot(window.cut)
    orders = _choose_orders(context, window, snapshot)
    if "cart" not in model.rankers or not orders:
        return None
    by_orders = fit_item_knn(*read_orders(context.facts, window.cut), context.config.item_knn)
    return measure_carts(orders, model, snapshot.histories, snapshot.items, by_orders)


def make_evaluation_input(
    context: TrainingContext,
    snapshot: Snapshot,
    model: RecommendationModel,
    relevant: Mapping[RankingTask, RelevantItems],
) -> EvaluationInput:
    """Return the input of `evaluate_model` for a model that was fitted at the snapshot's cut."""
    return EvaluationInput(
        cut=snapshot.cut,
        histories=snapshot.histories,
        items=snapshot.items,
        interactions=snapshot.interactions,
        model=model,
        relevant=relevant,
        purchases=read_purchases(context.facts, snapshot.cut, snapshot.interactions),
        baselines=context.config.baselines,
        seed=context.settings.seed,
    )


def _count_data(
    snapshot: Snapshot, relevant: Mapping[RankingTask, RelevantItems]
) -> dict[str, str | int]:
    return {
        "users known": len(snapshot.histories),
        "items known": len(snapshot.interactions.item_ids),
        "users evaluated, all items": len(relevant["all"]),
        "users evaluated, items new to the user": len(relevant["new"]),
    }


class RecommendationsTask:
    """Recommendations, beside simpler recommenders on purchases after a cut."""

    name = "recommendations"
    config = RecommendationsConfig
    protocol = ("window_weeks",)
    splits = (TIME, "leave-one-out", SESSIONS)
    serves_behind = True
    train = staticmethod(train)
    evaluate = staticmethod(evaluate)
