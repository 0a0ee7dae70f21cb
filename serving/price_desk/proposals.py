"""Prices that people propose: checked, shown with their effect, and filed in one transaction.

They take the way of a run's suggestions: the same rules, the law, four eyes. What is filed is what
was shown: a digest of the check comes back with the filing, and where the world moved meanwhile
nothing is filed. The readers of tables are imported by the first check: a server should be ready
before that.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from features.contracts.errors import BadInput, Conflict, NotFound
from features.contracts.money import to_major
from features.contracts.pricing import Effect
from features.database import lock, reading
from features.prices.currencies import refuse_unknown_zone
from features.prices.ledger import Ledger
from models.pricing.implied_costs import CATEGORY_DEPTH
from models.pricing.optimise.endings import PriceGrid
from models.pricing.rules import AssortmentPart, select_rules
from serving.access import Caller
from serving.database.audit_log import Decider
from serving.price_desk.activation import settle_due
from serving.price_desk.checked_prices import (
    CheckedPrice,
    ItemUnderRules,
    ProposalTerms,
    ProposedPrice,
    change_by_percent,
    draft_proposal,
    find_broken,
    find_nearest_allowed,
    predict_effects_of,
)
from serving.price_desk.lifecycle import log_changes, supersede_replaced
from serving.price_desk.price_grids import find_grid, use_grid
from serving.price_desk.refused_proposals import (
    explain_broken,
    explain_unchanged,
    explain_unpriced,
    refuse_forbidden,
    refuse_twice,
)
from serving.price_desk.repository import Suggestions
from serving.price_desk.service import PriceDeskService

if TYPE_CHECKING:
    from serving.pricing_inputs.items import PricedZone, PricingInputs

MAX_PRICES = 100_000
_SHOWN = 5

# Returns what prices of some items of a zone are computed from.
ReadInputs = Callable[[str, Sequence[str]], "PricingInputs"]


@dataclass(frozen=True)
class ProposalOptions:
    """What applies to all prices of a request.

    effective_from   when they begin; None: as soon as they are approved
    confirmed        names of rules that may be broken
    """

    effective_from: datetime | None = None
    confirmed: frozenset[str] = frozenset()
    reason: str | None = None


@dataclass(frozen=True)
class ItemChoice:
    """Items of a zone: all that are named or match every condition given.

    category   itself and all below it
    """

    zone: str
    category: str | None = None
    brand: str | None = None
    item_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckedProposal:
    """Prices as they would be filed.

    digest   of all that was shown: the same only while it stays so
    """

    proposal_id: str
    prices: tuple[CheckedPrice, ...]
    digest: str

    @property
    def valid(self) -> list[CheckedPrice]:
        """The prices that can be filed."""
        return [price for price in self.prices if price.error is None]

    @property
    def refused(self) -> list[CheckedPrice]:
        """The prices that cannot."""
        return [price for price in self.prices if price.error is not None]


@dataclass(frozen=True)
class FiledProposal:
    """A proposal with the ids of its suggestions by row, and how many others they replaced."""

    proposal: CheckedProposal
    ids: Mapping[int, str] = field(default_factory=dict)
    n_superseded: int = 0


@dataclass(frozen=True)
class ProposalService:
    """Checks and files prices that people propose."""

    desk: PriceDeskService
    read_inputs: ReadInputs

    def check(
        self, caller: Caller, proposed: Sequence[ProposedPrice], options: ProposalOptions
    ) -> CheckedProposal:
        """Return the prices held against the rules, with effects; nothing is written.

        Raises Forbidden without the scope, BadInput for too many prices or for a time that is over,
        UnknownName for a zone that nobody knows.
        """
        decider = self.desk.decider(caller, "pricing.propose", options.reason)
        if not 0 < len(proposed) <= MAX_PRICES:
            raise BadInput(f"give 1 to {MAX_PRICES:,} prices", where="prices")
        if options.effective_from is not None and options.effective_from < decider.now:
            raise BadInput(
                f"{options.effective_from.isoformat()} is over",
                where="effective_from",
                hint=f"The business time is {decider.now.isoformat(timespec='seconds')}",
            )
        checked = {
            price.row: CheckedPrice(price, "", error=price.problem)
            for price in proposed
            if price.problem is not None
        }
        readable = [price for price in proposed if price.problem is None]
        for zone in sorted({price.zone for price in readable}):
            in_zone = [price for price in readable if price.zone == zone]
            for price in self._check_zone(decider, zone, in_zone, options):
                checked[price.proposed.row] = price
        prices = refuse_twice([checked[price.row] for price in proposed])
        with reading(self.desk.engine) as connection:
            prices = refuse_forbidden(connection, decider, prices)
        proposal_id = _make_id()
        prices = [_set_run(price, proposal_id) for price in prices]
        return CheckedProposal(proposal_id, tuple(prices), _digest(prices, options))

    def file(
        self,
        connection: sa.Connection,
        caller: Caller,
        proposal: CheckedProposal,
        options: ProposalOptions,
        expected_digest: str | None = None,
    ) -> FiledProposal:
        """File the valid prices of a proposal that was just checked, in this transaction.

        Without the digest of a check that was looked at before, none may be refused. Raises the
        error of the first refused price, and Conflict where the digest or a price differs by now.
        """
        if expected_digest is None:
            _require_all_valid(proposal)
        elif expected_digest != proposal.digest:
            raise Conflict(
                "what would be filed is not what was shown",
                hint="Prices, rules or forecasts changed since. Look at the preview again",
            )
        if not proposal.valid:
            raise BadInput("no price can be filed", hint="Look at the reasons of the preview")
        decider = self.desk.decider(caller, "pricing.propose", options.reason)
        lock(connection, "price_desk")
        settle_due(connection, decider)
        again = refuse_forbidden(connection, decider, proposal.valid)
        moved = [price for price in again if price.error is not None]
        if moved:
            raise Conflict(
                f"item {moved[0].proposed.item_id!r}: {moved[0].error}", hint="Look again"
            )
        return _file(connection, decider, proposal)

    def choose_items(self, choice: ItemChoice) -> list[str]:
        """Return the items of a zone with a price that match, in order. Raises NotFound for none,
        UnknownName for a zone that nobody knows."""
        from features.facts.facts import Facts

        engine, settings = self.desk.engine, self.desk.settings
        with reading(engine) as connection:
            refuse_unknown_zone(settings, connection, choice.zone)
            priced = {key[0] for key in Ledger(connection).list_priced() if key[1] == choice.zone}
        named = set(choice.item_ids)
        rows = Facts(settings).read("items")
        columns = [name for name in ("item_id", "category", "brand") if name in rows.columns]
        catalogue = rows.select(*columns).to_pyarrow().to_pylist()
        known = {row["item_id"]: row for row in catalogue}
        chosen = [
            item_id
            for item_id in sorted(priced)
            if (not named or item_id in named) and _matches(choice, known.get(item_id, {}))
        ]
        if not chosen:
            raise NotFound("no item with a price matches", hint="Look at category, brand and zone")
        return chosen

    def _check_zone(
        self,
        decider: Decider,
        zone: str,
        proposed: Sequence[ProposedPrice],
        options: ProposalOptions,
    ) -> list[CheckedPrice]:
        with reading(self.desk.engine) as connection:
            refuse_unknown_zone(self.desk.settings, connection, zone)
        begins_at = max(options.effective_from or decider.now, decider.now)
        currency = self.desk.settings.zone(zone).currency
        inputs, priced = self._read_zone(zone, [price.item_id for price in proposed])
        items = {item.item_id: item for item in priced.items}
        grid = self._find_grid(inputs, zone)
        terms = ProposalTerms(
            actor=decider.actor,
            now=decider.now,
            effective_from=begins_at,
            about=_describe_inputs(inputs),
            confirmed=options.confirmed,
            reason=options.reason,
        )
        with reading(self.desk.engine) as connection:
            current = Ledger(connection).find_current(
                [price.item_id for price in proposed], zone, begins_at
            )
        checked, under_rules = [], []
        for price in proposed:
            item, valid = items.get(price.item_id), current.get(price.item_id)
            if item is None or valid is None or valid.offer_price_minor <= 0:
                checked.append(CheckedPrice(price, currency, error=explain_unpriced(price)))
                continue
            now_item = replace(
                item,
                current_price_minor=valid.offer_price_minor,
                list_price_minor=valid.list_price_minor,
            )
            of_stage = select_rules(inputs.rules, inputs.presets.get(item.stage or ""))
            rules = use_grid(of_stage.apply_scopes(AssortmentPart.of(item)), grid)
            under = ItemUnderRules(now_item, rules, priced.terms[price.item_id], valid)
            checked.append(_check(under, price, terms))
            if checked[-1].price_minor != valid.offer_price_minor:
                under_rules.append((len(checked) - 1, under))
        prices_minor = [_require_price(checked[index]) for index, _ in under_rules]
        effects = predict_effects_of([under.item for _, under in under_rules], prices_minor)
        for (index, under), price_minor, effect in zip(
            under_rules, prices_minor, effects, strict=True
        ):
            checked[index] = _add_draft(checked[index], under, price_minor, effect, terms)
        return checked

    def _read_zone(self, zone: str, item_ids: Sequence[str]) -> tuple[PricingInputs, PricedZone]:
        """Return the items with their families, and where a cost is assumed with their categories:
        an assumed cost is that at which the prices of a category are right."""
        from serving.pricing_inputs.item_facts import add_category_items, add_family_items
        from serving.pricing_inputs.items import read_priced_zone

        inputs = self.read_inputs(zone, item_ids)
        wanted = add_family_items(inputs.facts, item_ids)
        inputs = self.read_inputs(zone, wanted)
        priced = read_priced_zone(inputs, zone, wanted, without_forecast=True)
        chosen = set(item_ids)
        if any(item.cost_source == "assumed" and item.item_id in chosen for item in priced.items):
            wanted = add_category_items(inputs.facts, wanted, CATEGORY_DEPTH)
            inputs = self.read_inputs(zone, wanted)
            priced = read_priced_zone(inputs, zone, wanted, without_forecast=True)
        return inputs, priced

    def _find_grid(self, inputs: PricingInputs, zone: str) -> PriceGrid:
        """Return the endings of a zone, as runs find them."""
        with reading(self.desk.engine) as connection:
            ledger = Ledger(connection)
            ids = [key[0] for key in ledger.list_priced() if key[1] == zone]
            prices = ledger.find_current(ids, zone, inputs.now)
        return find_grid(inputs, zone, [price.list_price_minor for price in prices.values()])


def _check(under: ItemUnderRules, price: ProposedPrice, terms: ProposalTerms) -> CheckedPrice:
    """Return a price held against the rules, without its effect."""
    item, current = under.item, under.price.offer_price_minor
    price_minor = price.price_minor
    if price_minor is None:
        price_minor = change_by_percent(current, price.percent or 0.0, under.rules, item.currency)
    broken, warnings = find_broken(under, price_minor)
    checked = CheckedPrice(
        proposed=price,
        currency=item.currency,
        title=under.terms.title,
        category=under.terms.category,
        current_minor=current,
        price_minor=price_minor,
        nearest_minor=find_nearest_allowed(under, price_minor),
        broken=broken,
        warnings=warnings,
    )
    if price_minor == current:
        return checked.refuse(explain_unchanged(price, checked))
    if unconfirmed := [name for name in broken if name not in terms.confirmed]:
        return checked.refuse(explain_broken(checked, unconfirmed))
    return checked


def _add_draft(
    checked: CheckedPrice,
    under: ItemUnderRules,
    price_minor: int,
    effect: tuple[Effect | None, Effect | None],
    terms: ProposalTerms,
) -> CheckedPrice:
    draft = draft_proposal(under, price_minor, effect, terms, checked.proposed.reason)
    return replace(checked, draft=draft)


def _require_all_valid(proposal: CheckedProposal) -> None:
    """Raise the error of the first refused price, naming the others."""
    refused = proposal.refused
    if not refused:
        return
    first = refused[0].error
    assert first is not None  # noqa: S101
    if len(proposal.prices) == 1:
        raise first
    rows = ", ".join(str(price.proposed.row) for price in refused[:_SHOWN])
    more = f" and {len(refused) - _SHOWN:,} more" if len(refused) > _SHOWN else ""
    raise BadInput(
        f"{len(refused):,} of {len(proposal.prices):,} prices cannot be filed (rows {rows}{more}); "
        f"the first, item {refused[0].proposed.item_id!r}: {first}",
        where="prices",
        hint="Look at the preview, then send its digest to file the others",
    )


def _file(connection: sa.Connection, decider: Decider, proposal: CheckedProposal) -> FiledProposal:
    valid = proposal.valid
    drafts = [price.draft for price in valid if price.draft is not None]
    n_superseded = supersede_replaced(
        connection, decider, {(draft.item_id, draft.zone) for draft in drafts}
    )
    repository = Suggestions(connection)
    ids = repository.add(drafts)
    details = {
        suggestion_id: {
            "from": to_major(draft.current_price_minor, draft.currency),
            "to": to_major(draft.suggested_price_minor, draft.currency),
            "proposal": proposal.proposal_id,
            **({"confirmed": ", ".join(price.broken)} if price.broken else {}),
            **({"reason": price.proposed.reason} if price.proposed.reason else {}),
        }
        for suggestion_id, draft, price in zip(ids, drafts, valid, strict=True)
    }
    filed = repository.by_ids(ids, reasons=False)
    log_changes(connection, decider, "propose", filed, details)
    by_row = {price.proposed.row: key for price, key in zip(valid, ids, strict=True)}
    return FiledProposal(proposal, by_row, n_superseded)


def _digest(prices: Sequence[CheckedPrice], options: ProposalOptions) -> str:
    """Return a digest of what was shown, and of the prices that it was checked against."""
    rows = [
        [
            price.proposed.row,
            price.proposed.item_id,
            price.proposed.zone,
            price.price_minor,
            price.current_minor,
            sorted(price.broken),
            None if price.error is None else str(price.error),
            None if price.draft is None else [price.draft.base_price_id, price.draft.gain_minor],
            price.proposed.reason,
        ]
        for price in prices
    ]
    begins = options.effective_from
    shared = [sorted(options.confirmed), begins and begins.isoformat(), options.reason]
    return hashlib.sha256(json.dumps([rows, shared]).encode()).hexdigest()[:32]


def _describe_inputs(inputs: PricingInputs) -> dict[str, object]:
    """Return what each suggestion of a proposal notes of the rules and the models."""
    return {
        "rules": inputs.rules_name,
        "objective": str(inputs.rules.objective),
        "horizon_weeks": inputs.rules.horizon_weeks,
        "versions": dict(inputs.versions),
        "held": [],
    }


def _make_id() -> str:
    return f"proposal_{secrets.token_hex(8)}"


def _set_run(price: CheckedPrice, proposal_id: str) -> CheckedPrice:
    if price.draft is None:
        return price
    return replace(price, draft=replace(price.draft, run_id=proposal_id))


def _require_price(checked: CheckedPrice) -> int:
    assert checked.price_minor is not None  # noqa: S101
    return checked.price_minor


def _matches(choice: ItemChoice, row: Mapping[str, object]) -> bool:
    category = str(row.get("category") or "")
    in_category = choice.category is None or (
        category == choice.category or category.startswith(f"{choice.category} > ")
    )
    return in_category and choice.brand in (None, row.get("brand"))
