"""Goods that are bought once: each buyer's last purchase held out, beside EASE on all items.

Part of `python -m tests.benchmarks.public_sets`. The file has user and item of each purchase in the
order of time, without times: each buyer's purchases are set a week apart, the last ones together.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.linalg import lapack

from configs.loading import load
from configs.settings import Settings
from features.contracts.arrays import Float32Array
from features.contracts.recommendations import RecommendationQuery
from features.facts.facts import Facts
from features.sources.folder import import_folder
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.retrieval.interactions import Interactions
from tests.benchmarks.targets import Target
from training.recommendations.config import RecommendationsConfig
from training.recommendations.leave_one_out import hold_out_last_purchases
from training.recommendations.metrics import ndcg
from training.recommendations.model_fitting import fit_model
from training.recommendations.snapshots import TrainingContext, group_by_task
from training.significance import compute_paired_p_value

FILE = "video-games.txt"
_GAIN = 1.10
_N_EVALUATED = 6_000
_L2 = (100.0, 300.0)
_END = datetime(2024, 1, 1, tzinfo=UTC)
_K = 10


@dataclass(frozen=True)
class Ease:
    """EASE on all items by one Cholesky factor; `inverse` holds the lower triangle alone."""

    inverse: Float32Array

    def score(self, rows: Sequence[int]) -> Float32Array:
        """Return the scores (n_items,) from the items at `rows`, which get none themselves."""
        diagonal = self.inverse.diagonal()
        scores = np.zeros(len(diagonal), np.float32)
        for row in rows:
            column = np.concatenate([self.inverse[row, :row], self.inverse[row:, row]])
            scores -= column / diagonal
        scores[list(rows)] = -np.inf
        return scores


def fit_ease_on_all(interactions: Interactions, l2: float) -> Ease:
    """Fit in single precision: Steck, Embarrassingly Shallow Autoencoders, WWW 2019."""
    matrix = interactions.binarise()
    gram = np.asfortranarray((matrix.T @ matrix).toarray().astype(np.float32))
    gram[np.diag_indices(len(gram))] += l2
    factor, _ = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    return Ease(inverse)


def check_last_purchases(folder: Path) -> list[Target]:
    """Check NDCG@10 of the held-out purchases against EASE, the better of two strengths."""
    with tempfile.TemporaryDirectory() as temporary:
        facts, settings = _import_purchases(folder, Path(temporary))
        config = replace(load("models/recommendations", RecommendationsConfig), ease_kind="local")
        held_out = hold_out_last_purchases(facts, _END)
        context = TrainingContext(held_out, settings, config, print)
        started = time.monotonic()
        model = fit_model(context, _END)
        seconds = time.monotonic() - started
        snapshot = context.snapshot(_END)
        relevant = group_by_task(held_out.targets(), snapshot)["new"]
        drawn = np.random.default_rng(0).permutation(len(relevant))[:_N_EVALUATED]
        users = [sorted(relevant)[row] for row in np.sort(drawn)]
        policies = ["ranker"] if model.sequence_sources is None else ["ranker", "sequence"]
        placement = {"new": Placement("new", exclude_purchased=True)}
        recommender = Recommender(model, snapshot.items, placement)
        queries = [RecommendationQuery(snapshot.histories[user], "new", _K) for user in users]
        scores = {
            policy: _measure(
                [
                    [item.item_id for item in slate.items]
                    for slate in recommender.recommend(queries, policy=policy)
                ],
                users,
                relevant,
            )
            for policy in policies
        }
        ease = _measure_ease(snapshot.interactions, users, relevant)
    best = max(scores, key=lambda policy: float(scores[policy].mean()))
    for name, values in {**scores, **ease}.items():
        print(f"{FILE}, NDCG@{_K} of {len(users):,} last purchases, {name}: {values.mean():.4f}")
    print(f"fitted in {seconds:.0f} s", flush=True)
    rival = max(ease.values(), key=lambda values: float(values.mean()))
    ours = scores[best]
    p_value = compute_paired_p_value(ours, rival)
    measured = f"{ours.mean():.4f} ({best}) against {rival.mean():.4f}, p = {p_value:.2g}"
    title = f"{FILE}, NDCG@{_K} of last purchases at least {_GAIN:g} times EASE on all items"
    return [Target(title, measured, bool(ours.mean() >= _GAIN * rival.mean()))]


def _import_purchases(folder: Path, temporary: Path) -> tuple[Facts, Settings]:
    rows = pd.read_csv(folder / FILE, sep=" ", names=["user_id", "item_id"], dtype=str)
    number = rows.groupby("user_id").cumcount()
    length = rows.groupby("user_id")["item_id"].transform("size")
    hours = (length - number) * 7 * 24 - 12
    at = pd.Timestamp(_END) - pd.to_timedelta(hours, unit="h")
    events = rows.assign(event_type="purchase", occurred_at=at.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    tables = temporary / "tables"
    tables.mkdir()
    events.to_csv(tables / "events.csv", index=False)
    items = pd.DataFrame({"item_id": sorted(rows["item_id"].unique())})
    items.to_csv(tables / "items.csv", index=False)
    settings = Settings(home=temporary / "home", database_url=None, clock_start=_END)
    facts = Facts(settings)
    import_folder(tables, facts, settings, now=_END + timedelta(hours=1), progress=print)
    return facts, settings


def _measure(
    slates: Sequence[Sequence[str]], users: Sequence[str], relevant: Mapping[str, frozenset[str]]
) -> np.ndarray:
    return np.array(
        [ndcg(slate, relevant[user], _K) for slate, user in zip(slates, users, strict=True)]
    )


def _measure_ease(
    interactions: Interactions, users: Sequence[str], relevant: Mapping[str, frozenset[str]]
) -> dict[str, np.ndarray]:
    rows = {user: row for row, user in enumerate(interactions.user_ids.tolist())}
    matrix = interactions.matrix
    results = {}
    for l2 in _L2:
        model = fit_ease_on_all(interactions, l2)
        slates = []
        for user in users:
            bought = matrix.indices[slice(*matrix.indptr[rows[user] : rows[user] + 2])]
            best = np.argsort(-model.score(bought.tolist()), kind="stable")[:_K]
            slates.append(interactions.item_ids[best].tolist())
        results[f"EASE, l2 = {l2:g}"] = _measure(slates, users, relevant)
    return results
