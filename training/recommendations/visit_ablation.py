"""Which sources of visits are served: those whose removal costs something on the shop's own window.

A source left out gives neither candidates nor columns; the ranker is fitted anew without them, and
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

from features.contracts.arrays import Float64Array, Int64Array
from models.ranking.catalogue import Catalogue
from models.ranking.lambdarank import Ranker, fit_ranker
from models.ranking.model import RankingTask, RecommendationModel
from models.ranking.visit_candidates import name_visit_columns
from models.retrieval.visit_sources import VisitSources
from training.recommendations.ranking_rows import Rows
from training.recommendations.snapshots import TrainingContext
from training.recommendations.visit_baselines import reciprocal_ranks
from training.recommendations.visit_evaluation import MRR, VisitWindow
from training.recommendations.visit_training import FittedVisits
from training.results import OURS, Cell, MetricTable
from training.significance import compute_paired_p_value, correct_p_values

_MAX_POSITIONS = 3_000
# Next items that the compared rankers learn from: to fit them takes most of the time.
_MAX_LEARNT = 6_000
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
class _Comparison:
    """What the slates of fewer sources are made with and measured on.

    rows   that the compared rankers are fitted on: the ranker's own, or some of them
    """

    context: TrainingContext
    model: RecommendationModel
    fitted: FittedVisits
    window: VisitWindow
    rows: Rows

    @property
    def uses_all_rows(self) -> bool:
        """Whether the compared rankers are those that are served."""
        return self.rows is self.fitted.rows

    def rank(self, left_out: frozenset[str]) -> Float64Array:
        """Return the reciprocal ranks (positions,) without some sources."""
        model = self.model
        if left_out or not self.uses_all_rows:
            self.context.progress(f"slates without {' and '.join(sorted(left_out)) or 'nothing'}")
            model = self.leave_out(left_out, self.rows)
        return reciprocal_ranks(self.window.rank_served(model))

    def leave_out(self, left_out: frozenset[str], rows: Rows) -> RecommendationModel:
        """Return the model without some sources, its ranker fitted on the other columns."""
        sources, features = self.fitted.sources, self.model.item_columns
        everything = name_visit_columns(tuple(sources.sources), features, with_session=True)
        names = tuple(name for name in sources.sources if name not in left_out)
        columns = name_visit_columns(names, features, with_session=True)
        kept = [everything.index(column) for column in columns]
        rows = replace(rows, matrix=np.ascontiguousarray(rows.matrix[:, kept]))
        config, seed = self.context.config.visits.ranker, self.context.settings.seed
        rankers: dict[RankingTask, Ranker] = {**self.model.rankers}
        rankers["visit"] = fit_ranker(rows.to_grouped(columns), config, seed=seed)
        remaining = VisitSources(
            sources.item_ids,
            {name: sources.sources[name] for name in names},
            {name: sources.candidates[name] for name in names},
        )
        return replace(self.model, rankers=rankers, visit_sources=remaining)


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
    window = replace(window, positions=window.positions[:_MAX_POSITIONS])
    compared = _Comparison(context, model, fitted, window, _thin_rows(fitted.rows))
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
        compared.leave_out(left_out, fitted.rows) if left_out else model,
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
        note="the ranker is fitted anew without the source; p of a paired test over visits; "
        "the first row has all sources",
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
