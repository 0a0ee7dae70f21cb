"""Price tests from plan to result: `shopwright prices tests --plan`, `--file`, `--finish`,
`--cancel`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from features.contracts.money import to_major
from serving.access import SCOPES, Caller
from serving.cli.output import print_json, print_line, print_table, steps
from serving.cli.pricing import check_zone, load_pricing_inputs, load_proposal_inputs
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from experiments.designs.portfolio import Portfolio
    from features.prices.stored_tests import StoredTest
    from serving.price_desk.price_experiments import PriceTestService
    from serving.pricing_inputs.items import PricedZone, PricingInputs

_SHOWN = 20
_ALL = 100_000  # tests, far more than there are
_PLAN_COLUMNS = ("unit", "item", "title", "now", "lower", "higher", "error now", "error after")
_LIST_COLUMNS = ("test", "zone", "state", "begins", "ends", "items", "periods filed", "slope")
_RESULT_COLUMNS = ("item", "slope", "error")


def plan(zone: str, max_items: int, weeks: int, *, save: bool, json: bool) -> None:
    """Print the portfolio of tests that is expected to bring the most beyond its cost."""
    from serving.price_desk.price_test_plans import (
        PlanOrder,
        describe_expectation,
        draw_test,
        plan_portfolio,
    )
    from serving.pricing_inputs.items import read_priced_zone

    shop = Shop()
    check_zone(shop, zone)
    order = PlanOrder(zone=zone, max_items=max_items, weeks=weeks, save=save)
    order.check()
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress)
        priced = read_priced_zone(inputs, zone)
        portfolio = plan_portfolio(inputs, priced, order)
        progress.done()
    test_id = None
    if save and portfolio.tests:
        test = draw_test(inputs, priced, portfolio)
        test_id = _build_service(shop, inputs).save(_operator(), test, portfolio).test_id
    if json:
        print_json({"zone": zone, "test_id": test_id, **describe_expectation(portfolio)})
        return
    _print_portfolio(portfolio, priced)
    if test_id is not None:
        print_line(f"Kept as {test_id}; file its first prices: prices tests --file {test_id}")


def file(test_id: str, *, json: bool) -> None:
    """File the prices of a test's next period on the price desk."""
    shop = Shop()
    with steps(1) as progress:
        service = _build_service(shop, load_proposal_inputs(shop, progress))
        stored, filed = service.file_next_period(_operator(), test_id)
        progress.done()
    batch = stored.document["batches"][-1]
    if json:
        print_json({"test_id": test_id, "state": stored.state, **batch})
        return
    n_missed = sum(1 for entry in stored.document["batches"] if entry.get("missed"))
    if n_missed:
        print_line(f"Never filed in time, and left out: {n_missed} of the test's periods")
    if batch["proposal_id"] is None:
        print_line("Nothing to file: every item has its price already")
    else:
        if batch["late"]:
            print_line("The planned time is over: the prices begin with the next possible time")
        print_line(
            f"{len(filed.ids):,} prices from {batch['starts_at']} on are filed as "
            f"{batch['proposal_id']}; somebody else approves them"
        )
    _print_refused(batch["refused"])


def cancel(test_id: str, *, json: bool) -> None:
    """End a test now: file the prices before it, and release its items."""
    from serving.price_desk.price_test_batches import find_refused

    shop = Shop()
    with steps(1) as progress:
        service = _build_service(shop, load_proposal_inputs(shop, progress))
        stored, filed = service.cancel(_operator(), test_id)
        progress.done()
    proposal_id = filed.proposal.proposal_id if filed.ids else None
    if json:
        print_json({"test_id": test_id, "state": stored.state, "proposal_id": proposal_id})
        return
    if proposal_id is None:
        print_line(f"{test_id} is cancelled; no price has to go back")
    else:
        print_line(
            f"{test_id} is cancelled; {len(filed.ids):,} earlier prices are filed as "
            f"{proposal_id}; somebody else approves them"
        )
    _print_refused(find_refused(filed.proposal))


def finish(test_id: str, *, json: bool) -> None:
    """Analyse a test that is over and keep its result."""
    shop = Shop()
    with steps(1) as progress:
        service = _build_service(shop, load_proposal_inputs(shop, progress))
        measured = service.measure(_operator(), test_id)
        stored = service.finish(_operator(), measured.stored, measured.result)
        progress.done()
    if json:
        print_json({"test_id": test_id, "state": stored.state, "result": stored.document["result"]})
        return
    _print_result(stored)


