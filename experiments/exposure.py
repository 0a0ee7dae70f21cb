"""Exposures of experiments: the row which records that a unit met its variant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from experiments.definition import Experiment, Variant
from features.facts.exposures import Exposure


@dataclass(frozen=True)
class ServedAnswer:
    """The answer in which a unit met its variant.

    occurred_at   business time; recorded_at is system time
    model_name, model_version   the model that answered
    visitor_id    the visitor as whom a user came
    """

    recommendation_id: str
    placement: str
    occurred_at: datetime
    recorded_at: datetime
    model_name: str | None = None
    model_version: str | None = None
    visitor_id: str | None = None


def build_exposure(
    experiment: Experiment, variant: Variant, unit_id: str, answer: ServedAnswer
) -> Exposure:
    """Return the exposure of a unit to a variant by one answer.

    Its propensity is the variant's weight: the chance of this variant for a unit that takes part.
    Its id is made of experiment and recommendation, so an answer that is written twice counts once.
    """
    return Exposure(
        exposure_id=f"{experiment.key}:{answer.recommendation_id}",
        experiment=experiment.key,
        variant=variant.name,
        unit_id=unit_id,
        exposed_at=answer.occurred_at,
        recorded_at=answer.recorded_at,
        recommendation_id=answer.recommendation_id,
        placement=answer.placement,
        model_name=answer.model_name,
        model_version=answer.model_version,
        propensity=variant.weight,
        visitor_id=answer.visitor_id,
    )
