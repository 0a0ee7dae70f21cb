"""Training of recommendations: fit on past windows, evaluate at the cut, refit on all data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from features.facts.facts import Facts
from models.ranking.calibration import Calibration, fit_calibration
from models.ranking.cart import cart_columns
from models.ranking.columns import FeatureNames, column_names
from models.ranking.lambdarank import Ranker, fit_ranker
from models.ranking.model import TASKS, Policy, RankingTask, RecommendationModel
from models.retrieval.buy_again import BuyAgain, BuyAgainConfig, Gaps, fit_buy_again, fit_gaps
from models.retrieval.item_knn import fit_item_knn
from training.non_inferiority import UnitValues
from training.recommendations.cart_rows import make_cart_rows
from training.recommendations.carts import (
    ASSOCIATION,
    CartMetrics,
    IncompleteCart,
    hold_out_last_items,
    measure_carts,
)
from training.recommendations.config import RecommendationsConfig
from training.recommendations.evaluate import evaluate_model
from training.recommendations.evaluation_input import EvaluationInput, RelevantItems
from training.recommendations.leave_one_out import (
    LEAVE_ONE_OUT,
    TIME_SPLIT,
    HeldOutPurchases,
    hold_out_last_purchases,
)
from training.recommendations.ranking_rows import join_rows, make_ranking_rows
from training.recommendations.snapshots import (
    Snapshot,
    TrainingContext,
    find_relevant_items,
    group_by_task,
    read_orders,
)
from training.recommendations.user_values import UserWindow
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
    """Fit at the last cut, evaluate beside the baselines, and refit on all visible data."""
    end = end_of_data(facts, until, settings.timezone)
    context = TrainingContext(facts, settings, config, progress)
    evaluated, evaluation = _fit_and_evaluate(context, end)
    measure = _prepare_measure(context, end, evaluated)
    if not refit:
        return Trained(evaluation, evaluated, evaluated, evaluation.cut, measure)
    progress("refitting on all data")
    served = _fit(context, end).with_policies(evaluated.policies)
    return Trained(evaluation, evaluated, served, end, measure)


def evaluate(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    split: str = TIME,
    progress: Progress,
) -> Evaluation:
    """Evaluate at the last cut, or with each user's last purchase held out; nothing is refitted."""
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
    past = windows(window.cut, config.n_windows, config.window_weeks, settings.timezone)
    snapshot = context.snapshot(window.cut)
    names = snapshot.feature_names()
    ranker = _fit_cart_ranker(context, past, names)
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


def _evaluate_leave_one_out(
    held_out: HeldOutPurchases, context: TrainingContext, end: datetime
) -> Evaluation:
    """Evaluate one model, fitted on all but the held-out purchases, on each of them."""
    model = _fit(context, end)
    snapshot = context.snapshot(end)
    relevant = group_by_task(held_out.targets(), snapshot)
    if not relevant["all"]:
        raise BadInput("no user's last purchase is of a known item", hint="Import more history")
    data = _make_evaluation_input(context, snapshot, model, relevant)
    _, evaluation = evaluate_model(data, context.progress)
    described: dict[str, str | int] = {
        "protocol": LEAVE_ONE_OUT,
        "known": f"events before {end.isoformat()}, without the held-out ones",
        "purchases held out": sum(map(len, relevant["all"].values())),
    }
    return replace(evaluation, data=described | _count_data(snapshot, relevant))


def _fit_and_evaluate(
    context: TrainingContext, end: datetime
) -> tuple[RecommendationModel, Evaluation]:
    """Fit at the cut of the last window before `end`, and evaluate on the purchases after it."""
    (window,) = windows(end, 1, context.config.window_weeks, context.settings.timezone)
    model = _fit(context, window.cut)
    snapshot = context.snapshot(window.cut)
    relevant = find_relevant_items(context.facts, window, snapshot)
    if not relevant["all"]:
        raise BadInput(
            "nobody bought a known item after the cut",
            hint="Import more history, or choose another --until",
        )
    data = _make_evaluation_input(context, snapshot, model, relevant)
    model, evaluation = evaluate_model(data, context.progress)
    model, evaluation = _evaluate_cart_ranker(context, window, model, evaluation)
    described = {
        "protocol": TIME_SPLIT,
        "known": f"events before {window.cut.isoformat()}",
        "to be foretold": f"purchases until {window.end.isoformat()}",
    }
    return model, replace(evaluation, data=described | _count_data(snapshot, relevant))


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


