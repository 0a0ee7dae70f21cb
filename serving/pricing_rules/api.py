"""`/v1/pricing-rules`: the rules of the shop, their versions, and new ones."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.field_types import Text
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text
from serving.pricing_rules.repository import RuleVersion
from serving.pricing_rules.service import NewVersion, PricingRulesService, RuleSet

_SCOPE = "pricing.manage"
router = APIRouter(
    prefix="/v1/pricing-rules", tags=["pricing rules"], dependencies=[Depends(check_text)]
)
Rules = Annotated[PricingRulesService, Depends(inject(PricingRulesService))]
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Manager = Annotated[Caller, Depends(require("pricing.manage"))]
Comment = Annotated[Text, Field(max_length=2_000, description="Why, for those who come later")]


class SaveRulesRequest(BaseModel):
    """New values of the rules of a name: all of them, not the changed ones alone."""

    model_config = ConfigDict(extra="forbid")

    name: Text
    values: dict[str, Any]
    comment: Comment
    based_on: int = Field(ge=0, description="The number of the version that was edited, 0: a file")


class RestoreRulesRequest(BaseModel):
    """An earlier version to become valid again; 0 is the file."""

    model_config = ConfigDict(extra="forbid")

    number: int = Field(ge=0)
    comment: Comment


class RulesResponse(BaseModel):
    """The rules of a name. `number` counts versions; 0: they come from a file."""

    name: str
    number: int
    values: dict[str, Any]
    author: str | None
    comment: str | None
    created_at: datetime | None
    restored_from: int | None


class RulesListResponse(BaseModel):
    """The rules of every name as they are valid now."""

    items: list[RulesResponse]
    next_cursor: None = None


class DifferenceResponse(BaseModel):
    """A value that a version changed."""

    path: str
    before: Any
    after: Any


class RuleVersionResponse(RulesResponse):
    """A version and what it changed against the one before."""

    differences: list[DifferenceResponse]


class RuleVersionsResponse(BaseModel):
    """Every version of a name, oldest first."""

    items: list[RuleVersionResponse]
    next_cursor: None = None


@router.get("", dependencies=[Depends(allow_only())])
def list_rules(rules: Rules, _caller: Reader) -> RulesListResponse:
    """The rules of every name as they are valid now."""
    return RulesListResponse(items=[_describe_set(rule_set) for rule_set in rules.list_rules()])


@router.post("", response_model=RulesResponse)
def save_rules(rules: Rules, caller: Manager, write: Write, body: SaveRulesRequest) -> Response:
    """Saves a version, which is valid at once. 409 where somebody saved another one meanwhile."""
    caller.require_everywhere(_SCOPE)
    new = NewVersion(body.name, body.values, body.comment, body.based_on)

    def work(connection: sa.Connection) -> RulesResponse:
        return _describe_version(rules.save(connection, new, author=caller.id))

    return write.run_once(caller, work)


@router.get("/{name}", dependencies=[Depends(allow_only("number"))])
def get_rules(
    rules: Rules,
    _caller: Reader,
    name: str,
    number: Annotated[int | None, Query(ge=0, lt=2**31, description="0: the file")] = None,
) -> RulesResponse:
    """The rules of a name as they are valid now, or one of their versions."""
    return _describe_set(rules.read_set(name, number))


@router.get("/{name}/versions", dependencies=[Depends(allow_only())])
def list_versions(rules: Rules, _caller: Reader, name: str) -> RuleVersionsResponse:
    """Every version of the rules of a name, with author, reason and what it changed."""
    items = []
    for change in rules.list_versions(name):
        differences = [
            DifferenceResponse.model_validate(difference, from_attributes=True)
            for difference in change.differences
        ]
        document = _describe_version(change.version).model_dump()
        items.append(RuleVersionResponse(**document, differences=differences))
    return RuleVersionsResponse(items=items)


@router.post("/{name}/restore", response_model=RulesResponse)
def restore_rules(
    rules: Rules, caller: Manager, write: Write, name: str, body: RestoreRulesRequest
) -> Response:
    """Saves the values of an earlier version again, as a new version."""
    caller.require_everywhere(_SCOPE)

    def work(connection: sa.Connection) -> RulesResponse:
        version = rules.restore(connection, name, body.number, body.comment, author=caller.id)
        return _describe_version(version)

    return write.run_once(caller, work)


def _describe_version(version: RuleVersion) -> RulesResponse:
    return RulesResponse.model_validate(version, from_attributes=True)


def _describe_set(rule_set: RuleSet) -> RulesResponse:
    if rule_set.version is not None:
        return _describe_version(rule_set.version)
    return RulesResponse(
        name=rule_set.name,
        number=rule_set.number,
        values=dict(rule_set.values),
        author=None,
        comment=None,
        created_at=None,
        restored_from=None,
    )
