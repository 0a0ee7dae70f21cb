"""How much a match of the query counts in a list that is ranked by it, learnt from clicks.

A click is a choice among the items of its list: by the visitor's own score, by how far the item
matches, and by its rank, since what stands first is seen first (a conditional logit; McFadden,
Conditional logit analysis of qualitative choice behavior, 1974). The weight is what a full match is
worth in units of the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from scipy import optimize

from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.event_types import VIEW_TYPES, EventType
from features.database import reading_stored
from features.database_tables import slates
from features.facts.slates import LoggedSearch, read_searches
from features.pipelines.expressions import instant
from models.ranking.model import DEFAULT_QUERY_WEIGHT, RecommendationModel
from training.recommendations.snapshots import TrainingContext
from training.results import Trained
from training.significance import compute_paired_p_value

MIN_SEARCHES = 200
_HIGHEST_WEIGHT = 10 * DEFAULT_QUERY_WEIGHT
_SIGNIFICANCE_LEVEL = 0.05
_PAST = timedelta(days=365)
_MAX_SEARCHES = 20_000  # the latest
_MAX_RANKS = 100  # of each list; what stands behind is seldom seen
_RIDGE = 0.01  # keeps what a few lists cannot tell apart finite
_CLICKS = (*VIEW_TYPES, EventType.PURCHASE.value)


@dataclass(frozen=True)
class SearchClicks:
    """Lists with a click, in the order in which they were shown; float64 and bool (lists, ranks).

    other     the score without the query
    match     how far the item matches it
    clicked   the share of the list's clicks that each item has
    known     whether there is an item that a ranker scored
    """

    other: Float64Array
    match: Float64Array
    clicked: Float64Array
    known: BoolArray

    def __len__(self) -> int:
        return len(self.known)

    def select(self, lists: slice) -> SearchClicks:
        """Return some of the lists."""
        return SearchClicks(
            self.other[lists], self.match[lists], self.clicked[lists], self.known[lists]
        )


@dataclass(frozen=True)
class QueryWeight:
    """The weight of a full match, and where it comes from, in words."""

    weight: float
    why: str


def add_query_weight(
    context: TrainingContext, trained: Trained[RecommendationModel], end: datetime
) -> Trained[RecommendationModel]:
    """Return the model with the weight that the clicks before `end` show, where there are any."""
    clicks = read_clicks(context, end)
    if clicks is None:
        return trained
    learnt = learn_query_weight(clicks)
    choices = {"query_weight": f"{learnt.weight:.2f}", "query_weight_why": learnt.why}
    evaluation = trained.evaluation
    return replace(
        trained,
        evaluation=replace(evaluation, choices={**evaluation.choices, **choices}),
        evaluated=replace(trained.evaluated, query_weight=learnt.weight),
        served=replace(trained.served, query_weight=learnt.weight),
    )


def learn_query_weight(clicks: SearchClicks) -> QueryWeight:
    """Return the weight that makes the clicks likeliest, where it does so on later lists as well.

    What two thirds of the lists show is held against the shipped weight on the last third. A weight
    at an end of its range says that the score tells nothing, and is none.
    """
    if len(clicks) < MIN_SEARCHES:
        return QueryWeight(
            DEFAULT_QUERY_WEIGHT,
            f"as shipped: {len(clicks):,} ranked lists with a query and a click, "
            f"{MIN_SEARCHES} are needed",
        )
    cut = 2 * len(clicks) // 3
    earlier, later = clicks.select(slice(None, cut)), clicks.select(slice(cut, None))
    tested, weight = _find_weight(_fit(earlier, None)), _find_weight(_fit(clicks, None))
    gains = np.zeros(len(later))
    if tested is not None:
        shipped = _fit(earlier, DEFAULT_QUERY_WEIGHT)
        gains = _log_likelihoods(later, _fit(earlier, tested)) - _log_likelihoods(later, shipped)
    p_value = compute_paired_p_value(gains, np.zeros(len(gains)))
    measured = (
        f"on the latest {len(later):,} of {len(clicks):,} ranked lists with a query and a click, "
        f"p {p_value:.3f}"
    )
    if weight is None or gains.mean() <= 0 or p_value >= _SIGNIFICANCE_LEVEL:
        return QueryWeight(
            DEFAULT_QUERY_WEIGHT, f"as shipped: no other is clearly better {measured}"
        )
    return QueryWeight(weight, f"learnt: better than {DEFAULT_QUERY_WEIGHT:g} {measured}")


def read_clicks(context: TrainingContext, end: datetime) -> SearchClicks | None:
    """Return the ranked lists with a click before `end`; None where no list had a query."""
    with reading_stored(context.settings, slates) as connection:
        if connection is None:
            return None
        searches = read_searches(connection, after=end - _PAST, until=end, limit=_MAX_SEARCHES)
    if not searches:
        return None
    events = context.facts.read("events")
    clicks = events.filter(
        events.recommendation_id.notnull()
        & events.event_type.isin(_CLICKS)
        & (events.occurred_at < instant(end))
    )
    table = clicks.select("recommendation_id", "item_id").distinct().to_pyarrow().to_pydict()
    clicked: dict[str, set[str]] = {}
    for recommendation_id, item_id in zip(*table.values(), strict=True):
        clicked.setdefault(recommendation_id, set()).add(item_id)
    return collect_clicks(searches, clicked)


def collect_clicks(searches: Sequence[LoggedSearch], clicked: dict[str, set[str]]) -> SearchClicks:
    """Return the lists of which an item was clicked, with at least two items to choose from."""
    chosen = []
    for whole in searches:
        search = replace(
            whole, item_ids=whole.item_ids[:_MAX_RANKS], matches=whole.matches[:_MAX_RANKS]
        )
        known = [match is not None for match in search.matches]
        of_list = clicked.get(search.recommendation_id, set())
        hits = [
            item_id in of_list and is_known
            for item_id, is_known in zip(search.item_ids, known, strict=True)
        ]
        if any(hits) and sum(known) > 1:
            chosen.append((search, hits))
    shape = len(chosen), max((len(search.item_ids) for search, _ in chosen), default=0)
    clicks = SearchClicks(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape, bool))
    for row, (search, hits) in enumerate(chosen):
        for rank, match in enumerate(search.matches):
            if match is not None:
                clicks.match[row, rank], clicks.other[row, rank] = match
                clicks.known[row, rank] = True
        clicks.clicked[row, : len(hits)] = np.array(hits) / sum(hits)
    return clicks


def _fit(clicks: SearchClicks, weight: float | None) -> Float64Array:
    """Return what score, match and log rank count for, (3,); with a `weight`, of that ratio."""
    terms = _stack_terms(clicks)
    basis = np.eye(3) if weight is None else np.array([[1.0, weight, 0.0], [0.0, 0.0, 1.0]])
    reduced = terms @ basis.T

    def measure(coefficients: Float64Array) -> tuple[float, Float64Array]:
        chances = _choose(reduced @ coefficients, clicks.known)
        gaps = clicks.clicked - chances
        logs = np.where(clicks.clicked > 0, np.log(np.maximum(chances, 1e-300)), 0.0)
        loss = -(clicks.clicked * logs).sum() + _RIDGE * (coefficients**2).sum()
        slope = -np.einsum("lr,lrc->c", gaps, reduced) + 2 * _RIDGE * coefficients
        return float(loss), slope

    start = np.zeros(len(basis))
    found = optimize.minimize(measure, start, jac=True, method="L-BFGS-B")
    return np.asarray(found.x @ basis)


def _find_weight(coefficients: Float64Array) -> float | None:
    """Return what a full match is worth in the score; None where one of them counts for nothing."""
    of_score, of_match, _ = coefficients.tolist()
    if of_score <= 0 or not 0 < of_match / of_score < _HIGHEST_WEIGHT:
        return None
    return float(of_match / of_score)


def _log_likelihoods(clicks: SearchClicks, coefficients: Float64Array) -> Float64Array:
    """Return the log-likelihood of the clicks of each list (lists,)."""
    chances = _choose(_stack_terms(clicks) @ coefficients, clicks.known)
    logs = np.log(np.maximum(chances, 1e-300))
    return np.asarray((clicks.clicked * np.where(clicks.clicked > 0, logs, 0.0)).sum(1))


def _stack_terms(clicks: SearchClicks) -> Float64Array:
    """Return score, match and log rank of each item (lists, ranks, 3)."""
    ranks = np.broadcast_to(np.log(np.arange(1, clicks.known.shape[1] + 1)), clicks.known.shape)
    return np.stack([clicks.other, clicks.match, ranks], axis=-1)


def _choose(utilities: Float64Array, known: BoolArray) -> Float64Array:
    """Return the chance of each item of its list (lists, ranks); 0 where there is none."""
    utilities = np.where(known, utilities, -np.inf)
    raised = np.exp(utilities - utilities.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))
