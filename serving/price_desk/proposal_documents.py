"""The JSON of proposed prices, for HTTP and the command line."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, Field

from features.contracts.money import to_major
from serving.price_desk.checked_prices import CheckedPrice
from serving.price_desk.proposals import CheckedProposal, FiledProposal


class GainResponse(BaseModel):
    """Expected units and profit over the horizon against keeping the present prices."""

    currency: str
    n_prices: int = Field(description="Prices of which an effect is expected")
    units: float
    revenue: str
    profit: str


class ProposedPriceResponse(BaseModel):
    """A proposed price, held against the rules. Money is a decimal in major units."""

    row: int
    item_id: str
    zone: str
    title: str | None
    category: str
    currency: str
    current_price: str | None
    price: str | None
    nearest_price: str | None = Field(description="The nearest price that all rules allow")
    broken_rules: dict[str, str] = Field(description="What each rule allows; to be confirmed")
    warnings: list[str]
    profit_gain: str | None = Field(description="Expected over the horizon, against keeping")
    units_gain: float | None
    is_valid: bool
    refused: str | None = Field(description="Why it cannot be filed, and what to try")
    suggestion_id: str | None = None


class ProposalResponse(BaseModel):
    """Prices as they would be filed, or were; `digest` files exactly these."""

    id: str
    digest: str
    is_filed: bool
    n_prices: int
    n_valid: int
    n_refused: int
    n_superseded: int
    gains: list[GainResponse]
    items: list[ProposedPriceResponse]


def describe_proposal(
    proposal: CheckedProposal, filed: FiledProposal | None = None
) -> ProposalResponse:
    """Return the document of a proposal."""
    ids = {} if filed is None else filed.ids
    return ProposalResponse(
        id=proposal.proposal_id,
        digest=proposal.digest,
        is_filed=filed is not None,
        n_prices=len(proposal.prices),
        n_valid=len(proposal.valid),
        n_refused=len(proposal.refused),
        n_superseded=0 if filed is None else filed.n_superseded,
        gains=_sum_gains(proposal.valid),
        items=[_describe_price(price, ids.get(price.proposed.row)) for price in proposal.prices],
    )


def _describe_price(price: CheckedPrice, suggestion_id: str | None) -> ProposedPriceResponse:
    profit, units = _find_gain(price, "profit"), _find_gain(price, "units")
    return ProposedPriceResponse(
        row=price.proposed.row,
        item_id=price.proposed.item_id,
        zone=price.proposed.zone,
        title=price.title,
        category=price.category,
        currency=price.currency,
        current_price=_money(price.current_minor, price.currency),
        price=_money(price.price_minor, price.currency),
        nearest_price=_money(price.nearest_minor, price.currency),
        broken_rules=dict(price.broken),
        warnings=list(price.warnings),
        profit_gain=_money(profit, price.currency),
        units_gain=None if units is None else round(units, 2),
        is_valid=price.error is None,
        refused=None if price.error is None else str(price.error),
        suggestion_id=suggestion_id,
    )


def _sum_gains(prices: Iterable[CheckedPrice]) -> list[GainResponse]:
    by_currency: dict[str, list[CheckedPrice]] = {}
    for price in prices:
        if _find_gain(price, "profit") is not None:
            by_currency.setdefault(price.currency, []).append(price)
    return [
        GainResponse(
            currency=currency,
            n_prices=len(members),
            units=round(_sum(members, "units"), 2),
            revenue=to_major(round(_sum(members, "revenue")), currency),
            profit=to_major(round(_sum(members, "profit")), currency),
        )
        for currency, members in sorted(by_currency.items())
    ]


def _sum(prices: Iterable[CheckedPrice], name: str) -> float:
    return sum(_find_gain(price, name) or 0.0 for price in prices)


def _find_gain(price: CheckedPrice, name: str) -> float | None:
    """Return the middle of the expected effect against keeping; None where none is known."""
    if price.draft is None or price.draft.expected is None:
        return None
    return float(price.draft.expected[name]["against_keeping"]["p50"])


def _money(minor: float | None, currency: str) -> str | None:
    return None if minor is None else to_major(round(minor), currency)
