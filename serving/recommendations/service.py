"""Recommendations: from what a storefront asks to a slate, under the experiment that the visitor is
in."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import sqlalchemy as sa

from configs.settings import Settings
from experiments.assignment import assign, unit_of
from experiments.definition import Experiment, Variant
from experiments.exposure import Exposure, exposure
from features.contracts.arrays import BoolArray
from features.contracts.clock import Clock
from features.contracts.errors import Unavailable, UnknownName
from features.contracts.histories import UserHistory
from features.contracts.money import to_minor
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery, Slate
from features.contracts.tables import DEFAULT_ZONE
from features.facts.impressions import Impression
from features.online.online_store import OnlineHistories
from features.prices.offers import OfferPrices
from models.ranking.model import Policy
from models.ranking.recommender import Recommender
from models.registry import Version

# How long the items that a filter lets through are remembered; prices and stock move under it.
_FILTER_SECONDS = 5.0
_FILTERS_KEPT = 64
MAX_COUNT = 100


@dataclass(frozen=True)
class Filter:
    """What an item must be. `price_max` is in major units of the zone's currency and is held
    against offer prices.

    A category lets through everything below it: "Grocery" also "Grocery > Dairy".
    """

    category: tuple[str, ...] = ()
    brand: tuple[str, ...] = ()
    price_max: str | None = None


@dataclass(frozen=True)
class Asked:
    """What a storefront asks for. `candidate_ids` is set when a given list is to be ranked."""

    placement: str
    user_id: str | None = None
    visitor_id: str | None = None
    session_id: str | None = None
    item_ids: tuple[str, ...] = ()
    count: int = 20
    zone: str = DEFAULT_ZONE
    filter: Filter = Filter()
    exclude_item_ids: frozenset[str] = frozenset()
    exclude_purchased: bool = False
    in_stock_only: bool = True
    diversity: float | None = None
    strict: bool = False
    explain: bool = False
    candidate_ids: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Answer:
    """A slate with where it came from; `degraded` when the visitor's history could not be read."""

    recommendation_id: str
    placement: str
    slate: Slate
    assignment: tuple[Experiment, Variant] | None
    version: Version
    degraded: bool


