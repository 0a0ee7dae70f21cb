"""The row that says a unit met its variant, as the store keeps it (features/facts/exposures.py)."""

from __future__ import annotations

from datetime import datetime

from experiments.definition import Experiment, Variant
from features.facts.exposures import Exposure

__all__ = ["Exposure", "exposure"]


def exposure(
    experiment: Experiment,
    variant: Variant,
    unit_id: str,
    *,
    recommendation_id: str,
    placement: str,
    occurred_at: datetime,
    recorded_at: datetime,
    model_name: str | None = None,
    model_version: str | None = None,
) -> Exposure:
    """One answer under an experiment.

    occurred_at    business time; recorded_at is system time
    propensity     the variant's weight: the chance of this variant for a unit that takes part

    The exposure is named after experiment and recommendation, so an answer that is written twice
    counts once.
    """
    return Exposure(
        exposure_id=f"{experiment.key}:{recommendation_id}",
        experiment=experiment.key,
        variant=variant.name,
        unit_id=unit_id,
        exposed_at=occurred_at,
        recorded_at=recorded_at,
        recommendation_id=recommendation_id,
        placement=placement,
        model_name=model_name,
        model_version=model_version,
        propensity=variant.weight,
    )
