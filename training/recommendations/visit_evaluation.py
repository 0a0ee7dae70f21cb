"""Evaluates what a visitor looks at next: at every position of later visits, all items ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.calendar import DECAY_PER_WEEK
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
from features.contracts.visits import OUTCOMES, Visit, Visits
from features.online.past_visits import EPOCH, count_milliseconds
from models.ranking.model import Policy, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from training.non_inferiority import UnitValues
from training.recommendations.visit_baselines import (
    DEPTH,
    SINGLE_SOURCES,
    Position,
    Score,
    make_position,
    rank_targets,
    reciprocal_ranks,
)
from training.recommendations.visit_training import NextItem
from training.results import OURS, Cell, Comparison, MetricTable
from training.significance import Bootstrap, compute_paired_p_value, correct_p_values

MRR, HIT_RATE = f"MRR@{DEPTH} next item of a visit", f"HR@{DEPTH} next item of a visit"
_NDCG_DEPTH = 10
_PLACEMENTS = {"home": Placement("all")}
_FIRST_POSITIONS = 3
_LEVEL = 0.05


@dataclass(frozen=True)
class VisitWindow:
    """Positions of later visits, and the catalogue as of their cut.

    is_known    bool (positions,), whether the visitor was there before the cut
    n_unknown   next items that nobody had looked at before the cut; they are left out
    buyers      the histories of those who had bought, by user_id, as of the cut
    """

    visits: Visits
    positions: Sequence[NextItem]
    items: ItemFeatures
    is_known: BoolArray
    n_unknown: int
    buyers: Mapping[str, UserHistory] = field(default_factory=dict)

    @property
    def is_buyer(self) -> BoolArray:
        """Whether the visit is of somebody who had bought (positions,)."""
        users = self.visits.users[[position.visit for position in self.positions]].tolist()
        return np.array([user in self.buyers for user in users], bool)

    def find_begun_within(self, span: timedelta) -> BoolArray:
        """Return whether the visit began in this time after the cut (positions,)."""
        until_ms = count_milliseconds(self.items.as_of + span)
        began_at = self.visits.began_at[[position.visit for position in self.positions]]
        return np.asarray(began_at < until_ms)

    def select(self, rows: Int64Array) -> VisitWindow:
        """Return the window with some of its positions."""
        chosen = [self.positions[row] for row in rows.tolist()]
        return replace(self, positions=chosen, is_known=self.is_known[rows])

    def rank_served(self, model: RecommendationModel) -> Int64Array:
        """Return the rank (positions,) of each next item in the slate, DEPTH + 1 where it is in
        none."""
        recommender = Recommender(model, self.items, _PLACEMENTS)
        ranks = np.full(len(self.positions), DEPTH + 1)
        for n, (visit, action) in enumerate(self.positions):
            buyer = self.buyers.get(self.visits.users[visit])
            history = make_history(self.visits.take_first(visit, action), buyer)
            (item_ids,) = recommender.recommend_ids([RecommendationQuery(history, "home", DEPTH)])
            target = self.visits.item_ids[self.visits.items[self.visits.starts[visit] + action]]
            matches = np.flatnonzero(item_ids == target)
            if len(matches):
                ranks[n] = matches[0] + 1
        return ranks

    def measure(self, model: RecommendationModel) -> UnitValues:
        """Return MRR@20 of the slates that the model serves."""
        return self.describe_ranks(self.rank_served(model))

    def describe_ranks(self, ranks: Int64Array) -> UnitValues:
        """Return MRR@20 of the `ranks` (positions,); the positions of a visit are one unit."""
        return UnitValues(
            metric=MRR,
            unit="visits",
            ids=np.array([position.visit for position in self.positions]),
            amounts=reciprocal_ranks(ranks),
            scales=np.ones(len(self.positions)),
            better="higher",
        )


@dataclass(frozen=True)
class VisitEvaluation:
    """Metrics of visits, to be added to those of a whole model.

    policy   that serves
    served   MRR@20 of the slates that it serves
    """

    policy: Policy
    served: UnitValues
    comparisons: tuple[Comparison, ...]
    tables: tuple[MetricTable, ...]
    notes: tuple[str, ...]
    data: Mapping[str, str | int]


def make_history(visit: Visit, buyer: UserHistory | None = None) -> UserHistory:
    """Return the history of a visit: of a stranger, of whom nothing else is known, or of a buyer,
    whose history is as of an earlier time."""
    now = EPOCH + timedelta(milliseconds=visit.at_ms[0])
    viewed: dict[str, int] = {}
    for item_id, at_ms in zip(visit.item_ids, visit.at_ms, strict=True):
        viewed.setdefault(item_id, at_ms // 1000)
    if buyer is None:
        known = UserHistory.unknown(now)
    else:
        for item_id, at in zip(buyer.viewed_item_ids, buyer.viewed_at, strict=True):
            viewed.setdefault(item_id, at)
        faded = np.float32(DECAY_PER_WEEK ** ((now - buyer.as_of) / timedelta(weeks=1)))
        known = replace(buyer, as_of=now, decayed_frequency=buyer.decayed_frequency * faded)
    return replace(
        known, viewed_item_ids=tuple(viewed), viewed_at=tuple(viewed.values()), visit=visit
    )


def evaluate_visits(
    window: VisitWindow,
    model: RecommendationModel,
    baselines: Mapping[str, Score],
    rng: np.random.Generator,
    known_until: datetime,
) -> VisitEvaluation:
    """Compare what the model serves with every baseline, and choose the policy that serves.

    Where a single source of the model beats its ranker, the source serves.
    """
    positions = [make_position(window.visits, *position) for position in window.positions]
    ranks = {name: rank_targets(score, positions) for name, score in baselines.items()}
    ours, policy = window.rank_served(model), model.policies["visit"]
    for single in _find_rivals(model, ranks, ours):
        served = window.rank_served(model.with_policies({**model.policies, "visit": single}))
        if reciprocal_ranks(served).mean() > reciprocal_ranks(ours).mean():
            ours, policy = served, single
    notes: tuple[str, ...] = ()
    if policy != "ranker":
        notes = (f"the ranker of visits did not beat {policy} here, which serves",)
    ranks = {OURS: ours, **ranks}
    visits = np.array([position.visit for position in window.positions])
    values = {
        MRR: {name: reciprocal_ranks(rank) for name, rank in ranks.items()},
        HIT_RATE: {name: (rank <= DEPTH).astype(np.float64) for name, rank in ranks.items()},
    }
    return VisitEvaluation(
        policy=policy,
        served=window.describe_ranks(ours),
        comparisons=tuple(
            _compare(metric, by_method, visits, rng) for metric, by_method in values.items()
        ),
        tables=_make_tables(window, positions, ranks),
        notes=notes,
        data={
            "visits": f"next item of visits that began after {known_until.isoformat()}",
            "visits evaluated": len(np.unique(visits)),
            "next items evaluated": len(visits),
            "next items left out, unknown before the cut": window.n_unknown,
        },
    )


def find_failed_bars(comparison: Comparison) -> tuple[str, ...]:
    """Return that what serves is measurably behind its strongest rival; nothing where it is not."""
    p_value = comparison.p_values[comparison.strongest]
    is_behind = comparison.ours < comparison.baselines[comparison.strongest]
    if not is_behind or p_value > _LEVEL:
        return ()
    return (f"measurably behind its baseline: {comparison.describe()} (p = {p_value:.2g})",)


def _find_rivals(
    model: RecommendationModel, ranks: Mapping[str, Int64Array], ours: Int64Array
) -> list[Policy]:
    """Return the sources of the model of which the baseline of their kind beats what serves."""
    sources = {} if model.visit_sources is None else model.visit_sources.sources
    value = reciprocal_ranks(ours).mean()
    return [
        policy
        for name, policy in SINGLE_SOURCES.items()
        if policy in sources and reciprocal_ranks(ranks[name]).mean() > value
    ]


def _compare(
    metric: str,
    values: Mapping[str, Float64Array],
    visits: Int64Array,
    rng: np.random.Generator,
) -> Comparison:
    """Compare means over positions; tests and intervals are over visits, whose positions are not
    independent."""
    _, rows, counts = np.unique(visits, return_inverse=True, return_counts=True)
    per_visit: dict[str, Float64Array] = {
        name: np.bincount(rows, scores).astype(np.float64) for name, scores in values.items()
    }
    baselines = {name: float(scores.mean()) for name, scores in values.items() if name != OURS}
    strongest = max(baselines, key=lambda name: baselines[name])
    p_values = correct_p_values(
        {name: compute_paired_p_value(per_visit[OURS], per_visit[name]) for name in baselines}
    )
    bootstrap = Bootstrap(len(counts), rng)
    # The mean over positions is a ratio of sums over visits; the visits are drawn.
    scaled = np.stack(list(per_visit.values()), axis=1) / counts.mean()
    low, high = bootstrap.intervals(scaled)
    return Comparison(
        metric=metric,
        ours=float(values[OURS].mean()),
        baselines=baselines,
        better="higher",
        strongest=strongest,
        p_value=p_values[strongest],
        p_values=p_values,
        intervals={name: (float(low[n]), float(high[n])) for n, name in enumerate(per_visit)},
    )


def _make_tables(
    window: VisitWindow, positions: Sequence[Position], ranks: Mapping[str, Int64Array]
) -> tuple[MetricTable, ...]:
    numbers = np.array([position.n for position in window.positions])
    is_repeat = np.array([target in viewed for viewed, target in positions], bool)
    visits = window.visits
    actions = visits.starts[[position.visit for position in window.positions]] + numbers
    parts: dict[str, BoolArray] = {"all": np.ones(len(numbers), bool)}
    for n in range(1, _FIRST_POSITIONS + 1):
        parts[f"after look {n}"] = numbers == n
    parts |= {
        f"after look {_FIRST_POSITIONS + 1} and later": numbers > _FIRST_POSITIONS,
        "seen in the visit": is_repeat,
        "new to the visit": ~is_repeat,
        "known visitors": window.is_known,
        "strangers": ~window.is_known,
    }
    if window.buyers:
        parts["buyers"] = window.is_buyer
    outcomes = visits.outcomes[actions]
    if outcomes.any():
        parts |= {f"ended as {name}": outcomes == number for number, name in enumerate(OUTCOMES)}
    return tuple(
        MetricTable(
            title=f"next item of a visit: {title} by part",
            columns=tuple(parts),
            rows={
                name: tuple(_measure(metric(rank), part) for part in parts.values())
                for name, rank in ranks.items()
            },
            n_users=tuple(int(part.sum()) for part in parts.values()),
            counted="next items",
        )
        for title, metric in (
            (f"MRR@{DEPTH}", reciprocal_ranks),
            (f"HR@{DEPTH}", lambda rank: (rank <= DEPTH).astype(np.float64)),
            (f"NDCG@{_NDCG_DEPTH}", _ndcg),
        )
    )


def _ndcg(ranks: Int64Array) -> Float64Array:
    """Return NDCG at 10 (positions,) of one relevant item each."""
    return np.where(ranks <= _NDCG_DEPTH, 1.0 / np.log2(ranks + 1.0), 0.0)


def _measure(values: Float64Array, part: BoolArray) -> Cell:
    return Cell(float(values[part].mean()) if part.any() else float("nan"))