class RecommendService:
    """Answers for one process. Safe to share between threads."""

    def __init__(
        self,
        engine: sa.Engine,
        settings: Settings,
        clock: Clock,
        system_clock: Clock,
        histories: OnlineHistories,
        log: Callable[[Exposure | Impression], None],
    ) -> None:
        self._offers = OfferPrices(engine)
        self._settings = settings
        self._clock = clock
        self._system_clock = system_clock
        self._histories = histories
        self._log = log
        self._lock = threading.Lock()
        self._allowed: OrderedDict[tuple[object, ...], tuple[float, frozenset[str]]] = OrderedDict()

    def answer(
        self,
        asked: Asked,
        *,
        recommender: Recommender,
        items: ItemFeatures,
        version: Version,
        experiments: Mapping[str, Experiment],
    ) -> Answer:
        """The answer, from what `items`, the catalogue of the zone asked for, lets through.

        Raises UnknownName for a placement the shop does not have.
        """
        if asked.placement not in recommender.placements:
            raise UnknownName(
                asked.placement, recommender.placements, kind="placement", where="placement"
            )
        now = self._clock.now()
        return self._answered(
            asked, now, self._history(asked, now), recommender, items, version, experiments
        )

    def page(
        self,
        every: Sequence[Asked],
        *,
        recommender: Recommender,
        items: ItemFeatures,
        version: Version,
        experiments: Mapping[str, Experiment],
    ) -> list[Answer]:
        """Slates for one visitor's page, in turn: what an earlier one shows, no later one repeats.

        Who asks, and in which zone, is the first one's to say. Raises UnknownName for a placement
        that the shop does not have.
        """
        for asked in every:
            if asked.placement not in recommender.placements:
                raise UnknownName(
                    asked.placement, recommender.placements, kind="placement", where="placements"
                )
        now = self._clock.now()
        known = self._history(every[0], now)
        shown: frozenset[str] = frozenset()
        answers = []
        for asked in every:
            rest = replace(asked, exclude_item_ids=asked.exclude_item_ids | shown)
            answer = self._answered(rest, now, known, recommender, items, version, experiments)
            shown |= {item.item_id for item in answer.slate.items}
            answers.append(answer)
        return answers

    def _answered(
        self,
        asked: Asked,
        now: datetime,
        known: tuple[UserHistory, bool],
        recommender: Recommender,
        items: ItemFeatures,
        version: Version,
        experiments: Mapping[str, Experiment],
    ) -> Answer:
        history, degraded = known
        assignment, unit_id = (None, None) if degraded else self._assignment(asked, experiments)
        recommendation_id = uuid.uuid4().hex
        query = self._query(asked, history, items, now)
        if recommender.placements[asked.placement].exploration.on:
            query = replace(query, draw=f"{self._settings.seed}:{recommendation_id}")
        policy: Policy | None = None
        if assignment is not None and assignment[1].policy != "champion":
            policy = assignment[1].policy
        slate = recommender.recommend([query], policy=policy)[0]
        answer = Answer(recommendation_id, asked.placement, slate, assignment, version, degraded)
        if assignment is not None and unit_id is not None:
            self._log(
                exposure(
                    *assignment,
                    unit_id,
                    recommendation_id=answer.recommendation_id,
                    placement=asked.placement,
                    occurred_at=now,
                    recorded_at=self._system_clock.now(),
                    model_name=version.name,
                    model_version=version.version,
                )
            )
        self._log_impressions(asked, answer, now)
        return answer

    def _log_impressions(self, asked: Asked, answer: Answer, now: datetime) -> None:
        """What a placement that explores has shown, with the chance of each item."""
        recorded_at = self._system_clock.now()
        for item in answer.slate.items:
            if item.propensity is None:
                continue
            self._log(
                Impression(
                    f"{answer.recommendation_id}:{item.rank}",
                    answer.recommendation_id,
                    answer.placement,
                    item.rank,
                    item.item_id,
                    item.propensity,
                    item.reason == Reason.EXPLORATION,
                    asked.user_id or asked.visitor_id or asked.session_id,
                    now,
                    recorded_at,
                    answer.version.name,
                    answer.version.version,
                )
            )

    def _history(self, asked: Asked, now: datetime) -> tuple[UserHistory, bool]:
        """The visitor's history; the unknown one, said so, when the store of online features does
        not answer."""
        try:
            return self._histories.read(
                asked.user_id, asked.visitor_id, asked.session_id, now
            ), False
        except Unavailable:
            return UserHistory.unknown(now), True

    def _assignment(
        self, asked: Asked, experiments: Mapping[str, Experiment]
    ) -> tuple[tuple[Experiment, Variant] | None, str | None]:
        if asked.candidate_ids is not None:
            return None, None
        for experiment in experiments.values():
            if not experiment.running or asked.placement not in experiment.placements:
                continue
            unit_id = unit_of(
                experiment.unit,
                user_id=asked.user_id,
                visitor_id=asked.visitor_id,
                session_id=asked.session_id,
            )
            variant = None if unit_id is None else assign(experiment, unit_id)
            if variant is not None:
                return (experiment, variant), unit_id
        return None, None

    def _query(
        self, asked: Asked, history: UserHistory, items: ItemFeatures, now: datetime
    ) -> RecommendationQuery:
        return RecommendationQuery(
            history,
            asked.placement,
            asked.count,
            context_item_ids=asked.item_ids,
            exclude_item_ids=asked.exclude_item_ids,
            exclude_purchased=asked.exclude_purchased,
            allowed_item_ids=self._allowed_ids(asked, items, now),
            candidate_ids=asked.candidate_ids,
            strict=asked.strict,
            explain=asked.explain,
            zone=asked.zone,
            at=now,
            diversity=asked.diversity,
        )

    def _allowed_ids(
        self, asked: Asked, items: ItemFeatures, now: datetime
    ) -> frozenset[str] | None:
        """The items that filter and stock let through; None when nothing is left out."""
        wanted = asked.filter
        stock = items.columns.get("stock_on_hand")
        empty = stock is None or not bool(np.any(stock <= 0))
        if wanted == Filter() and (not asked.in_stock_only or empty):
            return None
        key = (wanted, asked.in_stock_only, asked.zone, items.as_of, id(items))
        held = self._allowed.get(key)
        if held is not None and held[0] > time.monotonic():
            return held[1]
        allowed = frozenset(items.item_ids[self._passing(asked, items, now)].tolist())
        with self._lock:
            # An equal set stays the same object, so that the recommender finds its mask again.
            if held is not None and held[1] == allowed:
                allowed = held[1]
            self._allowed[key] = (time.monotonic() + _FILTER_SECONDS, allowed)
            self._allowed.move_to_end(key)
            while len(self._allowed) > _FILTERS_KEPT:
                self._allowed.popitem(last=False)
        return allowed

    def _passing(self, asked: Asked, items: ItemFeatures, now: datetime) -> BoolArray:
        wanted = asked.filter
        keep = np.ones(len(items.item_ids), bool)
        if wanted.category:
            prefixes = tuple(f"{each} > " for each in wanted.category)
            keep &= np.array(
                [c in wanted.category or str(c).startswith(prefixes) for c in items.category], bool
            )
        if wanted.brand:
            keep &= np.isin(items.brand.astype(str), np.array(wanted.brand))
        stock = items.columns.get("stock_on_hand")
        if asked.in_stock_only and stock is not None:
            keep &= ~(stock <= 0)  # unknown stock is NaN and stays
        if wanted.price_max is not None:
            most = to_minor(wanted.price_max, self._settings.zone(asked.zone).currency)
            keep &= (
                self._offers.of(items.item_ids, asked.zone, now) <= most
            )  # no price is NaN and does not pass
        return keep
