"""A desk on which price tests are planned, filed and approved: three items at 1.00 in two zones."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from features.database import transaction
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import Caller
from serving.price_desk import decisions
from serving.price_desk.price_experiments import PriceTestService
from serving.price_desk.price_test_planner import PriceTestPlanner
from serving.price_desk.proposals import ProposalService
from serving.price_desk.repository import Suggestions
from serving.price_desk.service import PriceDeskService
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.desk_workers import AtOnce
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import NOW, make_decider, make_opening_price, make_suggestion
from tests.shops.three_items import make_forecasts, make_inputs
from tests.shops.wide_rules import save_wide_rules

ANNA = Caller("anna", "Anna", frozenset({"pricing.propose"}))
ITEMS = ("milk", "tea", "salt")
UNITS = 5000.0
_CATEGORY_OF = {"milk": "Food > Dairy", "tea": "Drinks", "salt": "Food"}


class PriceTestShop:
    """The shop; `at` opens its price tests at a time."""

    def __init__(self, three_items):
        self.facts, self.engine, self.settings = self._three_items = three_items
        self._rules = save_wide_rules(self.settings, self.engine)
        with transaction(self.engine) as connection:
            Ledger(connection).append([make_opening_price(item, zone="south") for item in ITEMS])

    def at(self, now):
        def read_inputs(zone, _):
            responses = make_fitted_response(
                ITEMS, np.full(3, -1.6), error=np.full(3, 0.7), grade=np.full(3, 2), zone=zone
            )
            forecasts = make_forecasts(*ITEMS, zone=zone, units=UNITS)
            return make_inputs(self._three_items, forecasts, responses, self._rules, now=now)

        clock = FixedClock(now)
        desk = PriceDeskService(self.settings, self.engine, clock, SYSTEM_CLOCK, PLAIN_RULES)
        tests = PriceTestService(ProposalService(desk, read_inputs))
        planner = PriceTestPlanner(tests, read_inputs, AtOnce())
        return SimpleNamespace(tests=tests, planner=planner, desk=desk)

    def plan(self, order):
        return self.at(NOW).planner.start(ANNA, order)

    def propose(self, prices, **values):
        """Let a run, or who is named, suggest prices in the default zone; return their ids."""
        suggestions = [
            make_suggestion(item, price, category=_CATEGORY_OF[item], **values)
            for item, price in prices.items()
        ]
        with transaction(self.engine) as connection:
            return Suggestions(connection).add(suggestions)

    def approve(self, ids, now):
        """Let somebody else approve suggestions."""
        with transaction(self.engine) as connection:
            for suggestion_id in ids:
                decisions.approve(connection, replace(make_decider("ben"), now=now), suggestion_id)

    def file_next(self, test_id, now):
        """File what comes next, and let somebody else approve it; return what was filed."""
        stored, filed = self.at(now).tests.file_next_period(ANNA, test_id)
        self.approve(filed.ids.values(), now)
        return stored, read_filed_prices(filed)


def read_filed_prices(filed):
    """Return the prices of a proposal that were filed, by item and zone."""
    return {
        (price.proposed.item_id, price.proposed.zone): price.price_minor
        for price in filed.proposal.valid
    }
