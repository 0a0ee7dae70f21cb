"""Price tests from plan to result: `shopwright prices tests --plan`, `--file`, `--finish`,
`--cancel`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from features.contracts.money import to_major
from features.contracts.pricing import PriceTestDesign
from serving.access import SCOPES, Caller
from serving.cli.output import print_json, print_line, print_table, steps
from serving.cli.pricing import check_zone, load_pricing_inputs, load_proposal_inputs
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from features.prices.stored_tests import Json, StoredTest
    from serving.price_desk.price_experiments import PriceTestService
    from serving.price_desk.price_test_drafts import DraftedTest
    from serving.price_desk.price_test_plans import PlanOrder
    from serving.pricing_inputs.items import PricingInputs

_SHOWN = 20
_ALL = 100_000  # tests, far more than there are
_PRICE_COLUMNS = {True: ("now", "new"), False: ("now", "lower", "higher")}
_LIST_COLUMNS = (
    "test",
    "design",
    "zone",
    "state",
    "begins",
    "ends",
    "items",
    "periods filed",
    "slope",
)
_PRICE_FIELDS = {
    "now": "current_minor",
    "lower": "lower_minor",
    "higher": "higher_minor",
    "new": "new_minor",
}
_RESULT_COLUMNS = ("item", "zone", "slope", "error")
_TOO_FEW = "fewer than four families, categories or periods are too few"
_NAMES = {
    PriceTestDesign.CROSSOVER: "crossover",
    PriceTestDesign.SWITCHBACK: "switchback",
    PriceTestDesign.ROLLOUT: "stepped roll-out",
}
_PURPOSES = {
    PriceTestDesign.CROSSOVER: "Crossover: each family or item has each of its two prices in turn; "
    "it measures the elasticity of single items",
    PriceTestDesign.SWITCHBACK: "Switchback: each zone has either price in half of the periods; it "
    "measures what happens when the prices of a whole zone move together",
    PriceTestDesign.ROLLOUT: "Stepped roll-out: the categories get their new prices one after the "
    "other, and keep them; it measures what the new prices bring",
}
_EMPTY = {
    PriceTestDesign.CROSSOVER: "No price test is worth its cost in zone {zones}",
    PriceTestDesign.SWITCHBACK: "None of these items can be tested in all of the zones {zones}",
    PriceTestDesign.ROLLOUT: "No price waits on the desk that can be rolled out in zone {zones}: "
    "shopwright prices suggest files prices",
}


def plan(order: PlanOrder, *, json: bool) -> None:
    """Print the test that was ordered, its prices drawn by chance, with its cost and its error."""
    from serving.price_desk.price_test_drafts import draft_test

    shop = Shop()
    for zone in order.zones:
        check_zone(shop, zone)
    order.check()
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress)
        draft = draft_test(lambda _zone: inputs, order)
        progress.done()
    test_id = None
    if order.save and draft.test is not None:
        saved = _build_service(shop, inputs).save(_operator(), draft.test, draft.expected)
        test_id = saved.test_id
    if json:
        about = {"design": order.design, "zone": min(order.zones), "zones": order.zones}
        periods = None if draft.test is None else asdict(draft.test.periods)
        print_json({**about, "test_id": test_id, "periods": periods, **draft.expected})
        return
    _print_draft(order, draft, inputs)
    if test_id is not None:
        print_line(f"Kept as {test_id}; file its first prices: prices tests --file {test_id}")


def file(test_id: str, *, json: bool) -> None:
    """File the prices that change in a test's next period on the price desk."""
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
        print_line(
            "No price could be filed"
            if batch["refused"]
            else "Nothing to file: every item has its price already"
        )
    else:
        if batch["late"]:
            print_line("The planned time is over: the prices begin with the next possible time")
        print_line(
            f"{len(filed.ids):,} prices from {batch['starts_at']} on are filed as "
            f"{batch['proposal_id']}; somebody else approves them"
        )
    _print_refused(batch["refused"])
    if stored.design is PriceTestDesign.ROLLOUT and stored.document["batches"][0] is batch:
        print_line("The first period of a roll-out keeps all prices, to be compared with")


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
        about = {"test_id": test_id, "design": stored.design, "state": stored.state}
        keeps_prices = stored.design is PriceTestDesign.ROLLOUT
        print_json({**about, "keeps_prices": keeps_prices, "result": stored.document["result"]})
        return
    _print_result(stored)


def list_tests(*, json: bool) -> None:
    """Print all tests with their state, and what was learnt."""
    shop = Shop()
    with steps(1) as progress:
        tests = _build_service(shop, load_proposal_inputs(shop, progress)).list(limit=_ALL)
        progress.done()
    if json:
        documents = [{**asdict(test), "design": test.design, "zones": test.zones} for test in tests]
        print_json({"tests": documents})
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


