"""From scored items to a slate: fillers, merchandising rules, diversity, exploration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

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
from models.ranking.catalogue import Catalogue
from models.ranking.current_visit import interleave
from models.ranking.placement import Placement
from models.ranking.scored_items import ScoredItems
from models.ranking.slate.assemble import Cap, Choice, Exploration, SlatePlan, fill_slate
from models.ranking.slate.diversity import CategorySimilarity, scale_to_relevance
from models.ranking.slate.merchandising_rules import (
    BoundRule,
    Pin,
    Rule,
    RuleBook,
    RuleSet,
    describe_effects,
    find_hidden,
    place_pins,
    reorder,
)

_MAX_CANDIDATES = 500  # that take part in diversity, caps and exploration
_MAX_FILLERS = 200  # of each list of fillers
_FOCUS_REASONS = (Reason.POPULAR, Reason.SIMILAR, Reason.PROMOTED, Reason.NEW)


@dataclass(frozen=True)
class SlateContext:
    """What a slate depends on beside its query and the scored items.

    eligible       which items (n_items,) may be in the slate at all
    fillers        lists for the end of a short slate, in turn; each best first
    arrivals       positions of the newest items, to explore
    focus          items (n_items,) of the categories that this visit is about, or that match what
                   was searched for
    focus_is_viewed   whether it follows from views
    repeat_rates   position -> factor on the relevance of an item that was just bought
    """

    eligible: BoolArray
    fillers: Sequence[ScoredItems] = ()
    arrivals: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))
    focus: BoolArray | None = None
    focus_is_viewed: bool = True
    repeat_rates: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DraftSlate:
    """A slate without explanations: rows of `scored`, best first, and what was done to each.

    focused    rows that moved up because of this visit's views
    rules      what rules did, by rank
    fixed      by rank, whether the item is pinned, or no candidate of the scorer
    explores   whether ranks could be drawn, so that every item has a propensity
    """

    scored: ScoredItems
    choices: tuple[Choice, ...]
    reasons: tuple[Reason, ...]
    rules: tuple[tuple[AppliedRule, ...], ...]
    fixed: BoolArray
    focused: frozenset[int] = frozenset()
    withheld: tuple[WithheldItem, ...] = ()
    explores: bool = False

    def rows(self) -> Int64Array:
        """Return the rows of `scored` in the slate, by rank."""
        return np.array([choice.row for choice in self.choices], np.int64)

    def falling_scores(self) -> Float64Array:
        """Return the score of each rank, lowered so that it falls, or stays, along the slate.

        An item that a rule, this visit or diversity moved behind one of a lower score gets that
        one's. A fixed or drawn item, whose place is not its score's, has that of the rank before.
        """
        scores = self.scored.scores[self.rows()]
        placed = self.fixed | np.array([choice.explored for choice in self.choices], bool)
        if not placed.all():
            scores[placed] = scores[~placed].max()
        return np.asarray(np.minimum.accumulate(scores))

    def measure_relevance(self) -> Float64Array:
        """Return the relevance of each rank by its score; rules let it only fall.

        A fixed item, which has no score of its own, has that of the rank before.
        """
        relevance = np.full(len(self.choices), np.inf)
        scores = self.scored.scores[self.rows()][~self.fixed]
        log_odds = self.scored.task is not None
        relevance[~self.fixed] = scale_to_relevance(scores, log_odds=log_odds)
        return np.asarray(np.minimum(np.minimum.accumulate(relevance), 1.0))

    def select(self, ranks: Int64Array) -> DraftSlate:
        """Return the slate of some of the ranks, from 0, in the order given."""
        chosen = ranks.tolist()
        return replace(
            self,
            choices=tuple([self.choices[rank] for rank in chosen]),
            reasons=tuple([self.reasons[rank] for rank in chosen]),
            rules=tuple([self.rules[rank] for rank in chosen]),
            fixed=self.fixed[ranks],
        )

    def make_items(self, items: ItemFeatures, *, explain: bool) -> list[ScoredItem]:
        """Return the items of the slate, ranks from 1."""
        scored, falling = self.scored, self.falling_scores().tolist()
        by_rank = zip(self.choices, self.reasons, self.rules, strict=True)
        return [
            ScoredItem(
                item_id=str(items.item_ids[scored.positions[choice.row]]),
                rank=rank,
                score=float(scored.scores[choice.row]),
                falling_score=falling[rank - 1],
                reason=reason,
                rules=rules if explain else None,
                propensity=choice.propensity if self.explores else None,
                query_match=scored.find_query_match(choice.row),
            )
            for rank, (choice, reason, rules) in enumerate(by_rank, 1)
        ]


@dataclass(frozen=True)
class _SlateRequest:
    """A query with its context, and what follows from its placement.

    allowed       the eligible items (n_items,) that no rule hides
    rules         the valid ones
    caps          those of them that cap groups
    exploration   None where nothing is drawn
    """

    query: RecommendationQuery
    context: SlateContext
    allowed: BoolArray
    rules: tuple[BoundRule, ...]
    caps: list[BoundRule]
    diversity: float
    exploration: Exploration | None

    def keeps_order(self) -> bool:
        """Return whether the slate is just the best allowed items, the usual case."""
        context = self.context
        changes = (
            self.rules
            or context.repeat_rates
            or context.focus is not None
            or self.diversity
            or self.exploration is not None
        )
        return not changes


class _Ranked(NamedTuple):
    """Rows of scored items, best first, and their relevance, which falls."""

    scored: ScoredItems
    rows: Int64Array
    relevance: Float64Array

    def positions(self) -> Int64Array:
        """Return the position of each row."""
        return self.scored.positions[self.rows]

    def lowest_score(self, default: float) -> float:
        """Return the lowest score of the rows."""
        return float(self.scored.scores[self.rows].min()) if len(self.rows) else default

    def append(self, more: ScoredItems, relevance: Float64Array) -> _Ranked:
        """Return these rows with all rows of `more` behind."""
        n = len(self.scored.positions)
        new_rows = np.arange(n, n + len(more.positions))
        return _Ranked(
            self.scored.append(more),
            np.concatenate([self.rows, new_rows]),
            np.concatenate([self.relevance, relevance]),
        )


class SlateBuilder:
    """Builds slates from scored items; bound to one catalogue and the shop's rules."""

    def __init__(self, catalogue: Catalogue, sets: Mapping[str, RuleSet]) -> None:
        self._catalogue = catalogue
        self._book = RuleBook(catalogue.items, sets)
        missing = np.zeros(catalogue.n_items, np.float32)
        columns = catalogue.items.columns
        views = np.nan_to_num(columns.get("views_1w", missing))
        orders = np.nan_to_num(columns.get("orders_1w", missing))
        seen = np.maximum(views + orders, 0.0).astype(np.float64)
        self._novelty = 1.0 / (1.0 + np.log1p(seen))
        self._one_per_family: tuple[BoundRule, ...] = ()
        if (catalogue.families >= 0).any():
            everything = np.ones(catalogue.n_items, bool)
            rule = Rule("at_most", n=1, per="family_id")
            self._one_per_family = (
                BoundRule("fold_families", rule, everything, group=catalogue.families),
            )

    def build(
        self,
        query: RecommendationQuery,
        placement: Placement,
        scored: ScoredItems,
        context: SlateContext,
        *,
        n_more: int = 0,
    ) -> DraftSlate:
        """Return a slate of at most `query.count` items.

        n_more   so many of the next candidates follow behind; the rules are valid for all together
        """
        request = self._make_request(query, placement, context)
        if request.keeps_order():
            best = scored.best_rows(request.allowed, query.count + n_more)
            if len(best) >= query.count:
                return _draft_unchanged(scored, best)
        n_scored = len(scored.positions)
        ranked, focused = _rank(scored, request)
        if len(ranked.rows) < query.count or request.caps:
            n_needed = query.count if not request.caps else len(request.allowed)
            ranked = _fill_up(ranked, request, n_needed)
        if request.rules and len(ranked.rows):
            order, relevance = reorder(request.rules, ranked.positions(), ranked.relevance)
            ranked = _Ranked(ranked.scored, ranked.rows[order], relevance)
        scored, choices, pin_rules = self._choose(request, ranked, query.count + n_more)
        reasons, rules = _explain(scored, choices, pin_rules, focused, request.rules)
        withheld: tuple[WithheldItem, ...] = ()
        if query.explain and request.rules:
            shown = {int(scored.positions[choice.row]) for choice in choices}
            withheld = self._find_withheld(request, ranked._replace(scored=scored), shown)
        pinned = np.array([choice.row in pin_rules for choice in choices], bool)
        return DraftSlate(
            scored=scored,
            choices=tuple(choices),
            reasons=tuple(reasons),
            rules=tuple(rules),
            fixed=pinned | np.array([choice.row >= n_scored for choice in choices], bool),
            focused=focused,
            withheld=withheld,
            explores=request.exploration is not None,
        )

    def _make_request(
        self, query: RecommendationQuery, placement: Placement, context: SlateContext
    ) -> _SlateRequest:
        at = query.at or query.history.as_of
        rules = self._book.find_valid(placement.rules, query.zone, at)
        if query.fold_families:
            rules += self._one_per_family
        allowed = context.eligible
        if rules:
            allowed = allowed & ~find_hidden(rules, self._catalogue.n_items)
        explores = placement.exploration.on and query.draw is not None
        return _SlateRequest(
            query=query,
            context=context,
            allowed=allowed,
            rules=rules,
            caps=[bound for bound in rules if bound.rule.action == "at_most"],
            diversity=placement.diversity if query.diversity is None else query.diversity,
            exploration=placement.exploration if explores else None,
        )

    def _choose(
        self, request: _SlateRequest, ranked: _Ranked, count: int
    ) -> tuple[ScoredItems, list[Choice], dict[int, str]]:
        """Choose `count` rows, and name the rule of each row that is pinned in the slate.

        Also returns the scored items, with those that only pins and exploration added.
        """
        query, exploration = request.query, request.exploration
        pins = place_pins(request.rules, request.allowed) if request.rules else {}
        if count > query.count:
            pins = {rank: pin for rank, pin in pins.items() if rank <= query.count}
        if not (pins or request.diversity or exploration is not None or request.caps):
            choices = [Choice(row, 1.0) for row in ranked.rows[:count].tolist()]
            return ranked.scored, choices, {}
        ranked, usual = _add_unranked(request, ranked, pins)
        positions = ranked.positions()
        index = {int(position): n for n, position in enumerate(positions)}
        similarity = weights = rng = None
        if request.diversity:
            categories = self._catalogue.items.category[positions]
            similarity = CategorySimilarity([str(category) for category in categories])
        if exploration is not None:
            novelty = self._novelty[positions]
            weights = np.sqrt(np.maximum(ranked.relevance, 1e-6)) * novelty
            rng = generator(0, f"{query.placement}:{query.draw}")
        plan = SlatePlan(
            relevance=ranked.relevance,
            pins={rank: index[pin.position] for rank, pin in pins.items()},
            caps=[
                Cap(bound.group[positions], bound.rule.n or 0)
                for bound in request.caps
                if bound.group is not None
            ],
            usual=usual,
            diversity=request.diversity,
            similarity=similarity,
            exploration=exploration or Exploration(),
            weights=weights,
        )
        choices = [
            choice._replace(row=int(ranked.rows[choice.row]))
            for choice in fill_slate(plan, count, rng)
        ]
        pin_rules = {int(ranked.rows[index[pin.position]]): pin.rule for pin in pins.values()}
        return ranked.scored, choices, pin_rules

    def _find_withheld(
        self, request: _SlateRequest, ranked: _Ranked, shown: set[int]
    ) -> tuple[WithheldItem, ...]:
        """Return what would be in the slate but for a rule, best first.

        ranked   before pins and exploration
        shown    positions of the items in the slate
        """
        withheld: list[WithheldItem] = []
        ids, scored = self._catalogue.items.item_ids, ranked.scored
        eligible = np.flatnonzero(request.context.eligible[scored.positions])
        best = scored.order_rows(eligible)[: request.query.count]
        for position in scored.positions[best].tolist():
            for bound in request.rules:
                if bound.rule.action in ("hide", "in_stock") and bound.items[position]:
                    effect = "hidden" if bound.rule.action == "hide" else "out of stock"
                    withheld.append(WithheldItem(str(ids[position]), bound.name, effect))
                    break
        first = ranked.positions()[: request.query.count].tolist()
        for bound in request.caps:
            if bound.group is None or bound.rule.n is None:
                continue
            full = _find_full_groups(bound.group, bound.rule.n, shown)
            for position in first:
                is_capped = bound.rule.n == 0 or int(bound.group[position]) in full
                if position not in shown and is_capped:
                    effect = f"at most {bound.rule.n} of its kind"
                    withheld.append(WithheldItem(str(ids[position]), bound.name, effect))
        return tuple(withheld)


