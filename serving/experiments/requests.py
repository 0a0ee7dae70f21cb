"""The bodies of requests that define, change and decide experiments."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from experiments.definition import Allocation, Analysis, Segment, UnitKind
from serving.field_types import Name
from serving.versioned_rules import FILE

_PLAN = "Relative change of the primary metric that matters, such as 0.03"


class DefinitionRequest(BaseModel):
    """Values of a definition, with the names of its YAML file; what is left out keeps its default
    or, in a change, its value."""

    model_config = ConfigDict(extra="forbid")

    hypothesis: str | None = Field(None, max_length=2_000)
    placements: list[Name] | None = Field(None, max_length=50, examples=[["home"]])
    variants: list[dict[str, JsonValue]] | None = Field(
        None,
        max_length=20,
        description="name, weight, and what differs: policy, model (a version or `challenger`), "
        "placement (values of the placement)",
        examples=[[{"name": "champion", "weight": 0.5}, {"name": "v7", "weight": 0.5}]],
    )
    control: Name | None = Field(None, description="Without it, the first variant")
    unit: UnitKind | None = None
    salt: Name | None = Field(None, description="Without it, the key")
    coverage: float | None = Field(None, ge=0, le=1)
    ramp: list[dict[str, JsonValue]] | None = Field(None, max_length=50)
    layer: dict[str, JsonValue] | None = None
    targeting: dict[str, JsonValue] | None = None
    holdout: bool | None = None
    allocation: Allocation | None = None
    floor: float | None = Field(None, gt=0, le=0.5)
    primary_metric: Name | None = None
    secondary_metrics: list[Name] | None = Field(None, max_length=50)
    guardrails: list[dict[str, JsonValue]] | None = Field(None, max_length=20)
    segments: list[Segment] | None = None
    minimum_effect: float | None = Field(None, gt=0, lt=1, description=_PLAN)
    planned_units: int | None = Field(None, ge=1)
    analysis: Analysis | None = None
    looks: int | None = None
    attribution_days: float | None = None
    non_inferiority: dict[str, JsonValue] | None = None

    def merge(self, before: Mapping[str, object]) -> dict[str, object]:
        """Return `before` with the values of the request in their place; null takes one out."""
        given = self.model_dump(exclude_unset=True, exclude={"key", "comment", "based_on"})
        values = {**before, **given}
        values = {name: value for name, value in values.items() if value is not None}
        variants = values.get("variants")
        if "control" not in values and isinstance(variants, list) and variants:
            values["control"] = variants[0].get("name", "")
        return values


class NewExperimentRequest(DefinitionRequest):
    """A new experiment, a draft until it is started."""

    key: Name = Field(examples=["home_v7"])
    comment: str = Field("", max_length=2_000)


class ChangeRequest(DefinitionRequest):
    """A change of a definition. While an experiment runs: coverage (upwards), ramp, guardrails and
    secondary_metrics."""

    based_on: int = Field(FILE, ge=0, description="`version` of the definition that was read")
    comment: str = Field("", max_length=2_000)


class DecisionRequest(BaseModel):
    """What is decided: the variant that stays."""

    model_config = ConfigDict(extra="forbid")

    variant: Name
    ship: bool = Field(
        False, description="Make its model the champion, or its placement the shop's own"
    )
    comment: str = Field("", max_length=2_000)


class OverrideRequest(BaseModel):
    """A variant to look at, for so many days."""

    model_config = ConfigDict(extra="forbid")

    variant: Name
    days: float = Field(7, gt=0, le=90)
