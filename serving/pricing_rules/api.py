"""`/v1/pricing-rules`: the rules of the shop, their versions, and new ones."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response

from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text
from serving.http.rule_documents import (
    RestoreRulesRequest,
    RulesListResponse,
    RulesResponse,
    RuleVersionsResponse,
    SaveRulesRequest,
    describe_changes,
    describe_rules,
    describe_version,
)
from serving.pricing_rules.service import PricingRulesService
from serving.versioned_rules import NewVersion

router = APIRouter(
    prefix="/v1/pricing-rules", tags=["pricing rules"], dependencies=[Depends(check_text)]
)
Rules = Annotated[PricingRulesService, Depends(inject(PricingRulesService))]
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Manager = Annotated[Caller, Depends(require("pricing.manage"))]


@router.get("", dependencies=[Depends(allow_only())])
def list_rules(rules: Rules, _caller: Reader) -> RulesListResponse:
    """The rules of every name as they are valid now."""
    return RulesListResponse(items=[describe_rules(each) for each in rules.list_rules()])


@router.post("", response_model=RulesResponse)
def save_rules(rules: Rules, caller: Manager, write: Write, body: SaveRulesRequest) -> Response:
    """Saves a version, which is valid at once. 409 where somebody saved another one meanwhile."""
    caller.require_everywhere(rules.scope)
    new = NewVersion(body.name, body.values, body.comment, body.based_on)

    def work(connection: sa.Connection) -> RulesResponse:
        return describe_version(rules.save(connection, new, author=caller.id))

    return write.run_once(caller, work)


@router.get("/{name}", dependencies=[Depends(allow_only("number"))])
def get_rules(
    rules: Rules,
    _caller: Reader,
    name: str,
    number: Annotated[int | None, Query(ge=0, lt=2**31, description="0: the file")] = None,
) -> RulesResponse:
    """The rules of a name as they are valid now, or one of their versions."""
    return describe_rules(rules.read_set(name, number))


@router.get("/{name}/versions", dependencies=[Depends(allow_only())])
def list_versions(rules: Rules, _caller: Reader, name: str) -> RuleVersionsResponse:
    """Every version of the rules of a name, with author, reason and what it changed."""
    return describe_changes(rules.list_versions(name))


@router.post("/{name}/restore", response_model=RulesResponse)
def restore_rules(
    rules: Rules, caller: Manager, write: Write, name: str, body: RestoreRulesRequest
) -> Response:
    """Saves the values of an earlier version again, as a new version."""
    caller.require_everywhere(rules.scope)

    def work(connection: sa.Connection) -> RulesResponse:
        version = rules.restore(connection, name, body.number, body.comment, author=caller.id)
        return describe_version(version)

    return write.run_once(caller, work)
