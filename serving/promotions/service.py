"""Promotions as of now: what they would do, what stands against them, and the calendar.

Decisions themselves are made inside one transaction: decisions.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock, ClockWatch
from features.contracts.errors import BadInput, Unavailable
from features.contracts.pricing import DEFAULT_RULES
from features.database import reading, transaction
from features.facts.off_sale import OffSaleItems
from features.prices.currencies import refuse_unknown_zone
from features.prices.promotions import PromotedItem, find_promoted
from features.prices.reduction_rule import FindRules
from models.pricing.price_floors import ItemFloors
from models.pricing.promotions.conflicts import PromotionRun
from models.pricing.promotions.what_if import NoForecast
from serving.access import EVERYWHERE, Area, Caller
from serving.database.audit_log import SYSTEM, Decider
from serving.pricing_rules.present_rules import PresentRules
from serving.promotions import decisions
from serving.promotions.checks import (
    CheckedPromotion,
    find_problems,
    list_large_moves,
    list_rule_warnings,
)
from serving.promotions.documents import FilePromotionRequest, find_phase
from serving.promotions.lifecycle import settle_promotions
from serving.promotions.new_promotions import ItemNames, build_draft, build_what_if, find_items
from serving.promotions.repository import ChangeGroup, NewPromotion, Promotion, Promotions
from serving.what_if.promotion_documents import PromotionRequest, PromotionSimulationResponse


@dataclass(frozen=True)
class Prepared:
    """A promotion as far as it can be prepared outside of the transaction that files it.

    simulation   what it would do; None where nothing is forecast
    runs         imported promotions that overlap it
    """

    request: FilePromotionRequest
    what_if: PromotionRequest
    names: ItemNames
    simulation: PromotionSimulationResponse | None
    runs: list[PromotionRun]


@dataclass(frozen=True)
class PromotionService:
    """Files and reads promotions; `simulate` is the what-if of the models that serve.

    clock_watch   after a jump of the clock no status changes
    freeze        keeps the served forecasts of a zone at an approval
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    system_clock: Clock
    find_rules: FindRules
    simulate: Callable[[PromotionRequest], PromotionSimulationResponse]
    clock_watch: ClockWatch = field(default_factory=ClockWatch)
    freeze: Callable[[sa.Connection, str], str | None] | None = None

    @cached_property
    def off_sale(self) -> OffSaleItems:
        """The items that cannot be promoted."""
        return OffSaleItems(self.settings)

    def decider(self, caller: Caller, scope: str, reason: str | None) -> Decider:
        """Return who decides now, and where. Raises Forbidden without the scope."""
        return self._make_decider(caller.id, reason, caller.require(scope))

    def prepare(self, request: FilePromotionRequest) -> Prepared:
        """Return a promotion with its what-if; nothing is written.

        Raises UnknownName for a zone that nobody knows, and BadInput for one that cannot be.
        """
        from features.facts.facts import Facts
        from serving.pricing_inputs.promotion_plans import find_promotion_runs

        with reading(self.engine) as connection:
            refuse_unknown_zone(self.settings, connection, request.zone)
        facts = Facts(self.settings)
        item_ids, names = find_items(facts, request)
        what_if = build_what_if(request, self.settings, item_ids)
        if what_if.ends_at <= max(what_if.starts_at, self.clock.now()):
            raise BadInput("a promotion ends after it starts, and in the future", where="ends_at")
        try:
            simulation = self.simulate(what_if)
        except (NoForecast, Unavailable):
            simulation = None
        runs = find_promotion_runs(facts, what_if.zone, what_if.starts_at, what_if.ends_at)
        return Prepared(request, what_if, names, simulation, runs)

    def check(self, decider: Decider, prepared: Prepared) -> CheckedPromotion:
        """Return what filing a prepared promotion would store, and what stands against it: law,
        other promotions, planned prices, locks. Nothing is written."""
        with reading(self.engine) as connection:
            draft = self._build_draft(connection, decider, prepared)
            problems = find_problems(connection, decider, draft, prepared.runs)
        moves = list_large_moves(draft)
        return CheckedPromotion(draft, tuple(problems), tuple(moves))

    def file(self, connection: sa.Connection, decider: Decider, prepared: Prepared) -> Promotion:
        """File a prepared promotion. Raises as `file_promotion` of decisions.py."""
        draft = self._build_draft(connection, decider, prepared)
        confirmed = prepared.request.confirm_large_change
        return decisions.file_promotion(
            connection, decider, draft, prepared.runs, confirmed=confirmed
        )

    def _build_draft(
        self, connection: sa.Connection, decider: Decider, prepared: Prepared
    ) -> NewPromotion:
        draft = build_draft(
            connection,
            prepared.request,
            prepared.what_if,
            prepared.names,
            prepared.simulation,
            actor=decider.actor,
            now=decider.now,
            currency=self.settings.zone(prepared.what_if.zone).currency,
        )
        about_rules = list_rule_warnings(connection, decider, draft)
        return replace(draft, warnings=[*draft.warnings, *about_rules])

    def _find_floors(
        self, connection: sa.Connection, zone: str, item_ids: Sequence[str], at: datetime
    ) -> Mapping[str, ItemFloors]:
        """Return the lowest prices that the rules of now allow items at a time."""
        from serving.pricing_inputs.promotion_floors import read_price_floors

        find = partial(PresentRules.read(self.settings, connection).find, DEFAULT_RULES)
        return read_price_floors(self.settings, zone, item_ids, at, find)

    def find_runs(self, promotion_id: str) -> list[PromotionRun]:
        """Return the imported promotions that overlap one of the desk. Raises NotFound."""
        from features.facts.facts import Facts
        from serving.pricing_inputs.promotion_plans import find_promotion_runs

        promotion = self.read_promotion(promotion_id)
        return find_promotion_runs(
            Facts(self.settings), promotion.zone, promotion.starts_at, promotion.ends_at
        )

    def read_promotion(self, promotion_id: str) -> Promotion:
        """Return a promotion with its items. Raises NotFound."""
        self.settle()
        with reading(self.engine) as connection:
            found = Promotions(connection).get(promotion_id)
            return decisions.require_version(found, promotion_id, None)

    def read_calendar(
        self,
        starts_at: datetime,
        ends_at: datetime,
        zone: str | None = None,
        phases: tuple[str, ...] = (),
    ) -> tuple[list[Promotion], list[ChangeGroup]]:
        """Return the promotions of a time in these phases, and the price changes that begin in it.

        Without phases, all but the dropped ones. Raises UnknownName for a zone that nobody knows.
        """
        if ends_at <= starts_at:
            raise BadInput("a calendar ends after it begins", where="to")
        self.settle()
        with reading(self.engine) as connection:
            if zone is not None:
                refuse_unknown_zone(self.settings, connection, zone)
            repository = Promotions(connection)
            promotions = repository.list_between(starts_at, ends_at, zone)
            changes = repository.list_price_changes(starts_at, ends_at, zone)
        chosen = [
            promotion
            for promotion in promotions
            if (phase := find_phase(promotion)) in phases or (not phases and phase != "dropped")
        ]
        return chosen, changes

    def list_live(self, zone: str) -> list[list[PromotedItem]]:
        """Return the items of each promotion of a zone that runs now, by its beginning."""
        self.settle()
        now = self.clock.now()
        with reading(self.engine) as connection:
            refuse_unknown_zone(self.settings, connection, zone)
            promoted = find_promoted(connection, zone, now, now)
        by_promotion: dict[tuple[datetime, str], list[PromotedItem]] = {}
        for item in promoted:
            by_promotion.setdefault((item.starts_at, item.promotion_id), []).append(item)
        return [items for _, items in sorted(by_promotion.items())]

    def settle(self) -> None:
        """Let due promotions begin and end."""
        if self.clock_watch.find_jump() is not None:
            return
        with reading(self.engine) as connection:
            if not Promotions(connection).list_due(self.clock.now()):
                return
        with transaction(self.engine) as connection:
            settle_promotions(connection, self._make_decider(SYSTEM, None))

    def _make_decider(
        self, actor: str, reason: str | None, areas: tuple[Area, ...] = EVERYWHERE
    ) -> Decider:
        now = self.clock.now()
        return Decider(
            actor=actor,
            now=now,
            at=self.system_clock.now(),
            reason=reason,
            find_rules=self.find_rules,
            areas=areas,
            off_sale=self.off_sale.find(now),
            find_price_floors=self._find_floors,
            freeze_forecasts=self.freeze,
        )