def _evaluate_cart_ranker(
    context: TrainingContext,
    window: Window,
    model: RecommendationModel,
    evaluation: Evaluation,
) -> tuple[RecommendationModel, Evaluation]:
    """Return the model with the policy that serves carts, and the evaluation with their metrics.

    Where the ranker loses to the association rules these serve; the metrics are the ranker's.
    Whether the model may serve does not depend on carts.
    """
    seed, policies = context.settings.seed, dict(model.policies)
    snapshot = context.snapshot(window.cut)
    orders = _choose_orders(context, window, snapshot)
    if "cart" not in model.rankers or not orders:
        return model.with_policies(policies | {"cart": "association"}), evaluation
    context.progress("what completes the carts of the test window, ours and the baselines'")
    by_orders = fit_item_knn(*read_orders(context.facts, window.cut), context.config.item_knn)
    carts = measure_carts(orders, model, snapshot.histories, snapshot.items, by_orders)
    comparisons, metrics = carts.compare(seed=seed)
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


def _make_evaluation_input(
    context: TrainingContext,
    snapshot: Snapshot,
    model: RecommendationModel,
    relevant: Mapping[RankingTask, RelevantItems],
) -> EvaluationInput:
    return EvaluationInput(
        cut=snapshot.cut,
        histories=snapshot.histories,
        items=snapshot.items,
        interactions=snapshot.interactions,
        model=model,
        relevant=relevant,
        ease=context.config.ease,
        seed=context.settings.seed,
    )


def _count_data(
    snapshot: Snapshot, relevant: Mapping[RankingTask, RelevantItems]
) -> dict[str, str | int]:
    return {
        "users known": len(snapshot.histories),
        "items known": len(snapshot.interactions.item_ids),
        "users judged, all items": len(relevant["all"]),
        "users judged, items new to the user": len(relevant["new"]),
    }


def _fit(context: TrainingContext, cut: datetime) -> RecommendationModel:
    """Fit the model for `cut`: sources on all before it, rankers on the windows before it."""
    config, settings = context.config, context.settings
    past = windows(cut, config.n_windows, config.window_weeks, settings.timezone)
    context.keep_only([cut, *(window.cut for window in past)])
    snapshot = context.snapshot(cut)
    names = snapshot.feature_names()
    columns = column_names(*names)
    rankers: dict[RankingTask, Ranker] = {}
    calibrations: dict[RankingTask, Calibration] = {}
    for task in TASKS:
        ranker_config = config.ranker(task)
        rows = join_rows(
            [make_ranking_rows(context, window, task, names, thinned=True) for window in past]
        )
        context.progress(f"fitting the ranker of {task} items")
        if not rows.relevant.any():
            raise BadInput("no purchases to learn from before the cut", hint="Import more history")
        rankers[task] = fit_ranker(rows.to_grouped(columns), ranker_config, seed=settings.seed)
        weights = np.where(rows.relevant, 1.0, 1 / ranker_config.share_negatives)
        calibrations[task] = fit_calibration(rows.matrix, rows.relevant, weights, columns)
    policies: dict[RankingTask, Policy] = {"all": "ranker", "new": "ranker", "cart": "association"}
    cart_ranker = _fit_cart_ranker(context, past, names)
    if cart_ranker is not None:
        rankers["cart"], policies["cart"] = cart_ranker, "ranker"
    return RecommendationModel(
        retrieval=snapshot.retrieval,
        candidates=config.candidates,
        rankers=rankers,
        item_columns=names.item,
        user_columns=names.user,
        policies=policies,
        calibrations=calibrations,
        buy_again=_fit_buy_again(context, past[0], snapshot),
    )


def _fit_buy_again(context: TrainingContext, window: Window, snapshot: Snapshot) -> BuyAgain:
    """Fit gaps on all before the cut of `snapshot`, and weights on the last window before it."""
    config, earlier = context.config.buy_again, context.snapshot(window.cut)
    bought = find_relevant_items(context.facts, window, earlier)["all"]
    weights = fit_buy_again(_fit_gaps(earlier, config), earlier.histories, bought, config)
    return BuyAgain(_fit_gaps(snapshot, config), weights)


def _fit_gaps(snapshot: Snapshot, config: BuyAgainConfig) -> Gaps:
    categories = dict(zip(snapshot.items.item_ids, snapshot.items.category, strict=True))
    return fit_gaps(snapshot.histories, categories, config)


def _fit_cart_ranker(
    context: TrainingContext, past: Sequence[Window], names: FeatureNames
) -> Ranker | None:
    """Fit the ranker of carts on orders of past windows; None where no order is large enough."""
    rows = join_rows([make_cart_rows(context, window, names, thinned=True) for window in past])
    if not rows.relevant.any():
        return None
    context.progress("fitting the ranker of what completes a cart")
    grouped, config = rows.to_grouped(cart_columns(*names)), context.config.ranker_cart
    return fit_ranker(grouped, config, seed=context.settings.seed, n_threads=1)


class RecommendationsTask:
    """Recommendations, beside simpler recommenders on purchases after a cut."""

    name = "recommendations"
    config = RecommendationsConfig
    protocol = ("window_weeks",)
    splits = (TIME, "leave-one-out")
    train = staticmethod(train)
    evaluate = staticmethod(evaluate)
