"""From scored items to a slate: what fills it up, merchandising rules, diversity, exploration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.recommendations import (
    AppliedRule,
    ItemFeatures,
    Reason,
    RecommendationQuery,
    ScoredItem,
    WithheldItem,
)
from features.contracts.seeds import generator
from models.ranking.columns import Catalogue
from models.ranking.current_visit import interleaved
from models.ranking.placement import Placement, check_rules
from models.ranking.scored_items import Scored
from models.ranking.slate.assemble import Cap, Chosen, Plan, assemble
from models.ranking.slate.diversity import Likeness, relevance
from models.ranking.slate.merchandising_rules import (
    Bound,
    RuleBook,
    RuleSet,
    effects,
    hidden,
    moved,
    pins,
)

# Diversity looks at this many of the best candidates.
_DEPTH = 500
_FILL = 200


@dataclass(frozen=True)
class Wish:
    """What one answer needs beside its query.

    keep       which items (n_items,) may stand in the slate at all
    fillers    what stands behind a short slate, in turn; each the best first
    arrivals   the newest items, to explore
    focus      items (n_items,) of the categories that this visit is about
    again      position -> what the relevance of an item bought before is multiplied by
    """

    keep: BoolArray
    fillers: Sequence[Scored] = ()
    arrivals: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))
    focus: BoolArray | None = None
    again: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """The slate before it is told: rows of `scored`, best first, and what was done to each."""

    scored: Scored
    chosen: tuple[Chosen, ...]
    reasons: tuple[Reason, ...]
    focused: frozenset[int]
    rules: tuple[tuple[AppliedRule, ...], ...]
    withheld: tuple[WithheldItem, ...]
    explores: bool

    def items(self, items: ItemFeatures, *, explain: bool) -> list[ScoredItem]:
        """The places of the slate, ranks from 1."""
        return [
            ScoredItem(
                str(items.item_ids[self.scored.places[each.at]]),
                rank,
                float(self.scored.scores[each.at]),
                reason,
                rules=rules if explain else None,
                propensity=each.propensity if self.explores else None,
            )
            for rank, (each, reason, rules) in enumerate(
                zip(self.chosen, self.reasons, self.rules, strict=True), 1
            )
        ]


class Finisher:
    """Bound to one catalogue and the shop's rules."""

    def __init__(
        self, catalogue: Catalogue, placements: Mapping[str, Placement], sets: Mapping[str, RuleSet]
    ) -> None:
        self._catalogue = catalogue
        self._book = RuleBook(catalogue.items, sets)
        check_rules(placements, sets)
        missing = np.zeros(catalogue.n_items, np.float32)
        columns = catalogue.items.columns
        seen = np.nan_to_num(columns.get("views_1w", missing)) + np.nan_to_num(
            columns.get("orders_1w", missing)
        )
        self._unseen = 1.0 / (1.0 + np.log1p(np.maximum(seen, 0.0).astype(np.float64)))

    def finish(
        self, query: RecommendationQuery, placement: Placement, scored: Scored, wish: Wish
    ) -> Finished:
        """At most `query.count` places."""
        active = self._book.active(placement.rules, query.zone, query.at or query.history.as_of)
        allowed = wish.keep & ~hidden(active, self._catalogue.n_items) if active else wish.keep
        diversity = placement.diversity if query.diversity is None else query.diversity
        explores = placement.exploration.on and query.draw is not None
        if not (
            active or wish.again or wish.focus is not None or diversity or explores
        ):  # the usual case
            best = scored.best(allowed, query.count)
            if len(best) == query.count:
                return _as_ranked(scored, best)
        order, worth, focused = _ordered(scored, allowed, wish)
        capped = [bound for bound in active if bound.rule.action == "at_most"]
        if len(order) < query.count or capped:
            least = query.count if not capped else len(allowed)
            scored, order, worth = self._filled(scored, order, worth, allowed, wish, least)
        if active and len(order):
            change = moved(active, scored.places[order], worth)
            order, worth = order[change.order], change.relevance
        scored, chosen, names = self._chosen(
            query, placement, scored, order, worth, allowed, wish, active
        )
        reasons, said = _why(scored, chosen, names, focused, active)
        withheld = (
            self._withheld(query, scored, wish.keep, active, order, chosen)
            if query.explain and active
            else ()
        )
        return Finished(
            scored, tuple(chosen), tuple(reasons), focused, tuple(said), withheld, explores
        )

    def _filled(
        self,
        scored: Scored,
        order: Int64Array,
        worth: Float64Array,
        allowed: BoolArray,
        wish: Wish,
        count: int,
    ) -> tuple[Scored, Int64Array, Float64Array]:
        """With fillers behind until there are `count`, each below what stands before it."""
        for filler in wish.fillers:
            if len(order) >= count:
                break
            known = np.isin(filler.places, scored.places[order])
            rows = np.flatnonzero(allowed[filler.places] & ~known)[:_FILL]
            if not len(rows):
                continue
            lowest = float(scored.scores[order].min()) if len(order) else 1.0
            scores = min(lowest, 0.0) - 1.0 + relevance(filler.scores, log_odds=False)[rows]
            more = Scored(filler.places[rows], scores, filler.reasons[rows])
            order = np.concatenate(
                [order, np.arange(len(scored.places), len(scored.places) + len(rows))]
            )
            least = float(worth[-1]) if len(worth) else 1.0
            worth = np.concatenate([worth, least * np.linspace(0.5, 0.1, len(rows))])
            scored = scored.with_more(more)
        return scored, order, worth

    def _chosen(
        self,
        query: RecommendationQuery,
        placement: Placement,
        scored: Scored,
        order: Int64Array,
        worth: Float64Array,
        allowed: BoolArray,
        wish: Wish,
        active: Sequence[Bound],
    ) -> tuple[Scored, list[Chosen], dict[int, str]]:
        """Rows of `scored` (with what pins and exploration added), and the rule that pinned each
        pinned row."""
        pinned = pins(active, allowed) if active else {}
        diversity = placement.diversity if query.diversity is None else query.diversity
        exploration = placement.exploration if query.draw is not None else None
        explores = exploration is not None and exploration.on
        capped = [bound for bound in active if bound.rule.action == "at_most"]
        if not (pinned or diversity or explores or capped):
            return scored, [Chosen(row, 1.0) for row in order[: query.count].tolist()], {}
        order, worth = _with_pinned(
            scored, order, worth, [position for position, _ in pinned.values()]
        )
        usual = np.ones(len(order), bool)
        lowest = float(scored.scores[order].min()) if len(order) else 0.0
        positions = [
            position for position, _ in pinned.values() if position not in scored.places[order]
        ]
        n_usual = len(positions)
        if explores and exploration is not None:
            new = wish.arrivals[allowed[wish.arrivals]][: exploration.arrivals]
            positions += [
                int(each)
                for each in new
                if each not in scored.places[order] and each not in positions
            ]
        extra = np.array(positions, np.int64)
        order = np.concatenate(
            [order, np.arange(len(scored.places), len(scored.places) + len(extra))]
        )
        scored = scored.with_more(Scored.of(extra, np.full(len(extra), lowest), Reason.NEW))
        usual = np.concatenate([usual, np.arange(len(extra)) < n_usual])
        middle = (
            float(np.median(worth[: exploration.pool]))
            if exploration is not None and len(worth)
            else 1.0
        )
        worth = np.concatenate([worth, np.where(np.arange(len(extra)) < n_usual, 0.0, middle)])
        places = scored.places[order]
        at = {int(position): n for n, position in enumerate(places)}
        plan = Plan(
            worth,
            pins={place: at[position] for place, (position, _) in pinned.items()},
            caps=[
                Cap(each.name, each.group[places], each.rule.n or 0)
                for each in capped
                if each.group is not None
            ],
            usual=usual,
            diversity=diversity,
            likeness=Likeness([str(self._catalogue.items.category[each]) for each in places])
            if diversity
            else None,
            exploration=placement.exploration,
            weights=np.sqrt(np.maximum(worth, 1e-6)) * self._unseen[places] if explores else None,
        )
        rng = generator(0, f"{query.placement}:{query.draw}") if explores else None
        chosen = [
            each._replace(at=int(order[each.at])) for each in assemble(plan, query.count, rng)
        ]
        names = {int(order[at[position]]): name for position, name in pinned.values()}
        return scored, chosen, names

    def _withheld(
        self,
        query: RecommendationQuery,
        scored: Scored,
        keep: BoolArray,
        active: Sequence[Bound],
        order: Int64Array,
        chosen: Sequence[Chosen],
    ) -> tuple[WithheldItem, ...]:
        """What would stand among the first `count` but for a rule, the best first."""
        found: list[WithheldItem] = []
        ids = self._catalogue.items.item_ids
        ranked = scored.best_first(np.flatnonzero(keep[scored.places]))[: query.count]
        shown = {int(scored.places[each.at]) for each in chosen}
        for position in map(int, scored.places[ranked]):
            for bound in active:
                if bound.rule.action in ("hide", "in_stock") and bound.items[position]:
                    effect = "hidden" if bound.rule.action == "hide" else "out of stock"
                    found.append(WithheldItem(str(ids[position]), bound.name, effect))
                    break
        for bound in active:
            if bound.group is None or bound.rule.n is None:
                continue
            counts = np.unique(
                [bound.group[each] for each in shown if bound.group[each] >= 0], return_counts=True
            )
            full = {int(group) for group, n in zip(*counts, strict=True) if n >= bound.rule.n}
            for position in map(int, scored.places[order[: query.count]]):
                if position not in shown and (
                    bound.rule.n == 0 or int(bound.group[position]) in full
                ):
                    effect = f"at most {bound.rule.n} of its kind"
                    found.append(WithheldItem(str(ids[position]), bound.name, effect))
        return tuple(found)


