"""Arms of an experiment that a training has measured as clearly worse than the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.definition import Experiment
from models.ranking.policy_metrics import name_policy_metric, name_policy_p_value

# An arm is clearly worse when it loses more than this share, and not by chance.
CLEAR_LOSS = 0.1
_SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class WorseArm:
    """A variant, the value of its policy in the training, and that of the champion's policy."""

    variant: str
    value: float
    champion: float


def find_worse_arms(experiment: Experiment, metrics: Mapping[str, float]) -> list[WorseArm]:
    """Return the variants whose policy lost clearly in the training with these metrics.

    A policy that was not measured is not found: nothing is known against it.
    """
    champion = metrics.get(name_policy_metric("champion"))
    if champion is None:
        return []
    arms = []
    for variant in experiment.variants:
        value = metrics.get(name_policy_metric(variant.policy), champion)
        p_value = metrics.get(name_policy_p_value(variant.policy), 1.0)
        if value < (1 - CLEAR_LOSS) * champion and p_value < _SIGNIFICANCE:
            arms.append(WorseArm(variant.name, value, champion))
    return arms
