"""From the files of a version to what a process serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.loading import list_configs, load
from configs.settings import Settings
from models.registry import NAMES

# Each model has libraries of its own, which take seconds to import.
if TYPE_CHECKING:
    from features.contracts.recommendations import ItemFeatures
    from models.ranking.model import RecommendationModel
    from models.ranking.placement import Placement
    from models.ranking.recommender import Recommender
    from models.ranking.slate.merchandising_rules import RuleSet

RECOMMENDATIONS, DEMAND, PRICING = NAMES


def load_placements(settings: Settings) -> dict[str, Placement]:
    """Return the shop's placements by name."""
    from models.ranking.placement import Placement

    overlay = settings.config_dir
    return {
        name: load(f"placements/{name}", Placement, overlay=overlay)
        for name in list_configs("placements", overlay=overlay)
    }


def load_rules(settings: Settings) -> dict[str, RuleSet]:
    """Return the shop's sets of merchandising rules by name."""
    from models.ranking.slate.merchandising_rules import RuleSet

    overlay = settings.config_dir
    return {
        name: load(f"rules/{name}", RuleSet, overlay=overlay)
        for name in list_configs("rules", overlay=overlay)
    }


def load_model(name: str, folder: Path) -> object:
    """Return what a process serves of a version: recommendation model, forecasts or response."""
    if name == RECOMMENDATIONS:
        from models.ranking.model import RecommendationModel

        return RecommendationModel.load(folder)
    if name == DEMAND:
        from models.demand.lookup import load_forecasts

        return load_forecasts(folder)
    from models.pricing.response.elasticity import ElasticityModel

    return ElasticityModel.load(folder)


def build_recommender(
    model: RecommendationModel,
    items: ItemFeatures,
    placements: Mapping[str, Placement],
    rules: Mapping[str, RuleSet],
) -> Recommender:
    """Return a recommender that has answered at every placement once."""
    from models.ranking.recommender import Recommender

    recommender = Recommender(model, items, placements, rules)
    recommender.warm_up()
    return recommender
