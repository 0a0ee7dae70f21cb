"""The inputs of the verbs that compute prices: champions, rules and ledger of the shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.loading import list_configs, load
from features.contracts.errors import BadInput, UnknownName
from serving.cli.output import Steps
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.pricing_inputs.items import PricingInputs

DEFAULT_RULES = "default"


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
    sales first. Raises Unavailable without champions and UnknownName for an unknown strategy.
    """
    from models.demand.model import DemandModel
    from models.pricing.response.elasticity import ElasticityModel
    from models.pricing.rules import PricingRules, set_objective
    from serving.prices.opening import open_ledger
    from serving.pricing_inputs.items import PricingInputs

    demand_version, pricing_version = shop.champion("demand"), shop.champion("pricing")
    overlay = shop.settings.config_dir
    strategies = list_configs("pricing", overlay=overlay)
    if strategy not in strategies:
        raise UnknownName(strategy, strategies, kind="strategy")
    rules = set_objective(load(f"pricing/{strategy}", PricingRules, overlay=overlay), objective)
    if opening:
        progress.say("opening the price ledger")
        open_ledger(shop.facts, shop.engine, shop.settings, shop.clock, shop.system_clock)
    return PricingInputs(
        facts=shop.facts,
        engine=shop.engine,
        settings=shop.settings,
        demand_model=DemandModel.load(shop.registry.fetch_files(demand_version)),
        pricing_model=ElasticityModel.load(shop.registry.fetch_files(pricing_version)),
        rules=rules,
        now=shop.now(),
        presets={
            stage: load(f"pricing/{preset}", PricingRules, overlay=overlay)
            for stage, preset in rules.stages.items()
        },
        versions={"demand": demand_version.version, "pricing": pricing_version.version},
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
