"""The networks on their own: fitted at the cut by one process or several, and measured beside EASE
and popularity.

    python -m training.recommendations.neural                                    one process
    torchrun --nproc-per-node 2 -m training.recommendations.neural               two, each with its
    share of every mini-batch
    python -m training.recommendations.neural --set sequence.loop.targets=all    foretell new and
    known items alike

Checkpoints and the fitted models lie in `SHOPWRIGHT_HOME/neural`; what was killed goes on from its
last whole epoch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

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
from features.online.histories import offline_items
from features.online.sequences import offline_sequences
from models.retrieval.ease import EaseConfig, fit_ease
from models.retrieval.interactions import Interactions, find_positions
from models.retrieval.sequence import SequenceConfig, SequenceModel, fit_sequence
from models.retrieval.steps import Steps, latest, popularity
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
    """Both networks, and the weeks after the cut that judge them."""

    window_weeks: int = 4
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    two_tower: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    ease: EaseConfig = field(default_factory=EaseConfig)


@dataclass(frozen=True)
class Figure:
    """NDCG@10 of one method on one question, and the p-value of the paired test against EASE."""

    question: str
    method: str
    value: float
    p_value: float | None


@dataclass(frozen=True)
class _Question:
    """What each visitor is to be foretold; `new`: what was bought is left out of the answer."""

    name: str
    relevant: Mapping[int, frozenset[int]]
    new: bool


def fit_networks(
    past: Sequences,
    items: ItemFeatures,
    config: NeuralConfig,
    *,
    now: int,
    seed: int,
    folder: Path | None,
    progress: Progress,
) -> tuple[SequenceModel, TwoTower]:
    """Both networks on what occurred before `now`; checkpoints in `folder`."""
    folders = {
        name: None if folder is None else folder / "checkpoints" / name
        for name in ("sequence", "two_tower")
    }
    sequence = fit_sequence(
        past,
        config.sequence,
        now=now,
        seed=seed,
        folder=folders["sequence"],
        progress=_named("sequence", progress),
    )
    towers = fit_two_tower(
        past,
        items,
        config.two_tower,
        now=now,
        seed=seed,
        folder=folders["two_tower"],
        progress=_named("two tower", progress),
    )
    return sequence, towers


def figures(
    everything: Sequences,
    past: Sequences,
    window: Window,
    models: tuple[SequenceModel, TwoTower],
    config: NeuralConfig,
) -> list[Figure]:
    """NDCG@10 of the networks beside EASE and recent popularity; the full catalogue is ranked."""
    cut = int(window.cut.timestamp())
    at = find_positions(
        {visitor: place for place, visitor in enumerate(past.visitor_ids)}, everything.visitor_ids
    )
    questions = _questions(everything, past, at, cut, int(window.end.timestamp()))
    steps = Steps.of(past, past.item_ids)
    owned = _owned(past)
    found = []
    for question in questions:
        scorers = _scorers(past, steps, owned, models, config.ease, cut, new=question.new)
        values = {
            name: _ndcgs(score, ids, past, question, owned)
            for name, (ids, score) in scorers.items()
        }
        rival = values["EASE"]
        found += [
            Figure(
                question.name,
                name,
                float(each.mean()),
                None if name == "EASE" else compute_paired_p_value(each, rival),
            )
            for name, each in values.items()
        ]
    return found


def _scorers(
    past: Sequences,
    steps: Steps,
    owned: sparse.csr_matrix,
    models: tuple[SequenceModel, TwoTower],
    config: EaseConfig,
    cut: int,
    *,
    new: bool,
) -> dict[str, tuple[ObjectArray, Score]]:
    """By name: the items that a method knows, and its scores of them for some visitors."""
    popular = popularity(steps, len(past.item_ids), cut, 1)[0]
    # EASE in the form that is the stronger for each question, as
    # `training.recommendations.baselines` has it.
    held = owned.log1p() if new else owned
    visitors = np.array([f"{n:09}" for n in range(owned.shape[0])], object)
    ease = fit_ease(Interactions(visitors, past.item_ids, held), config, binary=False)
    columns = np.searchsorted(past.item_ids.astype(str), ease.item_ids.astype(str))
    reduced = held[:, columns]

    def by_ease(asked: list[int]) -> Float32Array:
        return np.asarray((reduced[asked] @ ease.weights).toarray(), np.float32)

    def by_popularity(asked: list[int]) -> Float32Array:
        return np.broadcast_to(popular, (len(asked), len(popular)))

    def by(model: SequenceModel | TwoTower) -> Score:
        own = Steps.of(past, model.item_ids)
        pieces = latest(own, model.max_steps)
        return lambda asked: model.score_pieces(own, [pieces[visitor] for visitor in asked])

    sequence, towers = models
    return {
        "sequence": (sequence.item_ids, by(sequence)),
        "two tower": (towers.item_ids, by(towers)),
        "EASE": (ease.item_ids, by_ease),
        "recent popularity": (past.item_ids, by_popularity),
    }


def _ndcgs(
    score: Score,
    item_ids: ObjectArray,
    past: Sequences,
    question: _Question,
    owned: sparse.csr_matrix,
) -> Float64Array:
    index = {item_id: place for place, item_id in enumerate(past.item_ids)}
    columns = find_positions(index, item_ids)
    visitors = sorted(question.relevant)
    values = []
    for at in range(0, len(visitors), _BLOCK):
        asked = visitors[at : at + _BLOCK]
        scores = np.array(score(asked), np.float32)
        if question.new:
            scores[owned[asked][:, columns].toarray() > 0] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        for visitor, row in zip(asked, columns[best].tolist(), strict=True):
            relevant = {str(each) for each in question.relevant[visitor]}
            values.append(ndcg([str(each) for each in row], relevant, K))
    return np.array(values)


def _questions(
    everything: Sequences, past: Sequences, at: Int64Array, cut: int, end: int
) -> list[_Question]:
    """New items of the window, new items of the first basket in it, and all items of that
    basket."""
    index = {item_id: place for place, item_id in enumerate(past.item_ids)}
    known = find_positions(index, everything.item_ids)
    window: dict[int, frozenset[int]] = {}
    basket: dict[int, frozenset[int]] = {}
    owned = _owned(past)
    for place, (first, last) in enumerate(
        zip(everything.starts[:-1], everything.starts[1:], strict=True)
    ):
        steps = np.arange(first, last)
        steps = steps[(everything.at[steps] >= cut) & (everything.at[steps] < end)]
        steps = steps[everything.kind[steps] == PURCHASE]
        if at[place] < 0 or not len(steps):
            continue
        bought = [
            known[everything.items[everything.item_starts[each] : everything.item_starts[each + 1]]]
            for each in steps
        ]
        window[int(at[place])] = frozenset(np.concatenate(bought).tolist()) - {-1}
        basket[int(at[place])] = frozenset(bought[0].tolist()) - {-1}
    has = {visitor: frozenset(owned[visitor].indices.tolist()) for visitor in window}

    def kept(relevant: Mapping[int, frozenset[int]], *, new: bool) -> dict[int, frozenset[int]]:
        left = {
            visitor: items - has[visitor] if new else items for visitor, items in relevant.items()
        }
        return {visitor: items for visitor, items in left.items() if items and has[visitor]}

    return [
        _Question("new items, 4 weeks", kept(window, new=True), True),
        _Question("new items, next basket", kept(basket, new=True), True),
        _Question("all items, next basket", kept(basket, new=False), False),
    ]


def _owned(past: Sequences) -> sparse.csr_matrix:
    """Orders (visitors, items) that held the item."""
    sizes = np.diff(past.item_starts)
    bought = np.repeat(past.kind == PURCHASE, sizes)
    visitor = np.repeat(np.repeat(np.arange(past.n_visitors), np.diff(past.starts)), sizes)[bought]
    ones = np.ones(len(visitor), np.float32)
    return sparse.csr_matrix(
        (ones, (visitor, past.items[bought])), shape=(past.n_visitors, len(past.item_ids))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Fits, saves and prints one table; only the first of several processes writes and prints."""
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
        window, found = evaluate(Facts(settings), settings, config, until=until, progress=progress)
    except ShopwrightError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if found:
        print(
            f"NDCG@{K}, cut {window.cut:%Y-%m-%dT%H:%MZ}, full ranking; p: paired test against EASE"
        )
    for figure in found:
        p_value = "" if figure.p_value is None else f"p = {figure.p_value:.2g}"
        print(f"{figure.question:24} {figure.method:18} {figure.value:.4f}  {p_value}")
    return 0


