"""From a request to a promotion that can be filed: its items, their prices, the what-if."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import parse_local_time
from features.contracts.errors import BadInput, UnknownName
from features.contracts.money import to_major, to_minor
from features.prices.ledger import Price
from models.pricing.promotions.what_if import MAX_ITEMS
from serving.promotions.checks import find_base_price, read_histories
from serving.promotions.documents import FilePromotionRequest
from serving.promotions.repository import NewPromotion, PromotionItem
from serving.promotions.terms import PRICED, Offer, describe_terms
from serving.what_if.promotion_documents import PromotionRequest, PromotionSimulationResponse

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from features.facts.facts import Facts

ItemNames = Mapping[str, tuple[str | None, str]]  # title and category by item id


def build_what_if(
    request: FilePromotionRequest, settings: Settings, item_ids: Sequence[str]
) -> PromotionRequest:
    """Return the promotion to look at, with its times in the time zone of its zone."""
    timezone = settings.find_timezone(request.zone)
    shared = {name: getattr(request, name) for name in PromotionRequest.model_fields}
    shared["item_ids"] = list(item_ids)
    for name in ("starts_at", "ends_at"):
        shared[name] = parse_local_time(getattr(request, name), timezone, where=name)
    return PromotionRequest(**shared)


def find_items(facts: Facts, request: FilePromotionRequest) -> tuple[list[str], ItemNames]:
    """Return the items of a request, and title and category of each that the catalogue knows.

    Raises BadInput without any item, with both items and a category, or with too many; UnknownName
    for a category that nobody knows.
    """
    catalogue = facts.read("items")
    if (request.category is None) == (not request.item_ids):
        raise BadInput("give either item_ids or category", where="item_ids")
    if request.category is None:
        item_ids = list(dict.fromkeys(request.item_ids))
        chosen = catalogue.filter(catalogue.item_id.isin(item_ids))
    else:
        below = catalogue.category.startswith(f"{request.category} > ")
        chosen = catalogue.filter((catalogue.category == request.category) | below)
    columns = chosen.select("item_id", "title", "category").order_by("item_id")
    rows = columns.to_pyarrow().to_pylist()
    names = {row["item_id"]: (row["title"], row["category"] or "") for row in rows}
    if request.category is not None:
        item_ids = list(names)
        if not item_ids:
            raise UnknownName(request.category, _list_categories(catalogue), kind="category")
    if len(item_ids) > MAX_ITEMS:
        raise BadInput(f"a promotion has at most {MAX_ITEMS} items", where="item_ids")
    return item_ids, names


def _list_categories(catalogue: ir.Table) -> set[str]:
    """Return the categories of the catalogue, with those above them."""
    paths = [
        category.split(" > ")
        for category in catalogue.category.to_pyarrow().unique().to_pylist()
        if category
    ]
    return {" > ".join(path[:depth]) for path in paths for depth in range(1, len(path) + 1)}


def build_draft(
    connection: sa.Connection,
    request: FilePromotionRequest,
    what_if: PromotionRequest,
    names: ItemNames,
    simulation: PromotionSimulationResponse | None,
    *,
    actor: str,
    now: datetime,
    currency: str,
) -> NewPromotion:
    """Return the promotion to file, at the prices that are valid when it begins.

    Of a category the items without a price are left out. Raises BadInput for an item of the request
    that has none.
    """
    begins_at = max(what_if.starts_at, now)
    histories = read_histories(connection, what_if.item_ids, what_if.zone, None)
    bases = {key: find_base_price(history, begins_at) for key, history in histories.items()}
    terms = describe_terms(what_if.mechanic, what_if.model_dump(), currency)
    offer = Offer.from_terms(what_if.mechanic, terms, currency)
    known = {} if simulation is None else {item.item_id: item for item in simulation.items}
    items = []
    for item_id in what_if.item_ids:
        base = bases.get(item_id)
        if base is None and request.category is None:
            raise BadInput(
                f"item {item_id!r} has no price in zone {what_if.zone!r}", where="item_ids"
            )
        if base is not None:
            expected = known.get(item_id)
            document = None if expected is None else expected.model_dump(exclude={"item_id"})
            items.append(_build_item(item_id, names, base, offer, document))
    if not items:
        raise BadInput("none of its items has a price", where="category")
    return NewPromotion(
        name=request.name,
        zone=what_if.zone,
        currency=currency,
        mechanic=str(what_if.mechanic),
        terms=terms,
        starts_at=what_if.starts_at,
        ends_at=what_if.ends_at,
        created_at=now,
        proposed_by=actor,
        items=items,
        support=what_if.support,
        support_reach=what_if.reach,
        coupon_reach=1.0 if what_if.coupon_reach is None else what_if.coupon_reach,
        funding_minor=to_minor(request.funding, currency),
        cost_minor=to_minor(request.cost, currency),
        expected=None
        if simulation is None
        else simulation.model_dump(mode="json", exclude={"items", "name", "zone", "currency"}),
        warnings=_list_warnings(simulation, currency),
        confirmed_rules=request.confirm,
        reason=request.reason,
    )


def _build_item(
    item_id: str,
    names: ItemNames,
    base: Price,
    offer: Offer,
    expected: Mapping[str, object] | None,
) -> PromotionItem:
    title, category = names.get(item_id, (None, ""))
    announced = offer.announce(base.offer_price_minor)
    depth = None
    if announced is not None and base.list_price_minor > 0:
        depth = min(max(1 - announced / base.list_price_minor, 0.0), 1.0)
    return PromotionItem(
        item_id=item_id,
        title=title,
        category=category,
        list_price_minor=base.list_price_minor,
        current_price_minor=base.offer_price_minor,
        promotion_price_minor=max(announced, 0)
        if announced is not None and offer.mechanic in PRICED
        else None,
        depth=depth,
        expected=expected,
    )


def _list_warnings(
    simulation: PromotionSimulationResponse | None,
    currency: str,
) -> list[str]:
    """Return what whoever approves should know."""
    if simulation is None:
        return ["no effect is expected: no model forecasts these items"]
    warnings = []
    unknown = [item.item_id for item in simulation.items if not item.response_known]
    if simulation.missing:
        warnings.append(f"no forecast of {', '.join(simulation.missing[:5])}: not in the effect")
    if unknown:
        warnings.append(f"the price response of {len(unknown)} items is not known")
    family = {clash.other for clash in simulation.conflicts}
    if family:
        warnings.append(f"in its families another promotion runs: {', '.join(sorted(family))}")
    losing = [item.item_id for item in simulation.items if float(item.expected.profit.p50) < 0]
    if losing:
        warnings.append(f"sold below cost: {', '.join(losing[:5])}")
    if float(simulation.net.profit.p50) < 0:
        loss = to_major(to_minor(simulation.net.profit.p50, currency), currency)
        warnings.append(f"it is expected to change profit by {loss}")
    return warnings
