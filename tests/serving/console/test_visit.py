"""Calls of services for somebody who has a page open."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from features.contracts.errors import BadInput, Forbidden, Unauthorized
from features.contracts.pricing import Band
from serving.access import Caller
from serving.console.parts import read_whole_number
from serving.console.texts import choose_texts
from serving.console.visit import Visit

MANAGER = Caller("mia", "Mia", frozenset({"pricing.approve", "pricing.read"}))
READER = Caller("mia", "Mia", frozenset({"pricing.read"}))


def open_page(sessions, written):
    return Visit(
        server=SimpleNamespace(sessions=SimpleNamespace(find=sessions)),
        token="token",
        person=None,
        caller=MANAGER,
        texts=choose_texts({"language": "en"}, "", "UTC"),
        theme="auto",
        zone="default",
        zones=["default"],
        path="/queue",
        parameters={},
        on_write=lambda: written.append("write"),
    )


def test_a_page_that_was_left_open_acts_with_the_roles_of_now():
    visit = open_page(lambda _token: SimpleNamespace(caller=READER), written := [])
    assert asyncio.run(visit.write(lambda caller: caller.scopes, visit.caller)) == READER.scopes
    assert written == ["write"]
    signed_out = open_page(lambda _token: None, written)
    with pytest.raises(Unauthorized):
        asyncio.run(signed_out.check(lambda caller: caller, signed_out.caller))


def test_two_writes_at_once_both_act_with_the_roles_of_now():
    visit = open_page(lambda _token: SimpleNamespace(caller=READER), [])

    async def write_twice():
        return await asyncio.gather(
            visit.write(lambda caller: caller.scopes, MANAGER),
            visit.write(lambda *, caller: caller.scopes, caller=MANAGER),
        )

    assert asyncio.run(write_twice()) == [READER.scopes, READER.scopes]


def test_a_page_that_was_left_open_reads_as_long_as_the_session_and_the_roles_last(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    active = [SimpleNamespace(caller=MANAGER)]
    visit = open_page(lambda _token: active[0], [])
    visit.scope = "pricing.approve"
    assert asyncio.run(visit.read(lambda: "prices")) == "prices"
    active[0] = SimpleNamespace(caller=READER)
    now[0] = 6.0
    with pytest.raises(Forbidden):
        asyncio.run(visit.read(lambda: "prices"))
    active[0] = None
    now[0] = 12.0
    with pytest.raises(Unauthorized):
        asyncio.run(visit.read(lambda: "prices"))


def test_a_look_before_a_decision_drops_no_counts():
    visit = open_page(lambda _token: SimpleNamespace(caller=READER), written := [])
    assert asyncio.run(visit.check(lambda caller: caller.scopes, visit.caller)) == READER.scopes
    assert written == []


def test_a_number_with_a_fraction_is_no_count():
    assert [read_whole_number(text, "Buy") for text in ("2", "3,0")] == [2, 3]
    with pytest.raises(BadInput, match=r"'2\.5' is no whole number") as error:
        read_whole_number("2.5", "Buy")
    assert error.value.where == "Buy"


def test_a_value_is_written_with_its_range():
    texts = choose_texts({"language": "en"}, "", "UTC")
    band = Band(-150.0, 1240.0, 2350.0)
    assert texts.band(band, "EUR") == "+€12.40 (−€1.50 – €23.50)"
    assert texts.band(band, "EUR", whole=True) == "+€12 (−€2 – €24)"
    assert texts.band(band, signed=False) == "1,240 (−150 – 2,350)"
    assert texts.band(Band(-1.25, 0.0, 1.5), digits=1) == "0 (−1.2 – 1.5)"
