"""Filing, approval, rejection, cancellation and early end of promotions.

Each works on the connection of one transaction: the promotion, its prices in the ledger and the
audit are committed together or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from features.contracts.errors import BadInput, Conflict, Forbidden, NotFound, PreconditionFailed
from features.database import lock
from models.pricing.promotions.conflicts import PromotionRun
from serving.access import find_objection
from serving.database.activation_stops import find_stop
from serving.database.audit_log import SYSTEM, Decider
from serving.database.decided_prices import append_decided
from serving.promotions.checks import (
    describe_problems,
    find_problems,
    is_priced,
    list_large_moves,
    make_prices,
    read_histories,
    refuse_problems,
)
from serving.promotions.lifecycle import (
    check_step,
    log_step,
    settle_promotions,
    take_out_prices,
)
from serving.promotions.repository import NewPromotion, Promotion, Promotions


def file_promotion(
    connection: sa.Connection,
    decider: Decider,
    draft: NewPromotion,
    runs: Sequence[PromotionRun],
    *,
    confirmed: bool = False,
) -> Promotion:
    """File a promotion; somebody else must approve it.

    `runs` are imported promotions that overlap it. Raises Forbidden outside the decider's areas,
    Conflict where anything stands against it, and BadInput for prices that move by more than
    MAX_JUMP without confirmation.
    """
    lock(connection, "price_desk")
    _settle(connection, decider)
    _check_areas(decider, draft)
    refuse_problems(find_problems(connection, decider, draft, runs))
    if not confirmed and (moves := list_large_moves(draft)):
        raise BadInput(
            describe_problems(moves),
            where="terms",
            hint="If that is meant, send confirm_large_change: true",
        )
    repository = Promotions(connection)
    promotion_id = repository.add(draft)
    promotion = _require(repository.get(promotion_id), promotion_id)
    details: dict[str, object] = {"terms": dict(promotion.terms)}
    if promotion.confirmed_rules:
        details["confirmed_rules"] = list(promotion.confirmed_rules)
    log_step(connection, decider, "file", promotion, details)
    return promotion


def approve(
    connection: sa.Connection,
    decider: Decider,
    promotion_id: str,
    runs: Sequence[PromotionRun],
    version: int | None = None,
) -> Promotion:
    """Approve a promotion: its prices go into the ledger, live at once or scheduled.

    Raises NotFound, PreconditionFailed, Forbidden (one's own, or outside the decider's areas) and
    Conflict (decided before, activations are stopped, or anything stands against it by now).
    """
    promotion = _prepare(connection, decider, promotion_id, version, "approve")
    if decider.actor == promotion.proposed_by:
        raise Forbidden("whoever proposed a promotion may not approve it", hint="Ask a colleague")
    if (stop := find_stop(connection)) is not None:
        raise Conflict(f"activations are stopped: {stop.reason}", hint="Approve it once they go on")
    refuse_problems(find_problems(connection, decider, promotion, runs, promotion_id))
    _enter_prices(connection, decider, promotion)
    begun = promotion.starts_at <= decider.now
    freeze = decider.freeze_forecasts
    repository = Promotions(connection)
    repository.change(
        promotion_id,
        decider.now,
        status="live" if begun else "scheduled",
        starts_at=max(promotion.starts_at, decider.now),
        decided_by=decider.actor,
        decided_at=decider.now,
        reason=decider.reason,
        forecast_set_id=None if freeze is None else freeze(connection, promotion.zone),
    )
    log_step(connection, decider, "approve", promotion, {"terms": dict(promotion.terms)})
    return _require(repository.get(promotion_id), promotion_id)


def reject(
    connection: sa.Connection, decider: Decider, promotion_id: str, version: int | None = None
) -> Promotion:
    """Reject a promotion. Raises NotFound, PreconditionFailed, Forbidden and Conflict."""
    return _drop(connection, decider, promotion_id, version, "reject")


def cancel(
    connection: sa.Connection, decider: Decider, promotion_id: str, version: int | None = None
) -> Promotion:
    """Take back a promotion that nobody decided on: whoever proposed it may. Raises as `reject`."""
    promotion = _prepare(connection, decider, promotion_id, version, "cancel")
    if decider.actor != promotion.proposed_by:
        raise Forbidden("only whoever proposed a promotion may cancel it", hint="Reject it instead")
    return _drop(connection, decider, promotion_id, version, "cancel")


def end(
    connection: sa.Connection, decider: Decider, promotion_id: str, version: int | None = None
) -> Promotion:
    """End an approved promotion now, or before it begins; the prices before return.

    Raises NotFound, PreconditionFailed, Forbidden and Conflict, also where the law forbids to
    announce the price before anew.
    """
    promotion = _prepare(connection, decider, promotion_id, version, "end")
    take_out_prices(connection, decider, promotion)
    repository = Promotions(connection)
    repository.change(
        promotion_id,
        decider.now,
        status="rolled_back",
        ended_at=max(decider.now, promotion.starts_at),
        ended_by=decider.actor,
        reason=decider.reason,
    )
    log_step(connection, decider, "end", promotion)
    return _require(repository.get(promotion_id), promotion_id)


def require_version(
    promotion: Promotion | None, promotion_id: str, version: int | None
) -> Promotion:
    """Return the promotion. Raises NotFound, and PreconditionFailed for another version."""
    promotion = _require(promotion, promotion_id)
    if version is not None and version != promotion.version:
        raise PreconditionFailed(
            f"the promotion is at version {promotion.version}, not {version}",
            hint="Read it again, then decide",
        )
    return promotion


def _prepare(
    connection: sa.Connection,
    decider: Decider,
    promotion_id: str,
    version: int | None,
    step: str,
) -> Promotion:
    """Lock the desk, let time pass, and return the promotion if the step is possible."""
    lock(connection, "price_desk")
    _settle(connection, decider)
    promotion = require_version(Promotions(connection).get(promotion_id), promotion_id, version)
    _check_areas(decider, promotion)
    check_step(promotion, step)
    return promotion


def _settle(connection: sa.Connection, decider: Decider) -> None:
    settle_promotions(
        connection,
        Decider(
            SYSTEM,
            decider.now,
            decider.at,
            find_rules=decider.find_rules,
            off_sale=decider.off_sale,
            find_price_floors=decider.find_price_floors,
        ),
    )


def _drop(
    connection: sa.Connection,
    decider: Decider,
    promotion_id: str,
    version: int | None,
    step: str,
) -> Promotion:
    promotion = _prepare(connection, decider, promotion_id, version, step)
    repository = Promotions(connection)
    repository.change(
        promotion_id,
        decider.now,
        status="rejected",
        decided_by=decider.actor,
        decided_at=decider.now,
        reason=decider.reason,
    )
    log_step(connection, decider, step, promotion)
    return _require(repository.get(promotion_id), promotion_id)


def _enter_prices(connection: sa.Connection, decider: Decider, promotion: Promotion) -> None:
    """Append the prices of a promotion to the ledger, where it is the price of its items."""
    if not is_priced(promotion):
        return
    item_ids = [item.item_id for item in promotion.items]
    histories = read_histories(connection, item_ids, promotion.zone, promotion.id)
    rows = {
        item.item_id: make_prices(
            promotion, item, histories.get(item.item_id, ()), decider.now, promotion.id
        )
        for item in promotion.items
    }
    entered = [row for of_item in rows.values() for row in of_item]
    append_decided(connection, decider, entered)
    links = {item_id: of_item[0].content_id() for item_id, of_item in rows.items()}
    Promotions(connection).link_prices(promotion.id, links)


def _check_areas(decider: Decider, promotion: NewPromotion) -> None:
    """Raise Forbidden where an item lies outside the areas of the decider."""
    for category in sorted({item.category for item in promotion.items}):
        if objection := find_objection(decider.areas, category, promotion.zone):
            raise objection


def _require(promotion: Promotion | None, promotion_id: str) -> Promotion:
    if promotion is None:
        raise NotFound(f"no promotion {promotion_id!r}", hint="See: GET /v1/promotions")
    return promotion
