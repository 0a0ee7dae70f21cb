"""Deliveries over a real connection to a receiver that goes away and comes back."""

import time

import pytest

from configs.settings import Settings
from features.contracts.clock import SystemClock
from features.database import transaction
from features.prices.ledger import Ledger
from serving.conditions import Conditions
from serving.webhooks.deliverer import Deliverer
from serving.webhooks.sender import Sender
from serving.webhooks.service import WebhookService
from serving.webhooks.targets import Targets
from tests.shops.price_desk import make_opening_price
from tests.shops.webhook_receiver import Receiver


@pytest.fixture
def receiver(tmp_path):
    made = Receiver(tmp_path)
    yield made
    made.stop()


def test_nothing_is_lost_while_the_receiver_is_down_and_over_a_restart(engine, receiver):
    settings = Settings(
        webhook_targets=f"http://127.0.0.1:{receiver.port}", webhook_networks="127.0.0.0/8"
    )
    hooks = WebhookService(settings, engine, SystemClock())
    with transaction(engine) as connection:
        webhook = hooks.add(connection, receiver.url, ["price_changes"], actor="anna")

    def start():
        sender = Sender(Targets.from_settings(settings))
        deliverer = Deliverer(engine, SystemClock(), sender, Conditions())
        deliverer.start()
        return deliverer

    def append(*items):
        with transaction(engine) as connection:
            Ledger(connection).append([make_opening_price(item) for item in items])

    deliverer = start()
    try:
        receiver.start()
        append("a", "b")
        receiver.wait_for(2)
        receiver.stop()
        append("c")
        time.sleep(2)  # attempts that fail
        deliverer.stop()
        deliverer = start()
        append("d")
        time.sleep(2)
        assert hooks.list_webhooks()[0].n_waiting == 2
        receiver.start()
        items = receiver.wait_for(4)
    finally:
        deliverer.stop()
    assert [item["item_id"] for item in items] == ["a", "b", "c", "d"]
    message_ids = [request["headers"]["webhook-id"] for request in receiver.read()]
    assert len(set(message_ids)) == len(message_ids) == 3
    assert {request["path"] for request in receiver.read()} == {"/prices"}
    statuses = hooks.list_deliveries(webhook.id, None, after=0, limit=10)
    assert [delivery.status for delivery in statuses] == ["delivered"] * 3
