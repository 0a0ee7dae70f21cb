"""`shopwright prices rules list|show|versions|try|save|restore|export`: rules as versions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.money import to_major
from features.contracts.pricing import DEFAULT_RULES
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
    steps,
)
from serving.cli.pricing import check_zone, load_pricing_inputs
from serving.cli.rule_commands import (
    FileOption,
    NameArgument,
    SetOption,
    make_rules_app,
    read_draft,
)
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.price_desk.rule_trial import RuleTrial
    from serving.pricing_rules.service import PricingRulesService


def _open_service(shop: Shop) -> PricingRulesService:
    from serving.pricing_rules.service import PricingRulesService

    return PricingRulesService(shop.settings, shop.engine, shop.system_clock)


rules = make_rules_app("Pricing rules", _open_service)


@rules.command("try")
def try_draft(
    name: NameArgument = DEFAULT_RULES,
    file: FileOption = None,
    values: SetOption = None,
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    json: JsonOption = False,
) -> None:
    """Show what other values would do to a zone, beside the rules of today; nothing is saved."""
    from serving.price_desk.rule_trial import try_rules
    from serving.pricing_rules.present_rules import build_rules

    shop = Shop()
    service = _open_service(shop)
    check_zone(shop, zone)
    draft = build_rules(name, read_draft(lambda: service.read_set(name).values, file, values))
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress, strategy=name, opening=True)
        presets = service.read_present().load_presets(draft)
        trial = try_rules(inputs, zone, draft, presets)
        progress.done()
    if json:
        print_json(asdict(trial))
    else:
        _print_trial(trial)


def _print_trial(trial: RuleTrial) -> None:
    """Print both effects side by side, and the largest differences."""
    print_line(
        f"Of {trial.n_items:,} items in {trial.zone} the price of {trial.n_different:,} "
        "would be another one. Nothing is saved"
    )
    effects = (trial.present, trial.draft)
    rows = [
        ("changes", *(f"{effect.n_changes:,}" for effect in effects)),
        ("rises among them", *(f"{effect.n_rises:,}" for effect in effects)),
        ("units", *(f"{effect.units:+,.0f}" for effect in effects)),
        *(
            (
                f"{what} {trial.currency}",
                *(
                    to_major(round(getattr(effect, f"{what}_minor")), trial.currency)
                    for effect in effects
                ),
            )
            for what in ("revenue", "profit")
        ),
        *(
            (
                f"prices of today beyond: {rule}",
                *(f"{effect.forbidden.get(rule, 0):,}" for effect in effects),
            )
            for rule in sorted({*trial.present.forbidden, *trial.draft.forbidden})
        ),
        ("rules not kept", *(", ".join(effect.not_kept) or "none" for effect in effects)),
    ]
    print_table("Expected against keeping every price", ("", "today", "draft"), rows)
    moves = [
        (
            move.item_id,
            (move.title or "")[:32],
            *(
                to_major(minor, trial.currency)
                for minor in (move.current_minor, move.present_minor, move.draft_minor)
            ),
        )
        for move in trial.moves
    ]
    columns = ("item", "title", "now", "rules of today", "draft")
    print_table("The largest differences", columns, moves)
