"""`shopwright experiments off-policy`: what a placement would earn with another exploration."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from features.contracts.errors import UnknownName
from features.contracts.event_types import EventType
from serving.cli.output import JsonOption, print_json, print_line
from serving.cli.shop import Shop

if TYPE_CHECKING:
    import pyarrow as pa

    from experiments.definition import Experiment

Reward = Literal["clicks", "orders"]
_EVENTS: dict[Reward, EventType] = {
    "clicks": EventType.SELECT_ITEM,
    "orders": EventType.PURCHASE,
}


def off_policy(
    placement: Annotated[str, typer.Option(help="Placement that explores")],
    share: Annotated[float, typer.Option(min=0, max=1, help="Its exploration.share instead")] = 0.0,
    places: Annotated[int, typer.Option(min=0, help="Its exploration.places instead")] = 0,
    reward: Annotated[Reward, typer.Option(help="What an item earns: clicks or orders")] = "clicks",
    days: Annotated[float, typer.Option(min=0.01, help="Slates of so many days")] = 28.0,
    json: JsonOption = False,
) -> None:
    """Estimate what a placement would earn with another exploration, or without any.

    From its logged slates and the events with their recommendation_id. Refused where they say too
    little."""
    from dataclasses import replace

    from experiments.off_policy.exploration import evaluate_exploration
    from features.database import reading
    from features.facts.slates import read_slates
    from serving.cli.experiments import open_service
    from serving.merchandising.present_placements import read_placements

    shop = Shop()
    placements = read_placements(shop.settings, shop.engine)
    if placement not in placements:
        raise UnknownName(placement, placements, kind="placement", where="--placement")
    current = placements[placement].exploration
    now = shop.now()
    after = now - timedelta(days=days)
    with reading(shop.engine) as connection:
        slates = read_slates(connection, placement, after=after, until=now)
    changed = _list_changed(open_service(shop).current.values())
    slates = _keep_own(slates, changed)
    events = shop.facts.read("events")
    rewarded = events.filter(
        events.event_type == _EVENTS[reward].value,
        events.recommendation_id.notnull(),
        events.occurred_at > after,
    ).select("recommendation_id", "item_id")
    pairs = {tuple(row.values()) for row in rewarded.distinct().to_pyarrow().to_pylist()}
    other = replace(current, share=share, places=places)
    value = evaluate_exploration(slates, pairs, current, other)
    estimate, overlap = value.other, value.other.overlap
    document = {
        "placement": placement,
        "reward": reward,
        "shown": value.shown,
        "other": {"share": share, "places": places, "value": estimate.value}
        | {"low": estimate.low, "high": estimate.high},
        "slates": estimate.n_slates,
        "units": estimate.n_units,
        "effective_size": overlap.effective_size,
    }
    if json:
        print_json(document)
        return
    print_line(
        f"{placement}: {estimate.n_slates:,} slates of {estimate.n_units:,} shoppers in {days:g} "
        f"days, {value.shown:.4g} {reward} a slate"
    )
    print_line(
        f"With share {share:g} and places {places}: {estimate.value:.4g} {reward} a slate "
        f"({estimate.low:.4g} to {estimate.high:.4g}); the log counts as "
        f"{overlap.effective_size:,.0f} of its slates"
    )


def _keep_own(slates: pa.Table, changed: Collection[tuple[str, str]]) -> pa.Table:
    """Return the slates that the placement made itself: of no variant that changes something, and
    not interleaved."""
    import numpy as np

    columns = (slates[name].to_pylist() for name in ("experiment", "variant", "team"))
    rows = zip(*columns, strict=True)
    is_own = [
        team is None and (experiment, variant) not in changed for experiment, variant, team in rows
    ]
    return slates.filter(np.array(is_own, bool))


def _list_changed(experiments: Iterable[Experiment]) -> set[tuple[str, str]]:
    """Return experiment and variant of the variants that rank in another way."""
    return {
        (experiment.key, variant.name)
        for experiment in experiments
        for variant in experiment.variants
        if not variant.uses_served_models or variant.policy != "champion"
    }
