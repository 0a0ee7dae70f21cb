"""The next items of a visit: candidates of its sources, and the columns that its ranker sees.

Every column is measured from the visit's own last action, so that an answer does not depend on when
it is asked for, and training sees what serving does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.visits import CARTED, Visit
from models.compiled.top_items import top_positions
from models.ranking.catalogue import CATEGORY_DEPTHS, Catalogue
from models.ranking.session_columns import (
    ITEM_COLUMNS,
    SESSION_COLUMNS,
    describe_items,
    describe_session,
)
from models.retrieval.interactions import invert_positions
from models.retrieval.visit_sources import SOURCES, VisitSources

_SOURCE_COLUMNS = ("score", "share", "rank")
_VIEWED_COLUMNS = ("viewed_rank", "n_views", "is_carted", "minutes_since_view")
_VISIT_COLUMNS = ("n_actions", "n_viewed", "n_carted", "dwell_seconds")
_PRICE_COLUMNS = ("price_to_last", "price_to_mean")
_MS_PER_MINUTE = 60_000
# Items of each source that have a rank.
_N_RANKED = 200
# Items of the category of the latest item that are candidates: a source may know none of them yet.
_N_POPULAR, _N_NEWEST = 10, 5
# Viewed items that may be named as the reason of another, the latest.
_MAX_NAMED = 5


@dataclass(frozen=True)
class BoundVisit:
    """A visit in positions of the catalogue, and the scores of the sources.

    viewed    int64 (n,), the distinct items of the catalogue, the latest first
    n_views   float32 (n,), how often each was viewed
    last_ms   int64 (n,), when each was viewed last, before the last action of the visit
    carted    bool (n,)
    details   float32 (n, columns), ITEM_COLUMNS of each, where the candidates have them
    scores    float32 (n_rows,) by source, of its items
    """

    visit: Visit
    viewed: Int64Array
    n_views: Float32Array
    last_ms: Int64Array
    carted: BoolArray
    details: Float32Array
    scores: Mapping[str, Float32Array]


def name_visit_columns(
    sources: Sequence[str], item_columns: Sequence[str], *, with_session: bool
) -> tuple[str, ...]:
    """Return the names of the columns of `VisitCandidates.make_columns`, in order.

    with_session   whether the candidates know the timezone of the shop
    """
    return (
        *(f"{source}_{name}" for source in sources for name in _SOURCE_COLUMNS),
        *_VIEWED_COLUMNS,
        *(ITEM_COLUMNS if with_session else ()),
        *_VISIT_COLUMNS,
        *(SESSION_COLUMNS if with_session else ()),
        *(f"category_{depth}_{name}" for depth in CATEGORY_DEPTHS for name in ("share", "is_last")),
        *_PRICE_COLUMNS,
        *(f"item_{name}" for name in item_columns),
    )


class VisitCandidates:
    """The sources of one model bound to a catalogue.

    with_features   whether the columns hold the item features of the catalogue
    timezone        of the shop, for the columns of the session; None: there are none, as in what
                    is bought in weeks, and in models of older versions
    """

    def __init__(
        self,
        catalogue: Catalogue,
        sources: VisitSources,
        *,
        with_features: bool = True,
        timezone: str | None = None,
    ) -> None:
        self._catalogue, self._sources = catalogue, sources
        self._timezone = None if timezone is None else ZoneInfo(timezone)
        n_features = catalogue.matrix.shape[1] if with_features else 0
        self._features = catalogue.matrix[:, :n_features]
        self._positions = catalogue.positions(sources.item_ids)
        self._rows = invert_positions(self._positions, catalogue.n_items)
        self._has_category = catalogue.items.category.astype(str) != ""
        self._by_category: dict[int, Int64Array] = {}
        missing = np.full(catalogue.n_items, np.nan, np.float32)
        self._price = catalogue.items.columns.get("price_minor", missing)

    def can_bind(self, visit: Visit) -> bool:
        """Return whether the sources know an item of the visit that is in the catalogue."""
        positions = (self._catalogue.index.get(item_id, -1) for item_id in visit.item_ids)
        return any(position >= 0 and self._rows[position] >= 0 for position in positions)

    def bind(self, visit: Visit) -> BoundVisit | None:
        """Return the visit with the sources' scores; None where they know none of its items."""
        actions: dict[int, list[int]] = {}
        for action, item_id in enumerate(visit.item_ids):
            position = self._catalogue.index.get(item_id)
            if position is not None:
                actions.setdefault(position, []).append(action)
        viewed = np.array(list(actions), np.int64)
        rows = self._rows[viewed]
        rows = rows[rows >= 0]
        if not len(rows):
            return None
        details = np.zeros((len(actions), 0), np.float32)
        if self._timezone is not None:
            details = describe_items(visit, list(actions.values()))
        return BoundVisit(
            visit=visit,
            viewed=viewed,
            n_views=np.array([len(numbers) for numbers in actions.values()], np.float32),
            last_ms=np.array(
                [visit.at_ms[0] - visit.at_ms[numbers[0]] for numbers in actions.values()], np.int64
            ),
            carted=np.array(
                [any(visit.kinds[n] == CARTED for n in numbers) for numbers in actions.values()],
                bool,
            ),
            details=details,
            scores={name: source.score(rows) for name, source in self._sources.sources.items()},
        )

    def find_candidates(self, bound: BoundVisit) -> Int64Array:
        """Return distinct positions, ascending: the best of each source, what was viewed, and of
        the category of the latest item the most popular and the newest."""
        return np.unique(np.concatenate(list(self.list_proposals(bound).values())))

    def list_proposals(self, bound: BoundVisit) -> dict[str | None, Int64Array]:
        """Return the candidates by the source that proposes them, None: those that need none."""
        of_category = self._list_category(int(bound.viewed[0]))
        proposals: dict[str | None, Int64Array] = {None: np.append(bound.viewed, of_category)}
        for name, scores in bound.scores.items():
            best = self._positions[top_positions(scores, self._sources.candidates[name])]
            proposals[name] = best[best >= 0]
        return proposals

    def _list_category(self, position: int) -> Int64Array:
        """Return the items that stand for the category of an item; none without a category."""
        if not self._has_category[position]:
            return np.zeros(0, np.int64)
        code = int(self._catalogue.whole_category[position])
        if code not in self._by_category:
            members = np.flatnonzero(self._catalogue.whole_category == code)
            age = self._catalogue.column("age_days", missing=np.inf)[members]
            popular = np.argsort(-self._catalogue.popularity[members], kind="stable")
            newest = np.argsort(age, kind="stable")
            chosen = np.concatenate([popular[:_N_POPULAR], newest[:_N_NEWEST]])
            self._by_category[code] = np.unique(members[chosen])
        return self._by_category[code]

    def score_by(self, source: str, bound: BoundVisit) -> Float64Array:
        """Return the scores (n_items,) of one source, 0 where it has nothing to say."""
        return self._at(bound.scores[source], np.arange(self._catalogue.n_items)).astype(np.float64)

    def make_columns(self, bound: BoundVisit, candidates: Int64Array) -> Float32Array:
        """Return the ranker's input (n_candidates, columns); NaN where unknown."""
        parts = [
            *(self._describe_scores(name, bound, candidates) for name in bound.scores),
            self._describe_views(bound, candidates),
            self._describe_visit(bound, len(candidates)),
            self._compare_categories(bound, candidates),
            self._compare_prices(bound, candidates),
            self._features[candidates],
        ]
        return np.concatenate(parts, axis=1)

    def come_from_views(self, bound: BoundVisit, candidates: Int64Array) -> BoolArray:
        """Return which candidates (n,) a source proposes for what was viewed, or were viewed."""
        from_views = np.isin(candidates, bound.viewed)
        for name, scores in bound.scores.items():
            if SOURCES[name].from_views:
                from_views |= self._at(scores, candidates) > 0
        return from_views

    def find_viewed_reasons(self, bound: BoundVisit, positions: Int64Array) -> list[str | None]:
        """Return for each of `positions` the viewed item from which the sources propose it most.

        An item that was viewed is its own reason; None where no single one proposes it.
        """
        viewed = bound.viewed[self._rows[bound.viewed] >= 0][:_MAX_NAMED]
        evidence = np.zeros((len(viewed), len(positions)), np.float32)
        for n, row in enumerate(self._rows[viewed]):
            for name, source in self._sources.sources.items():
                if SOURCES[name].from_views:
                    scores = source.score(np.array([row]))
                    evidence[n] += self._at(scores, positions) / max(scores.max(), 1e-9)
        ids: ObjectArray = self._catalogue.items.item_ids
        strongest = evidence.argmax(0)
        return [
            str(ids[position])
            if position in bound.viewed
            else (str(ids[viewed[strongest[n]]]) if evidence[strongest[n], n] > 0 else None)
            for n, position in enumerate(positions.tolist())
        ]

    def _at(self, scores: Float32Array, positions: Int64Array) -> Float32Array:
        rows = self._rows[positions]
        return np.where(rows >= 0, scores[rows], np.float32(0))

    def _describe_scores(
        self, source: str, bound: BoundVisit, candidates: Int64Array
    ) -> Float32Array:
        """Return the scores of a source, their share of its highest, and their rank from 0.

        The rank is among the best of the source, NaN behind them: whatever else is scored, an item
        has the same columns.
        """
        scores = bound.scores[source]
        of_candidates = self._at(scores, candidates)
        best = top_positions(scores, _N_RANKED)
        rank = np.full(len(scores), np.nan, np.float32)
        rank[best] = np.arange(len(best))
        rows = self._rows[candidates]
        ranks = np.where(rows >= 0, rank[rows], np.float32(np.nan))
        share = of_candidates / np.float32(max(float(scores.max(initial=0.0)), 1e-9))
        return np.stack([of_candidates, share, ranks], axis=1).astype(np.float32)

    def _describe_views(self, bound: BoundVisit, candidates: Int64Array) -> Float32Array:
        n_columns = len(_VIEWED_COLUMNS)
        shape = len(candidates), n_columns + bound.details.shape[1]
        columns = np.full(shape, np.nan, np.float32)
        rows = np.searchsorted(candidates, bound.viewed)
        known = np.flatnonzero(rows < len(candidates))
        known = known[candidates[rows[known]] == bound.viewed[known]]
        rows = rows[known]
        columns[rows, 0] = known
        columns[rows, 1] = bound.n_views[known]
        columns[rows, 2] = bound.carted[known]
        columns[rows, 3] = bound.last_ms[known] / _MS_PER_MINUTE
        columns[rows, n_columns:] = bound.details[known]
        return columns

    def _describe_visit(self, bound: BoundVisit, n_candidates: int) -> Float32Array:
        visit = bound.visit
        dwell = (visit.at_ms[0] - visit.at_ms[1]) / 1000 if len(visit.at_ms) > 1 else np.nan
        values = [len(visit.item_ids), len(bound.viewed), float(bound.carted.sum()), dwell]
        if self._timezone is not None:
            values += describe_session(visit, self._timezone)
        return np.tile(np.array(values, np.float32), (n_candidates, 1))

    def _compare_categories(self, bound: BoundVisit, candidates: Int64Array) -> Float32Array:
        columns = []
        for codes in self._catalogue.categories:
            of_candidates = codes[candidates]
            known = codes[bound.viewed[self._has_category[bound.viewed]]]
            counts = np.bincount(known, minlength=int(codes.max(initial=0)) + 1)
            share = counts[of_candidates] / max(len(known), 1)
            is_last = of_candidates == codes[bound.viewed[0]]
            is_known = self._has_category[candidates] & self._has_category[bound.viewed[0]]
            columns += [np.where(is_known, share, np.nan), np.where(is_known, is_last, np.nan)]
        return np.stack(columns, axis=1).astype(np.float32)

    def _compare_prices(self, bound: BoundVisit, candidates: Int64Array) -> Float32Array:
        prices = self._price[bound.viewed].astype(np.float64)
        known = prices[np.isfinite(prices) & (prices > 0)]
        mean = known.mean() if len(known) else np.nan
        last = prices[0] if prices[0] > 0 else np.nan
        price = self._price[candidates]
        return np.stack([price / last, price / mean], axis=1).astype(np.float32)
