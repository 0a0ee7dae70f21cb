"""Scheduled prices: when they begin, the check before they do, and the stop of activations."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from configs.settings import Settings
from configs.zone_settings import ZoneSettings
from features.contracts.errors import BadInput, Conflict
from features.contracts.local_times import parse_local_time
from features.contracts.pricing import PresentItem
from features.database import reading, transaction
from features.prices.ledger import Ledger, PriceSource
from features.prices.reduction_rule import PLAIN_RULES, ReductionRule
from serving.access import SCOPES, Caller
from serving.audit.repository import AuditRecords
from serving.database.price_locks import EVERY_ZONE, PriceLocks
from serving.price_desk import decisions
from serving.price_desk.activation import resume_activations, settle_due, stop_activations
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import roll_back
from serving.price_desk.service import PriceDeskService
from serving.prices.service import PriceService
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.price_desk import (
    NOW,
    act_as_system,
    make_decider,
    make_opening_price,
    make_suggestion,
    read_offer_prices,
    read_statuses,
    store_suggestions,
)

DAY, WEEK = timedelta(days=1), timedelta(days=7)
ANNA = Caller("anna", "Anna", frozenset(SCOPES), is_person=True)


def approve(engine, key, begins=None, days=0.0):
    with transaction(engine) as connection:
        return decisions.approve(
            connection, make_decider(days=days), key, begins=begins and (lambda _zone: begins)
        )


def settle(engine, at, **values):
    with transaction(engine) as connection:
        return settle_due(connection, replace(act_as_system(at), **values))


def read(engine, key):
    with reading(engine) as connection:
        assert AuditRecords(connection).verify().intact
        return Suggestions(connection).get(key)


def find_base(connection, at):
    return Ledger(connection).find_current(["milk"], "default", at)["milk"].price_id


def list_actions(engine, key):
    with reading(engine) as connection:
        return [
            entry.action for entry in AuditRecords(connection).page() if entry.subject_id == key
        ]


def test_an_approval_says_when_the_price_begins_and_keeps_the_expected_effect(engine):
    (key,) = store_suggestions(engine, make_suggestion("milk", 110))
    approved = approve(engine, key, NOW + WEEK)
    assert (approved.status, approved.effective_from) == ("scheduled", NOW + WEEK)
    assert approved.expected == {"profit": {"p10": 1.0, "p50": 2.0, "p90": 3.0}}
    assert read_offer_prices(engine, "milk", at=NOW + WEEK - timedelta(seconds=1)) == [100]
    assert read_offer_prices(engine, "milk", at=NOW + WEEK) == [110]


def test_a_promotion_keeps_its_own_start(engine):
    ends = NOW + WEEK
    (key,) = store_suggestions(
        engine, make_suggestion("milk", 80, kind="promotion", starts_at=NOW, ends_at=ends)
    )
    with pytest.raises(Conflict, match="its own start"):
        approve(engine, key, NOW + timedelta(days=1))


@pytest.mark.parametrize(
    ("text", "timezone", "instant"),
    [
        ("2018-01-08T06:00Z", "Europe/Berlin", "2018-01-08T06:00+00:00"),
        ("2018-01-08T06:00+08:00", "UTC", "2018-01-07T22:00+00:00"),
        ("2018-01-08 06:00", "Asia/Shanghai", "2018-01-07T22:00+00:00"),
        ("2018-01-08", "America/Sao_Paulo", "2018-01-08T02:00+00:00"),
        ("Monday 06:00", "Europe/Berlin", "2018-01-08T05:00+00:00"),
        ("monday", "UTC", "2018-01-08T00:00+00:00"),
        ("friday 06:00", "UTC", "2018-01-05T06:00+00:00"),
        ("2018-10-28 02:30", "Europe/Berlin", "2018-10-28T00:30+00:00"),  # comes twice
    ],
)
def test_a_time_is_an_instant_or_the_hour_of_a_clock(text, timezone, instant):
    # Monday 2018-01-01 at 06:00 in Berlin: that Monday has passed.
    assert parse_local_time(text, NOW, timezone) == datetime.fromisoformat(instant)


@pytest.mark.parametrize("text", ["soon", "", "2018-13-01", "Monday 25:00", "2018-03-25 02:30"])
def test_what_is_no_time_or_an_hour_that_the_clock_skips_is_refused(text):
    with pytest.raises(BadInput):
        parse_local_time(text, NOW, "Europe/Berlin")


def test_an_hour_is_meant_in_the_time_of_each_zone(engine, tmp_path):
    settings = Settings(
        home=tmp_path, timezone="UTC", zones={"cn": ZoneSettings(timezone="Asia/Shanghai")}
    )
    desk = PriceDeskService(settings, engine, FixedClock(NOW), SYSTEM_CLOCK, PLAIN_RULES)
    begins = desk.read_beginning("2018-01-08 06:00")
    assert begins("default") - begins("cn") == timedelta(hours=8)
    with pytest.raises(BadInput, match="has passed"):
        desk.read_beginning("2017-12-31 06:00")
    assert desk.read_beginning(None) is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"off_sale": frozenset({"milk"})}, "off sale"),
        (
            {
                "find_present_items": lambda _zone, ids, _rule: {
                    i: PresentItem(None, 0.0) for i in ids
                }
            },
            "stock",
        ),
    ],
)
def test_what_no_longer_holds_returns_to_the_queue_with_the_reason(engine, values, reason):
    begins, ends = NOW + WEEK, NOW + 2 * WEEK
    (key,) = store_suggestions(
        engine, make_suggestion("milk", 80, kind="promotion", starts_at=begins, ends_at=ends)
    )
    assert approve(engine, key).status == "scheduled"
    settle(engine, begins, **values)
    returned = read(engine, key)
    assert (returned.status, returned.price_id) == ("submitted", None)
    assert reason in returned.returned_reason
    assert returned.expires_at > begins
    # As if it had never been: at its beginning, and in what the law counts.
    for at in (begins, begins + timedelta(days=1), ends):
        assert read_offer_prices(engine, "milk", at=at) == [100]
    assert list_actions(engine, key) == ["approve", "return"]
    # It can be decided again.
    assert settle(engine, begins) == 0
    assert approve(engine, key, days=7).status == "live"
    assert read_offer_prices(engine, "milk", at=begins + timedelta(days=1)) == [80]
    assert read(engine, key).returned_reason is None


def test_another_price_beneath_a_scheduled_one_sends_it_back(engine):
    (key,) = store_suggestions(engine, make_suggestion("milk", 110))
    approve(engine, key, NOW + WEEK)
    correction = replace(
        make_opening_price("milk", 104), valid_from=NOW + timedelta(days=1), recorded_at=NOW
    )
    with transaction(engine) as connection:
        Ledger(connection).append([correction])
    settle(engine, NOW + WEEK)
    assert "1.04, not 1.00" in read(engine, key).returned_reason
    assert read_offer_prices(engine, "milk", at=NOW + WEEK) == [104]


def test_a_price_is_checked_before_it_is_served_however_late_the_scheduler_is(engine, settings):
    kept, lapsed = store_suggestions(engine, make_suggestion("milk", 110), make_suggestion("tea"))
    for key in (kept, lapsed):
        approve(engine, key, NOW + WEEK)
    correction = replace(make_opening_price("tea", 104), valid_from=NOW + timedelta(days=1))
    with transaction(engine) as connection:
        Ledger(connection).append([correction])
    later = NOW + WEEK + timedelta(hours=3)
    desk = PriceDeskService(settings, engine, FixedClock(later), SYSTEM_CLOCK, PLAIN_RULES)
    prices = PriceService(settings, engine, FixedClock(later), PLAIN_RULES, desk.catch_up)
    quotes = prices.quote_items(["milk", "tea"], "default", later)
    assert [quote.price.offer_price_minor for quote in quotes] == [110, 104]
    assert quotes[0].price.valid_from == NOW + WEEK
    assert read_statuses(engine, [kept, lapsed]) == ["live", "submitted"]


def promote_beneath(engine, *, scheduled):
    """Approve a price that begins in a week, live by then or not, under a promotion of days 1 to
    10; return the ids of both."""
    promotion = make_suggestion(
        "milk", 80, kind="promotion", starts_at=NOW + DAY, ends_at=NOW + 10 * DAY
    )
    (regular,) = store_suggestions(engine, make_suggestion("milk", 110))
    if scheduled:
        approve(engine, regular, NOW + WEEK)
    with transaction(engine) as connection:
        (promoted,) = Suggestions(connection).add([promotion])
    approve(engine, promoted)
    settle(engine, NOW + DAY)
    if not scheduled:
        with transaction(engine) as connection:
            current = Ledger(connection).find_current(["milk"], "default", NOW + WEEK)["milk"]
            draft = make_suggestion("milk", 110, base=current.price_id)
            (regular,) = Suggestions(connection).add([draft])
        approve(engine, regular, days=7)
    return regular, promoted


@pytest.mark.parametrize("times_stopped", [0, 2])
def test_a_price_that_returned_during_a_promotion_is_not_charged_after_it(engine, times_stopped):
    regular, _ = promote_beneath(engine, scheduled=True)
    for number in range(times_stopped):
        with transaction(engine) as connection:
            stop_activations(connection, make_decider(days=2 + number, reason="wrong costs"))
        with transaction(engine) as connection:
            resume_activations(connection, make_decider(days=2.5 + number))
    settle(engine, NOW + WEEK)
    assert read(engine, regular).status == "submitted"
    for days, offer in ((6, 80), (8, 80), (10, 100), (40, 100)):
        assert read_offer_prices(engine, "milk", at=NOW + days * DAY) == [offer]


def test_a_price_that_is_rolled_back_during_a_promotion_is_not_charged_after_it(engine):
    regular, promoted = promote_beneath(engine, scheduled=False)
    assert read_offer_prices(engine, "milk", at=NOW + 8 * DAY) == [110]
    regular_price = read(engine, regular).price_id
    with transaction(engine) as connection:
        # By a law that counts from the price right before, the promotion may be announced anew.
        lenient = replace(
            make_decider("ben", 8),
            find_rules=lambda _zone, items: dict.fromkeys(items, ReductionRule(days=0)),
        )
        roll_back(connection, lenient, regular_price)
    for days, offer in ((7, 110), (8, 80), (10, 100), (40, 100)):
        assert read_offer_prices(engine, "milk", at=NOW + days * DAY) == [offer]
    # The promotion beneath can still be ended early.
    promotion_price = read(engine, promoted).price_id
    with transaction(engine) as connection:
        roll_back(connection, make_decider("ben", 9), promotion_price)
    assert read_offer_prices(engine, "milk", at=NOW + 9 * DAY) == [100]


def raise_during_promotion(engine, beneath):
    """Let a regular price of 0.95 begin in a promotion at 0.70 over a price with this list and
    offer; return the id of its row."""
    opening = replace(
        make_opening_price("milk"), list_price_minor=beneath[0], offer_price_minor=beneath[1]
    )
    promotion = replace(
        make_opening_price("milk", 70),
        list_price_minor=100,
        valid_from=NOW - DAY,
        valid_to=NOW + 10 * DAY,
        source=PriceSource.IMPORTED,
    )
    with transaction(engine) as connection:
        Ledger(connection).append([opening, promotion])
        draft = make_suggestion("milk", 95, base=promotion.content_id(), current_price_minor=70)
        (key,) = Suggestions(connection).add([draft])
    approve(engine, key)
    return read(engine, key).price_id


@pytest.mark.parametrize(
    ("beneath", "why"),
    [
        # After the promotion the item would cost a fifth of what it costs.
        ((20, 20), r"the offer price moves by -7\d"),
        # After the promotion at 0.70, 0.80 would be announced anew.
        ((100, 80), "it is no reduction"),
    ],
)
def test_a_rollback_checks_the_price_beneath_a_promotion_too(engine, beneath, why):
    price_id = raise_during_promotion(engine, beneath)
    # By a law that counts from the price right before, the promotion itself may begin anew.
    decider = replace(
        make_decider("ben", 2),
        find_rules=lambda _zone, items: dict.fromkeys(items, ReductionRule(days=0)),
    )
    with transaction(engine) as connection, pytest.raises(Conflict, match=why):
        roll_back(connection, decider, price_id)
    assert read_offer_prices(engine, "milk", at=NOW + 3 * DAY) == [95]


def test_an_item_that_was_locked_meanwhile_keeps_its_price(engine):
    early, late = store_suggestions(
        engine, make_suggestion("milk", 110), make_suggestion("tea", 110)
    )
    for key in (early, late):
        approve(engine, key, NOW + WEEK)
    with transaction(engine) as connection:
        locks = PriceLocks(connection)
        locks.add("milk", EVERY_ZONE, "contract", "ben", NOW + DAY, NOW + 9 * DAY)
        locks.add("tea", EVERY_ZONE, "contract", "ben", NOW + DAY, NOW + WEEK)
    settle(engine, NOW + WEEK)
    assert read_statuses(engine, [early, late]) == ["submitted", "live"]
    assert "locked until 2018-01-10 05:00 UTC: contract" in read(engine, early).returned_reason
    assert read_offer_prices(engine, "milk", "tea", at=NOW + WEEK) == [100, 110]


def test_each_price_is_activated_once_however_many_processes_look(engine):
    keys = store_suggestions(engine, *(make_suggestion(f"item{n}") for n in range(5)))
    for key in keys:
        approve(engine, key, NOW + WEEK)
    assert [settle(engine, NOW + WEEK) for _ in range(3)] == [5, 0, 0]
    assert [list_actions(engine, key) for key in keys] == [["approve", "go_live"]] * 5


def test_a_stop_halts_every_activation_and_what_holds_goes_on_afterwards(engine):
    scheduled, waiting = store_suggestions(
        engine, make_suggestion("milk", 110), make_suggestion("tea", 90)
    )
    approve(engine, scheduled, NOW + WEEK)
    with transaction(engine) as connection, pytest.raises(Conflict, match="reason"):
        stop_activations(connection, make_decider())
    with transaction(engine) as connection:
        assert stop_activations(connection, make_decider(reason="wrong costs")) == 1
    assert approve(engine, waiting).status == "approved"
    assert read_statuses(engine, [scheduled, waiting]) == ["approved", "approved"]
    settle(engine, NOW + 2 * WEEK)
    assert read_offer_prices(engine, "milk", "tea", at=NOW + 2 * WEEK) == [100, 100]
    with transaction(engine) as connection:
        assert resume_activations(connection, make_decider(days=2)) == 2
    # One begins when it was meant to, as nothing had been; the other when the stop ends.
    assert read_statuses(engine, [scheduled, waiting]) == ["scheduled", "live"]
    assert read_offer_prices(engine, "milk", "tea", at=NOW + timedelta(days=1)) == [100, 100]
    assert read_offer_prices(engine, "milk", "tea", at=NOW + timedelta(days=2)) == [100, 90]
    assert read_offer_prices(engine, "milk", at=NOW + WEEK) == [110]
    assert list_actions(engine, scheduled) == ["approve", "hold", "release"]
    assert read(engine, scheduled).price_id is not None
    assert settle(engine, NOW + WEEK) == 1


def test_a_rollback_holds_when_a_withdrawn_price_beside_it_would_have_begun(engine):
    (live,) = store_suggestions(engine, make_suggestion("milk", 110))
    live_price = approve(engine, live).price_id
    with transaction(engine) as connection:
        planned_next = make_suggestion("milk", 120, base=live_price)
        (planned,) = Suggestions(connection).add([planned_next])
    approve(engine, planned, NOW + WEEK)
    with transaction(engine) as connection:
        assert stop_activations(connection, make_decider(days=1, reason="wrong costs")) == 1
    with transaction(engine) as connection:
        roll_back(connection, make_decider("ben", 2), live_price)
    for days, offer in ((1, 110), (2, 100), (7, 100), (40, 100)):
        assert read_offer_prices(engine, "milk", at=NOW + days * DAY) == [offer]
    with reading(engine) as connection:
        (corrected,) = [e for e in AuditRecords(connection).page() if e.action == "correct"]
    assert corrected.details["offer_price"] == "1.00"
    assert corrected.details["valid_from"] == (NOW + WEEK).isoformat()


def test_a_price_goes_live_where_the_ledger_repeats_the_one_it_was_computed_against(engine):
    (planned,) = store_suggestions(engine, make_suggestion("milk", 120))
    approve(engine, planned, NOW + WEEK)
    with transaction(engine) as connection:
        assert stop_activations(connection, make_decider(days=1, reason="wrong costs")) == 1
        assert resume_activations(connection, make_decider(days=1)) == 1
    planned_price = read(engine, planned).price_id
    with transaction(engine) as connection:
        roll_back(connection, make_decider("ben", 1), planned_price)
        (live,) = Suggestions(connection).add(
            [make_suggestion("milk", 110, base=find_base(connection, NOW + DAY))]
        )
    live_price = approve(engine, live, days=2).price_id
    # On the day of the plan that was rolled back the ledger repeats the price that is live.
    assert read_offer_prices(engine, "milk", at=NOW + WEEK) == [110]
    with transaction(engine) as connection:
        assert find_base(connection, NOW + WEEK) != live_price
        later = make_suggestion("milk", 115, base=live_price)
        later = replace(later, current_price_minor=110, list_price_minor=110)
        (key,) = Suggestions(connection).add([later])
    approve(engine, key, NOW + 2 * WEEK, days=3)
    settle(engine, NOW + 2 * WEEK)
    assert read(engine, key).status == "live"


def test_a_preview_refuses_what_the_approval_refuses_and_sums_the_effects(engine, settings):
    effect = {"p10": 50.0, "p50": 100.0, "p90": 150.0}
    expected = {"profit": {**effect, "against_keeping": effect}}
    keys = store_suggestions(
        engine,
        make_suggestion("milk", 110, expected=expected),
        make_suggestion("tea", 95, expected=expected),
        make_suggestion("oil", 120, expected=expected, category="Food > Oil"),
        make_suggestion("jam", proposed_by="anna"),
        make_suggestion("rice", 190),
    )
    desk = PriceDeskService(settings, engine, FixedClock(NOW), SYSTEM_CLOCK, PLAIN_RULES)
    preview = desk.preview(
        ANNA, "approve", criteria=SuggestionFilter(), effective_from="Monday 06:00"
    )
    assert (preview.matched, preview.changed) == (5, 3)
    assert [suggestion.item_id for suggestion in preview.largest] == ["oil", "milk", "tea"]
    profit = preview.effects["EUR"]["profit"]
    # Two of one category move together, the third on its own: sqrt((50 + 50)^2 + 50^2).
    assert profit.p50 == pytest.approx(300)
    assert profit.p90 - profit.p50 == pytest.approx((100**2 + 50**2) ** 0.5)
    assert preview.begins == (datetime(2018, 1, 1, 6, tzinfo=UTC),) * 2
    assert read_statuses(engine, keys) == ["submitted"] * 5
    with transaction(engine) as connection:
        result = decisions.decide_many(
            connection, desk.decider(ANNA, "pricing.approve", None), "approve", ids=keys
        )
    refused = {refusal.suggestion_id: str(refusal.error) for refusal in preview.refused}
    assert refused == {refusal.suggestion_id: str(refusal.error) for refusal in result.refused}


def test_a_price_that_was_computed_against_a_restored_one_goes_live(engine):
    (first,) = store_suggestions(engine, make_suggestion("milk", 110))
    price_id = approve(engine, first).price_id
    with transaction(engine) as connection:
        restored = roll_back(connection, make_decider("ben", 1), price_id)
        second = make_suggestion("milk", 120, base=restored.price_id)
        (later,) = Suggestions(connection).add([second])
    approve(engine, later, NOW + WEEK, days=2)
    assert settle(engine, NOW + WEEK) == 1
    assert read_statuses(engine, [first, later]) == ["rolled_back", "live"]


def test_of_many_who_activate_at_once_one_does(engine):
    keys = store_suggestions(engine, *(make_suggestion(f"item{n}") for n in range(5)))
    for key in keys:
        approve(engine, key, NOW + WEEK)
    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(lambda _: settle(engine, NOW + WEEK), range(4)))
    assert sum(list_actions(engine, key).count("go_live") for key in keys) == 5
    assert counts.count(5) == 1
