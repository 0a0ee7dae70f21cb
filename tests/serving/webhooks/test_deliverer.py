"""Deliveries: in order, none lost and none skipped, by one process at a time, dead and replayed."""

import json
import random
import threading
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.settings import Settings
from features.contracts.errors import BadInput, UnknownName
from features.database import reading, transaction
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from serving.conditions import Conditions
from serving.price_desk import decisions
from serving.price_desk.activation import resume_activations, stop_activations
from serving.price_desk.controls import DeskControls
from serving.price_desk.service import PriceDeskService
from serving.promotions.lifecycle import hold_scheduled
from serving.webhooks.deliverer import GIVE_UP, LEASE, MAX_REFUSALS, Deliverer, compute_delay
from serving.webhooks.messages import MESSAGE_ROWS
from serving.webhooks.repository import Deliveries
from serving.webhooks.sender import Answer
from serving.webhooks.service import WebhookService
from tests.shops.people import MovableClock
from tests.shops.price_desk import (
    make_decider,
    make_opening_price,
    make_suggestion,
    store_suggestions,
)

URL = "https://hooks.shop.example/prices"
ACCEPTED, DOWN, REFUSED = Answer(204, None), Answer(None, "refused"), Answer(422, "what is that?")


@dataclass
class FakeSender:
    """A receiver that answers as the test says, and what it was sent."""

    answers: list[Answer] = field(default_factory=list)
    otherwise: Answer = ACCEPTED
    sent: list[tuple[str, bytes, Answer]] = field(default_factory=list)
    signatures: list[list[str]] = field(default_factory=list)

    def send(self, url, headers, body):
        assert url == URL
        answer = self.answers.pop(0) if self.answers else self.otherwise
        self.sent.append((headers["webhook-id"], body, answer))
        self.signatures.append(headers["webhook-signature"].split())
        return answer

    def accepted(self):
        """The items of the messages that arrived, in order."""
        bodies = [json.loads(body) for _, body, answer in self.sent if answer.is_delivered]
        return [item for body in bodies for item in body["data"]["items"]]


class Hooks:
    """One receiver of a shop, its deliverer, and a clock that the test moves."""

    def __init__(self, engine, *events):
        self.engine, self.clock, self.sender = engine, MovableClock(), FakeSender()
        settings = Settings(webhook_targets="https://hooks.shop.example")
        self.service = WebhookService(settings, engine, self.clock)
        self.deliverer = self.make_deliverer(self.sender)
        with transaction(engine) as connection:
            self.webhook = self.service.add(connection, URL, events, actor="anna")

    def make_deliverer(self, sender):
        return Deliverer(self.engine, self.clock, sender, Conditions(), random.Random(1))

    def append(self, *items):
        with transaction(self.engine) as connection:
            Ledger(connection).append([make_opening_price(item) for item in items])

    def run(self):
        """Queue what is new, and send what is due."""
        self.deliverer.queue_news()
        return self.deliverer.deliver(self.webhook.id)

    def rotate(self, hours):
        with transaction(self.engine) as connection:
            overlap = timedelta(hours=hours)
            return self.service.rotate(connection, self.webhook.id, overlap, actor="anna")

    def statuses(self):
        page = self.service.list_deliveries(self.webhook.id, None, after=0, limit=1_000)
        return [delivery.status for delivery in page]

    def replay(self, ids=None):
        with transaction(self.engine) as connection:
            return self.service.replay(connection, self.webhook.id, ids, actor="anna")


def item_ids(items):
    return [item["item_id"] for item in items]


def test_every_price_change_after_the_beginning_is_told_once_and_in_order(engine):
    early = Hooks(engine, "price_changes")
    early.append("before")
    hooks = Hooks(engine, "price_changes")
    names = [f"item{n}" for n in range(2 * MESSAGE_ROWS + 3)]
    hooks.append(*names)
    assert hooks.run() == 3
    assert hooks.run() == 0
    assert item_ids(hooks.sender.accepted()) == names
    with reading(engine) as connection:
        feed = Ledger(connection).list_after(1, 1_000)
    assert [item["id"] for item in hooks.sender.accepted()] == [price.price_id for price in feed]
    early.run()
    assert item_ids(early.sender.accepted()) == ["before", *names]


def test_decisions_are_told_as_they_stand_in_the_audit_log(engine):
    ids = store_suggestions(engine, make_suggestion("milk"))
    hooks = Hooks(engine, "suggestions")
    with transaction(engine) as connection:
        decisions.approve(connection, make_decider("ben", reason="good"), ids[0])
    hooks.run()
    (action,) = hooks.sender.accepted()
    assert (action["actor"], action["action"], action["subject_id"]) == ("ben", "approve", ids[0])
    assert action["details"]["to"] == "1.10"
    assert action["at"].endswith("Z")


