"""A call of a registry that does not answer ends in bounded time, and others behind it at once."""

from __future__ import annotations

import threading
import time

import pytest

from features.contracts.errors import NotFound, Unavailable
from models import registry_client
from models.registry_client import TimedClient


class Client:
    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()

    def find(self, name: str, *, version: str) -> str:
        self.answers.wait()
        if name == "nothing":
            raise NotFound("no such model")
        return f"{name} {version}"


def test_answers_and_errors_are_those_of_the_client() -> None:
    opened: list[Client] = []

    def open_client() -> Client:
        opened.append(Client())
        return opened[-1]

    timed = TimedClient(open_client, 5.0, "postgresql://host/mlflow")
    assert timed.find("demand", version="2") == "demand 2"
    with pytest.raises(NotFound, match="no such model"):
        timed.find("nothing", version="2")
    assert len(opened) == 1


def test_a_silent_registry_is_named_and_left_alone_until_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client()
    timed = TimedClient(lambda: client, 0.2, "postgresql://host/mlflow")
    client.answers.clear()
    with pytest.raises(Unavailable, match=r"does not answer within 0\.2 s.*MLFLOW_TRACKING_URI"):
        timed.find("demand", version="2")
    n_threads, started = threading.active_count(), time.monotonic()
    for _ in range(20):
        with pytest.raises(Unavailable, match="postgresql://host/mlflow"):
            timed.find("demand", version="2")
    assert time.monotonic() - started < 0.2
    assert threading.active_count() <= n_threads
    monkeypatch.setattr(registry_client.time, "monotonic", lambda: started + 1_000)
    client.answers.set()
    assert timed.find("demand", version="2") == "demand 2"
