"""Campaigns of the promotion what-if."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from models.pricing.promotions.mechanics import Campaign, Mechanic

START = datetime(2018, 1, 8, tzinfo=UTC)


def make_campaign(mechanic="percent_off", weeks=2.0, **values):
    given = {"percent": 0.2} if mechanic == "percent_off" else {}
    return Campaign(
        "what-if",
        "default",
        START,
        START + timedelta(weeks=weeks),
        Mechanic(mechanic),
        **{**given, **values},
    )
