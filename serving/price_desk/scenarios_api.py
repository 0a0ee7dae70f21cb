"""`/v1/price-scenarios`: prices under other rules, computed before anything is filed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.money import to_major
from features.contracts.pricing import DEFAULT_RULES
from features.contracts.tables import DEFAULT_ZONE
from serving.field_types import ReasonRequest, Text
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text, parse_cursor
from serving.price_desk.scenario_repository import Scenario, ScenarioOrder
from serving.price_desk.scenario_types import PriceTotals, ScenarioOutcome
from serving.price_desk.scenarios import MAX_WEEKS, SCOPE, ScenarioService

router = APIRouter(
    prefix="/v1/price-scenarios", tags=["price desk"], dependencies=[Depends(check_text)]
)
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Proposer = Annotated[Caller, Depends(require(SCOPE))]
Service = Annotated[ScenarioService, Depends(inject(ScenarioService))]


class ScenarioRequest(BaseModel):
    """What to compute: the rules of a name as they are valid now, with what is given here."""

    model_config = ConfigDict(extra="forbid")

    zone: Text = DEFAULT_ZONE
    title: Text = Field("", max_length=200)
    rules: Text = DEFAULT_RULES
    objective: Text | None = None
    horizon_weeks: int | None = Field(None, ge=1, le=MAX_WEEKS)
    values: dict[str, Any] | None = Field(None, description="All values, instead of those of today")
    changes: dict[str, Any] = Field(
        default_factory=dict, description='Single values by dotted key: {"max_change": 0.05}'
    )


class TotalsResponse(BaseModel):
    """What new prices together would do against keeping every price.

    `effects` are p10, p50 and p90 of units, revenue and profit over the horizon; `forbidden` is the
    number of prices of today that each hard rule forbids."""

    n_changes: int
    n_rises: int
    n_unknown: int
    effects: dict[str, dict[str, Any]]
    forbidden: dict[str, int]
    not_kept: list[str]


class MoveResponse(BaseModel):
    """An item with another price than the queue has; `waiting` is null where none waits."""

    item_id: str
    title: str | None
    current: str
    waiting: str | None
    today: str
    new: str


class OutcomeResponse(BaseModel):
    """The scenario beside what waits for a decision, and beside a run under the rules of today."""

    currency: str
    objective: str
    horizon_weeks: int
    n_items: int
    n_different: int
    scenario: TotalsResponse
    waiting: TotalsResponse
    today: TotalsResponse
    moves: list[MoveResponse]
    held: list[str]
    kept: dict[str, int]


class ScenarioResponse(BaseModel):
    """A scenario: running, done, failed (`problem` says why) or filed (as `run_id`)."""

    id: str
    status: str
    request: ScenarioRequest
    created_by: str
    created_at: datetime
    problem: str | None
    filed_by: str | None
    run_id: str | None
    outcome: OutcomeResponse | None


class ScenariosResponse(BaseModel):
    """A page of scenarios, newest first."""

    items: list[ScenarioResponse]
    next_cursor: str | None


@router.post("", dependencies=[Depends(allow_only())], response_model=ScenarioResponse)
def start_scenario(
    caller: Proposer, write: Write, service: Service, body: ScenarioRequest
) -> Response:
    """Begins to compute a scenario; read it until it is done. Nothing is filed or saved."""

    def record(_connection: sa.Connection, scenario: Scenario) -> ScenarioResponse:
        return _describe(scenario)

    order = ScenarioOrder(**dict(body))
    return write.run_outside(caller, lambda: service.start(caller, order), record)


@router.get("", dependencies=[Depends(allow_only("zone", "cursor", "limit"))])
def list_scenarios(
    _caller: Reader,
    service: Service,
    zone: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> ScenariosResponse:
    """Scenarios, newest first."""
    before = parse_cursor(cursor) if cursor else None
    page = service.list_scenarios(zone, before=before, limit=limit)
    return ScenariosResponse(
        items=[_describe(scenario) for scenario in page],
        next_cursor=str(page[-1].seq) if len(page) == limit else None,
    )


@router.get("/{scenario_id}", dependencies=[Depends(allow_only())])
def get_scenario(scenario_id: str, _caller: Reader, service: Service) -> ScenarioResponse:
    """A scenario as far as it is."""
    return _describe(service.read(scenario_id))


@router.post("/{scenario_id}/file", response_model=ScenarioResponse)
def file_scenario(
    scenario_id: str,
    caller: Proposer,
    write: Write,
    service: Service,
    body: ReasonRequest | None = None,
) -> Response:
    """Files its prices in place of all that is undecided in its zone; somebody else approves."""

    def work(connection: sa.Connection) -> ScenarioResponse:
        reason = body.reason if body else None
        return _describe(service.file(connection, caller, scenario_id, reason))

    return write.run_once(caller, work)


def _describe(scenario: Scenario) -> ScenarioResponse:
    outcome = scenario.outcome
    return ScenarioResponse(
        id=scenario.id,
        status=scenario.status,
        request=ScenarioRequest.model_validate(vars(scenario.order)),
        created_by=scenario.created_by,
        created_at=scenario.created_at,
        problem=scenario.problem,
        filed_by=scenario.filed_by,
        run_id=scenario.run_id,
        outcome=None if outcome is None else _describe_outcome(outcome),
    )


def _describe_outcome(outcome: ScenarioOutcome) -> OutcomeResponse:
    """Return an outcome with its amounts in major units."""
    currency = outcome.currency
    totals = {
        name: _describe_totals(getattr(outcome, name), currency)
        for name in ("scenario", "waiting", "today")
    }
    moves = [
        {
            name.removesuffix("_minor"): to_major(value, currency)
            if name.endswith("_minor") and value is not None
            else value
            for name, value in vars(move).items()
        }
        for move in outcome.moves
    ]
    values = {**vars(outcome), "held": list(outcome.held), **totals, "moves": moves}
    return OutcomeResponse.model_validate(values)


def _describe_totals(totals: PriceTotals, currency: str) -> TotalsResponse:
    effects = {
        name: vars(band)
        if name == "units"
        else {level: to_major(round(value), currency) for level, value in vars(band).items()}
        for name, band in totals.effects.items()
    }
    return TotalsResponse.model_validate(
        {**vars(totals), "effects": effects, "not_kept": list(totals.not_kept)}
    )
