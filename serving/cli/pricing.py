"""The inputs of the verbs that compute prices: champions, rules and ledger of the shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.contracts.errors import BadInput
from features.contracts.pricing import DEFAULT_RULES
from serving.cli.output import Steps
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.pricing_inputs.items import PricingInputs


def load_pricing_inputs(
    shop: Shop,
    progress: Steps,
    *,
    strategy: str = DEFAULT_RULES,
    objective: str | None = None,
    opening: bool = False,
) -> PricingInputs:
    """Load the champions and the rules of a strategy.

    With `opening`, prices that the ledger lacks are read from the price list, the catalogue and the
    sales first. Without a price model no response is known. Raises Unavailable without a demand
    model, and UnknownName for an unknown strategy.
    """
    from features.database import reading
    from models.demand.model import DemandModel
    from models.pricing.response.elasticity import ElasticityModel
    from models.pricing.rules import set_objective
    from serving.prices.opening import open_ledger
    from serving.pricing_inputs.items import PricingInputs
    from serving.pricing_rules.present_rules import PresentRules

    shop.check_currencies()
    demand_version = shop.champion("demand")
    # Costs and competitors' prices make prices without it.
    pricing_version = shop.registry.find_champion("pricing")
    with reading(shop.engine) as connection:
        present_rules = PresentRules.read(shop.settings, connection)
    rules = set_objective(present_rules.load(strategy), objective)
    if opening:
        progress.say("opening the price ledger")
        open_ledger(shop.facts, shop.engine, shop.settings, shop.clock, shop.system_clock)
    return PricingInputs(
        facts=shop.facts,
        engine=shop.engine,
        settings=shop.settings,
        demand_model=DemandModel.load(shop.registry.fetch_files(demand_version)),
        pricing_model=ElasticityModel.without_series()
        if pricing_version is None
        else ElasticityModel.load(shop.registry.fetch_files(pricing_version)),
        rules=rules,
        now=shop.now(),
        presets=present_rules.load_presets(rules),
        versions={
            version.name: version.version
            for version in (demand_version, pricing_version)
            if version
        }
        | {"rules": present_rules.describe_version(strategy)},
        rules_name=strategy,
    )


def load_proposal_inputs(shop: Shop, progress: Steps) -> PricingInputs:
    """Load what prices by hand are checked against: as for suggestions, or without a demand model
    the rules alone."""
    from features.database import reading
    from models.pricing.response.elasticity import ElasticityModel
    from serving.price_desk.served_inputs import NoForecasts
    from serving.pricing_inputs.items import PricingInputs
    from serving.pricing_rules.present_rules import PresentRules

    if shop.registry.find_champion("demand") is not None:
        return load_pricing_inputs(shop, progress)
    shop.check_currencies()
    with reading(shop.engine) as connection:
        present_rules = PresentRules.read(shop.settings, connection)
    rules = present_rules.load(DEFAULT_RULES)
    return PricingInputs(
        facts=shop.facts,
        engine=shop.engine,
        settings=shop.settings,
        demand_model=NoForecasts(),
        pricing_model=ElasticityModel.without_series(),
        rules=rules,
        now=shop.now(),
        presets=present_rules.load_presets(rules),
        versions={"rules": present_rules.describe_version(DEFAULT_RULES)},
    )


def check_zone(shop: Shop, zone: str) -> None:
    """Raise BadInput for a zone that has neither prices nor settings."""
    from features.database import reading
    from features.prices.ledger import Ledger

    with reading(shop.engine) as connection:
        priced = Ledger(connection).list_zones()
    if zone not in priced and zone not in shop.settings.zones:
        raise BadInput(
            f"no zone is called {zone!r}", hint=f"Zones with prices: {', '.join(priced) or 'none'}"
        )