def test_a_stop_of_all_activations_and_its_end_are_told(engine):
    hooks = Hooks(engine, "stop_switch")
    controls = DeskControls(
        PriceDeskService(Settings(), engine, hooks.clock, hooks.clock, PLAIN_RULES),
        hold_scheduled,
    )
    with transaction(engine) as connection:
        controls.save_reject_policy(connection, make_decider("mia"), ["too dear"], required=False)
        stop_activations(connection, make_decider("mia", reason="wrong costs"))
        resume_activations(connection, make_decider("mia"))
    hooks.run()
    told = [(item["action"], item["actor"]) for item in hooks.sender.accepted()]
    assert told == [("stop_activations", "mia"), ("resume_activations", "mia")]


def test_a_receiver_hears_only_what_it_asked_for(engine):
    with pytest.raises(UnknownName, match="price_change"):
        Hooks(engine, "price_change")
    hooks = Hooks(engine, "promotions")
    hooks.append("milk")
    assert hooks.run() == 0
    assert hooks.statuses() == []


@given(st.lists(st.sampled_from([ACCEPTED, DOWN]), max_size=12))
def test_whatever_fails_nothing_is_lost_and_the_order_is_kept(answers):
    # One database for all examples would keep their rows: each has its own, in memory.
    hooks = _make_hooks_in_memory()
    hooks.sender.answers = list(answers)
    for n in range(5):
        hooks.append(f"item{n}")
        hooks.run()
    for _ in range(len(answers) + 1):
        hooks.clock.move(hours=1)
        hooks.run()
    assert item_ids(hooks.sender.accepted()) == [f"item{n}" for n in range(5)]
    # Repetitions carry the same id and the same body.
    bodies = {}
    for message_id, body, _ in hooks.sender.sent:
        assert bodies.setdefault(message_id, body) == body


def _make_hooks_in_memory():
    import sqlalchemy as sa

    from features.database_tables import metadata

    opened = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    metadata.create_all(opened)
    return Hooks(opened, "price_changes")


def test_a_receiver_that_is_down_is_tried_less_and_less_often(engine):
    hooks = Hooks(engine, "price_changes")
    hooks.append("milk")
    hooks.sender.otherwise = DOWN
    hooks.run()
    assert len(hooks.sender.sent) == 1
    hooks.run()  # it is not due yet
    assert len(hooks.sender.sent) == 1
    hooks.clock.move(seconds=1)
    hooks.run()
    assert len(hooks.sender.sent) == 2
    (state,) = hooks.service.list_webhooks()
    assert (state.n_waiting, state.n_dead, state.current.error) == (1, 0, "refused")


@given(st.integers(1, 100), st.floats(0, 1))
def test_the_delay_doubles_up_to_ten_minutes_and_jitter_takes_up_to_half(attempts, jitter):
    whole = min(2 ** (attempts - 1), 600)
    delay = compute_delay(attempts, jitter).total_seconds()
    assert delay == pytest.approx(whole * (1 - jitter / 2), abs=1e-5)


def test_after_days_without_a_receiver_a_message_is_dead_and_the_next_has_its_turn(engine):
    hooks = Hooks(engine, "price_changes")
    hooks.append("milk")
    hooks.sender.otherwise = DOWN
    hooks.run()
    hooks.append("tea")
    hooks.clock.move(hours=GIVE_UP / timedelta(hours=1))
    hooks.run()
    assert hooks.statuses() == ["dead", "waiting"]
    hooks.sender.otherwise = ACCEPTED
    hooks.run()
    assert hooks.statuses() == ["dead", "delivered"]
    assert hooks.replay() == 1
    hooks.run()
    assert item_ids(hooks.sender.accepted()) == ["tea", "milk"]


def test_a_message_that_is_refused_holds_up_the_others_for_five_attempts(engine):
    hooks = Hooks(engine, "price_changes")
    hooks.append("milk")
    hooks.sender.answers = [REFUSED] * MAX_REFUSALS
    hooks.run()
    hooks.append("tea")
    for _ in range(MAX_REFUSALS):
        hooks.clock.move(hours=1)
        hooks.run()
    assert hooks.statuses() == ["dead", "delivered"]
    (dead,) = hooks.service.list_deliveries(hooks.webhook.id, "dead", after=0, limit=10)
    assert (dead.attempts, dead.answer_status, dead.error) == (5, 422, "what is that?")