def _draft_unchanged(scored: ScoredItems, rows: Int64Array) -> DraftSlate:
    """Return the slate of these rows, which nothing else moves."""
    return DraftSlate(
        scored=scored,
        choices=tuple([Choice(row, 1.0) for row in rows.tolist()]),
        reasons=tuple(scored.reasons_of(rows)),
        rules=((),) * len(rows),
        fixed=np.zeros(len(rows), bool),
    )


def _rank(scored: ScoredItems, request: _SlateRequest) -> tuple[_Ranked, frozenset[int]]:
    """Rank the allowed rows by relevance on this visit; also return the rows in its focus.

    Relevance is multiplied by the repeat rates; then every other rank is for items in focus.
    """
    context = request.context
    rows = scored.order_rows(np.flatnonzero(request.allowed[scored.positions]))
    relevance = scale_to_relevance(scored.scores[rows], log_odds=scored.task is not None)
    if context.repeat_rates:
        rates = [
            context.repeat_rates.get(position, 1.0) for position in scored.positions[rows].tolist()
        ]
        relevance = relevance * np.array(rates)
        order = np.argsort(-relevance, kind="stable")
        rows, relevance = rows[order], relevance[order]
    focused: frozenset[int] = frozenset()
    if context.focus is not None:
        order = interleave(context.focus[scored.positions[rows]])
        moved_up = order > np.arange(len(rows))
        rows = rows[order]
        candidates = rows[moved_up]
        if context.focus_is_viewed:
            focused = frozenset(candidates[context.focus[scored.positions[candidates]]].tolist())
    return _Ranked(scored, rows, relevance), focused


