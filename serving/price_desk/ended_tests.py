"""Prices of price tests that are cancelled or over: nobody may approve them any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from features.prices.stored_tests import CANCELLED, PriceTests, StoredTest
from serving.price_desk.repository import Suggestion

PROPOSAL_PREFIX = "proposal_"


def explain_ended_tests(
    connection: sa.Connection, suggestions: Sequence[Suggestion], now: datetime
) -> dict[str, str]:
    """Return why prices of ended tests must not begin, by suggestion id.

    What brings prices back after a test is none of them, nor are the last prices of a roll-out that
    is over: they stay.
    """
    proposed = [s for s in suggestions if s.run_id.startswith(PROPOSAL_PREFIX)]
    if not proposed:
        return {}
    reasons = {
        batch["proposal_id"]: reason
        for test in PriceTests(connection).list_ended(now)
        for batch in test.document["batches"]
        if (reason := _explain(test, batch["period"])) is not None
    }
    return {s.id: reasons[s.run_id] for s in proposed if s.run_id in reasons}


def _explain(test: StoredTest, period: int) -> str | None:
    if test.state == CANCELLED:
        return f"the price test {test.test_id} is cancelled"
    is_end = period >= test.document["test"]["periods"]["n_periods"]
    if is_end or test.keeps_prices:
        return None
    return f"the price test {test.test_id} is over"