def test_a_replayed_message_goes_before_newer_ones_and_a_delivered_one_can_be_named(engine):
    hooks = Hooks(engine, "price_changes")
    hooks.append("milk")
    hooks.run()
    (first,) = hooks.service.list_deliveries(hooks.webhook.id, "delivered", after=0, limit=10)
    hooks.append("tea")
    hooks.deliverer.queue_news()
    assert hooks.replay() == 0
    assert hooks.replay([first.id]) == 1
    assert hooks.run() == 2
    assert item_ids(hooks.sender.accepted()) == ["milk", "milk", "tea"]
    assert hooks.sender.sent[0][:2] == hooks.sender.sent[1][:2]


def test_two_processes_at_once_send_everything_once_and_in_order(engine):
    hooks = Hooks(engine, "price_changes")
    for n in range(12):
        hooks.append(f"item{n}")
        hooks.deliverer.queue_news()
    others = [hooks.make_deliverer(hooks.sender) for _ in range(3)]

    def work(deliverer):
        for _ in range(20):
            deliverer.queue_news()
            deliverer.deliver(hooks.webhook.id)

    threads = [threading.Thread(target=work, args=(each,)) for each in [hooks.deliverer, *others]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert item_ids(hooks.sender.accepted()) == [f"item{n}" for n in range(12)]


def test_who_dies_is_replaced_when_the_lease_ends_and_records_nothing_afterwards(engine):
    hooks = Hooks(engine, "price_changes")
    hooks.append("milk")
    hooks.deliverer.queue_news()
    other = hooks.make_deliverer(sender := FakeSender())

    class SlowSender(FakeSender):
        """The other process takes over while this one waits for its answer."""

        def send(self, url, headers, body):
            assert other.deliver(hooks.webhook.id) == 0
            hooks.clock.move(seconds=LEASE.total_seconds() + 1)
            assert other.deliver(hooks.webhook.id) == 1
            return DOWN

    slow = hooks.make_deliverer(SlowSender())
    assert slow.deliver(hooks.webhook.id) == 0
    assert hooks.statuses() == ["delivered"]
    assert item_ids(sender.accepted()) == ["milk"]


def test_what_arrived_is_forgotten_after_a_month_and_what_is_dead_is_not(engine):
    hooks = Hooks(engine, "price_changes")
    hooks.sender.answers = [REFUSED] * MAX_REFUSALS
    hooks.append("milk")
    for _ in range(MAX_REFUSALS):
        hooks.run()
        hooks.clock.move(hours=1)
    hooks.append("tea")
    hooks.run()
    hooks.clock.move(days=31)
    hooks.append("bread")
    hooks.run()
    page = hooks.service.list_deliveries(hooks.webhook.id, None, after=0, limit=10)
    assert [(each.status, each.first_seq) for each in page] == [("dead", 1), ("delivered", 3)]


def test_a_removed_receiver_is_told_nothing_more(engine):
    hooks = Hooks(engine, "price_changes")
    hooks.append("milk")
    hooks.deliverer.queue_news()
    with transaction(engine) as connection:
        hooks.service.remove(connection, hooks.webhook.id, actor="anna")
    assert hooks.run() == 0
    assert hooks.sender.sent == []
    with reading(engine) as connection:
        assert Deliveries(connection).count() == {}


def test_a_replaced_secret_signs_too_until_its_time_and_a_second_rotation_ends_it(engine):
    hooks = Hooks(engine, "price_changes")

    def sign(item):
        """Return how many secrets sign a message."""
        hooks.append(item)
        hooks.run()
        return len(hooks.sender.signatures[-1])

    assert sign("a") == 1
    second = hooks.rotate(24)
    assert second.secret != hooks.webhook.secret
    assert second.list_secrets(hooks.clock.now()) == (second.secret, hooks.webhook.secret)
    assert sign("b") == 2
    third = hooks.rotate(1)
    assert third.list_secrets(hooks.clock.now()) == (third.secret, second.secret)
    hooks.clock.move(minutes=59)
    assert sign("c") == 2
    hooks.clock.move(minutes=1)
    assert sign("d") == 1
    fourth = hooks.rotate(0)
    assert fourth.list_secrets(hooks.clock.now()) == (fourth.secret,)
    assert sign("e") == 1
    for hours in (-1, 721):
        with pytest.raises(BadInput, match="30 days"):
            hooks.rotate(hours)
