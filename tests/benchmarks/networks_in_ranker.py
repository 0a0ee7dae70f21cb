"""Whether the rankers gain by what the networks say: their scores as two more columns, and their
best as candidates.

    python -m tests.benchmarks.networks_in_ranker TIME

works on the state folder of SHOPWRIGHT_HOME. The window of 28 days that ends at TIME judges, the
two before it are learnt from, and networks are fitted at the cut of each window, so that no score
comes from a model that saw the answer.
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
from features.online.histories import offline_items
from features.online.sequences import offline_sequences
from models.ranking.candidates import CandidateSource
from models.ranking.columns import Catalogue, FeatureNames, column_names, columns
from models.ranking.lambdarank import fit_ranker
from models.ranking.model import TASKS, RankingTask
from models.retrieval.steps import Steps, latest
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
SEEDS = range(1, 5)  # of the rankers; figures are means over them
_BLOCK = 128
_FAR = -50.0  # below any score: an item that a network does not know


@dataclass(frozen=True)
class _Judged:
    """Rows with the networks' scores in their last two columns, and which rows only the networks
    brought."""

    rows: Rows
    brought: BoolArray

    def part(self, n_columns: int, *, brought: bool, which: tuple[int, ...]) -> Rows:
        """With the network columns `which` behind the first `n_columns`; the usual candidates only,
        or all."""
        kept = np.ones(len(self.brought), bool) if brought else ~self.brought
        sizes = np.add.reduceat(
            kept.astype(np.int64), np.concatenate([[0], np.cumsum(self.rows.sizes)[:-1]])
        )
        matrix = self.rows.matrix[kept][
            :, [*range(n_columns), *(n_columns + each for each in which)]
        ]
        return Rows(
            matrix, self.rows.relevant[kept], sizes[sizes > 0], self.rows.n_relevant[sizes > 0]
        )


class _Window:
    """One window with both networks fitted at its cut."""

    def __init__(self, context: TrainingContext, window: Window, names: FeatureNames) -> None:
        self._context, self._window, self._names = context, window, names
        facts, cut = context.facts, window.cut
        config = load("models/neural", NeuralConfig)
        self._past = offline_sequences(facts, cut)
        items, now = offline_items(facts, cut), int(cut.timestamp())
        self._networks = fit_networks(
            self._past,
            items,
            config,
            now=now,
            seed=context.settings.seed,
            folder=None,
            progress=_quiet,
        )
        self._catalogue = Catalogue(context.snapshot(cut).items, names.item)
        print(f"networks fitted at {cut:%Y-%m-%d}", flush=True)

    @cached_property
    def _known(self) -> dict[str, int]:
        return {visitor: place for place, visitor in enumerate(self._past.visitor_ids)}

    def _scores(self, users: list[str]) -> Float64Array:
        """(networks, users, items of the catalogue): log odds against the best item; 0 for an
        unknown visitor."""
        found = np.zeros((2, len(users), self._catalogue.n_items), np.float32)
        known = [at for at, user in enumerate(users) if user in self._known]
        for network, scores in zip(self._networks, found, strict=True):
            steps = Steps.of(self._past, network.item_ids)
            pieces = latest(steps, network.max_steps)
            told = network.score_pieces(steps, [pieces[self._known[users[at]]] for at in known])
            places = self._catalogue.positions(network.item_ids)
            for at, row in zip(
                known, np.asarray(told) - np.max(told, axis=1, keepdims=True), strict=True
            ):
                scores[at] = _FAR
                scores[at, places[places >= 0]] = row[places >= 0]
        return found

    def judged(self, task: RankingTask, *, thinned: bool) -> _Judged:
        """As `make_ranking_rows` makes them, with what the networks say and bring."""
        context, catalogue = self._context, self._catalogue
        snapshot = context.snapshot(self._window.cut)
        wanted_by = find_relevant_items(context.facts, self._window, snapshot)[task]
        source = CandidateSource(catalogue, snapshot.retrieval, context.config.candidates)
        rng = generator(context.settings.seed, f"networks {task} {self._window.cut.isoformat()}")
        share = context.config.ranker(task).share_negatives if thinned else 1.0
        matrices, labels, sizes, n_relevant, brought = [], [], [], [], []
        users = sorted(wanted_by)
        for start in range(0, len(users), _BLOCK):
            block = users[start : start + _BLOCK]
            for user, scores in zip(block, self._scores(block).transpose(1, 0, 2), strict=True):
                visitor = source.visitor(snapshot.histories[user])
                usual = source.candidates(visitor, task)
                places = np.union1d(usual, _best_new(scores, visitor.own))
                wanted = catalogue.positions(np.array(sorted(wanted_by[user]), object))
                label, more = np.isin(places, wanted), ~np.isin(places, usual)
                kept = label | (rng.random(len(places)) < share)
                if thinned and not (label & ~more).any():
                    continue
                matrix = columns(catalogue, visitor, places, self._names.user)
                matrices.append(np.column_stack([matrix, *(each[places] for each in scores)])[kept])
                labels.append(label[kept])
                brought.append(more[kept])
                sizes.append(int(kept.sum()))
                n_relevant.append(len(wanted))
        counts = np.array(sizes, np.int64), np.array(n_relevant, np.int64)
        return _Judged(
            Rows(np.concatenate(matrices), np.concatenate(labels), *counts), np.concatenate(brought)
        )


def _best_new(scores: Float64Array, own: Int64Array) -> Int64Array:
    """The best of each network that were not bought before."""
    others = scores.copy()
    others[:, own] = 2 * _FAR
    return np.argsort(-others, axis=1, kind="stable")[:, :N_CANDIDATES].ravel()


def report(facts: Facts, settings: Settings, end: datetime) -> None:
    """Prints NDCG@10 of each way, and the paired p-value against the rankers as they are."""
    config = load_config(RecommendationsTask(), settings)
    context = TrainingContext(facts, settings, config, _quiet)
    every = windows(end, 1 + config.n_windows, config.window_weeks, settings.timezone)
    last = context.snapshot(every[0].cut)
    names = last.feature_names()
    judge, *past = [_Window(context, window, names) for window in every]
    n = len(column_names(*names))
    ways = {"as it is": ((), False), "sequence": ((0,), False), "two tower": ((1,), False)}
    ways |= {"both": ((0, 1), False), "both, and candidates": ((0, 1), True)}
    for task in TASKS:
        judged, learnt = (
            judge.judged(task, thinned=False),
            [window.judged(task, thinned=True) for window in past],
        )
        plain = None
        for name, (which, brought) in ways.items():
            rows = join_rows([each.part(n, brought=brought, which=which) for each in learnt])
            asked = judged.part(n, brought=brought, which=which)
            labels = tuple(str(column) for column in range(rows.matrix.shape[1]))
            given = rows.matrix, rows.relevant, rows.sizes, labels, config.ranker(task)
            values = np.mean(
                [
                    asked.ndcg(fit_ranker(*given, seed=seed, n_threads=1).score(asked.matrix), 10)
                    for seed in SEEDS
                ],
                0,
            )
            plain = values if plain is None else plain
            p_value = "" if not which else f"  p = {compute_paired_p_value(values, plain):.2g}"
            print(f"{task} items, {name:22}{values.mean():.4f}{p_value}", flush=True)


def _quiet(_: str) -> None:
    pass


if __name__ == "__main__":
    report(Facts(Settings()), Settings(), parse_time(sys.argv[1], where="TIME"))
