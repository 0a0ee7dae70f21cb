"""The JSON of rules as versions, the same for every kind of rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serving.database.rule_versions import RuleVersion
from serving.field_types import Text
from serving.versioned_rules import NamedRules, RuleChange

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


def describe_version(version: RuleVersion) -> RulesResponse:
    """Return the document of a version."""
    return RulesResponse.model_validate(version, from_attributes=True)


def describe_rules(rules: NamedRules) -> RulesResponse:
    """Return the document of the rules of a name."""
    if rules.version is not None:
        return describe_version(rules.version)
    return RulesResponse(
        name=rules.name,
        number=rules.number,
        values=dict(rules.values),
        author=None,
        comment=None,
        created_at=None,
        restored_from=None,
    )


def describe_changes(changes: Sequence[RuleChange]) -> RuleVersionsResponse:
    """Return the document of the versions of a name."""
    items = []
    for change in changes:
        differences = [
            DifferenceResponse.model_validate(difference, from_attributes=True)
            for difference in change.differences
        ]
        document = describe_version(change.version).model_dump()
        items.append(RuleVersionResponse(**document, differences=differences))
    return RuleVersionsResponse(items=items)
