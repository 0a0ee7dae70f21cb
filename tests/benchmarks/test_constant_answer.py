"""The lower bound of the latency benchmark answers."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.benchmarks.constant_answer import create_app


def test_it_answers_as_many_bytes_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWER_BYTES", "1234")
    with TestClient(create_app()) as client:
        answer = client.post("/v1/recommendations", json={"placement": "home"})
    assert (answer.status_code, len(answer.content)) == (200, 1234)
