"""Prices of price tests that are cancelled or over: nobody may approve them any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from features.prices.stored_tests import CANCELLED, PriceTests, StoredTest
from serving.price_desk.repository import Suggestion

_PROPOSAL = "proposal_"  # begins the id of prices that a person or a test filed


def explain_ended_tests(
    connection: sa.Connection, suggestions: Sequence[Suggestion], now: datetime
) -> dict[str, str]:
    """Return why prices of ended tests must not begin, by suggestion id.

    Not what brings prices back after a test, nor the last prices of a roll-out that is over: they
    stay.
    """
    proposed = [s for s in suggestions if s.run_id.startswith(_PROPOSAL)]
    if not proposed:
        return {}
    filed = {
        batch["proposal_id"]: (test, batch["period"])
        for test in PriceTests(connection).list_ended(now)
        for batch in test.document["batches"]
    }
    reasons = {}
    for suggestion in proposed:
        if suggestion.run_id in filed:
            reason = _explain(*filed[suggestion.run_id], _find_beginning(suggestion, now))
            if reason is not None:
                reasons[suggestion.id] = reason
    return reasons


def _explain(test: StoredTest, period: int, begins_at: datetime) -> str | None:
    if test.state == CANCELLED:
        return f"the price test {test.test_id} is cancelled"
    is_end = period >= test.document["test"]["periods"]["n_periods"]
    if is_end or test.keeps_prices or test.ends_at is None or begins_at < test.ends_at:
        return None
    return f"the price test {test.test_id} is over"


def _find_beginning(suggestion: Suggestion, now: datetime) -> datetime:
    """Return when a price begins: as the ledger says, or if it were approved now."""
    is_in_ledger = suggestion.price_id is not None
    return suggestion.effective_from if is_in_ledger else max(suggestion.effective_from, now)
