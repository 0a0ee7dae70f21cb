"""Pricing rules that leave prices room for a test, saved as the shop's own."""

from __future__ import annotations

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.pricing import DEFAULT_RULES
from features.database import transaction
from models.pricing.rules import PricingRules
from serving.pricing_rules.service import PricingRulesService
from serving.versioned_rules import NewVersion
from tests.shops.clocks import SYSTEM_CLOCK

WIDE = {
    "endings": [],
    "max_change": 0.2,
    "tried_margin": 0.5,
    "max_over_list": 0.5,
    "min_margin": 0.0,
    "stages": {},
}


def save_wide_rules(settings: Settings, engine: sa.Engine) -> PricingRules:
    """Make the wide rules those of the shop, and return them."""
    service = PricingRulesService(settings, engine, SYSTEM_CLOCK)
    rule_set = service.read_set(DEFAULT_RULES)
    values = {**rule_set.values, **WIDE}
    new = NewVersion(DEFAULT_RULES, values, "room for tests", rule_set.number)
    with transaction(engine) as connection:
        service.save(connection, new, author="mia")
    return service.read_present().load(DEFAULT_RULES)
