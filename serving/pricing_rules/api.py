"""`/v1/pricing-rules`: the rules of the shop, their versions, and new ones."""

from __future__ import annotations

from serving.http.rule_routes import make_rules_router
from serving.pricing_rules.service import PricingRulesService

router = make_rules_router(
    "/v1/pricing-rules", "pricing rules", PricingRulesService, read_scope="pricing.read"
)
