"""Fits a recommendation model: sources on all before a cut, rankers on the windows before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import numpy as np

from features.contracts.errors import TooLittleData
from models.ranking.calibration import Calibration, fit_calibration
from models.ranking.cart import cart_columns
from models.ranking.columns import FeatureNames, column_names
from models.ranking.lambdarank import Ranker, fit_ranker
from models.ranking.model import TASKS, Policy, RankingTask, RecommendationModel
from models.retrieval.buy_again import BuyAgain, BuyAgainConfig, Gaps, fit_buy_again, fit_gaps
from training.recommendations.cart_rows import make_cart_rows
from training.recommendations.learning_targets import PURCHASE, Targets
from training.recommendations.ranking_rows import Rows, join_rows, make_thinned_rows
from training.recommendations.sequence_training import fit_sequences
from training.recommendations.snapshots import Snapshot, TrainingContext, find_relevant_items
from training.splits import Window, windows


def fit_model(context: TrainingContext, cut: datetime) -> RecommendationModel:
    """Fit the model for `cut` with the seed of the settings."""
    (model,) = fit_models(context, cut, [context.settings.seed])
    return model


def fit_models(
    context: TrainingContext, cut: datetime, seeds: Sequence[int]
) -> list[RecommendationModel]:
    """Fit a model for `cut` for each of `seeds`, which draw the negatives and fit the rankers.

    The sources are the same in all of them.
    """
    config, settings = context.config, context.settings
    past = windows(cut, config.n_windows, config.window_weeks, settings.timezone)
    context.keep_only([cut, *(window.cut for window in past)])
    snapshot = context.snapshot(cut)
    names = snapshot.feature_names()
    columns = column_names(*names)
    rankers: list[dict[RankingTask, Ranker]] = [{} for _ in seeds]
    calibrations: list[dict[RankingTask, Calibration]] = [{} for _ in seeds]
    parts = [_make_rows(context, window, names, seeds) for window in past]
    for task in TASKS:
        for number, seed in enumerate(seeds):
            rows = join_rows([part[task][number] for part in parts])
            context.progress(f"fitting the ranker of {task} items")
            if not rows.relevant.any():
                if "all" not in rankers[number]:
                    raise _describe_missing(config.parsed_targets)
                # Nobody bought an item for the first time: what ranks all items ranks new ones.
                rankers[number][task] = rankers[number]["all"]
                calibrations[number][task] = calibrations[number]["all"]
                continue
            ranker_config = config.ranker(task)
            rankers[number][task] = fit_ranker(rows.to_grouped(columns), ranker_config, seed=seed)
            calibrations[number][task] = _fit_calibration(
                rows, columns, ranker_config.share_negatives
            )
    buy_again = _fit_buy_again(context, past[0], snapshot)
    learns_purchases = PURCHASE in config.parsed_targets.of_rankers
    sequences = fit_sequences(context, snapshot) if learns_purchases else None
    models = []
    for number, seed in enumerate(seeds):
        policies: dict[RankingTask, Policy] = dict.fromkeys(TASKS, "ranker")
        policies["cart"] = "association"
        cart_ranker = fit_cart_ranker(context, past, names, seed)
        if cart_ranker is not None:
            rankers[number]["cart"], policies["cart"] = cart_ranker, "ranker"
        model = RecommendationModel(
            retrieval=snapshot.retrieval,
            candidates=config.candidates,
            rankers=rankers[number],
            item_columns=names.item,
            user_columns=names.user,
            policies=policies,
            calibrations=calibrations[number],
            buy_again=buy_again,
        )
        models.append(model if sequences is None else sequences.attach_to(model))
    return models


def _make_rows(
    context: TrainingContext, window: Window, names: FeatureNames, seeds: Sequence[int]
) -> dict[RankingTask, list[Rows]]:
    """Return the rows of both tasks by seed; the evaluation and the refit share a window's."""

    def make() -> dict[RankingTask, list[Rows]]:
        return make_thinned_rows(context, window, TASKS, names, seeds)

    return context.compute_once(window.cut, ("rows", window, names, tuple(seeds)), make)


def fit_cart_ranker(
    context: TrainingContext, past: Sequence[Window], names: FeatureNames, seed: int
) -> Ranker | None:
    """Fit the ranker of carts on orders of past windows; None where no order is large enough."""

    def make(window: Window) -> Rows:
        return make_cart_rows(context, window, names, seed, thinned=True)

    rows = join_rows(
        [
            context.compute_once(window.cut, ("carts", window, names, seed), partial(make, window))
            for window in past
        ]
    )
    if not rows.relevant.any():
        return None
    context.progress("fitting the ranker of what completes a cart")
    grouped = rows.to_grouped(cart_columns(*names))
    return fit_ranker(grouped, context.config.ranker_cart, seed=seed, n_threads=1)


def _describe_missing(targets: Targets) -> TooLittleData:
    kinds = " or ".join(targets.of_rankers)
    return TooLittleData(
        f"no {kinds} of a known item by a known user to learn from before the cut",
        hint="Import more history" if targets.weights is None else "Set targets: auto",
    )


def _fit_calibration(rows: Rows, columns: tuple[str, ...], share_negatives: float) -> Calibration:
    """Fit the chance of the targets that count most, as of a purchase."""
    weights = np.where(rows.relevant, 1.0, 1 / share_negatives)
    strongest = rows.gains == rows.gains.max()
    return fit_calibration(rows.matrix, strongest, weights, columns)


def _fit_buy_again(context: TrainingContext, window: Window, snapshot: Snapshot) -> BuyAgain:
    """Fit gaps on all before the cut of `snapshot`, and weights on the last window before it."""
    config, earlier = context.config.buy_again, context.snapshot(window.cut)
    bought = find_relevant_items(context.facts, window, earlier)["all"]
    weights = fit_buy_again(_fit_gaps(earlier, config), earlier.histories, bought, config)
    return BuyAgain(_fit_gaps(snapshot, config), weights)


def _fit_gaps(snapshot: Snapshot, config: BuyAgainConfig) -> Gaps:
    categories = dict(zip(snapshot.items.item_ids, snapshot.items.category, strict=True))
    return fit_gaps(snapshot.histories, categories, config)