def list_tests(*, json: bool) -> None:
    """Print all tests with their state, and what was learnt."""
    shop = Shop()
    with steps(1) as progress:
        tests = _build_service(shop, load_proposal_inputs(shop, progress)).list(limit=_ALL)
        progress.done()
    if json:
        print_json({"tests": [asdict(test) for test in tests]})
        return
    print_table("Price tests", _LIST_COLUMNS, [_list_row(test) for test in tests])


def _build_service(shop: Shop, inputs: PricingInputs) -> PriceTestService:
    from features.facts.item_rules import ItemRules
    from serving.price_desk.price_experiments import PriceTestService
    from serving.price_desk.proposals import ProposalService
    from serving.price_desk.service import PriceDeskService

    item_rules = ItemRules(shop.settings, shop.clock, shop.engine)
    desk = PriceDeskService(shop.settings, shop.engine, shop.clock, shop.system_clock, item_rules)
    return PriceTestService(ProposalService(desk, lambda _zone, _item_ids: inputs))


def _operator() -> Caller:
    return Caller(OPERATOR, OPERATOR, frozenset(SCOPES))


def _print_portfolio(portfolio: Portfolio, priced: PricedZone) -> None:
    """Print units with their prices, expected value and cost, and why others are left out."""
    currency = priced.items[0].currency if priced.items else "USD"
    rows = [
        (
            test.unit.name,
            prices.item_id,
            (priced.terms[prices.item_id].title or "")[:28],
            to_major(prices.current_minor, currency),
            to_major(prices.lower_minor, currency),
            to_major(prices.higher_minor, currency),
            f"{test.error_now:.2f}",
            f"{test.error_after:.2f}",
        )
        for test in portfolio.tests
        for prices in test.unit.prices
    ]
    if rows:
        weeks = portfolio.periods.n_weeks
        title = f"Price test, zone {priced.zone}: {portfolio.n_items:,} items for {weeks} weeks"
        print_table(title, _PLAN_COLUMNS, rows[:_SHOWN])
        if len(rows) > _SHOWN:
            print_line(f"{len(rows) - _SHOWN:,} more items with --json")
        value, cost, net = (
            to_major(round(amount), currency)
            for amount in (portfolio.value, portfolio.cost, portfolio.net)
        )
        print_line(f"Expected: {value} from better prices, {cost} given up meanwhile, {net} left")
    else:
        print_line(f"No price test is worth its cost in zone {priced.zone}")
    for reason, count in portfolio.reasons.items():
        print_line(f"Not tested, {count:,}: {reason}")


def _print_result(stored: StoredTest) -> None:
    result = stored.document["result"]
    items = [
        (row["item_id"], f"{row['slope']:.2f}", f"{row['error']:.2f}") for row in result["items"]
    ]
    print_table(f"Result of {stored.test_id}", _RESULT_COLUMNS, items[:_SHOWN])
    print_line(
        f"All items together: {_describe_slope(result['common'])}; "
        f"chance alone gives as much in {result['p_value']:.1%} of draws"
    )
    later = "not measurable in this test"
    if result["carry_over"] is not None:
        later = _describe_slope(result["carry_over"])
    elif stored.document["test"]["periods"]["n_periods"] == 2:
        later = "not measurable with two periods"
    print_line(f"Comes a period later: {later}")
    if result["interference"] is not None:
        print_line(f"Other items of the families: {_describe_slope(result['interference'])}")
    if n_left_out := result["n_weeks_left_out"]:
        print_line(f"Left out: {n_left_out:,} weeks of items at another price than the planned one")
    print_line("The next shopwright train pricing reads it")


def _describe_slope(estimate: Mapping[str, float | None]) -> str:
    slope, error = estimate["slope"], estimate["error"]
    if slope is None:
        return "unknown"
    known = "unknown" if error is None else f"{error:.2f}"
    return f"{slope:.2f} (standard error {known})"


def _print_refused(refused: Mapping[str, str]) -> None:
    for item_id, reason in list(refused.items())[:_SHOWN]:
        print_line(f"Refused, item {item_id}: {reason}")


def _list_row(test: StoredTest) -> tuple[str | int, ...]:
    units = test.document["test"]["units"]
    result = test.document.get("result")
    return (
        test.test_id,
        test.zone,
        test.state,
        "" if test.begins_at is None else test.begins_at.date().isoformat(),
        "" if test.ends_at is None else test.ends_at.date().isoformat(),
        sum(len(unit["prices"]) for unit in units),
        len(test.document["batches"]),
        "" if result is None else _describe_slope(result["common"]),
    )