def _print_draft(order: PlanOrder, draft: DraftedTest, inputs: PricingInputs) -> None:
    """Print units with their prices, expected value and cost, and why others are left out."""
    plan, zones = draft.expected, ", ".join(order.zones)
    currency = inputs.settings.zone(order.zones[0]).currency
    if draft.test is None:
        print_line(_EMPTY[order.design].format(zones=zones))
    else:
        names = _PRICE_COLUMNS[draft.test.keeps_prices]
        errors = {"error now": "error_now"}
        if order.design is PriceTestDesign.CROSSOVER:
            errors["error after"] = "error_after"
        columns = ("unit", "item", "title", *names, *errors)
        rows = [
            (
                unit["name"],
                prices["item_id"],
                draft.titles[prices["item_id"]][:28],
                *(to_major(prices[_PRICE_FIELDS[name]], currency) for name in names),
                *(_describe_error(unit[name]) for name in errors.values()),
            )
            for unit in plan["units"]
            for prices in unit["prices"]
        ]
        zone_word = "zones" if len(order.zones) > 1 else "zone"
        title = (
            f"Price test, {zone_word} {zones}: {plan['n_items']:,} items for {plan['weeks']} weeks"
        )
        print_table(title, columns, rows[:_SHOWN])
        if len(rows) > _SHOWN:
            print_line(f"{len(rows) - _SHOWN:,} more items with --json")
        periods = draft.test.periods
        print_line(_PURPOSES[order.design])
        print_line(
            f"{periods.n_periods} periods of {periods.period_weeks} weeks, the first "
            f"{periods.burn_in_weeks} of each left out of the analysis"
        )
        print_line(_describe_amounts(order, plan, currency))
        if "error" in plan:
            print_line(_describe_expected_error(plan["error"]))
    for reason, count in plan["reasons"].items():
        print_line(f"Not tested, {count:,}: {reason}")


def _describe_amounts(order: PlanOrder, plan: Json, currency: str) -> str:
    cost = to_major(round(plan["cost"]), currency)
    if order.design is PriceTestDesign.ROLLOUT:
        return f"Expected: {cost} given up because the new prices come later"
    if plan["value"] is None:
        return f"Expected: {cost} given up meanwhile"
    value, net = (to_major(round(plan[name]), currency) for name in ("value", "net"))
    return f"Expected: {value} from better prices, {cost} given up meanwhile, {net} left"


def _describe_expected_error(error: float | None) -> str:
    if error is None:
        return f"It leaves no error that can be estimated: {_TOO_FEW}"
    return (
        f"Standard error of the elasticity of all items together: about {error:.2f}, where what "
        "happens to one zone or category alone moves it by 10 %"
    )


def _print_result(stored: StoredTest) -> None:
    result = stored.document["result"]
    items = [
        (*stored.find_key(row), f"{row['slope']:.2f}", f"{row['error']:.2f}")
        for row in result["items"]
    ]
    print_line(f"Result of {stored.test_id}, a {_NAMES[stored.design]}")
    if items:
        print_table("Each at its own price", _RESULT_COLUMNS, items[:_SHOWN])
    print_line(
        f"All items together: {_describe_slope(result['common'])}; "
        f"chance alone gives as much in {result['p_value']:.1%} of draws"
    )
    if result["common"]["slope"] is not None and result["common"]["error"] is None:
        print_line(f"No error: {_TOO_FEW}; read how often chance alone gives as much")
    if result.get("all_weeks") is not None:
        print_line(f"With the weeks of the burn-in: {_describe_slope(result['all_weeks'])}")
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
    if stored.design is PriceTestDesign.ROLLOUT:
        print_line("The new prices stay: nothing is filed back")
    if stored.design is PriceTestDesign.CROSSOVER:
        print_line("The next shopwright train pricing reads it")
    else:
        print_line(
            "All prices of a zone or category moved together: no item's own elasticity is known "
            "from it, and training does not read it"
        )


def _describe_slope(estimate: Mapping[str, float | None]) -> str:
    slope, error, margin = estimate["slope"], estimate["error"], estimate.get("margin")
    if slope is None:
        return "unknown"
    interval = ""
    if margin is not None:
        interval = f", 95 % interval {slope - margin:.2f} to {slope + margin:.2f}"
    return f"{slope:.2f} (standard error {_describe_error(error)}{interval})"


def _describe_error(error: float | None) -> str:
    return "unknown" if error is None else f"{error:.2f}"


def _print_refused(refused: Mapping[str, str]) -> None:
    for item_id, reason in list(refused.items())[:_SHOWN]:
        print_line(f"Refused, item {item_id}: {reason}")


def _list_row(test: StoredTest) -> tuple[str | int, ...]:
    units = test.document["test"]["units"]
    result = test.document.get("result")
    return (
        test.test_id,
        _NAMES[test.design],
        ", ".join(test.zones),
        test.state,
        "" if test.begins_at is None else test.begins_at.date().isoformat(),
        "" if test.ends_at is None else test.ends_at.date().isoformat(),
        len({prices["item_id"] for unit in units for prices in unit["prices"]}),
        len(test.document["batches"]),
        "" if result is None else _describe_slope(result["common"]),
    )
