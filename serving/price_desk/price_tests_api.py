"""`/v1/price-tests`: price tests, from the plan to the result."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.pricing import PriceTestDesign
from features.contracts.tables import DEFAULT_ZONE
from features.prices.stored_tests import StoredTest
from serving.field_types import Text
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text, parse_cursor
from serving.price_desk.price_experiments import PriceTestService
from serving.price_desk.price_test_checks import PreparedCancel, PreparedFiling
from serving.price_desk.price_test_documents import (
    FiledPriceTestResponse,
    PriceTestResponse,
    PriceTestSummaryResponse,
    describe_filed_test,
    describe_test,
    summarise_test,
)
from serving.price_desk.price_test_measures import MeasuredTest
from serving.price_desk.price_test_planner import PriceTestPlanner
from serving.price_desk.price_test_plans import (
    LEAST_ITEMS,
    LEAST_WEEKS,
    MOST_ITEMS,
    MOST_NAMED,
    MOST_PERIOD_WEEKS,
    MOST_PERIODS,
    MOST_WEEKS,
    PlanOrder,
)
from serving.price_desk.price_test_reading import MAX_PAGE, view_test

router = APIRouter(
    prefix="/v1/price-tests", tags=["price desk"], dependencies=[Depends(check_text)]
)
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Proposer = Annotated[Caller, Depends(require("pricing.propose"))]
Tests = Annotated[PriceTestService, Depends(inject(PriceTestService))]
Planner = Annotated[PriceTestPlanner, Depends(inject(PriceTestPlanner))]


class PriceTestOrderRequest(BaseModel):
    """What to plan: a crossover of the items of a zone whose tests bring more than they cost, a
    switchback of zones, or a roll-out, category by category, of the prices that wait on the desk.
    """

    model_config = ConfigDict(extra="forbid")

    design: PriceTestDesign = PriceTestDesign.CROSSOVER
    zone: Text = DEFAULT_ZONE
    zones: list[Text] = Field([], max_length=MOST_NAMED, description="In place of `zone`")
    categories: list[Text] = Field([], max_length=MOST_NAMED, description="With all below them")
    item_ids: list[Text] = Field([], max_length=MOST_NAMED, description="With their families")
    max_items: int = Field(
        40, ge=LEAST_ITEMS, le=MOST_ITEMS, description="Items under test at a time"
    )
    weeks: int = Field(
        52, ge=LEAST_WEEKS, le=MOST_WEEKS, description="Weeks in which better prices count"
    )
    n_periods: int | None = Field(None, ge=2, le=MOST_PERIODS, description="Not of a crossover")
    period_weeks: int | None = Field(None, ge=1, le=MOST_PERIOD_WEEKS)
    burn_in_weeks: int | None = Field(
        None, ge=0, le=MOST_PERIOD_WEEKS, description="First weeks of each period, not analysed"
    )
    save: bool = Field(False, description="Keep the plan as soon as it is there")

    def read(self) -> PlanOrder:
        """Return the order."""
        values = self.model_dump(exclude={"zone"})
        named = {name: tuple(values[name]) for name in ("categories", "item_ids")}
        return PlanOrder(**values | named | {"zones": tuple(self.zones or [self.zone])})


class PriceTestsResponse(BaseModel):
    """A page of price tests, the newest change first."""

    items: list[PriceTestSummaryResponse]
    next_cursor: str | None


@router.get("", dependencies=[Depends(allow_only("zone", "state", "cursor", "limit"))])
def list_price_tests(
    _caller: Reader,
    tests: Tests,
    zone: str | None = None,
    state: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> PriceTestsResponse:
    """Price tests, the newest change first. Plans that nobody has kept are listed by their state:
    planning, draft or failed."""
    offset = parse_cursor(cursor)
    page = tests.list(zone, state, offset=offset, limit=limit)
    desk = tests.proposals.desk
    return PriceTestsResponse(
        items=[summarise_test(desk.settings, test, desk.clock.now()) for test in page],
        next_cursor=str(offset + len(page)) if len(page) == limit else None,
    )


@router.post("", dependencies=[Depends(allow_only())], response_model=PriceTestResponse)
def plan_price_tests(
    caller: Proposer, write: Write, planner: Planner, body: PriceTestOrderRequest
) -> Response:
    """Begins to compute a plan; read it until its state is no longer `planning`. A plan without
    units says that no test is advised, and why."""
    order = body.read()

    def record(connection: sa.Connection, stored: StoredTest) -> PriceTestResponse:
        return describe_test(planner.desk.settings, view_test(connection, planner.desk, stored))

    return write.run_outside(caller, lambda: planner.start(caller, order), record)


@router.get("/{test_id}", dependencies=[Depends(allow_only())])
def get_price_test(test_id: str, _caller: Reader, tests: Tests) -> PriceTestResponse:
    """A price test: its design, plan, units, prices by period, what was filed, and the result."""
    return describe_test(tests.proposals.desk.settings, tests.read(test_id))


@router.post(
    "/{test_id}/keep", dependencies=[Depends(allow_only())], response_model=PriceTestResponse
)
def keep_plan(test_id: str, caller: Proposer, write: Write, tests: Tests) -> Response:
    """Keeps a plan: its prices can be filed from now on."""
    desk = tests.proposals.desk

    def work(connection: sa.Connection) -> PriceTestResponse:
        stored = tests.keep(connection, caller, test_id)
        return describe_test(desk.settings, view_test(connection, desk, stored))

    return write.run_once(caller, work)


@router.post(
    "/{test_id}/file", dependencies=[Depends(allow_only())], response_model=FiledPriceTestResponse
)
def file_next_period(test_id: str, caller: Proposer, write: Write, tests: Tests) -> Response:
    """Files the prices that change in the next period, after the last one those before the test but
    for a roll-out; somebody else approves them."""
    desk = tests.proposals.desk

    def record(connection: sa.Connection, prepared: PreparedFiling) -> FiledPriceTestResponse:
        stored, filed = tests.file(connection, caller, prepared)
        return describe_filed_test(desk.settings, view_test(connection, desk, stored), filed)

    return write.run_outside(caller, lambda: tests.prepare_filing(caller, test_id), record)


@router.post(
    "/{test_id}/finish", dependencies=[Depends(allow_only())], response_model=PriceTestResponse
)
def finish_price_test(test_id: str, caller: Proposer, write: Write, tests: Tests) -> Response:
    """Analyses a test that is over and keeps its result; the next training of the price model reads
    it. A process analyses one test at a time (503 for others)."""
    desk = tests.proposals.desk

    def record(connection: sa.Connection, measured: MeasuredTest) -> PriceTestResponse:
        stored = tests.keep_result(connection, caller, measured)
        return describe_test(desk.settings, view_test(connection, desk, stored))

    return write.run_outside(caller, lambda: tests.measure(caller, test_id), record)


@router.post(
    "/{test_id}/cancel", dependencies=[Depends(allow_only())], response_model=FiledPriceTestResponse
)
def cancel_price_test(test_id: str, caller: Proposer, write: Write, tests: Tests) -> Response:
    """Ends a test now: what waits is withdrawn, and the prices before it are filed."""
    desk = tests.proposals.desk

    def record(connection: sa.Connection, prepared: PreparedCancel) -> FiledPriceTestResponse:
        stored, filed = tests.cancel_prepared(connection, caller, prepared)
        return describe_filed_test(desk.settings, view_test(connection, desk, stored), filed)

    return write.run_outside(caller, lambda: tests.prepare_cancel(caller, test_id), record)
