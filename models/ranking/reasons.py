"""Why an item stands in a slate: reasons that are true, the items they speak of, and what each
score is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.recommendations import Reason, RecommendationQuery, ScoredItem
from models.ranking.calibration import SOURCES, Calibration
from models.ranking.candidates import CandidateSource
from models.ranking.cart import CartSource
from models.ranking.columns import Catalogue, Visitor, column_names, columns
from models.ranking.model import TASKS, RankingTask, RecommendationModel
from models.ranking.scored_items import Scored
from models.ranking.slate.finisher import Finished


@dataclass(frozen=True)
class _Sources:
    """The calibrated sources of one ranker: their columns in its input, and the reason that each
    gives.

    The last reason is of what was bought before.
    """

    calibration: Calibration
    at: Int64Array
    reasons: ObjectArray

    @classmethod
    def of(cls, calibration: Calibration, names: Sequence[str]) -> Self:
        """`names` are those of the ranker's columns."""
        named = [SOURCES[source] for source in calibration.sources]
        at = np.array([names.index(column) for column, _ in named], np.int64)
        return cls(
            calibration, at, np.array([*(reason for _, reason in named), Reason.BUY_AGAIN], object)
        )

    def chances(self, matrix: Float32Array, rows: Int64Array) -> Float64Array:
        """(rows, sources) of `rows` of the ranker's input."""
        return self.calibration.of(matrix[rows[:, None], self.at])