def _fill_up(ranked: _Ranked, request: _SlateRequest, n_needed: int) -> _Ranked:
    """Append fillers until there are `n_needed` rows, each below those before it."""
    for filler in request.context.fillers:
        if len(ranked.rows) >= n_needed:
            break
        known = np.isin(filler.positions, ranked.positions())
        rows = np.flatnonzero(request.allowed[filler.positions] & ~known)[:_MAX_FILLERS]
        if not len(rows):
            continue
        top_score = min(ranked.lowest_score(1.0), 0.0) - 1.0
        scores = top_score + scale_to_relevance(filler.scores, log_odds=False)[rows]
        least = float(ranked.relevance[-1]) if len(ranked.relevance) else 1.0
        ranked = ranked.append(
            ScoredItems(filler.positions[rows], scores, filler.reasons[rows]),
            least * np.linspace(0.5, 0.1, len(rows)),
        )
    return ranked


def _add_unranked(
    request: _SlateRequest, ranked: _Ranked, pins: Mapping[int, Pin]
) -> tuple[_Ranked, BoolArray]:
    """Return the first rows with pinned items and new arrivals that are not among them.

    Also returns which of the rows may be chosen without exploration: all but the arrivals.
    """
    ranked = _keep_first(ranked, [pin.position for pin in pins.values()])
    known = ranked.positions()
    added = [pin.position for pin in pins.values() if pin.position not in known]
    n_pinned = len(added)
    arrival_relevance = 1.0
    if request.exploration is not None:
        arrivals = request.context.arrivals
        arrivals = arrivals[request.allowed[arrivals]][: request.exploration.arrivals]
        added += [
            position
            for position in arrivals.tolist()
            if position not in known and position not in added
        ]
        if len(ranked.relevance):
            pool = ranked.relevance[: request.exploration.pool]
            arrival_relevance = float(np.median(pool))
    is_pinned = np.arange(len(added)) < n_pinned
    usual = np.concatenate([np.ones(len(ranked.rows), bool), is_pinned])
    scores = np.full(len(added), ranked.lowest_score(0.0))
    items = ScoredItems.with_reason(np.array(added, np.int64), scores, Reason.NEW)
    return ranked.append(items, np.where(is_pinned, 0.0, arrival_relevance)), usual


