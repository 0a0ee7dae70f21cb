"""`shopwright prices propose`: prices by hand, one, many by percent, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput
from features.contracts.tables import DEFAULT_ZONE
from serving.access import SCOPES, Caller
from serving.cli.output import JsonOption, print_json, print_line, print_table, steps
from serving.cli.pricing import load_proposal_inputs
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from serving.price_desk.checked_prices import ProposedPrice
    from serving.price_desk.proposal_documents import ProposalResponse
    from serving.price_desk.proposals import ProposalService

_SHOWN = 20
_COLUMNS = ("row", "item", "title", "now", "new", "profit gained", "refused, or to know")


def propose(
    item_id: Annotated[str | None, typer.Argument(help="Item")] = None,
    price: Annotated[str | None, typer.Argument(help="Its new price in major units")] = None,
    file: Annotated[
        Path | None, typer.Option(help="CSV or XLSX file with the columns item_id, price")
    ] = None,
    percent: Annotated[
        float | None, typer.Option(help="Change of the present prices, such as -3")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="With --percent: only this one and all below it")
    ] = None,
    brand: Annotated[str | None, typer.Option(help="With --percent: only this brand")] = None,
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    effective_from: Annotated[
        str | None, typer.Option(help="When the prices begin, RFC 3339; once approved if unset")
    ] = None,
    confirm: Annotated[
        list[str] | None, typer.Option(help="Name of a rule that may be broken; may be repeated")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for whoever approves")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look: file nothing")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="File what is valid of several prices without a question")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Propose prices by hand: rules are checked, effects shown, somebody else approves."""
    from features.database import transaction
    from features.facts.item_rules import ItemRules
    from serving.price_desk.proposal_documents import describe_proposal
    from serving.price_desk.proposals import ItemChoice, ProposalOptions, ProposalService
    from serving.price_desk.service import PriceDeskService

    shop = Shop()
    item_rules = ItemRules(shop.settings, shop.clock, shop.engine)
    desk = PriceDeskService(shop.settings, shop.engine, shop.clock, shop.system_clock, item_rules)
    options = ProposalOptions(
        None if effective_from is None else parse_time(effective_from, where="--effective-from"),
        frozenset(confirm or ()),
        reason,
    )
    operator = Caller(OPERATOR, OPERATOR, frozenset(SCOPES))
    with steps(1) as progress:
        inputs = load_proposal_inputs(shop, progress)
        proposals = ProposalService(desk, lambda _zone, _item_ids: inputs)
        choice = ItemChoice(zone, category, brand, () if item_id is None else (item_id,))
        proposed = _read_proposed(proposals, choice, price=price, percent=percent, file=file)
        proposal = proposals.check(operator, proposed, options)
        progress.done()
    document = describe_proposal(proposal)
    # The reason why the only price is refused is the error of its filing.
    is_refused = len(proposed) == 1 and not document.n_valid and not dry_run
    if not json and not is_refused:
        _print_proposal(document)
    if not dry_run and (len(proposed) == 1 or yes or _ask(document)):
        digest = proposal.digest if len(proposed) > 1 else None
        with transaction(shop.engine) as connection:
            filed = proposals.file(connection, operator, proposal, options, digest)
        document = describe_proposal(proposal, filed)
    if json:
        print_json(document.model_dump(mode="json"))
    elif document.is_filed:
        print_line(
            f"{document.n_valid:,} prices are filed as {document.id}, "
            f"{document.n_superseded:,} earlier suggestions superseded; somebody else approves them"
        )
    else:
        print_line("Nothing is filed")


def _read_proposed(
    proposals: ProposalService,
    choice: object,
    *,
    price: str | None,
    percent: float | None,
    file: Path | None,
) -> list[ProposedPrice]:
    """Return the prices that the options name. Raises BadInput unless exactly one kind does."""
    from features.prices.guards import parse_price
    from serving.price_desk.checked_prices import ProposedPrice
    from serving.price_desk.price_files import read_prices
    from serving.price_desk.proposals import ItemChoice

    assert isinstance(choice, ItemChoice)  # noqa: S101
    if sum(given is not None for given in (price, percent, file)) != 1:
        raise BadInput(
            "give ITEM and PRICE, or --percent, or --file",
            hint="Try: shopwright prices propose ITEM PRICE",
        )
    settings = proposals.desk.settings
    if file is not None:
        return read_prices(file.read_bytes(), settings, choice.zone)
    if percent is not None:
        return [
            ProposedPrice(row, item_id, choice.zone, percent=percent)
            for row, item_id in enumerate(proposals.choose_items(choice), start=1)
        ]
    currency = settings.zone(choice.zone).currency
    minor = parse_price(str(price), currency, where="PRICE")
    return [ProposedPrice(1, choice.item_ids[0], choice.zone, minor)]


def _print_proposal(document: ProposalResponse) -> None:
    rows = [
        (
            str(price.row),
            price.item_id,
            (price.title or "")[:32],
            price.current_price or "-",
            price.price or "-",
            price.profit_gain or "-",
            price.refused or "; ".join([*price.broken_rules.values(), *price.warnings]),
        )
        for price in sorted(document.items, key=lambda price: (price.is_valid, price.row))
    ]
    title = f"Proposed prices: {document.n_valid:,} valid, {document.n_refused:,} refused"
    print_table(title, _COLUMNS, rows[:_SHOWN])
    if len(rows) > _SHOWN:
        print_line(f"... and {len(rows) - _SHOWN:,} more; --json lists all")
    for gain in document.gains:
        print_line(
            f"Expected of {gain.n_prices:,} of them against keeping: "
            f"profit {gain.profit} {gain.currency}, revenue {gain.revenue} {gain.currency}, "
            f"{gain.units:,.1f} units"
        )


def _ask(document: ProposalResponse) -> bool:
    """Return whether whoever sits at the terminal files what is valid; without one, no."""
    import sys

    if not document.n_valid or not sys.stdin.isatty():
        return False
    return typer.confirm(f"File these {document.n_valid:,} prices?", err=True)