class Reasons:
    """Bound to a model and to the catalogue that it ranks."""

    def __init__(
        self,
        model: RecommendationModel,
        catalogue: Catalogue,
        source: CandidateSource,
        carts: CartSource,
    ) -> None:
        self._model, self._catalogue, self._source, self._carts = model, catalogue, source, carts
        names = column_names(model.item_columns, model.user_columns)
        self._ease, self._n_orders = names.index("ease"), names.index("n_orders")
        self._sources = {
            task: _Sources.of(each, names) for task, each in model.calibrations.items()
        }

    def of(
        self, visitor: Visitor, places: Int64Array, task: RankingTask, matrix: Float32Array
    ) -> ObjectArray:
        """Why each candidate is one: the source by whose score it is bought most likely, or that it
        was bought before.

        `matrix` (candidates, columns) is the ranker's input.
        """
        sources = self._sources[task]
        source = sources.calibration.likeliest(matrix, sources.at, self._n_orders)
        reasons = sources.reasons[source]
        if len(visitor.viewed):
            other = np.flatnonzero(source >= 0)
            ease, seen = matrix[other, self._ease], visitor.ease_viewed.at(places[other])
            viewed = np.isin(places[other], visitor.viewed) | ((seen > 0) & (seen > ease - seen))
            reasons[other[viewed]] = Reason.BECAUSE_YOU_VIEWED
        return reasons

    def teller(
        self, visitor: Visitor, places: Int64Array, task: RankingTask, matrix: Float32Array
    ) -> Callable[[Int64Array], ObjectArray]:
        """Tells `of` of any rows of the candidates."""
        return lambda rows: self.of(visitor, places[rows], task, matrix[rows])

    def told(
        self, query: RecommendationQuery, visitor: Visitor, finished: Finished
    ) -> list[ScoredItem]:
        """The slate with reasons that are true, the items they speak of, and contributions when
        asked for."""
        items = finished.items(self._catalogue.items, explain=query.explain)
        items = self._because(query, visitor, finished, items)
        if query.explain:
            rows = np.array([each.at for each in finished.chosen], np.int64)
            contributions = self._contributions(finished.scored, rows, items)
            items = [
                replace(item, contributions=each)
                for item, each in zip(items, contributions, strict=True)
            ]
        return items

    def _because(
        self,
        query: RecommendationQuery,
        visitor: Visitor,
        finished: Finished,
        items: list[ScoredItem],
    ) -> list[ScoredItem]:
        """Names the item behind each reason. A view is a reason only where the score would be lower
        without views."""
        scored = finished.scored
        said = [n for n, item in enumerate(items) if item.reason == Reason.BECAUSE_YOU_VIEWED]
        if said:
            rows = np.array([finished.chosen[n].at for n in said], np.int64)
            carried, without = self._carried(query, scored, rows)
            because = self._source.because(visitor, scored.places[rows])
            for n, row, was_carried, instead, item_id in zip(
                said, rows, carried, without, because, strict=True
            ):
                named = item_id if was_carried else None
                if int(row) in finished.focused:
                    named = named or self._viewed_beside(visitor, int(scored.places[row]))
                reason = Reason.BECAUSE_YOU_VIEWED if named is not None else Reason(instead)
                items[n] = replace(items[n], reason=reason, because_item_id=named)
        if len(query.context_item_ids) == 1:
            near = (Reason.BOUGHT_TOGETHER, Reason.SIMILAR)
            learnt = scored.task in TASKS
            items = [
                replace(item, because_item_id=query.context_item_ids[0])
                if item.reason in near and not learnt
                else item
                for item in items
            ]
        return items

    def _carried(
        self, query: RecommendationQuery, scored: Scored, rows: Int64Array
    ) -> tuple[list[bool], ObjectArray]:
        """Whether each row's score is higher for the views, and the reason it would have without
        them."""
        places = scored.places[rows]
        if scored.matrix is None or scored.task is None:
            return [False] * len(rows), np.full(len(rows), Reason.POPULAR, object)
        without = self._source.visitor(replace(query.history, viewed_item_ids=(), viewed_at=()))
        unseen = columns(self._catalogue, without, places, self._model.user_columns)
        reasons = self.of(without, places, scored.task, unseen)
        ranked = scored.places[: len(scored.matrix)]
        matrix = columns(self._catalogue, without, ranked, self._model.user_columns)
        known = rows < len(matrix)
        carried = np.zeros(len(rows), bool)
        scores = self._model.rankers[scored.task].score(matrix[rows[known]])
        carried[known] = scored.scores[rows[known]] > scores
        return carried.tolist(), reasons

    def _viewed_beside(self, visitor: Visitor, place: int) -> str | None:
        """The item viewed last that shares most of the category with the one at `place`."""
        best = max(
            visitor.viewed,
            key=lambda viewed: sum(of[viewed] == of[place] for of in self._catalogue.categories),
            default=None,
        )
        return None if best is None else str(self._catalogue.items.item_ids[best])

    def _contributions(
        self, scored: Scored, rows: Int64Array, items: Sequence[ScoredItem]
    ) -> list[dict[str, float]]:
        """What each column adds to the score, largest first; the score itself where no ranker
        scored.

        Behind it "chance by X" tells how likely items of such a score of source X are bought, and
        for a cart "support X", "confidence X" and "lift X" which rules speak for the item from
        context item X.
        """
        explained: list[dict[str, float]] = [{item.reason.value: item.score} for item in items]
        if scored.matrix is not None and scored.task is not None and len(rows):
            ranker = self._model.rankers[scored.task]
            known = np.flatnonzero(rows < len(scored.matrix))
            for n, values in zip(
                known, ranker.contributions(scored.matrix[rows[known]]), strict=True
            ):
                largest = np.argsort(-np.abs(values), kind="stable")
                explained[n] = {
                    ranker.columns[column]: float(values[column])
                    for column in largest
                    if values[column]
                }
            if scored.task in self._sources:
                sources = self._sources[scored.task]
                for n, row in zip(
                    known, sources.chances(scored.matrix, rows[known]).tolist(), strict=True
                ):
                    by_source = zip(sources.calibration.sources, row, strict=True)
                    explained[n] |= {
                        f"chance by {source}": chance for source, chance in by_source if chance
                    }
        if scored.cart is None:
            return explained
        told = [self._carts.evidence(scored.cart, int(scored.places[row])) for row in rows]
        return [each | rule for each, rule in zip(explained, told, strict=True)]
