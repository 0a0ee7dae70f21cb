"""Adds what ranks the next items of a visit to a trained model, evaluated at the model's cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from features.contracts.errors import TooLittleData
from features.contracts.seeds import generator
from features.contracts.visits import OUTCOMES, Visits
from features.online.histories import compute_offline_histories, compute_offline_items
from models.ranking.model import Policy, RecommendationModel
from training.non_inferiority import UnitValues
from training.recommendations.learning_targets import format_weights
from training.recommendations.snapshots import TrainingContext
from training.recommendations.visit_ablation import SourceChoice, choose_sources
from training.recommendations.visit_baselines import fit_baselines
from training.recommendations.visit_evaluation import (
    MRR,
    VisitEvaluation,
    VisitWindow,
    evaluate_visits,
    find_failed_bars,
)
from training.recommendations.visit_training import (
    FittedVisits,
    count_visits,
    draw_next_items,
    fit_visits,
    read_visits,
    split_visits,
)
from training.recommendations.visits_of_buyers import choose_for_buyers
from training.results import Evaluation, Trained

SESSIONS = "sessions"


@dataclass(frozen=True)
class EvaluatedVisits:
    """A model with visits as of a cut, and how it does on the later ones; None where there are
    none."""

    model: RecommendationModel
    fitted: FittedVisits
    evaluation: VisitEvaluation | None
    window: VisitWindow
    sources: SourceChoice


def add_visits(
    context: TrainingContext, trained: Trained[RecommendationModel], end: datetime, *, refit: bool
) -> Trained[RecommendationModel]:
    """Return the model with what ranks visits, where there are enough before its cut."""
    visits = read_visits(context, end)
    cut = trained.evaluation.cut
    evaluated = fit_and_evaluate(context, trained.evaluated, visits, cut)
    evaluation = _add_choices(trained.evaluation, describe_visits(context, visits, evaluated, cut))
    if evaluated is None:
        return replace(trained, evaluation=evaluation)
    if evaluated.evaluation is not None:
        evaluation = _add_metrics(evaluation, evaluated.evaluation, evaluated.sources)
    served = evaluated.model
    if refit:
        context.progress("refitting on all visits")
        names = trained.served.item_columns
        fitted = fit_visits(context, visits, names, evaluated.sources.left_out)
        served = trained.served if fitted is None else fitted.attach_to(trained.served)
        if evaluated.evaluation is not None:
            served = _with_visit_policy(served, evaluated.evaluation.policy)
        served = served.with_visits_of_buyers(evaluated.model.visits_of_buyers)

    def measure(folder: Path | None) -> Mapping[str, UnitValues]:
        if folder is None:  # what was measured before did not know the visits yet
            with TemporaryDirectory() as temporary:
                evaluated.model.save(Path(temporary))
                values = dict(trained.measure(Path(temporary)))
            if evaluated.evaluation is not None:
                values["visits"] = evaluated.evaluation.served
            return values
        values = dict(trained.measure(folder))
        if evaluated.window.positions:
            values["visits"] = evaluated.window.measure(RecommendationModel.load(folder))
        return values

    return replace(
        trained, evaluation=evaluation, evaluated=evaluated.model, served=served, measure=measure
    )


def fit_and_evaluate(
    context: TrainingContext, model: RecommendationModel, visits: Visits, cut: datetime
) -> EvaluatedVisits | None:
    """Fit on the visits before `cut` and evaluate on later ones; None where they are too few."""
    known, later = split_visits(visits, cut)
    if count_visits(known) < context.config.visits.min_visits:
        return None
    fitted = fit_visits(context, known, model.item_columns)
    if fitted is None:
        return None
    model = fitted.attach_to(model)
    if model.visit_sources is None:
        return None
    window = _make_window(context, known, later, cut)
    if not window.positions:
        return EvaluatedVisits(model, fitted, None, window, SourceChoice(model))
    sources = choose_sources(context, model, fitted, window)
    buyers = choose_for_buyers(sources.model, window)
    model = sources.model.with_visits_of_buyers(buyers.by_visit)
    context.progress(f"slates of {len(window.positions):,} next items, ours and the baselines'")
    rng = generator(context.settings.seed, "bootstrap visits")
    baselines = fit_baselines(known, fitted.tuning, fitted.config.session_knn)
    evaluation = evaluate_visits(window, model, baselines, rng, cut)
    model = _with_visit_policy(model, evaluation.policy)
    sources = replace(sources, choices={**sources.choices, **buyers.choices})
    return EvaluatedVisits(model, fitted, evaluation, window, sources)


def describe_visits(
    context: TrainingContext, visits: Visits, evaluated: EvaluatedVisits | None, cut: datetime
) -> dict[str, str]:
    """Return what the ranker of visits learnt, and the counts that decided it."""
    known = split_visits(visits, cut)[0]
    if not len(known):
        return {}
    targets = context.config.parsed_targets
    has_ranker = evaluated is not None and evaluated.fitted.ranker is not None
    n_outcomes = np.bincount(known.outcomes, minlength=len(OUTCOMES)).tolist()
    counted = ", ".join(
        f"{n:,} that ended as {outcome}" for outcome, n in zip(OUTCOMES, n_outcomes, strict=True)
    )
    why = (
        f"{targets.setting}: {count_visits(known):,} visits of two looks or more "
        f"({context.config.visits.min_visits} are needed), of looks {counted}"
    )
    chosen = "every next look alike"
    if targets.weights is not None:
        chosen = f"next looks by how they end: {format_weights(targets.weights)}"
    return {"visit_targets": chosen if has_ranker else "none", "visit_targets_why": why}


def _add_choices(evaluation: Evaluation, choices: Mapping[str, str]) -> Evaluation:
    return replace(evaluation, choices={**evaluation.choices, **choices})


def _with_visit_policy(model: RecommendationModel, policy: Policy) -> RecommendationModel:
    """Return the model with another policy of visits, where it has what that needs."""
    sources = {} if model.visit_sources is None else model.visit_sources.sources
    if policy not in sources and not (policy == "ranker" and "visit" in model.rankers):
        return model
    return model.with_policies({**model.policies, "visit": policy})


def evaluate_sessions(
    context: TrainingContext, model: RecommendationModel, end: datetime, cut: datetime
) -> Evaluation:
    """Return the evaluation of the protocol "sessions": the visits after `cut` and nothing else."""
    visits = read_visits(context, end)
    evaluated = fit_and_evaluate(context, model, visits, cut)
    if evaluated is None or evaluated.evaluation is None:
        raise TooLittleData(
            f"there are {count_visits(visits):,} visits of two looks or more, and "
            f"{context.config.visits.min_visits} before the cut are needed, and some after it",
            hint="Import events of the types view_item, select_item and add_to_cart",
        )
    base = Evaluation(
        task="recommendations",
        cut=cut,
        primary=MRR,
        comparisons=(),
        failed_bars=find_failed_bars(evaluated.evaluation.comparisons[0]),
        data={
            "protocol": "sessions: every next item of the visits after the cut, all items ranked"
        },
    )
    evaluation = _add_metrics(base, evaluated.evaluation, evaluated.sources)
    return _add_choices(evaluation, describe_visits(context, visits, evaluated, cut))


def _add_metrics(
    evaluation: Evaluation, visits: VisitEvaluation, sources: SourceChoice
) -> Evaluation:
    return replace(
        evaluation,
        comparisons=(*evaluation.comparisons, *visits.comparisons),
        tables=(*evaluation.tables, *visits.tables, *sources.tables),
        notes=(*evaluation.notes, *visits.notes),
        data={**evaluation.data, **visits.data},
        choices={**evaluation.choices, **sources.choices},
    )


def _make_window(
    context: TrainingContext, known: Visits, later: Visits, cut: datetime
) -> VisitWindow:
    """Return the positions that are evaluated, drawn by the seed: items that were known then."""
    config, seed = context.config.visits, context.settings.seed
    is_known_item = np.zeros(len(known.item_ids), bool)
    is_known_item[known.items] = True
    drawn = draw_next_items(later, config.max_evaluated, seed, "visits to evaluate")
    positions = [
        position
        for position in drawn
        if is_known_item[later.items[later.starts[position.visit] + position.n]]
    ]
    per_buyer = context.settings.orders_per_buyer
    items = compute_offline_items(context.facts, cut, orders_per_buyer=per_buyer)
    visitors = later.visitors[[position.visit for position in positions]]
    users = {later.users[position.visit] for position in positions} - {None}
    histories = compute_offline_histories(context.facts, cut, sorted(users)) if users else {}
    return VisitWindow(
        visits=later,
        positions=positions,
        items=items,
        is_known=np.isin(visitors, known.visitors),
        n_unknown=len(drawn) - len(positions),
        buyers={user: history for user, history in histories.items() if len(history.item_ids)},
    )
