"""`shopwright slates rules|placements`: what slates follow, as versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from serving.cli.rule_commands import make_rules_app
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from models.ranking.placement import Placement
    from models.ranking.slate.merchandising_rules import RuleSet
    from serving.merchandising.placements import PlacementService
    from serving.merchandising.service import MerchandisingService

app = typer.Typer(help="Merchandising rules and placements", no_args_is_help=True)


def _open_rules(shop: Shop) -> MerchandisingService:
    """Return the sets of rules; they are checked against placements, and against the catalogue by
    the servers that apply them."""
    from models.ranking.placement import add_rule_sets
    from serving.merchandising.present_placements import read_placements
    from serving.merchandising.present_sets import build_set
    from serving.merchandising.service import MerchandisingService

    def check(name: str, rule_set: RuleSet) -> None:
        present = service.read_present()
        names = present.list_names()
        others = {other: build_set(other, present.read_values(other)) for other in names}
        add_rule_sets(read_placements(shop.settings, shop.engine), {**others, name: rule_set})

    service = MerchandisingService(shop.settings, shop.engine, shop.system_clock, check_set=check)
    return service


def open_placements(shop: Shop) -> PlacementService:
    """Return the placements of a shop; the rules that they name are checked."""
    from features.database import reading
    from models.ranking.placement import check_rules
    from serving.merchandising.placements import PlacementService
    from serving.merchandising.present_sets import PresentSets

    def check(name: str, placement: Placement) -> None:
        with reading(shop.engine) as connection:
            sets = dict.fromkeys(PresentSets.read(shop.settings, connection).list_names())
        check_rules({name: placement}, sets)

    return PlacementService(shop.settings, shop.engine, shop.system_clock, check_placement=check)


app.add_typer(make_rules_app("Merchandising rules", _open_rules), name="rules")
app.add_typer(make_rules_app("Placements", open_placements), name="placements")