def evaluate(
    facts: Facts,
    settings: Settings,
    config: NeuralConfig,
    *,
    until: datetime | None,
    progress: Progress,
) -> tuple[Window, list[Figure]]:
    """Fits at the last cut, saves, and measures; of several processes only the first has
    figures."""
    from models.retrieval.neural import processes

    end = end_of_data(facts, until, settings.timezone)
    (window,) = windows(end, 1, config.window_weeks, settings.timezone)
    past, everything = offline_sequences(facts, window.cut), offline_sequences(facts, window.end)
    if not past.n_visitors:
        raise BadInput(
            "no visitor did anything before the cut",
            hint="Import more history, or choose another --until",
        )
    items = offline_items(facts, window.cut)
    folder = settings.home / "neural"
    with processes() as rank:
        now = int(window.cut.timestamp())
        said = _quiet if rank else progress
        models = fit_networks(
            past, items, config, now=now, seed=settings.seed, folder=folder, progress=said
        )
        if rank:
            return window, []
    sequence, towers = models
    sequence.save(folder / "sequence")
    towers.save(folder / "two_tower")
    return window, figures(everything, past, window, models, config)


def _quiet(_: str) -> None:
    pass


def _named(name: str, progress: Progress) -> Progress:
    return lambda text: progress(f"{name}, {text}")


if __name__ == "__main__":
    sys.exit(main())
