"""Recommendations: windows of the past -> rankers -> slates at the cut beside the baselines -> the
model to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from features.facts.facts import Facts
from models.ranking.calibration import Calibration, fit_calibration
from models.ranking.cart import cart_columns
from models.ranking.columns import column_names
from models.ranking.lambdarank import Ranker, fit_ranker
from models.ranking.model import TASKS, Policy, RankingTask, RecommendationModel
from models.retrieval.buy_again import BuyAgain, fit_buy_again, fit_gaps
from models.retrieval.item_knn import fit_item_knn
from training.recommendations.cart_rows import cart_rows
from training.recommendations.carts import (
    ALONE,
    CartFigures,
    cart_figures,
    held_out,
)
from training.recommendations.config import RecommendationsConfig
from training.recommendations.evaluate import judged
from training.recommendations.evaluation_input import Subject
from training.recommendations.leave_one_out import LEAVE_ONE_OUT, TIME_SPLIT, HeldOut, hold_out_last
from training.recommendations.ranking_rows import Names, joined, ranking_rows
from training.recommendations.snapshots import (
    Snapshot,
    Workshop,
    by_task,
    item_columns_of,
    orders_before,
    relevant_items,
    user_columns_of,
)
from training.results import OURS, Evaluation, Trained
from training.splits import Window, end_of_data, windows
from training.task import TIME, Progress


def train(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Progress,
) -> Trained[RecommendationModel]:
    """Fits at the last cut, measures beside the baselines, and refits on everything visible."""
    end = end_of_data(facts, until, settings.timezone)
    workshop = Workshop(facts, settings, config, progress)
    evaluated, evaluation = _evaluated(workshop, end)
    if not refit:
        return Trained(evaluation, evaluated, evaluated)
    progress("refitting on all data")
    served = _fit(workshop, end).with_policies(evaluated.policies)
    return Trained(evaluation, evaluated, served)


def evaluate(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    split: str = TIME,
    progress: Progress,
) -> Evaluation:
    """The figures at the last cut, or with each user's last purchase held out; nothing is
    refitted."""
    if split == TIME:
        return train(
            facts, settings, config, until=until, refit=False, progress=progress
        ).evaluation
    end = end_of_data(facts, until, settings.timezone)
    held = hold_out_last(facts, end)
    return _left_one_out(held, Workshop(held, settings, config, progress), end)


def evaluate_carts(
    facts: Facts,
    settings: Settings,
    config: RecommendationsConfig,
    *,
    until: datetime | None,
    progress: Progress,
) -> tuple[Window, CartFigures]:
    """What completes a cart at the last cut, every order of the window after it; no other ranker is
    fitted."""
    workshop = Workshop(facts, settings, config, progress)
    (window,) = windows(
        end_of_data(facts, until, settings.timezone), 1, config.window_weeks, settings.timezone
    )
    past = windows(window.cut, config.n_windows, config.window_weeks, settings.timezone)
    final = workshop.snapshot(window.cut)
    names = item_columns_of(final.items), user_columns_of(final.histories)
    ranker = _cart_ranker(workshop, past, names)
    rankers: dict[RankingTask, Ranker] = {} if ranker is None else {"cart": ranker}
    model = RecommendationModel(
        final.retrieval, config.candidates, rankers, *names, {"cart": "ranker"}, {}
    )
    orders = held_out(facts, window, final.interactions.item_ids.tolist())
    progress(f"slates of {len(orders)} orders")
    by_orders = fit_item_knn(*orders_before(facts, window.cut), config.item_knn)
    return window, cart_figures(orders, model, final.histories, final.items, by_orders)


def _left_one_out(held: HeldOut, workshop: Workshop, end: datetime) -> Evaluation:
    """One model fitted on everything but the held-out purchases, asked for each of them."""
    model = _fit(workshop, end)
    snapshot = workshop.snapshot(end)
    relevant = by_task(held.targets(), snapshot)
    if not relevant["all"]:
        raise BadInput("no user's last purchase is of a known item", hint="Import more history")
    _, evaluation = judged(_subject(workshop, snapshot, model, relevant), workshop.progress)
    data: dict[str, str | int] = {
        "protocol": LEAVE_ONE_OUT,
        "known": f"events before {end.isoformat()}, without the held-out ones",
        "purchases held out": sum(map(len, relevant["all"].values())),
    }
    return replace(evaluation, data=data | _counts(snapshot, relevant))


def _evaluated(workshop: Workshop, end: datetime) -> tuple[RecommendationModel, Evaluation]:
    (window,) = windows(end, 1, workshop.config.window_weeks, workshop.settings.timezone)
    model = _fit(workshop, window.cut)
    snapshot = workshop.snapshot(window.cut)
    relevant = relevant_items(workshop.facts, window, snapshot)
    if not relevant["all"]:
        raise BadInput(
            "nobody bought a known item after the cut",
            hint="Import more history, or choose another --until",
        )
    model, evaluation = judged(_subject(workshop, snapshot, model, relevant), workshop.progress)
    model, evaluation = _with_carts(workshop, window, snapshot, model, evaluation)
    data = {
        "protocol": TIME_SPLIT,
        "known": f"events before {window.cut.isoformat()}",
        "to be foretold": f"purchases until {window.end.isoformat()}",
    }
    return model, replace(evaluation, data=data | _counts(snapshot, relevant))


def _with_carts(
    workshop: Workshop,
    window: Window,
    snapshot: Snapshot,
    model: RecommendationModel,
    evaluation: Evaluation,
) -> tuple[RecommendationModel, Evaluation]:
    """Adds what completes a cart. Where its ranker loses to the rules alone these serve; the figure
    is the ranker's.

    Whether the model may serve does not depend on it.
    """
    seed, policies = workshop.settings.seed, dict(model.policies)
    orders = held_out(workshop.facts, window, snapshot.interactions.item_ids.tolist())
    if "cart" not in model.rankers or not orders:
        return model.with_policies(policies | {"cart": "association"}), evaluation
    workshop.progress("what completes the carts of the test window, ours and the baselines'")
    drawn = np.sort(
        generator(seed, "judged carts").permutation(len(orders))[: workshop.config.carts.judged]
    )
    by_orders = fit_item_knn(*orders_before(workshop.facts, window.cut), workshop.config.item_knn)
    found = cart_figures(
        [orders[at] for at in drawn], model, snapshot.histories, snapshot.items, by_orders
    )
    comparisons, figures = found.summary(seed=seed)
    won = found.recall[OURS].mean() >= found.recall[ALONE].mean()
    notes = (
        ()
        if won
        else ("the ranker of carts did not beat the rules between items here; the rules serve",)
    )
    added = replace(
        evaluation,
        comparisons=(*evaluation.comparisons, *comparisons),
        metrics={**evaluation.metrics, **figures},
        notes=(*evaluation.notes, *notes),
    )
    return model.with_policies(policies | {"cart": "ranker" if won else "association"}), added


def _subject(
    workshop: Workshop,
    snapshot: Snapshot,
    model: RecommendationModel,
    relevant: Mapping[RankingTask, Mapping[str, frozenset[str]]],
) -> Subject:
    parts = snapshot.cut, snapshot.histories, snapshot.items, snapshot.interactions
    return Subject(*parts, model, relevant, workshop.config.ease, workshop.settings.seed)


def _counts(
    snapshot: Snapshot, relevant: Mapping[RankingTask, Mapping[str, frozenset[str]]]
) -> dict[str, str | int]:
    return {
        "users known": len(snapshot.histories),
        "items known": len(snapshot.interactions.item_ids),
        "users judged, all items": len(relevant["all"]),
        "users judged, items new to the user": len(relevant["new"]),
    }


def _fit(workshop: Workshop, cut: datetime) -> RecommendationModel:
    """The model for `cut`: sources fitted there, rankers on the windows before it."""
    config, settings = workshop.config, workshop.settings
    past = windows(cut, config.n_windows, config.window_weeks, settings.timezone)
    workshop.forget([cut, *(window.cut for window in past)])
    final = workshop.snapshot(cut)
    item_columns = item_columns_of(final.items)
    user_columns = user_columns_of(final.histories)
    rankers: dict[RankingTask, Ranker] = {}
    calibrations: dict[RankingTask, Calibration] = {}
    for task in TASKS:
        ranker_config = config.ranker(task)
        rows = joined(
            [
                ranking_rows(workshop, each, task, (item_columns, user_columns), thinned=True)
                for each in past
            ]
        )
        workshop.progress(f"fitting the ranker of {task} items")
        if not rows.relevant.any():
            raise BadInput("no purchases to learn from before the cut", hint="Import more history")
        names = column_names(item_columns, user_columns)
        rankers[task] = fit_ranker(
            rows.matrix, rows.relevant, rows.sizes, names, ranker_config, seed=settings.seed
        )
        weights = np.where(rows.relevant, 1.0, 1 / ranker_config.share_negatives)
        calibrations[task] = fit_calibration(rows.matrix, rows.relevant, weights, names)
    policies: dict[RankingTask, Policy] = {"all": "ranker", "new": "ranker", "cart": "association"}
    cart = _cart_ranker(workshop, past, (item_columns, user_columns))
    if cart is not None:
        rankers["cart"], policies["cart"] = cart, "ranker"
    again = _buy_again(workshop, past[0], final)
    return RecommendationModel(
        final.retrieval,
        config.candidates,
        rankers,
        item_columns,
        user_columns,
        policies,
        calibrations,
        again,
    )


def _buy_again(workshop: Workshop, window: Window, final: Snapshot) -> BuyAgain:
    """The gaps of all that lies before the cut, with the weights that foretold the last window
    before it."""
    config, known = workshop.config.buy_again, workshop.snapshot(window.cut)
    bought = relevant_items(workshop.facts, window, known)["all"]
    before, now = (
        fit_gaps(
            each.histories, dict(zip(each.items.item_ids, each.items.category, strict=True)), config
        )
        for each in (known, final)
    )
    return BuyAgain(now, fit_buy_again(before, known.histories, bought, config))


def _cart_ranker(workshop: Workshop, past: Sequence[Window], names: Names) -> Ranker | None:
    """The ranker of what completes a cart, from orders of the past windows; None where none is
    large enough."""
    rows = joined([cart_rows(workshop, window, names, thinned=True) for window in past])
    if not rows.relevant.any():
        return None
    workshop.progress("fitting the ranker of what completes a cart")
    given = (
        rows.matrix,
        rows.relevant,
        rows.sizes,
        cart_columns(*names),
        workshop.config.ranker_cart,
    )
    return fit_ranker(*given, seed=workshop.settings.seed, n_threads=1)


class RecommendationsTask:
    """Recommendations, beside simpler recommenders on purchases after a cut."""

    name = "recommendations"
    config = RecommendationsConfig
    protocol = ("window_weeks",)
    splits = (TIME, "leave-one-out")
    train = staticmethod(train)
    evaluate = staticmethod(evaluate)
