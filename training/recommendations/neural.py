"""Fitting and evaluation of the two networks at the cut, beside EASE and popularity.

    python -m training.recommendations.neural                                    one process
    torchrun --nproc-per-node 2 -m training.recommendations.neural               two, each with its
                                                                share of every mini-batch
    python -m training.recommendations.neural --set sequence.loop.targets=all    predict new and
                                                                known items alike

Checkpoints and the fitted models are written to `SHOPWRIGHT_HOME/neural`; a training that was
killed continues after its last whole epoch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from scipy import sparse

from configs.loading import load, parse_override
from configs.settings import Settings
from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.clock import parse_time
from features.contracts.errors import BadInput, ShopwrightError
from features.contracts.recommendations import ItemFeatures
from features.contracts.sequences import PURCHASE, Sequences
from features.facts.facts import Facts
from features.online.histories import compute_offline_items
from features.online.sequences import compute_offline_sequences
from models.retrieval.ease import EaseConfig, fit_ease
from models.retrieval.interactions import Interactions, find_positions
from models.retrieval.next_step_model import NextStepModel
from models.retrieval.sequence import SequenceConfig, SequenceModel, fit_sequence
from models.retrieval.steps import NetworkTraining, Steps, compute_popularity, select_latest
from models.retrieval.two_tower import TwoTower, TwoTowerConfig, fit_two_tower
from training.recommendations.metrics import ndcg
from training.significance import compute_paired_p_value
from training.splits import Window, end_of_data, windows

K = 10
_BLOCK = 256
Progress = Callable[[str], None]
Score = Callable[[list[int]], Float32Array]


@dataclass(frozen=True)
class NeuralConfig:
    """Both networks, and the number of weeks after the cut that they are evaluated on."""

    window_weeks: int = 4
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    two_tower: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    ease: EaseConfig = field(default_factory=EaseConfig)


@dataclass(frozen=True)
class Metric:
    """NDCG@10 of one method on one question, and the p-value of the paired test against EASE."""

    question: str
    method: str
    value: float
    p_value: float | None


@dataclass(frozen=True)
class _Question:
    """Items to predict, by visitor.

    relevant   by index of the visitor, the positions of the items
    only_new   items bought before are left out of the slate
    """

    name: str
    relevant: Mapping[int, frozenset[int]]
    only_new: bool


@dataclass(frozen=True)
class _Scorer:
    """A method: the items that it knows, and its scores (visitors, items) of some visitors."""

    item_ids: ObjectArray
    score: Score


def fit_networks(
    past: Sequences, items: ItemFeatures, config: NeuralConfig, run: NetworkTraining
) -> tuple[SequenceModel, TwoTower]:
    """Fit both networks on the steps before `run.now`."""
    sequence = fit_sequence(past, config.sequence, _describe_run(run, "sequence", "sequence"))
    towers = fit_two_tower(
        past, items, config.two_tower, _describe_run(run, "two_tower", "two tower")
    )
    return sequence, towers


def _describe_run(run: NetworkTraining, folder_name: str, title: str) -> NetworkTraining:
    """Return the run with a folder of its own for checkpoints, and progress under its title."""
    folder = None if run.folder is None else run.folder / "checkpoints" / folder_name
    return replace(run, folder=folder, progress=lambda text: run.progress(f"{title}, {text}"))


def evaluate_networks(
    everything: Sequences,
    past: Sequences,
    window: Window,
    models: tuple[SequenceModel, TwoTower],
    config: NeuralConfig,
) -> list[Metric]:
    """Return NDCG@10 of the networks, EASE and recent popularity; all items are ranked."""
    orders = _count_orders(past)
    cut = int(window.cut.timestamp())
    metrics = []
    for question in _build_questions(everything, past, orders, window):
        scorers = {
            "sequence": _score_by_network(past, models[0]),
            "two tower": _score_by_network(past, models[1]),
            "EASE": _score_by_ease(past, orders, config.ease, only_new=question.only_new),
            "recent popularity": _score_by_popularity(past, cut),
        }
        values = {
            name: _compute_ndcgs(scorer, past, question, orders) for name, scorer in scorers.items()
        }
        for name, ndcgs in values.items():
            p_value = None if name == "EASE" else compute_paired_p_value(ndcgs, values["EASE"])
            metrics.append(Metric(question.name, name, float(ndcgs.mean()), p_value))
    return metrics


def _score_by_network(past: Sequences, model: NextStepModel) -> _Scorer:
    steps = Steps.from_sequences(past, model.item_ids)
    segments = select_latest(steps, model.max_steps)
    return _Scorer(
        model.item_ids,
        lambda visitors: model.score_segments(steps, [segments[visitor] for visitor in visitors]),
    )


def _score_by_ease(
    past: Sequences, orders: sparse.csr_matrix, config: EaseConfig, *, only_new: bool
) -> _Scorer:
    """Score by EASE in the form that is the stronger for each question, as
    `training.recommendations.baselines` does."""
    weights = orders.log1p() if only_new else orders
    visitors = np.array([f"{n:09}" for n in range(orders.shape[0])], object)
    ease = fit_ease(Interactions(visitors, past.item_ids, weights), config, binary=False)
    columns = np.searchsorted(past.item_ids.astype(str), ease.item_ids.astype(str))
    known = weights[:, columns]
    return _Scorer(
        ease.item_ids,
        lambda visitors: np.asarray((known[visitors] @ ease.weights).toarray(), np.float32),
    )


def _score_by_popularity(past: Sequences, cut: int) -> _Scorer:
    steps = Steps.from_sequences(past, past.item_ids)
    popularity = compute_popularity(steps, len(past.item_ids), cut, 1)[0]
    return _Scorer(
        past.item_ids,
        lambda visitors: np.broadcast_to(popularity, (len(visitors), len(popularity))),
    )


def _compute_ndcgs(
    scorer: _Scorer, past: Sequences, question: _Question, orders: sparse.csr_matrix
) -> Float64Array:
    """Return NDCG@10 of each visitor of the question (visitors,)."""
    index = {item_id: position for position, item_id in enumerate(past.item_ids)}
    positions = find_positions(index, scorer.item_ids)
    visitors = sorted(question.relevant)
    values = []
    for start in range(0, len(visitors), _BLOCK):
        block = visitors[start : start + _BLOCK]
        scores = np.array(scorer.score(block), np.float32)
        if question.only_new:
            scores[orders[block][:, positions].toarray() > 0] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        for visitor, slate in zip(block, positions[best].tolist(), strict=True):
            relevant = {str(position) for position in question.relevant[visitor]}
            values.append(ndcg([str(position) for position in slate], relevant, K))
    return np.array(values)


def _build_questions(
    everything: Sequences, past: Sequences, orders: sparse.csr_matrix, window: Window
) -> list[_Question]:
    """Return three questions: new items of the window, new items of the first basket in it, and all
    items of that basket."""
    visitor_index = {visitor: index for index, visitor in enumerate(past.visitor_ids)}
    visitors = find_positions(visitor_index, everything.visitor_ids)
    in_window: dict[int, frozenset[int]] = {}
    first_basket: dict[int, frozenset[int]] = {}
    for row, baskets in _list_baskets(everything, past, window):
        visitor = int(visitors[row])
        if visitor >= 0:
            in_window[visitor] = frozenset(np.concatenate(baskets).tolist()) - {-1}
            first_basket[visitor] = frozenset(baskets[0].tolist()) - {-1}
    bought_before = {visitor: frozenset(orders[visitor].indices.tolist()) for visitor in in_window}

    def select_relevant(
        items: Mapping[int, frozenset[int]], *, only_new: bool
    ) -> dict[int, frozenset[int]]:
        """Return the items to predict of every visitor who bought before and has some."""
        relevant = {}
        for visitor, bought in items.items():
            targets = bought - bought_before[visitor] if only_new else bought
            if targets and bought_before[visitor]:
                relevant[visitor] = targets
        return relevant

    return [
        _Question("new items, 4 weeks", select_relevant(in_window, only_new=True), True),
        _Question("new items, next basket", select_relevant(first_basket, only_new=True), True),
        _Question("all items, next basket", select_relevant(first_basket, only_new=False), False),
    ]


def _list_baskets(
    everything: Sequences, past: Sequences, window: Window
) -> Iterator[tuple[int, list[Int64Array]]]:
    """Yield each visitor with orders in the window, and the positions (-1 for an unknown item) of
    the items of each order."""
    index = {item_id: position for position, item_id in enumerate(past.item_ids)}
    positions = find_positions(index, everything.item_ids)
    cut, end = int(window.cut.timestamp()), int(window.end.timestamp())
    for row, (first, last) in enumerate(
        zip(everything.starts[:-1], everything.starts[1:], strict=True)
    ):
        steps = np.arange(first, last)
        steps = steps[(everything.at[steps] >= cut) & (everything.at[steps] < end)]
        steps = steps[everything.kind[steps] == PURCHASE]
        baskets = []
        for step in steps:
            lines = slice(everything.item_starts[step], everything.item_starts[step + 1])
            baskets.append(positions[everything.items[lines]])
        if baskets:
            yield row, baskets


def _count_orders(past: Sequences) -> sparse.csr_matrix:
    """Return the number of orders (visitors, items) that contained the item."""
    sizes = np.diff(past.item_starts)
    is_bought = np.repeat(past.kind == PURCHASE, sizes)
    visitor_of_step = np.repeat(np.arange(past.n_visitors), np.diff(past.starts))
    visitor = np.repeat(visitor_of_step, sizes)[is_bought]
    ones = np.ones(len(visitor), np.float32)
    return sparse.csr_matrix(
        (ones, (visitor, past.items[is_bought])), shape=(past.n_visitors, len(past.item_ids))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, save and print one table; only the first of several processes writes and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m training.recommendations.neural",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--until", help="As if the data ended at this instant, 2017-12-04T05:00Z")
    parser.add_argument(
        "--set", action="append", default=[], help="One difference, sequence.width=32"
    )
    parsed = parser.parse_args(arguments)
    until = None if parsed.until is None else parse_time(parsed.until, where="--until")
    overrides = dict(parse_override(text) for text in parsed.set)
    settings = Settings()
    config = load(
        "models/neural", NeuralConfig, overlay=settings.config_dir, file=None, overrides=overrides
    )
    started = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", file=sys.stderr, flush=True)

    try:
        window, metrics = evaluate(
            Facts(settings), settings, config, until=until, progress=progress
        )
    except ShopwrightError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if metrics:
        print(
            f"NDCG@{K}, cut {window.cut:%Y-%m-%dT%H:%MZ}, full ranking; p: paired test against EASE"
        )
    for metric in metrics:
        p_value = "" if metric.p_value is None else f"p = {metric.p_value:.2g}"
        print(f"{metric.question:24} {metric.method:18} {metric.value:.4f}  {p_value}")
    return 0


def evaluate(
    facts: Facts,
    settings: Settings,
    config: NeuralConfig,
    *,
    until: datetime | None,
    progress: Progress,
) -> tuple[Window, list[Metric]]:
    """Fit at the last cut, save, and evaluate; of several processes only the first has metrics."""
    from models.retrieval.process_group import join_processes

    end = end_of_data(facts, until, settings.timezone)
    (window,) = windows(end, 1, config.window_weeks, settings.timezone)
    past, everything = (
        compute_offline_sequences(facts, window.cut),
        compute_offline_sequences(facts, window.end),
    )
    if not past.n_visitors:
        raise BadInput(
            "no visitor did anything before the cut",
            hint="Import more history, or choose another --until",
        )
    per_buyer = settings.orders_per_buyer
    items = compute_offline_items(facts, window.cut, orders_per_buyer=per_buyer)
    folder = settings.home / "neural"
    with join_processes() as rank:
        run = NetworkTraining(
            now=int(window.cut.timestamp()),
            seed=settings.seed,
            folder=folder,
            progress=_report_nothing if rank else progress,
        )
        models = fit_networks(past, items, config, run)
        if rank:
            return window, []
    sequence, towers = models
    sequence.save(folder / "sequence")
    towers.save(folder / "two_tower")
    return window, evaluate_networks(everything, past, window, models, config)


def _report_nothing(_: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
