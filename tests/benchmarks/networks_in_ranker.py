"""Effect of the neural networks on the rankers: their scores as columns, their best as candidates.

    python -m tests.benchmarks.networks_in_ranker TIME

The data are those of SHOPWRIGHT_HOME. The rankers are evaluated on the window of 28 days that ends
at TIME and learn from the two windows before it. Networks are fitted at the cut of each window, so
no score comes from a model that was fitted on the answers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np

from configs.loading import load
from configs.settings import Settings
from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.clock import parse_time
from features.contracts.seeds import generator
from features.facts.facts import Facts
from features.online.histories import compute_offline_items
from features.online.sequences import compute_offline_sequences
from models.ranking.candidates import CandidateSource
from models.ranking.catalogue import Catalogue
from models.ranking.columns import FeatureNames, column_names, make_columns
from models.ranking.lambdarank import fit_ranker
from models.ranking.model import TASKS, RankingTask
from models.retrieval.steps import NetworkTraining, Steps, select_latest
from training.recommendations.neural import NeuralConfig, fit_networks
from training.recommendations.ranking_rows import Rows, join_rows
from training.recommendations.snapshots import (
    TrainingContext,
    find_relevant_items,
)
from training.recommendations.task import RecommendationsTask
from training.run import load_config
from training.significance import compute_paired_p_value
from training.splits import Window, windows

N_CANDIDATES = 60  # of each network, new to the visitor
SEEDS = range(1, 5)  # of the rankers; metrics are means over them
_BLOCK = 128
_FAR = -50.0  # below any score: an item that a network does not know


@dataclass(frozen=True)
class _Way:
    """Which networks add a column to the rankers, and whether their candidates are added too."""

    name: str
    networks: tuple[int, ...] = ()
    with_candidates: bool = False


WAYS = (
    _Way("as it is"),
    _Way("sequence", (0,)),
    _Way("two tower", (1,)),
    _Way("both", (0, 1)),
    _Way("both, and candidates", (0, 1), with_candidates=True),
)


@dataclass(frozen=True)
class _NetworkRows:
    """Rows with the networks' scores in their last two columns.

    from_networks   which rows are candidates of the networks only
    """

    rows: Rows
    from_networks: BoolArray

    def select(self, n_columns: int, way: _Way) -> Rows:
        """Return the rows of a way: `n_columns` and those of its networks, and its candidates."""
        all_rows = np.ones(len(self.from_networks), bool)
        selected = all_rows if way.with_candidates else ~self.from_networks
        sizes = np.add.reduceat(
            selected.astype(np.int64), np.concatenate([[0], np.cumsum(self.rows.sizes)[:-1]])
        )
        columns_of_way = [*range(n_columns), *(n_columns + network for network in way.networks)]
        return Rows(
            self.rows.matrix[selected][:, columns_of_way],
            self.rows.gains[selected],
            sizes[sizes > 0],
            self.rows.n_relevant[sizes > 0],
        )


class _Window:
    """One window with both networks fitted at its cut."""

    def __init__(self, context: TrainingContext, window: Window, names: FeatureNames) -> None:
        self._context, self._window, self._names = context, window, names
        facts, cut = context.facts, window.cut
        config = load("models/neural", NeuralConfig)
        self._past = compute_offline_sequences(facts, cut)
        items, now = compute_offline_items(facts, cut), int(cut.timestamp())
        run = NetworkTraining(now, context.settings.seed)
        self._networks = fit_networks(self._past, items, config, run)
        self._catalogue = Catalogue(context.snapshot(cut).items, names.item)
        print(f"networks fitted at {cut:%Y-%m-%d}", flush=True)

    @cached_property
    def _visitor_rows(self) -> dict[str, int]:
        return {visitor: row for row, visitor in enumerate(self._past.visitor_ids)}

    def _score(self, users: list[str]) -> Float64Array:
        """Return log odds against the best item, 0 for an unknown visitor.

        (networks, users, items of the catalogue)
        """
        all_scores = np.zeros((2, len(users), self._catalogue.n_items), np.float32)
        known_users = [n for n, user in enumerate(users) if user in self._visitor_rows]
        for network, scores in zip(self._networks, all_scores, strict=True):
            steps = Steps.from_sequences(self._past, network.item_ids)
            segments = select_latest(steps, network.max_steps)
            network_scores = network.score_segments(
                steps, [segments[self._visitor_rows[users[n]]] for n in known_users]
            )
            log_odds = np.asarray(network_scores) - np.max(network_scores, axis=1, keepdims=True)
            positions = self._catalogue.positions(network.item_ids)
            for n, row in zip(known_users, log_odds, strict=True):
                scores[n] = _FAR
                scores[n, positions[positions >= 0]] = row[positions >= 0]
        return all_scores

    def make_rows(self, task: RankingTask, *, thinned: bool) -> _NetworkRows:
        """Return rows like `make_thinned_rows`, with scores and candidates of the networks."""
        context, catalogue = self._context, self._catalogue
        snapshot = context.snapshot(self._window.cut)
        relevant = find_relevant_items(context.facts, self._window, snapshot)[task]
        source = CandidateSource(catalogue, snapshot.retrieval, context.config.candidates)
        rng = generator(context.settings.seed, f"networks {task} {self._window.cut.isoformat()}")
        share = context.config.ranker(task).share_negatives if thinned else 1.0
        matrices, labels, sizes, n_relevant, from_networks = [], [], [], [], []
        users = sorted(relevant)
        for start in range(0, len(users), _BLOCK):
            block = users[start : start + _BLOCK]
            for user, scores in zip(block, self._score(block).transpose(1, 0, 2), strict=True):
                visitor = source.make_visitor(snapshot.histories[user])
                usual = source.find_candidates(visitor, task)
                positions = np.union1d(usual, _find_best_new(scores, visitor.bought))
                targets = catalogue.positions(np.array(sorted(relevant[user]), object))
                label, is_added = np.isin(positions, targets), ~np.isin(positions, usual)
                selected = label | (rng.random(len(positions)) < share)
                if thinned and not (label & ~is_added).any():
                    continue
                matrix = make_columns(catalogue, visitor, positions, self._names.user)
                matrix = np.column_stack([matrix, *scores[:, positions]])
                matrices.append(matrix[selected])
                labels.append(label[selected])
                from_networks.append(is_added[selected])
                sizes.append(int(selected.sum()))
                n_relevant.append(len(targets))
        counts = np.array(sizes, np.int64), np.array(n_relevant, np.int64)
        return _NetworkRows(
            Rows(np.concatenate(matrices), np.concatenate(labels).astype(np.float32), *counts),
            np.concatenate(from_networks),
        )


def _find_best_new(scores: Float64Array, own: Int64Array) -> Int64Array:
    """Return the positions of each network's best items among those not bought before."""
    others = scores.copy()
    others[:, own] = 2 * _FAR
    return np.argsort(-others, axis=1, kind="stable")[:, :N_CANDIDATES].ravel()


