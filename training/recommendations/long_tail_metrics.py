"""What last ranks for rarely shown items cost and bring: the same slates with and without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.recommendations import RecommendationQuery
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import LongSlate, Recommender
from models.ranking.slate.long_tail import LongTail, SlateOptions, assign_last_places
from training.recommendations.evaluation_input import EvaluationInput, Slates
from training.recommendations.method_metrics import SLATE_LENGTH
from training.recommendations.metrics import hit_rates
from training.recommendations.slate_metrics import SlateMetrics
from training.significance import compute_paired_p_value

K = 10
USUAL, ASSIGNED, BY_HASH = "usual slates", "assigned (batch)", "by hash (single answers)"


@dataclass(frozen=True)
class LongTailMetrics:
    """The metrics of one kind of slates of all items.

    ndcg_10, ndcg_20, tail_hits   float64 (users,), of the evaluated users; `tail_hits` is whether
                                  an item behind rank K is relevant
    coverage                      share of the known items in the slates of all users
    """

    ndcg_10: Float64Array
    ndcg_20: Float64Array
    tail_hits: Float64Array
    coverage: float


def measure_long_tail(
    data: EvaluationInput,
    model: RecommendationModel,
    long_tail: LongTail,
    baselines: Mapping[str, Slates],
) -> dict[str, LongTailMetrics]:
    """Return the metrics of the usual slates, of both ways to fill the last ranks, of baselines."""
    slates = {**make_long_tail_slates(data, model, long_tail), **baselines}
    metrics = SlateMetrics(data, data.relevant["all"])
    measured = {}
    for name, by_user in slates.items():
        arrays = metrics.to_arrays(by_user, SLATE_LENGTH)
        measured[name] = LongTailMetrics(
            ndcg_10=metrics.measure_accuracy(arrays, K)["NDCG"],
            ndcg_20=metrics.measure_accuracy(arrays, SLATE_LENGTH)["NDCG"],
            tail_hits=hit_rates(arrays.hits[:, K:], SLATE_LENGTH),
            coverage=metrics.measure_all_slates(arrays, SLATE_LENGTH)["coverage"],
        )
    return measured


def make_long_tail_slates(
    data: EvaluationInput, model: RecommendationModel, long_tail: LongTail
) -> dict[str, Slates]:
    """Return the slates of every known user by kind and user."""
    placements = {"usual": Placement("all"), "tail": Placement("all", long_tail=long_tail)}
    recommender = Recommender(model, data.items, placements)
    users = sorted(data.histories)

    def make_queries(placement: str) -> list[RecommendationQuery]:
        return [
            RecommendationQuery(data.histories[user], placement, SLATE_LENGTH) for user in users
        ]

    slates: dict[str, Slates] = {}
    for name, placement in ((USUAL, "usual"), (BY_HASH, "tail")):
        columns = recommender.recommend_columns(make_queries(placement))
        slates[name] = {
            user: slate.item_ids.tolist() for user, slate in zip(users, columns, strict=True)
        }
    long_slates = recommender.recommend_long_slates(make_queries("usual"), long_tail.pool)
    slates[ASSIGNED] = _assign(users, long_slates, long_tail)
    return slates


def _assign(users: Sequence[str], slates: Sequence[LongSlate], long_tail: LongTail) -> Slates:
    item_ids = np.concatenate([slate.columns.item_ids for slate in slates])
    starts = np.cumsum([0, *(len(slate.relevance) for slate in slates)])
    options = SlateOptions(
        user_ids=np.array(users, object),
        starts=starts,
        items=np.unique(item_ids.astype(str), return_inverse=True)[1],
        relevance=np.concatenate([slate.relevance for slate in slates]),
        open=np.concatenate([slate.open for slate in slates]),
        count=SLATE_LENGTH,
    )
    rows = assign_last_places(options, long_tail)
    assigned: dict[str, list[str]] = {user: [] for user in users}
    owners = np.searchsorted(starts, rows, side="right") - 1
    for owner, item_id in zip(owners.tolist(), item_ids[rows].tolist(), strict=True):
        assigned[users[owner]].append(item_id)
    return assigned


def format_long_tail(measured: Mapping[str, LongTailMetrics]) -> list[str]:
    """Return a line for each kind of slates; p-values are against the usual slates (paired)."""
    usual = measured[USUAL]
    accuracy = f"{'NDCG@10':>9}{'NDCG@20':>9}{'p':>9}{'hits 11-20':>12}{'p':>9}"
    lines = [f"{'all items':<28}{accuracy}{'coverage@20':>13}"]
    for name, metrics in measured.items():
        p_values = [
            "" if name == USUAL else f"{compute_paired_p_value(ours, theirs):.1e}"
            for ours, theirs in (
                (usual.ndcg_20, metrics.ndcg_20),
                (usual.tail_hits, metrics.tail_hits),
            )
        ]
        lines.append(
            f"{name:<28}{metrics.ndcg_10.mean():>9.4f}{metrics.ndcg_20.mean():>9.4f}"
            f"{p_values[0]:>9}{metrics.tail_hits.mean():>12.4f}{p_values[1]:>9}"
            f"{metrics.coverage:>13.4f}"
        )
    return lines