def _keep_first(ranked: _Ranked, pinned: Sequence[int]) -> _Ranked:
    """Return the first _MAX_CANDIDATES rows, and those of the `pinned` positions."""
    kept = np.arange(len(ranked.rows)) < _MAX_CANDIDATES
    if pinned and len(ranked.rows) > _MAX_CANDIDATES:
        kept |= np.isin(ranked.positions(), np.array(pinned))
    return _Ranked(ranked.scored, ranked.rows[kept], ranked.relevance[kept])


def _explain(
    scored: ScoredItems,
    choices: Sequence[Choice],
    pin_rules: Mapping[int, str],
    focused: frozenset[int],
    rules: Sequence[BoundRule],
) -> tuple[list[Reason], list[tuple[AppliedRule, ...]]]:
    """Return the reason of each rank, and what rules did to it."""
    rows = np.array([choice.row for choice in choices], np.int64)
    reasons: list[Reason] = []
    effects: list[tuple[AppliedRule, ...]] = []
    for choice, reason in zip(choices, scored.reasons_of(rows), strict=True):
        if choice.row in focused and reason in _FOCUS_REASONS:
            reason = Reason.BECAUSE_YOU_VIEWED
        row_effects = describe_effects(rules, int(scored.positions[choice.row]))
        if choice.row in pin_rules:
            reason = Reason.PROMOTED
            row_effects.append(AppliedRule(pin_rules[choice.row], "pinned"))
        reasons.append(Reason.EXPLORATION if choice.explored else reason)
        effects.append(tuple(row_effects))
    return reasons, effects


def _find_full_groups(group: Int64Array, n: int, shown: set[int]) -> set[int]:
    """Return the groups that have `n` items or more in the slate."""
    groups = [group[position] for position in shown if group[position] >= 0]
    numbers, counts = np.unique(groups, return_counts=True)
    return {int(number) for number, count in zip(numbers, counts, strict=True) if count >= n}