def _as_ranked(scored: Scored, rows: Int64Array) -> Finished:
    """The slate of these rows, which nothing else moves."""
    chosen = tuple([Chosen(row, 1.0) for row in rows.tolist()])
    return Finished(
        scored, chosen, tuple(scored.reasons_of(rows)), frozenset(), ((),) * len(rows), (), False
    )


def _why(
    scored: Scored,
    chosen: Sequence[Chosen],
    pinned: Mapping[int, str],
    focused: frozenset[int],
    active: Sequence[Bound],
) -> tuple[list[Reason], list[tuple[AppliedRule, ...]]]:
    """The reason of each place, and what rules did to it."""
    why = scored.reasons_of(np.array([each.at for each in chosen], np.int64))
    reasons: list[Reason] = []
    said: list[tuple[AppliedRule, ...]] = []
    for each, reason in zip(chosen, why, strict=True):
        if each.at in focused and reason in (Reason.POPULAR, Reason.SIMILAR, Reason.PROMOTED):
            reason = Reason.BECAUSE_YOU_VIEWED
        deeds = effects(active, int(scored.places[each.at]))
        if each.at in pinned:
            reason = Reason.PROMOTED
            deeds.append((pinned[each.at], "pinned"))
        reasons.append(Reason.EXPLORATION if each.explored else reason)
        said.append(tuple(AppliedRule(*deed) for deed in deeds))
    return reasons, said


