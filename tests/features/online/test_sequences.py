from datetime import timedelta

import ibis

from features.contracts.sequences import CART, PURCHASE, VIEW, Event
from features.online.sequences import compute_offline_sequences
from tests.shops.event_tables import AS_OF, days_before, make_event, make_table


class Tables:
    """Facts from rows."""

    def __init__(self, **tables):
        self.connection = ibis.duckdb.connect()
        self.connection.raw_sql("SET TimeZone = 'UTC'")
        self._tables = tables

    def read(self, name):
        return ibis.memtable(make_table(name, self._tables.get(name, ())))


def test_an_order_is_one_step_and_who_has_no_name_has_a_sequence_too():
    day, minute = days_before(1), timedelta(minutes=1)
    facts = Tables(
        events=[
            make_event("u", "milk", day + minute, order_id="1"),
            make_event("u", "bread", day, order_id="1"),
            make_event("u", "milk", days_before(2), "view_item"),
            make_event("u", "late", AS_OF),
            make_event("u", "back", day, "refund"),
            make_event(None, "tea", day, "add_to_cart", visitor_id="v", session_id="s"),
            make_event(None, "cake", day + minute, "select_item", session_id="s"),
            make_event("refused", "milk", day),
        ],
        users=[{"user_id": "refused", "personalization_allowed": False}],
    )
    found = compute_offline_sequences(facts, AS_OF)
    now = int(AS_OF.timestamp())
    assert {
        str(name): found.events(place, now) for place, name in enumerate(found.visitor_ids)
    } == {
        "u": [
            Event("milk", VIEW, 2 * 86400.0),
            Event("bread", PURCHASE, 86400.0),
            Event("milk", PURCHASE, 86400.0),
        ],
        "v": [Event("tea", CART, 86400.0)],
        "s": [Event("cake", VIEW, 86400.0 - 60)],
    }


def test_no_events_are_no_sequences():
    assert compute_offline_sequences(Tables(), AS_OF).n_visitors == 0
