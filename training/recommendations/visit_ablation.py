"""Which sources of visits are served: those whose removal costs something on the shop's own window.

A source left out gives neither candidates nor columns; a ranker is fitted without them, and
compared with one of all sources that learnt from the same next items. The source leaves the model
where the 95 % interval of what it gains, paired over later visits, lies below `max_loss` of MRR@20:
then its microseconds bring nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from features.contracts.seeds import generator
from models.ranking.catalogue import Catalogue
from models.ranking.lambdarank import Ranker, RankerConfig, fit_ranker
from models.ranking.model import RankingTask, RecommendationModel
from models.ranking.visit_candidates import VisitCandidates, name_visit_columns
from models.retrieval.visit_sources import VisitSources
from training.recommendations.ranking_rows import Rows
from training.recommendations.snapshots import TrainingContext
from training.recommendations.visit_baselines import DEPTH, reciprocal_ranks
from training.recommendations.visit_evaluation import MRR, VisitWindow
from training.recommendations.visit_training import FittedVisits
from training.results import OURS, Cell, MetricTable
from training.significance import compute_paired_p_value, correct_p_values

_MAX_POSITIONS = 3_000
# Next items that the compared rankers learn from, and how many times fewer trees they have, which
# learn as many times faster: to fit them takes most of the time.
_MAX_LEARNT, _FEWER_TREES = 6_000, 3
_N_TIMED = 300
_LEVEL = 0.05


@dataclass(frozen=True)
class SourceChoice:
    """The model with the sources that are served.

    left_out   the sources that are not
    tables     what each source gains and how long it takes
    choices    what was left out and why, in words
    """

    model: RecommendationModel
    left_out: frozenset[str] = frozenset()
    tables: tuple[MetricTable, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Gain:
    """MRR that is lost without some sources, with its 95 % interval over visits.

    values   the reciprocal ranks (positions,) without them
    """

    values: Float64Array
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class WindowCandidates:
    """The candidates of the window's positions, those of one position after another.

    matrix      float32 (rows, columns), the ranker's input with all sources
    proposed    bool (rows, sources), which sources propose a candidate
    always      bool (rows,), whether it is a candidate without any source
    is_target   bool (rows,), whether it is the next item
    sizes       int64 (positions,)
    """

    matrix: Float32Array
    proposed: BoolArray
    always: BoolArray
    is_target: BoolArray
    sizes: Int64Array

    def rank(self, ranker: Ranker, sources: Int64Array, columns: Int64Array) -> Int64Array:
        """Return the rank (positions,) of each next item among the candidates of some sources, by
        a ranker of some columns; DEPTH + 1 where it is no candidate. Equal scores come in the order
        of the candidates, as in a slate."""
        kept = self.always | self.proposed[:, sources].any(1)
        scores = ranker.score(np.ascontiguousarray(self.matrix[kept][:, columns]))
        position = np.repeat(np.arange(len(self.sizes)), self.sizes)[kept]
        is_target = self.is_target[kept]
        own, row = np.full(len(self.sizes), np.inf), np.zeros(len(self.sizes), np.int64)
        own[position[is_target]] = scores[is_target]
        row[position[is_target]] = np.flatnonzero(is_target)
        is_before = (scores == own[position]) & (np.arange(len(scores)) < row[position])
        better = np.bincount(position, (scores > own[position]) | is_before, len(self.sizes))
        return np.where(np.isfinite(own), better + 1, DEPTH + 1).astype(np.int64)


@dataclass(frozen=True)
class _Comparison:
    """What rankers of fewer sources are fitted and measured on.

    rows      that the compared rankers are fitted on: the ranker's own, or some of them
    ranker    their settings: fewer trees than those of the ranker that is served
    """

    context: TrainingContext
    model: RecommendationModel
    fitted: FittedVisits
    candidates: WindowCandidates
    rows: Rows
    ranker: RankerConfig

    def rank(self, left_out: frozenset[str]) -> Float64Array:
        """Return the reciprocal ranks (positions,) without some sources."""
        self.context.progress(f"ranks without {' and '.join(sorted(left_out)) or 'nothing'}")
        names = tuple(self.fitted.sources.sources)
        columns = self._find_columns(left_out)
        ranker = self._fit(left_out, self.rows, self.ranker)
        sources = np.array([n for n, name in enumerate(names) if name not in left_out], np.int64)
        return reciprocal_ranks(self.candidates.rank(ranker, sources, columns))

    def leave_out(self, left_out: frozenset[str]) -> RecommendationModel:
        """Return the model without some sources, its ranker fitted on the other columns."""
        rankers: dict[RankingTask, Ranker] = {**self.model.rankers}
        config = self.context.config.visits.ranker
        rankers["visit"] = self._fit(left_out, self.fitted.rows, config)
        remaining = self.fitted.sources.leave_out(left_out)
        return replace(self.model, rankers=rankers, visit_sources=remaining)

    def _fit(self, left_out: frozenset[str], rows: Rows, config: RankerConfig) -> Ranker:
        rows = replace(
            rows, matrix=np.ascontiguousarray(rows.matrix[:, self._find_columns(left_out)])
        )
        names = self._name_columns(left_out)
        return fit_ranker(rows.to_grouped(names), config, seed=self.context.settings.seed)

    def _name_columns(self, left_out: frozenset[str]) -> tuple[str, ...]:
        names = tuple(name for name in self.fitted.sources.sources if name not in left_out)
        return name_visit_columns(names, self.model.item_columns, with_session=True)

    def _find_columns(self, left_out: frozenset[str]) -> Int64Array:
        """Return where the columns stand among those of all sources."""
        index = {name: n for n, name in enumerate(self._name_columns(frozenset()))}
        return np.array([index[name] for name in self._name_columns(left_out)], np.int64)


def _make_candidates(
    model: RecommendationModel, fitted: FittedVisits, window: VisitWindow
) -> WindowCandidates:
    """Return the candidates of each position; none where the sources know no item before it."""
    catalogue = Catalogue(window.items, model.item_columns)
    candidates = VisitCandidates(catalogue, fitted.sources, timezone=fitted.timezone)
    names = tuple(fitted.sources.sources)
    targets = catalogue.positions(window.visits.item_ids)
    columns = name_visit_columns(names, model.item_columns, with_session=True)
    matrices = [np.zeros((0, len(columns)), np.float32)]
    proposed, always = [np.zeros((0, len(names)), bool)], [np.zeros(0, bool)]
    is_target, sizes = [np.zeros(0, bool)], np.zeros(len(window.positions), np.int64)
    for n, (visit, action) in enumerate(window.positions):
        bound = candidates.bind(window.visits.take_first(visit, action))
        if bound is None:
            continue
        proposals = candidates.list_proposals(bound)
        found = np.unique(np.concatenate(list(proposals.values())))
        matrices.append(candidates.make_columns(bound, found))
        proposed.append(np.stack([np.isin(found, proposals[name]) for name in names], axis=1))
        always.append(np.isin(found, proposals[None]))
        is_target.append(
            found == targets[window.visits.items[window.visits.starts[visit] + action]]
        )
        sizes[n] = len(found)
    return WindowCandidates(
        np.concatenate(matrices),
        np.concatenate(proposed),
        np.concatenate(always),
        np.concatenate(is_target),
        sizes,
    )


def _draw_positions(window: VisitWindow, seed: int) -> VisitWindow:
    """Return the window with at most _MAX_POSITIONS of its positions, from all of its weeks."""
    order = generator(seed, "positions that compare sources").permutation(len(window.positions))
    drawn = np.sort(order[:_MAX_POSITIONS])
    positions = [window.positions[n] for n in drawn.tolist()]
    return replace(window, positions=positions, is_known=window.is_known[drawn])


def choose_sources(
    context: TrainingContext, model: RecommendationModel, fitted: FittedVisits, window: VisitWindow
) -> SourceChoice:
    """Return the model with the sources that gain something on the window, and what was measured.

    Sources that may leave are tried out together, the one with the least gain first. All are kept
    where there is no ranker, or one source alone.
    """
    sources, max_loss = fitted.sources.sources, context.config.visits.max_loss
    if fitted.ranker is None or len(sources) < 2 or not window.positions:
        return SourceChoice(model)
    window = _draw_positions(window, context.settings.seed)
    config = context.config.visits.ranker
    compared = _Comparison(
        context,
        model,
        fitted,
        _make_candidates(model, fitted, window),
        _thin_rows(fitted.rows),
        replace(
            config,
            n_trees=max(1, config.n_trees // _FEWER_TREES),
            learning_rate=config.learning_rate * _FEWER_TREES,
        ),
    )
    visits = np.array([position.visit for position in window.positions])
    ours = compared.rank(frozenset())
    gains = {
        name: _measure_gain(ours, compared.rank(frozenset([name])), visits) for name in sources
    }
    allowed = (max_loss or 0.0) * float(ours.mean())
    left_out = frozenset[str]()
    for name in sorted(gains, key=lambda name: gains[name].high):
        more = left_out | {name}
        if max_loss is None or gains[name].high > allowed or len(more) == len(sources):
            break
        together = _measure_gain(ours, compared.rank(more), visits) if left_out else gains[name]
        if together.high <= allowed:
            left_out = more
    times = _time_sources(fitted.sources, window)
    return SourceChoice(
        compared.leave_out(left_out) if left_out else model,
        left_out,
        (_make_table(ours, gains, times, visits, left_out),),
        _describe_choice(gains, times, left_out, allowed),
    )


def _thin_rows(rows: Rows) -> Rows:
    """Return the rows of _MAX_LEARNT next items, evenly spaced; all where there are no more."""
    n = len(rows.sizes)
    return rows if n <= _MAX_LEARNT else rows.select(np.arange(_MAX_LEARNT) * n // _MAX_LEARNT)


def _make_table(
    ours: Float64Array,
    gains: Mapping[str, _Gain],
    times: Mapping[str, float],
    visits: Int64Array,
    left_out: frozenset[str],
) -> MetricTable:
    p_values = correct_p_values(
        {
            name: compute_paired_p_value(
                _sum_by_visit(ours, visits), _sum_by_visit(gain.values, visits)
            )
            for name, gain in gains.items()
        }
    )
    all_times = Cell(sum(times.values()))
    rows = {
        OURS: (Cell(float(ours.mean())), Cell(0.0), all_times, Cell(len(gains) - len(left_out)))
    }
    for name, gain in gains.items():
        rows[f"without {name}"] = (
            Cell(float(gain.values.mean()), p_value=p_values[name]),
            Cell(gain.mean, gain.low, gain.high),
            Cell(times[name]),
            Cell(0.0 if name in left_out else 1.0),
        )
    return MetricTable(
        title="next item of a visit: gain by source",
        columns=(MRR.split()[0], "gain by the source", "its microseconds", "served"),
        rows=rows,
        n_users=(len(visits), len(visits), min(len(visits), _N_TIMED), len(gains)),
        note="of rankers of fewer trees, one of them fitted without the source; p of a paired test "
        "over visits; the first row has all sources",
        counted="next items",
    )


def _describe_choice(
    gains: Mapping[str, _Gain],
    times: Mapping[str, float],
    left_out: frozenset[str],
    allowed: float,
) -> dict[str, str]:
    """Return the sources that are served, and why the others are not."""
    described = "; ".join(
        f"{name} {'left out' if name in left_out else 'served'}, gains {gain.mean:+.4f} "
        f"({gain.low:+.4f} to {gain.high:+.4f}) for {times[name]:.0f} microseconds"
        for name, gain in gains.items()
    )
    return {
        "visit_sources": ", ".join(name for name in gains if name not in left_out),
        "visit_sources_why": f"left out where at most {allowed:.4f} of {MRR.split()[0]} is lost "
        f"with 95 % confidence: {described}",
    }


def _measure_gain(ours: Float64Array, without: Float64Array, visits: Int64Array) -> _Gain:
    """Return the mean gain over positions; the positions of a visit are not independent."""
    difference = ours - without
    mean = float(difference.mean())
    sums = _sum_by_visit(difference - mean, visits)
    n_visits = len(sums)
    if n_visits < 2:
        return _Gain(without, mean, -np.inf, np.inf)
    error = float(np.sqrt((sums**2).sum() * n_visits / (n_visits - 1))) / len(ours)
    width = float(stats.t.ppf(1 - _LEVEL / 2, n_visits - 1)) * error
    return _Gain(without, mean, mean - width, mean + width)


def _sum_by_visit(values: Float64Array, visits: Int64Array) -> Float64Array:
    """Return the sum of each visit: its positions are not independent."""
    return np.bincount(np.unique(visits, return_inverse=True)[1], values).astype(np.float64)


def _time_sources(sources: VisitSources, window: VisitWindow) -> dict[str, float]:
    """Return the mean microseconds in which each source scores a visit."""
    rows = Catalogue(window.items, ()).positions(sources.item_ids)
    index = {item_id: row for row, item_id in enumerate(sources.item_ids) if rows[row] >= 0}
    viewed = []
    for visit, action in window.positions[:_N_TIMED]:
        item_ids = dict.fromkeys(window.visits.take_first(visit, action).item_ids)
        known = [index[item_id] for item_id in item_ids if item_id in index]
        if known:
            viewed.append(np.array(known, np.int64))
    times = {}
    for name, source in sources.sources.items():
        started = time.perf_counter()
        for items in viewed:
            source.score(items)
        times[name] = 1e6 * (time.perf_counter() - started) / max(len(viewed), 1)
    return times
