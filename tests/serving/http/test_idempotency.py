"""Responses kept under an Idempotency-Key."""

from datetime import UTC, datetime, timedelta

from features.database import transaction
from serving.http.idempotency_repository import RETENTION, StoredResponse, StoredResponses

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_responses_are_kept_for_two_days(engine):
    response = StoredResponse("print", 200, "{}")
    with transaction(engine) as connection:
        responses = StoredResponses(connection)
        responses.add("key_a", "k", response, NOW)
        assert responses.find("key_a", "k", NOW + RETENTION) == response
        assert responses.find("key_b", "k", NOW) is None
        assert responses.find("key_a", "k", NOW + RETENTION + timedelta(seconds=1)) is None
