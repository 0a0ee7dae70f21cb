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
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from features.contracts.errors import Unavailable
from features.contracts.money import to_major
from features.database import lock, reading, transaction
from serving.access import Caller
from serving.database.audit_log import BUSINESS_TIME, WATCH, AuditEntry, AuditLog
from serving.effects.repository import BatchLook, ChangeFilter, Changes, LiveChange, Looks
from serving.effects.service import LATE_START, EffectService
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
    changes: tuple[LiveChange, ...]

    @property
    def key(self) -> tuple[str, str, datetime]:
        """What tells it from other batches."""
        return self.run_id, self.zone, self.first_week


def _make_workers() -> Executor:
    return ThreadPoolExecutor(1, thread_name_prefix="effects")


class EffectWatch:
    """Looks for one process.

    workers   one thread: a search reads the sales of weeks, and nothing waits for it
    problem   which batches could not be looked at, or why none could; None where all were
    """

    def __init__(
        self, effects: EffectService, proposals: ProposalService, workers: Executor | None = None
    ) -> None:
        self._effects, self._proposals = effects, proposals
        self.workers = workers or _make_workers()
        self.problem: str | None = None
        self._search: Future[None] | None = None
        self._searched_at: datetime | None = None
        self._business_day: object = None
        self._failed: dict[tuple[str, str, datetime], str] = {}

    def tick(self) -> None:
        """Begin to look at the batches that are due, every few minutes and on each new business
        day. Raises Unavailable for what kept the last search from a look."""
        now, day = self._effects.system_clock.now(), self._effects.clock.now().date()
        is_running = self._search is not None and not self._search.done()
        is_soon = self._searched_at is not None and now - self._searched_at < _PAUSE
        if not is_running and not (is_soon and day == self._business_day):
            self._searched_at, self._business_day = now, day
            self._search = self.workers.submit(self._look_safely)
        if self.problem is not None:
            raise Unavailable(self.problem)

    def _look_safely(self) -> None:
        try:
            self.look()
        except Exception as error:  # the next search may succeed
            self.problem = str(error)

    def look(self) -> list[BatchLook]:
        """Look at every batch that is due, and return the looks that were made.

        A batch that fails is logged, once for each reason, and keeps no other from being looked at.
        """
        effects = self._effects
        effects.settle()
        batches = self._list_due()
        known_until = effects.find_latest_sales() if batches else {}
        looks, failed = [], {}
        for batch in batches:
            try:
                look = self._look_at(batch, known_until.get(batch.zone))
            except Exception as error:  # the next search may succeed
                failed[batch.key] = str(error)
                if self._failed.get(batch.key) != str(error):
                    log.exception("batch %s in %s: no look was made", batch.run_id, batch.zone)
            else:
                looks += [] if look is None else [look]
        self._failed = failed
        self.problem = _describe_failed(failed)
        return looks

    def _list_due(self) -> list[_Batch]:
        """Return the batches of which a week is over that was not looked at, as far as the clock
        knows."""
        from models.pricing.effects.pooling import MIN_POOLED

        effects, now = self._effects, self._effects.clock.now()
        since = now - _LOOKED_AT
        with reading(effects.engine) as connection:
            changes = Changes(connection, now).list_live(since)
            looks = Looks(connection).list_since(since - LATE_START)
        grouped: dict[tuple[str, str, datetime], list[LiveChange]] = {}
        for change in changes:
            key = change.run_id, change.zone, effects.find_first_week(change.begins_at)
            grouped.setdefault(key, []).append(change)
        made: dict[tuple[str, str, datetime], list[BatchLook]] = {}
        for look in looks:
            made.setdefault((look.run_id, look.zone, look.first_week), []).append(look)
        batches = []
        for key, members in grouped.items():
            week = self._count_weeks(key[2], now)
            is_due = week is not None and _allows_look(made.get(key, ()), week)
            if len(members) >= MIN_POOLED and is_due:
                batches.append(_Batch(*key, changes=tuple(members)))
        return batches

    def _count_weeks(self, first_week: datetime, known_until: datetime | None) -> int | None:
        """Return for which weekly look it is time; None before the first one."""
        from models.pricing.effects.looks import FIRST_LOOK, LAST_LOOK

        weeks = self._effects.list_known_weeks(first_week, known_until, LAST_LOOK)
        return len(weeks) if len(weeks) >= FIRST_LOOK else None

    def _look_at(self, batch: _Batch, known_until: datetime | None) -> BatchLook | None:
        """Measure a batch and keep the look, with a proposal where it sells too little."""
        week = self._count_weeks(batch.first_week, known_until)
        if week is None:
            return None
        with reading(self._effects.engine) as connection:
            made = Looks(connection).list_of_run(*batch.key)
        if not _allows_look(made, week):
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
        """Return the look at measured changes, without a proposal.

        Of a change without a cost no profit is known: it is left out, and the note says so.
        """
        from models.pricing.effects.looks import FIRST_LOOK, find_limits, is_below_forecast
        from serving.effects.measured import measure_group

        costed = [one for one in effects if one.change.unit_cost_minor is not None]
        look = BatchLook(
            run_id=batch.run_id,
            zone=batch.zone,
            first_week=batch.first_week,
            week=week,
            looked_at=self._effects.clock.now(),
            n_changes=0,
            score=0.0,
            limit_score=find_limits()[week - FIRST_LOOK],
            profit={},
            currency=effects[0].change.currency,
            note=_describe_uncosted(len(effects) - len(costed), len(effects)),
        )
        if not costed:
            return look
        group = measure_group(batch.run_id, costed)
        pooled = group.pooled
        look = replace(look, n_changes=group.n_measured)
        if pooled is None or not math.isfinite(pooled.score):
            few = "too few of its changes have a week that counts"
            return replace(look, note=_join_notes(look.note, few))
        profit = {name: getattr(pooled.effect.profit, name) for name in ("p10", "p50", "p90")}
        is_alarm = is_below_forecast(pooled, week)
        return replace(look, score=pooled.score, profit=profit, is_alarm=is_alarm)

    def _check(
        self, changes: Sequence[LiveChange], options: ProposalOptions
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
                note=_join_notes(look.note, _explain_refused(proposal)),
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


def _describe_failed(failed: Mapping[tuple[str, str, datetime], str]) -> str | None:
    """Return how many batches could not be looked at, and why the first one could not."""
    if not failed:
        return None
    (run_id, zone, _), error = next(iter(failed.items()))
    more = f"; {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"no look at batch {run_id} in {zone}: {error}{more}"


def _describe_uncosted(n_uncosted: int, n_changes: int) -> str | None:
    """Return how many changes of a batch are left out of its profit."""
    if not n_uncosted:
        return None
    return f"{n_uncosted} of {n_changes} changes are left out: no cost is known of their items"


def _join_notes(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note is not None) or None


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
