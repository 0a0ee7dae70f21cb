"""Why an item is in a slate: reasons, the items that they name, contributions to the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.recommendations import Reason, RecommendationQuery, ScoredItem
from models.compiled.source_chances import NO_SOURCE, SKIPPED
from models.ranking.calibration import SOURCES, Calibration
from models.ranking.candidates import CandidateSource
from models.ranking.cart import CartSource
from models.ranking.catalogue import Catalogue
from models.ranking.columns import column_names, make_columns
from models.ranking.model import TASKS, RankingTask, RecommendationModel
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.next_items import VisitScorer
from models.ranking.slate.builder import DraftSlate
from models.ranking.visit_candidates import BoundVisit
from models.ranking.visitor import Visitor

# Tasks whose items come from the visitor, not from the item on the page.
_PERSONAL: tuple[RankingTask, ...] = (*TASKS, "visit", "sequence")


@dataclass(frozen=True)
class _SourceReasons:
    """The calibrated sources of one ranker.

    columns   (sources,), the ranker's columns that hold their scores
    reasons   (sources + 2,), the reason that each gives; at NO_SOURCE an empty one, and at SKIPPED
              that of what was bought before
    """

    calibration: Calibration
    columns: Int64Array
    reasons: ObjectArray

    @classmethod
    def bind(cls, calibration: Calibration, names: Sequence[str]) -> Self:
        """Find the sources' columns in the ranker's, whose `names` are given."""
        sources = [SOURCES[source] for source in calibration.sources]
        columns = np.array([names.index(column) for column, _ in sources], np.int64)
        reasons = [*(reason for _, reason in sources), "", Reason.BUY_AGAIN]
        return cls(calibration, columns, np.array(reasons, object))

    def chances(self, matrix: Float32Array, rows: Int64Array) -> Float64Array:
        """Return the chances (rows, sources) of `rows` of the ranker's input."""
        return self.calibration.chances_of(matrix[rows[:, None], self.columns])


