"""The weekly looks at batches of price changes: one that sells less than its forecast is warned of,
and its rollback is proposed.

The rollback takes the way of every price by hand: the same rules, and somebody approves it. A look
and what it proposes are one transaction under the lock of the desk, so that however many processes
look, and however often one is killed, a batch is looked at once a week and proposed once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from features.contracts.money import to_major
from features.database import lock, reading, transaction
from serving.access import Caller
from serving.database.audit_log import BUSINESS_TIME, WATCH, AuditEntry, AuditLog
from serving.effects.repository import BatchLook, ChangeFilter, Changes, Looks, PriceChange
from serving.effects.service import EffectService
from serving.price_desk.checked_prices import ProposedPrice
from serving.price_desk.proposals import CheckedProposal, ProposalOptions, ProposalService

if TYPE_CHECKING:
    from serving.effects.measured import ChangeEffect

log = logging.getLogger(__name__)
SUBJECT = "price_batch"
_CALLER = Caller(WATCH, WATCH, frozenset({"pricing.propose"}))
_PAUSE = timedelta(minutes=10)  # between two searches for batches that are due
# Changes that began earlier are looked at no more; the last look may be late by so much.
_LOOKED_AT = timedelta(weeks=7)
_LAW = "law"  # no proposal may confirm it


@dataclass(frozen=True)
class _Batch:
    """Live changes of a run in one zone whose first whole week is the same."""

    run_id: str
    zone: str
    first_week: datetime
    changes: tuple[PriceChange, ...]


class EffectWatch:
    """Looks for one process."""

    def __init__(self, effects: EffectService, proposals: ProposalService) -> None:
        self._effects, self._proposals = effects, proposals
        self._searched_at: datetime | None = None
        self._business_day: object = None

    def tick(self) -> None:
        """Look at the batches that are due, every few minutes and on each new business day."""
        now, day = self._effects.system_clock.now(), self._effects.clock.now().date()
        is_soon = self._searched_at is not None and now - self._searched_at < _PAUSE
        if is_soon and day == self._business_day:
            return
        self.look()
        self._searched_at, self._business_day = now, day

    def look(self) -> list[BatchLook]:
        """Look at every batch that is due, and return the looks that were made."""
        effects = self._effects
        effects.settle()
        batches = [batch for batch in self._list_batches() if self._is_due(batch, effects)]
        if not batches:
            return []
        from features.facts.facts import Facts

        known_until = Facts(effects.settings).latest_event_at()
        looks = [self._look_at(batch, known_until) for batch in batches]
        return [look for look in looks if look is not None]

    def _list_batches(self) -> list[_Batch]:
        from models.pricing.effects.pooling import MIN_POOLED

        effects = self._effects
        since = effects.clock.now() - _LOOKED_AT
        with reading(effects.engine) as connection:
            changes = Changes(connection).list_matching(ChangeFilter(since=since, live_only=True))
        grouped: dict[tuple[str, str, datetime], list[PriceChange]] = {}
        for change in changes:
            if change.forecast_set_id is not None and change.kind == "regular":
                key = change.run_id, change.zone, effects.find_first_week(change)
                grouped.setdefault(key, []).append(change)
        return [
            _Batch(*key, changes=tuple(members))
            for key, members in grouped.items()
            if len(members) >= MIN_POOLED
        ]

    def _is_due(self, batch: _Batch, effects: EffectService) -> bool:
        """Return whether a week is over that was not looked at, as far as the clock knows."""
        week = self._count_weeks(batch, effects.clock.now())
        return week is not None and self._is_open(batch, week)

    def _is_open(self, batch: _Batch, week: int) -> bool:
        with reading(self._effects.engine) as connection:
            made = Looks(connection).list_of_run(batch.run_id, batch.zone, batch.first_week)
        return _allows_look(made, week)

    def _count_weeks(self, batch: _Batch, known_until: datetime | None) -> int | None:
        """Return for which weekly look it is time; None before the first one."""
        from models.pricing.effects.looks import FIRST_LOOK, LAST_LOOK

        weeks = self._effects.list_known_weeks(batch.first_week, known_until, LAST_LOOK)
        return len(weeks) if len(weeks) >= FIRST_LOOK else None

    def _look_at(self, batch: _Batch, known_until: datetime | None) -> BatchLook | None:
        """Measure a batch and keep the look, with a proposal where it sells too little."""
        week = self._count_weeks(batch, known_until)
        if week is None or not self._is_open(batch, week):
            return None
        ids = tuple(change.price_id for change in batch.changes)
        measured = self._effects.measure(ChangeFilter(price_ids=ids), max_weeks=week)
        look = self._judge(batch, week, measured.changes)
        if not look.is_alarm:
            return self._keep(look, None, ProposalOptions())
        options = ProposalOptions(reason=_describe(look))
        proposal, options = self._check(batch.changes, options)
        return self._keep(look, proposal, options)

    def _judge(self, batch: _Batch, week: int, effects: Sequence[ChangeEffect]) -> BatchLook:
        """Return the look at measured changes, without a proposal."""
        from models.pricing.effects.looks import FIRST_LOOK, find_limits, is_below_forecast
        from serving.effects.measured import measure_group

        group = measure_group(batch.run_id, effects)
        pooled = group.pooled
        look = BatchLook(
            run_id=batch.run_id,
            zone=batch.zone,
            first_week=batch.first_week,
            week=week,
            looked_at=self._effects.clock.now(),
            n_changes=group.n_measured,
            score=0.0,
            limit_score=find_limits()[week - FIRST_LOOK],
            profit={},
            currency=group.currency,
        )
        if pooled is None or not math.isfinite(pooled.score):
            return replace(look, note="too few of its changes have a week that counts")
        if math.isnan(pooled.effect.profit.p50):
            return replace(look, score=pooled.score, note="no cost is known of an item")
        profit = {name: getattr(pooled.effect.profit, name) for name in ("p10", "p50", "p90")}
        is_alarm = is_below_forecast(pooled, week)
        return replace(look, score=pooled.score, profit=profit, is_alarm=is_alarm)

    def _check(
        self, changes: Sequence[PriceChange], options: ProposalOptions
    ) -> tuple[CheckedProposal, ProposalOptions]:
        """Return the prices before the changes, held against the rules.

        A price that was valid before may break a rule of today; whoever approves is shown which.
        """
        prices = [
            ProposedPrice(row, change.item_id, change.zone, change.before_minor)
            for row, change in enumerate(changes, start=1)
        ]
        proposal = self._proposals.check(_CALLER, prices, options)
        broken = {name for price in proposal.refused for name in price.broken} - {_LAW}
        if broken:
            options = replace(options, confirmed=frozenset(broken))
            proposal = self._proposals.check(_CALLER, prices, options)
        return proposal, options

    def _keep(
        self, look: BatchLook, proposal: CheckedProposal | None, options: ProposalOptions
    ) -> BatchLook | None:
        """Keep a look, file what it proposes, and return it; None where another process did."""
        effects = self._effects
        if proposal is not None:
            look = replace(
                look,
                proposal_id=proposal.proposal_id if proposal.valid else None,
                note=_explain_refused(proposal),
            )
        with transaction(effects.engine) as connection:
            lock(connection, "price_desk")
            made = Looks(connection).list_of_run(look.run_id, look.zone, look.first_week)
            if not _allows_look(made, look.week):
                return None
            if proposal is not None and proposal.valid:
                self._proposals.file(connection, _CALLER, proposal, options, proposal.digest)
            Looks(connection).add(look)
            if look.is_alarm:
                entry = AuditEntry(WATCH, "warn", SUBJECT, look.run_id, _list_details(look))
                AuditLog(connection).append([entry], effects.system_clock.now())
        if look.is_alarm:
            log.warning("batch %s in %s: %s", look.run_id, look.zone, _describe(look))
        return look


def _allows_look(made: Iterable[BatchLook], week: int) -> bool:
    return not any(look.is_alarm or look.week >= week for look in made)


def _describe(look: BatchLook) -> str:
    """Return why a batch is warned of."""
    low, middle, high = (
        to_major(round(look.profit[name]), look.currency) for name in ("p10", "p50", "p90")
    )
    return (
        f"batch {look.run_id} sells less than its forecast: after {look.week} weeks its profit is "
        f"{middle} {look.currency} ({low} to {high}) against keeping its old prices"
    )


def _explain_refused(proposal: CheckedProposal) -> str | None:
    """Return which rollbacks are not proposed, and why the first one is not."""
    refused = proposal.refused
    if not refused:
        return None
    items = ", ".join(price.proposed.item_id for price in refused[:5])
    more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
    return f"not proposed: {items}{more}; the first because {refused[0].error}"


def _list_details(look: BatchLook) -> Mapping[str, object]:
    return {
        "reason": _describe(look),
        "zone": look.zone,
        "week": look.week,
        "changes": look.n_changes,
        "proposal": look.proposal_id,
        "note": look.note,
        BUSINESS_TIME: look.looked_at.isoformat(),
    }