def report_networks(facts: Facts, settings: Settings, end: datetime) -> None:
    """Print NDCG@10 of each way, and the paired p-value against the rankers without networks."""
    config = load_config(RecommendationsTask(), settings)
    context = TrainingContext(facts, settings, config, _quiet)
    all_windows = windows(end, 1 + config.n_windows, config.window_weeks, settings.timezone)
    last = context.snapshot(all_windows[0].cut)
    names = last.feature_names()
    test_window, *past_windows = [_Window(context, window, names) for window in all_windows]
    n_columns = len(column_names(*names))
    for task in TASKS:
        test_rows = test_window.make_rows(task, thinned=False)
        past_rows = [window.make_rows(task, thinned=True) for window in past_windows]
        values_without = None
        for way in WAYS:
            rows = join_rows([part.select(n_columns, way) for part in past_rows])
            test = test_rows.select(n_columns, way)
            labels = tuple(str(column) for column in range(rows.matrix.shape[1]))
            grouped = rows.to_grouped(labels)
            values_by_seed = []
            for seed in SEEDS:
                ranker = fit_ranker(grouped, config.ranker(task), seed=seed, n_threads=1)
                values_by_seed.append(test.ndcg(ranker.score(test.matrix), 10))
            values = np.mean(values_by_seed, 0)
            p_value = ""
            if values_without is None:
                values_without = values
            else:
                p_value = f"  p = {compute_paired_p_value(values, values_without):.2g}"
            print(f"{task} items, {way.name:22}{values.mean():.4f}{p_value}", flush=True)


def _quiet(_: str) -> None:
    pass


if __name__ == "__main__":
    report_networks(Facts(Settings()), Settings(), parse_time(sys.argv[1], where="TIME"))
