"""Recommendations: from the request of a storefront to a slate, under the experiment that the
visitor is in."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime

from configs.settings import Settings
from experiments.exposure import ServedAnswer, build_exposure
from features.contracts.clock import Clock
from features.contracts.errors import Unavailable, UnknownName
from features.contracts.histories import UserHistory
from features.contracts.recommendations import RecommendationQuery, Slate
from features.contracts.tables import DEFAULT_ZONE
from features.facts.exposures import Exposure
from features.facts.slates import LoggedSlate, ShownItems
from features.facts.zones import KnownZones
from features.online.later_events import VisitorIds
from features.online.online_store import OnlineHistories
from features.online.visitor_activity import VisitorActivity
from models.ranking.model import Policy
from models.registry import Version
from models.served_recommender import RecommenderSource, ServedRecommender
from serving.recommendations.allowed_items import AllowedItems, ItemCondition
from serving.recommendations.assigned_units import AssignedUnit, AssignmentRequest
from serving.recommendations.item_fields import FamilyMember, FieldValues, ItemFields
from serving.recommendations.item_filter import NO_FILTER, Filter
from serving.recommendations.met_variants import MetVariants
from serving.recommendations.shown_slates import ShownSlates
from serving.recommendations.variant_rankers import Choice, Ranker, VariantRankers

logger = logging.getLogger(__name__)

MAX_COUNT = 100


@dataclass(frozen=True)
class SlateRequest:
    """The request of one placement.

    candidate_ids   set when a given list is to be ranked
    search_text     what the given list is the result of
    fields          what the answer says of each item
    after           the recommendation_id of the page before
    rotate          how fast items sink that are shown again and again, 0..1
    attributes      of the visit, by which experiments choose whom they are for
    override        the token of a variant that was chosen by hand
    """

    placement: str
    user_id: str | None = None
    visitor_id: str | None = None
    session_id: str | None = None
    item_ids: tuple[str, ...] = ()
    count: int = 20
    zone: str = DEFAULT_ZONE
    filter: Filter = NO_FILTER
    exclude_item_ids: frozenset[str] = frozenset()
    exclude_purchased: bool = False
    in_stock_only: bool = True
    diversity: float | None = None
    strict: bool = False
    explain: bool = False
    candidate_ids: tuple[str, ...] | None = None
    search_text: str | None = None
    fields: tuple[str, ...] = ()
    fold_families: bool = False
    exclude_viewed: bool = False
    exclude_carted: bool = False
    after: str | None = None
    rotate: float = 0.0
    attributes: Mapping[str, str] = field(default_factory=dict)
    override: str | None = None


@dataclass(frozen=True)
class SlateAnswer:
    """A slate and what it was made under.

    assigned   the variants of the visitor, the one that made the slate last
    degraded   whether the visitor's history could not be read, or the variant failed
    unknown    the zone that nobody knows and the names of the filter that no item has
    fields     the requested fields by item; None where none were
    variants   the families of the items by item; None where they are not folded
    teams      by rank the ranker that gave the item; None where no two are interleaved
    """

    recommendation_id: str
    placement: str
    slate: Slate
    assigned: tuple[AssignedUnit, ...]
    version: Version
    degraded: bool
    unknown: tuple[str, ...] = ()
    fields: Mapping[str, FieldValues] | None = None
    variants: Mapping[str, Sequence[FamilyMember]] | None = None
    teams: tuple[str | None, ...] | None = None


@dataclass(frozen=True)
class _Visit:
    """One visitor at one instant.

    identified   whether the visitor's ids may be used: not those of somebody who does not allow
                 personalization, nor of somebody of whom that is not known
    degraded     whether the history could not be read
    seconds      how long reading it took
    """

    now: datetime
    history: UserHistory
    identified: bool
    degraded: bool
    seconds: float


@dataclass(frozen=True)
class RecommendationService:
    """Answers for one process. Safe to share between threads.

    models        source of the recommender that answers now
    zones         the zones that requests may name
    rankers       chooses what makes a slate, by the variants of the visitor
    met_variants  what users met before, as the visitors they were
    activity      what visitors have in the cart, and what they were shown
    item_fields   what an answer says of its items
    shown         what earlier pages showed
    log           takes exposures and slates; never waits
    count         called with every answer
    workers       where slates are computed, away from the event loop
    """

    settings: Settings
    clock: Clock
    system_clock: Clock
    models: RecommenderSource
    histories: OnlineHistories
    allowed_items: AllowedItems
    zones: KnownZones
    rankers: VariantRankers
    met_variants: MetVariants
    activity: VisitorActivity
    item_fields: ItemFields
    shown: ShownSlates
    log: Callable[[Exposure | LoggedSlate], None]
    count: Callable[[SlateAnswer], None]
    workers: Executor

    def answer(self, request: SlateRequest) -> SlateAnswer:
        """Return a slate for the request.

        Raises UnknownName for a placement the shop does not have, Unavailable without a model.
        """
        served = self.models.recommender()
        _check_placement(request.placement, served, where="placement")
        return self._answer(request, self._visit(request), served)

    def preview(
        self,
        request: SlateRequest,
        *,
        policy: Policy | None = None,
        served: ServedRecommender | None = None,
        answer_id: str | None = None,
    ) -> SlateAnswer:
        """Return the slate that `answer` would, and leave no trace: nobody has seen it.

        policy      in place of that of the visitor's experiment, or of the model
        served      another recommender than the one that answers now
        answer_id   of the answer: what explores draws the same items for the same one

        Raises as `answer`.
        """
        current = served or self.models.recommender()
        _check_placement(request.placement, current, where="placement")
        visit, choice = self._visit(request), Choice((), Ranker(current, policy))
        if policy is None:
            choice = self._choose(request, visit, current)
        if served is not None:
            choice = choice._replace(ranker=choice.ranker._replace(served=served), rivals=())
        return self._make_answer(request, visit, choice, answer_id)

    def answer_page(self, requests: Sequence[SlateRequest]) -> list[SlateAnswer]:
        """Return slates for one visitor's page, in order: an item of an earlier one is in no later
        one.

        The first request decides who the visitor is, and in which zone. Raises UnknownName for a
        placement that the shop does not have, Unavailable without a model.
        """
        served = self.models.recommender()
        for request in requests:
            _check_placement(request.placement, served, where="placements")
        visit = self._visit(requests[0])
        shown: frozenset[str] = frozenset()
        answers = []
        for request in requests:
            rest = replace(request, exclude_item_ids=request.exclude_item_ids | shown)
            answer = self._answer(rest, visit, served)
            shown |= {item.item_id for item in answer.slate.items}
            answers.append(answer)
        return answers

    def _visit(self, request: SlateRequest) -> _Visit:
        """Read the visitor's history; where the online store or the database does not answer, that
        of an unknown visitor."""
        now, started = self.clock.now(), time.perf_counter()
        try:
            visitor = self.histories.read_visitor(
                request.user_id, request.visitor_id, request.session_id, now
            )
        except Unavailable:
            seconds = time.perf_counter() - started
            return _Visit(now, UserHistory.unknown(now), False, degraded=True, seconds=seconds)
        seconds = time.perf_counter() - started
        return _Visit(now, visitor.history, visitor.allowed, degraded=False, seconds=seconds)

    def _answer(
        self, request: SlateRequest, visit: _Visit, served: ServedRecommender
    ) -> SlateAnswer:
        started = time.perf_counter()
        self.item_fields.check(request.fields)
        answer = self._make_answer(request, visit, self._choose(request, visit, served))
        if request.candidate_ids is None:
            item_ids = [item.item_id for item in answer.slate.items]
            self.shown.remember(
                answer.recommendation_id, request.placement, item_ids, request.after
            )
        self._log_exposures(answer, visit.now)
        self._log_slate(request, answer, visit, started)
        self.count(answer)
        return answer

    def _choose(self, request: SlateRequest, visit: _Visit, served: ServedRecommender) -> Choice:
        """Return what answers a request; a given list is in no experiment, and so is somebody whose
        ids may not be used."""
        override = None
        if request.override is not None:
            override = self.rankers.read_override(request.override)
        if request.candidate_ids is not None or not visit.identified:
            return Choice((), Ranker(served, None))
        asked = AssignmentRequest(
            placement=request.placement,
            zone=request.zone,
            now=visit.now,
            user_id=request.user_id,
            visitor_id=request.visitor_id,
            session_id=request.session_id,
            is_known=bool(len(visit.history.item_ids)),
            attributes=request.attributes,
            override=override,
        )
        return self.rankers.choose(asked, served)

    def _make_answer(
        self,
        request: SlateRequest,
        visit: _Visit,
        choice: Choice,
        answer_id: str | None = None,
    ) -> SlateAnswer:
        served = choice.ranker.served
        recommendation_id = answer_id or self.shown.make_id()
        query = self._query(request, visit, served)
        if served.recommender.placements[request.placement].exploration.on:
            query = replace(query, draw=f"{self.settings.seed}:{recommendation_id}")
        failed = False
        try:
            slate, teams = choice.rank(query, recommendation_id)
        except Exception:
            if not choice.assigned:
                raise
            # A variant that fails harms nobody: what serves anyway answers, and the slate says so.
            logger.exception("a variant of %s failed", request.placement)
            failed, served = True, self.models.recommender()
            slate, teams = served.recommender.recommend([query])[0], None
        answer = SlateAnswer(
            recommendation_id=recommendation_id,
            placement=request.placement,
            slate=slate,
            assigned=choice.assigned,
            teams=teams,
            version=served.version,
            degraded=visit.degraded or failed,
            unknown=self._explain_unknown(request, served),
        )
        if not request.fields and not request.fold_families:
            return answer
        return self._describe_items(request, answer, visit.now, served)

    def _describe_items(
        self, request: SlateRequest, answer: SlateAnswer, now: datetime, served: ServedRecommender
    ) -> SlateAnswer:
        """Return the answer with the requested fields and the families of its items.

        Nothing of the visitor is passed on: fields and prices are the same for everybody.
        """
        item_ids = [item.item_id for item in answer.slate.items]
        own_stock = self.allowed_items.counts_stock(request.zone, served)
        variants: dict[str, list[FamilyMember]] | None = None
        if request.fold_families:
            off_sale = self.allowed_items.find_off_sale(now)
            variants = {
                item_id: self.item_fields.list_variants(item_id, off_sale, request.zone, own_stock)
                for item_id in item_ids
            }
        fields = None
        if request.fields:
            others = [variant.item_id for family in (variants or {}).values() for variant in family]
            described = list(dict.fromkeys([*item_ids, *others]))
            fields = self.item_fields.read(described, request.fields, request.zone, own_stock)
        return replace(answer, fields=fields, variants=variants)

    def _explain_unknown(self, request: SlateRequest, served: ServedRecommender) -> tuple[str, ...]:
        """Return the names of the request that nobody knows, each with the nearest right one."""
        names = self.allowed_items.explain_unknown(request.filter, served.items)
        if request.zone in served.zones:
            return names
        zone = self.zones.explain_unknown(request.zone)
        return names if zone is None else (zone, *names)

    def _query(
        self, request: SlateRequest, visit: _Visit, served: ServedRecommender
    ) -> RecommendationQuery:
        allowed = None
        if request.candidate_ids is None:  # a given list is the shop's own choice
            condition = ItemCondition(request.filter, request.in_stock_only, request.zone)
            allowed = self.allowed_items.select(condition, served, visit.now)
        return RecommendationQuery(
            visit.history,
            request.placement,
            request.count,
            context_item_ids=request.item_ids,
            exclude_item_ids=self._find_excluded(request, visit, served),
            exclude_purchased=request.exclude_purchased,
            allowed_item_ids=allowed,
            candidate_ids=request.candidate_ids,
            search_text=request.search_text,
            strict=request.strict,
            explain=request.explain,
            zone=request.zone,
            at=visit.now,
            diversity=request.diversity,
            damping=self._find_damping(request, visit),
            fold_families=request.fold_families,
        )

    def _find_excluded(
        self, request: SlateRequest, visit: _Visit, served: ServedRecommender
    ) -> frozenset[str]:
        """Return the items that this visitor is not to be shown: those of the request, viewed or
        carted ones, and those of the pages before."""
        excluded = request.exclude_item_ids
        if request.exclude_viewed:
            excluded |= set(visit.history.viewed_item_ids)
        if request.exclude_carted and visit.identified:
            ids = VisitorIds(request.user_id, request.visitor_id, request.session_id)
            excluded |= self.activity.find_carted(ids, visit.now)
        if request.after is not None:
            item_ids = served.items.item_ids
            excluded |= self.shown.find_shown(request.after, request.placement, item_ids)
        return excluded

    def _find_damping(self, request: SlateRequest, visit: _Visit) -> dict[str, float]:
        """Return the factors on the relevance of items that were shown and never clicked.

        (1 - rotate) for each time but the first. Only the logged slates of this visitor count.
        """
        unit_id = _find_unit_id(request)
        if not request.rotate or unit_id is None or not visit.identified:
            return {}
        clicked = {*visit.history.viewed_item_ids, *visit.history.item_ids.tolist()}
        counts = self.activity.count_shown(unit_id, visit.now)
        return {
            item_id: (1.0 - request.rotate) ** (n_shown - 1)
            for item_id, n_shown in counts.items()
            if n_shown > 1 and item_id not in clicked
        }

    def _log_exposures(self, answer: SlateAnswer, now: datetime) -> None:
        for assigned in answer.assigned:
            if assigned.is_override:
                continue
            served = ServedAnswer(
                recommendation_id=answer.recommendation_id,
                placement=answer.placement,
                occurred_at=now,
                recorded_at=self.system_clock.now(),
                model_name=answer.version.name,
                model_version=answer.version.version,
                visitor_id=assigned.visitor_id,
            )
            exposure = build_exposure(
                assigned.experiment, assigned.variant, assigned.unit_id, served
            )
            self.met_variants.remember(exposure)
            self.log(exposure)

    def _log_slate(
        self, request: SlateRequest, answer: SlateAnswer, visit: _Visit, started: float
    ) -> None:
        """Log the slate; where a share is logged, always what off-policy estimates, reports and
        rotation need."""
        explores = any(item.propensity is not None for item in answer.slate.items)
        is_needed = explores or bool(answer.assigned) or request.rotate > 0
        share = self.settings.slate_log_share
        if not self.settings.slate_log_days or not (
            is_needed or _draw_share(answer.recommendation_id) < share
        ):
            return
        assigned = None if not answer.assigned else answer.assigned[-1]
        if assigned is not None and assigned.is_override:  # nobody was to see it
            return
        latency = visit.seconds + time.perf_counter() - started
        self.log(
            LoggedSlate(
                recommendation_id=answer.recommendation_id,
                placement=answer.placement,
                zone=request.zone,
                unit_id=_find_unit_id(request) if visit.identified else None,
                shown_at=visit.now,
                recorded_at=self.system_clock.now(),
                items=ShownItems.of(answer.slate, answer.teams),
                model_name=answer.version.name,
                model_version=answer.version.version,
                experiment=None if assigned is None else assigned.experiment.key,
                variant=None if assigned is None else assigned.variant.name,
                fallback=answer.slate.fallback,
                degraded=answer.degraded,
                latency_ms=round(1_000 * latency, 3),
            )
        )


def _draw_share(recommendation_id: str) -> float:
    """Return a number in [0, 1), the same for the same answer."""
    return zlib.crc32(recommendation_id.encode()) / 2**32


def _find_unit_id(request: SlateRequest) -> str | None:
    """Return under which id a visitor's slates are logged."""
    return request.user_id or request.visitor_id or request.session_id


def _check_placement(placement: str, served: ServedRecommender, *, where: str) -> None:
    known = served.recommender.placements
    if placement not in known:
        raise UnknownName(placement, known, kind="placement", where=where)