class Reasons:
    """Explains slates; bound to a model and to the catalogue that it ranks."""

    def __init__(
        self,
        model: RecommendationModel,
        catalogue: Catalogue,
        source: CandidateSource,
        carts: CartSource,
        visits: VisitScorer | None,
    ) -> None:
        self._model, self._catalogue, self._source, self._carts = model, catalogue, source, carts
        self._visits = visits
        names = column_names(model.item_columns, model.user_columns)
        self._ease_column, self._n_orders_column = names.index("ease"), names.index("n_orders")
        self._sources = {
            task: _SourceReasons.bind(calibration, names)
            for task, calibration in model.calibrations.items()
        }

    def find_reasons(
        self, visitor: Visitor, positions: Int64Array, task: RankingTask, matrix: Float32Array
    ) -> ObjectArray:
        """Return why each candidate is one.

        The source by whose score it is bought most likely, a view, or that it was bought before.

        matrix   (candidates, columns), the ranker's input
        """
        sources = self._sources[task]
        likeliest = sources.calibration.likeliest_sources(
            matrix, sources.columns, self._n_orders_column
        )
        reasons = sources.reasons[likeliest]
        unknown = likeliest == NO_SOURCE
        reasons[unknown] = self._catalogue.general_reasons(positions[unknown])
        if len(visitor.viewed):
            new = np.flatnonzero(likeliest != SKIPPED)
            ease, from_views = (
                matrix[new, self._ease_column],
                visitor.ease_viewed.at(positions[new]),
            )
            by_view = (from_views > 0) & (from_views > ease - from_views)
            by_view |= np.isin(positions[new], visitor.viewed)
            reasons[new[by_view]] = Reason.BECAUSE_YOU_VIEWED
        return reasons

    def explain_slate(
        self, query: RecommendationQuery, visitor: Visitor, draft: DraftSlate
    ) -> list[ScoredItem]:
        """Return the slate's items with true reasons and the items that these name.

        With contributions where the query asks for them.
        """
        items = draft.make_items(self._catalogue.items, explain=query.explain)
        if self._visits is not None and draft.scored.visit is not None:
            _name_items_of_visit(items, draft, draft.scored.visit, self._visits, self._catalogue)
        else:
            self._name_viewed_items(items, query, visitor, draft)
        if len(query.context_item_ids) == 1 and draft.scored.task not in _PERSONAL:
            _name_context_item(items, query.context_item_ids[0])
        if query.explain:
            contributions = self._find_contributions(draft.scored, draft.rows(), items)
            items = [
                replace(item, contributions=by_name)
                for item, by_name in zip(items, contributions, strict=True)
            ]
        return items

    def _name_viewed_items(
        self,
        items: list[ScoredItem],
        query: RecommendationQuery,
        visitor: Visitor,
        draft: DraftSlate,
    ) -> None:
        """Name the viewed item behind each reason that is a view, in `items`.

        A view stays the reason only where the score would be lower without views.
        """
        viewed = [n for n, item in enumerate(items) if item.reason == Reason.BECAUSE_YOU_VIEWED]
        if not viewed:
            return
        scored, rows = draft.scored, draft.rows()[viewed]
        positions = scored.positions[rows]
        is_raised, other_reasons = self._compare_without_views(query, scored, rows)
        viewed_ids = self._source.find_viewed_reasons(visitor, positions)
        for n, index in enumerate(viewed):
            viewed_id = viewed_ids[n] if is_raised[n] else None
            if int(rows[n]) in draft.focused:
                viewed_id = viewed_id or self._find_viewed_beside(visitor, int(positions[n]))
            reason = Reason(other_reasons[n])
            if viewed_id is not None:
                reason = Reason.BECAUSE_YOU_VIEWED
            items[index] = replace(items[index], reason=reason, because_item_id=viewed_id)

    def _compare_without_views(
        self, query: RecommendationQuery, scored: ScoredItems, rows: Int64Array
    ) -> tuple[BoolArray, ObjectArray]:
        """Return whether each row's score is higher for the views, and its reason without them.

        A ranker that reads no views, as that of the order of purchases, has none that raise it.
        """
        positions = scored.positions[rows]
        is_raised = np.zeros(len(rows), bool)
        if scored.matrix is None or scored.task is None or scored.task not in self._sources:
            return is_raised, self._catalogue.general_reasons(positions)
        history = replace(query.history, viewed_item_ids=(), viewed_at=())
        visitor = self._source.make_visitor(history)
        user_columns = self._model.user_columns
        row_columns = make_columns(self._catalogue, visitor, positions, user_columns)
        reasons = self.find_reasons(visitor, positions, scored.task, row_columns)
        ranked = scored.positions[: len(scored.matrix)]
        matrix = make_columns(self._catalogue, visitor, ranked, user_columns)
        known = rows < len(matrix)
        scores = self._model.rankers[scored.task].score(matrix[rows[known]])
        match = 0.0 if scored.match is None else scored.match[rows[known]]
        is_raised[known] = scored.scores[rows[known]] - match > scores
        return is_raised, reasons

    def _find_viewed_beside(self, visitor: Visitor, position: int) -> str | None:
        """Return the viewed item with the most category levels in common, the latest of equals."""
        categories = self._catalogue.categories
        best = max(
            visitor.viewed,
            key=lambda viewed: sum(codes[viewed] == codes[position] for codes in categories),
            default=None,
        )
        return None if best is None else str(self._catalogue.items.item_ids[best])

    def _find_contributions(
        self, scored: ScoredItems, rows: Int64Array, items: Sequence[ScoredItem]
    ) -> list[dict[str, float]]:
        """Return what each column adds to the score, largest first.

        Where no ranker scored, the score itself. "query" is the addition of the text that was
        searched for. Behind it "chance by X" is how likely an item of
        such a score of source X is bought, and for a cart "support X", "confidence X" and "lift X"
        are of the rule from context item X.
        """
        match = scored.measure_match(rows)
        contributions = [
            {item.reason.value: item.score - added}
            for item, added in zip(items, match.tolist(), strict=True)
        ]
        if scored.matrix is not None and scored.task is not None and len(rows):
            known = np.flatnonzero(rows < len(scored.matrix))
            by_column = self._find_shap_values(scored.task, scored.matrix[rows[known]])
            for n, values in zip(known, by_column, strict=True):
                contributions[n] = values
            if scored.task in self._sources:
                sources = self._sources[scored.task]
                chances = sources.chances(scored.matrix, rows[known]).tolist()
                for n, row_chances in zip(known, chances, strict=True):
                    for source, chance in zip(
                        sources.calibration.sources, row_chances, strict=True
                    ):
                        if chance:
                            contributions[n][f"chance by {source}"] = chance
        for index, added in enumerate(match.tolist()):
            if added:
                contributions[index]["query"] = added
        if scored.cart is not None:
            for index, position in enumerate(scored.positions[rows].tolist()):
                contributions[index] |= self._carts.find_evidence(scored.cart, position)
        return contributions

    def _find_shap_values(self, task: RankingTask, matrix: Float32Array) -> list[dict[str, float]]:
        """Return the SHAP values other than 0 of each row, by column, largest first."""
        ranker = self._model.rankers[task]
        by_row: list[dict[str, float]] = []
        for values in ranker.contributions(matrix):
            largest = np.argsort(-np.abs(values), kind="stable")
            by_row.append(
                {
                    ranker.columns[column]: float(values[column])
                    for column in largest
                    if values[column]
                }
            )
        return by_row


def _name_items_of_visit(
    items: list[ScoredItem],
    draft: DraftSlate,
    visit: BoundVisit,
    visits: VisitScorer,
    catalogue: Catalogue,
) -> None:
    """Name the viewed item behind each reason that is a view, where views are all that is known."""
    viewed = [n for n, item in enumerate(items) if item.reason == Reason.BECAUSE_YOU_VIEWED]
    positions = draft.scored.positions[draft.rows()[viewed]]
    named = visits.find_viewed_reasons(visit, positions)
    general = catalogue.general_reasons(positions)
    for n, viewed_id, reason in zip(viewed, named, general, strict=True):
        if viewed_id is None:  # no single look stands behind it
            items[n] = replace(items[n], reason=Reason(reason))
        else:
            items[n] = replace(items[n], because_item_id=viewed_id)


def _name_context_item(items: list[ScoredItem], context_item_id: str) -> None:
    """Name the only context item behind each reason that comes from it, in `items`."""
    for n, item in enumerate(items):
        if item.reason in (Reason.BOUGHT_TOGETHER, Reason.SIMILAR):
            items[n] = replace(item, because_item_id=context_item_id)
