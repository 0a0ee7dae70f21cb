"""The zones that have prices are known at once, wherever a price was appended last."""

from features.database import transaction
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from serving.prices.service import PriceService
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import NOW, make_opening_price


def append(engine, *zones):
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price("milk", zone=zone) for zone in zones])


def test_a_zone_is_known_from_its_first_price_on(engine, settings):
    prices = PriceService(settings, engine, FixedClock(NOW), PLAIN_RULES)
    assert prices.list_zones() == []
    append(engine, "north")
    assert prices.list_zones() == ["north"]
    append(engine, "west", "east", "north")
    assert prices.list_zones() == ["east", "north", "west"]
    assert prices.list_zones() == ["east", "north", "west"]