def _ordered(
    scored: Scored, allowed: BoolArray, wish: Wish
) -> tuple[Int64Array, Float64Array, frozenset[int]]:
    """Rows best first, their relevance, and the rows that this visit's views moved up."""
    order = scored.best_first(np.flatnonzero(allowed[scored.places]))
    worth = relevance(scored.scores[order], log_odds=scored.task is not None)
    if wish.again:
        factor = np.array([wish.again.get(int(each), 1.0) for each in scored.places[order]])
        worth = worth * factor
        again = np.argsort(-worth, kind="stable")
        order, worth = order[again], worth[again]
    focused: frozenset[int] = frozenset()
    if wish.focus is not None:
        change = interleaved(wish.focus[scored.places[order]])
        up = change > np.arange(len(order))
        order = order[change]
        focused = frozenset(int(row) for row in order[up] if wish.focus[scored.places[row]])
    return order, worth, focused


def _with_pinned(
    scored: Scored, order: Int64Array, worth: Float64Array, pinned: Sequence[int]
) -> tuple[Int64Array, Float64Array]:
    """The first _DEPTH rows, and those of what is pinned."""
    kept = np.arange(len(order)) < _DEPTH
    if pinned and len(order) > _DEPTH:
        kept |= np.isin(scored.places[order], np.array(pinned))
    return order[kept], worth[kept]
