"""Visits: where they begin and end, the same in training and as the server reads them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from configs.settings import Settings
from features.contracts.visits import DEVICES, MAX_ACTIONS, OUTCOMES, VIEWED, WISHED, Visit
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories
from features.online.past_visits import compute_offline_visits
from features.online.user_state import Categories, UserState
from tests.shops.event_tables import make_table

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=1)


def look(item_id: str, minutes: float, **values: Any) -> dict[str, Any]:
    row = {
        "event_type": "view_item",
        "occurred_at": NOON + timedelta(minutes=minutes),
        "user_id": "u",
        "visitor_id": None,
        "session_id": None,
        "item_id": item_id,
        "event_id": f"{item_id} {minutes} {values}",
        "attributes": None,
    }
    return row | values


def read_visits(home: Path, rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    facts = Facts(Settings(home=home))
    facts.write({"events": make_table("events", rows)})
    visits = compute_offline_visits(facts, LATER)
    lengths = visits.lengths
    return [visits.take_first(n, int(lengths[n])).item_ids[::-1] for n in range(len(visits))]


def test_half_an_hour_of_silence_ends_a_visit(tmp_path: Path) -> None:
    rows = [look("a", 0), look("b", 30), look("c", 61), look("a", 62)]
    assert read_visits(tmp_path, rows) == [("a", "b"), ("c", "a")]


def test_sessions_end_with_their_id_whatever_the_silence(tmp_path: Path) -> None:
    rows = [
        look("a", 0, session_id="s1"),
        look("b", 90, session_id="s1"),
        look("c", 91, session_id="s2"),
    ]
    assert read_visits(tmp_path, rows) == [("a", "b"), ("c",)]


def test_signing_in_does_not_end_a_visit(tmp_path: Path) -> None:
    rows = [look("a", 0, visitor_id="v", user_id=None), look("b", 1, visitor_id="v", user_id="u")]
    assert read_visits(tmp_path, rows) == [("a", "b")]


def test_a_selection_and_the_view_it_leads_to_are_one_look(tmp_path: Path) -> None:
    rows = [look("a", 0, event_type="select_item"), look("a", 0.1), look("a", 1)]
    assert read_visits(tmp_path, rows) == [("a", "a")]


def test_purchases_are_no_looks_and_who_refused_has_no_visit(tmp_path: Path) -> None:
    facts = Facts(Settings(home=tmp_path))
    rows = [look("a", 0, user_id="no"), look("b", 0, event_type="purchase"), look("c", 1)]
    refused = {"user_id": "no", "personalization_allowed": False}
    facts.write({"events": make_table("events", rows), "users": make_table("users", [refused])})
    visits = compute_offline_visits(facts, LATER)
    assert visits.item_ids[visits.items].tolist() == ["c"]


def test_a_shop_of_purchases_alone_has_no_visits(tmp_path: Path) -> None:
    assert read_visits(tmp_path, [look("a", 0, event_type="purchase")]) == []


def test_a_look_ends_as_what_the_visitor_did_with_the_item(tmp_path: Path) -> None:
    facts = Facts(Settings(home=tmp_path))
    rows = [
        look("a", 0),  # carted later
        look("b", 1),  # bought later
        look("c", 2),
        look("a", 3, event_type="add_to_cart"),
        look("a", 4),  # looked at again, and nothing came of that
        look("b", 20, event_type="purchase"),
        look("c", 3, event_type="purchase", user_id="somebody else"),
        look("c", 90, event_type="purchase"),  # too late: of no visit
        look("d", 10, event_type="purchase"),  # never looked at
    ]
    facts.write({"events": make_table("events", rows)})
    visits = compute_offline_visits(facts, LATER)
    names = [OUTCOMES[number] for number in visits.outcomes]
    assert visits.item_ids.tolist() == ["a", "b", "c"]
    assert names == ["add_to_cart", "purchase", "view", "add_to_cart", "view"]


def test_an_order_that_names_the_user_alone_is_of_the_visitor_as_whom_they_came(
    tmp_path: Path,
) -> None:
    facts = Facts(Settings(home=tmp_path))
    rows = [
        look("a", 0, visitor_id="v", user_id=None),
        look("b", 1, visitor_id="v", user_id="u"),
        look("b", 1, visitor_id="another", user_id=None),
        look("a", 5, event_type="purchase", user_id="u"),
        look("b", 6, event_type="purchase", user_id="stranger"),
    ]
    facts.write({"events": make_table("events", rows)})
    visits = compute_offline_visits(facts, LATER)
    looks = zip(visits.item_ids[visits.items], visits.outcomes, strict=True)
    assert [(item, OUTCOMES[number]) for item, number in looks] == [
        ("b", "view"),
        ("a", "purchase"),
        ("b", "view"),
    ]


class _Record:
    def __init__(self, row: dict[str, Any]) -> None:
        self.__dict__.update(row)


def test_a_visit_knows_its_device_how_long_looks_took_and_who_comes_back(tmp_path: Path) -> None:
    facts = Facts(Settings(home=tmp_path))
    rows = [
        look("a", -600),
        look("b", 0, attributes='{"device":"Mobile","duration_seconds":"40"}'),
        look("c", 2, event_type="add_to_wishlist"),
        look("d", 5),
        look("a", -600, user_id="w"),
    ]
    facts.write({"events": make_table("events", rows)})
    histories = compute_offline_histories(facts, LATER)
    visit = histories["u"].visit
    assert visit.item_ids == ("d", "c", "b")
    assert visit.kinds == (VIEWED, WISHED, VIEWED)
    assert (visit.device, visit.is_returning) == (DEVICES["phone"], True)
    # As sent, else until the next action; of the last nobody knows.
    last, wish, sent = visit.list_dwell_seconds()
    assert (wish, sent) == (180.0, 40.0)
    assert math.isnan(last)
    stranger = histories["w"].visit
    assert (stranger.device, stranger.is_returning) == (None, False)


def test_a_visit_longer_than_what_is_kept_does_not_know_who_comes_back(tmp_path: Path) -> None:
    facts = Facts(Settings(home=tmp_path))
    facts.write({"events": make_table("events", [look(f"i{n}", n) for n in range(MAX_ACTIONS)])})
    assert compute_offline_histories(facts, LATER)["u"].visit.is_returning is None
    visits = compute_offline_visits(facts, LATER)
    assert visits.take_first(0, MAX_ACTIONS).is_returning is None
    assert visits.take_first(0, MAX_ACTIONS - 1).is_returning is False


ATTRIBUTES = [
    None,
    '{"colour":"red"}',
    '{"device":"Mobile","duration_seconds":12.5}',
    '{"device":"television","duration_seconds":"3"}',
    '{"duration_seconds":"a while"}',
]
LOOKS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 200),
        st.sampled_from(["view_item", "select_item", "add_to_cart", "add_to_wishlist"]),
        st.sampled_from([None, "s1", "s2"]),
        st.sampled_from(ATTRIBUTES),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda look: look[1],
)


@settings(max_examples=25, deadline=None)
@given(LOOKS)
def test_the_server_finds_the_visit_that_training_does(
    looks: list[tuple[str, int, str, str | None, str | None]],
) -> None:
    rows = [
        look(item_id, minutes, event_type=kind, session_id=session, attributes=attributes)
        for item_id, minutes, kind, session, attributes in looks
    ]
    with TemporaryDirectory() as home:
        facts = Facts(Settings(home=Path(home)))
        facts.write({"events": make_table("events", rows)})
        offline = compute_offline_histories(facts, LATER)["u"].visit
        visits = compute_offline_visits(facts, LATER)
    last = len(visits) - 1
    assert visits.take_first(last, int(visits.lengths[last])) == offline

    half = len(rows) // 2
    records = [_Record(row) for row in rows]
    state = UserState.unpack(UserState.empty().merge(records[half:]).pack())
    online = state.merge(records[:half]).build_history("u", LATER, Categories({}, ("",))).visit
    assert online == offline != Visit()
