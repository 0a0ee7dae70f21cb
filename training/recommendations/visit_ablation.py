"""The gain from each source of visits, by slates without it on the same later visits, and its time.

A source left out gives neither candidates nor columns; the ranker is fitted anew without them.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.ranking.catalogue import Catalogue
from models.ranking.lambdarank import fit_ranker
from models.ranking.model import RecommendationModel
from models.ranking.visit_candidates import name_visit_columns
from models.retrieval.visit_sources import VisitSources
from training.recommendations.snapshots import TrainingContext
from training.recommendations.visit_baselines import reciprocal_ranks
from training.recommendations.visit_evaluation import MRR, VisitWindow
from training.recommendations.visit_training import FittedVisits
from training.results import OURS, Cell, MetricTable
from training.significance import compute_paired_p_value, correct_p_values

_MAX_POSITIONS = 3_000
_N_TIMED = 300


def measure_sources(
    context: TrainingContext, model: RecommendationModel, fitted: FittedVisits, window: VisitWindow
) -> tuple[MetricTable, ...]:
    """Return the table of sources: what the ranker loses without each, and microseconds an answer.

    No table where there is no ranker, or one source alone.
    """
    sources = fitted.sources.sources
    if fitted.ranker is None or len(sources) < 2:
        return ()
    window = replace(window, positions=window.positions[:_MAX_POSITIONS])
    visits = np.array([position.visit for position in window.positions])
    ours = reciprocal_ranks(window.rank_served(model))
    without = {}
    for name in sources:
        context.progress(f"slates without {name}")
        left = _leave_out(context, model, fitted, name)
        without[name] = reciprocal_ranks(window.rank_served(left))
    p_values = correct_p_values(
        {
            name: compute_paired_p_value(_sum_by_visit(ours, visits), _sum_by_visit(values, visits))
            for name, values in without.items()
        }
    )
    times = _time_sources(fitted.sources, window)
    rows = {OURS: (Cell(float(ours.mean())), Cell(0.0), Cell(sum(times.values())))}
    for name, values in without.items():
        cell = Cell(float(values.mean()), p_value=p_values[name])
        gain = Cell(float(ours.mean() - values.mean()))
        rows[f"without {name}"] = (cell, gain, Cell(times[name]))
    table = MetricTable(
        title="next item of a visit: gain by source",
        columns=(MRR.split()[0], "gain by the source", "its microseconds"),
        rows=rows,
        n_users=(len(visits), len(visits), min(len(visits), _N_TIMED)),
        note="the ranker is fitted anew without the source; p of a paired test over visits",
        counted="next items",
    )
    return (table,)


def _leave_out(
    context: TrainingContext, model: RecommendationModel, fitted: FittedVisits, left_out: str
) -> RecommendationModel:
    """Return the model without one source, its ranker fitted on the other columns."""
    everything = name_visit_columns(tuple(fitted.sources.sources), model.item_columns)
    names = tuple(name for name in fitted.sources.sources if name != left_out)
    columns = name_visit_columns(names, model.item_columns)
    kept = [everything.index(column) for column in columns]
    rows = replace(fitted.rows, matrix=np.ascontiguousarray(fitted.rows.matrix[:, kept]))
    config, seed = context.config.visits.ranker, context.settings.seed
    sources = VisitSources(
        fitted.sources.item_ids,
        {name: fitted.sources.sources[name] for name in names},
        {name: fitted.sources.candidates[name] for name in names},
    )
    ranker = fit_ranker(rows.to_grouped(columns), config, seed=seed)
    return replace(model, rankers={**model.rankers, "visit": ranker}, visit_sources=sources)


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
        viewed.append(
            np.array([index[item_id] for item_id in item_ids if item_id in index], np.int64)
        )
    times = {}
    for name, source in sources.sources.items():
        started = time.perf_counter()
        for items in viewed:
            source.score(items)
        times[name] = 1e6 * (time.perf_counter() - started) / max(len(viewed), 1)
    return times
