"""Slates that stand in the evaluation beside ours and the baselines: a named list for each, made by one function.

A row more in every table needs one entry in `CONTENDERS` and nothing else. Contenders are measured and tested like
baselines, by every protocol, but the gate does not ask that they be beaten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.ranking.model import RecommendationModel, Task
from models.retrieval.ease import EaseConfig
from models.retrieval.interactions import Interactions

Slates = Mapping[str, Sequence[str]]  # item ids by user, best first


@dataclass(frozen=True)
class Subject:
    """A model to be judged, and all that was known at the cut it was fitted at.

    `histories` are everyone's, `relevant` what is to be foretold, by task and user. `ease` and `seed` are those of the
    model's configuration, which the baselines share.
    """

    cut: datetime
    histories: Mapping[str, UserHistory]
    items: ItemFeatures
    interactions: Interactions
    model: RecommendationModel
    relevant: Mapping[Task, Mapping[str, frozenset[str]]]
    ease: EaseConfig
    seed: int


# (what was known, task, users, places of a slate) -> a slate for each of the users. For the task "new" a slate leaves
# out what the user bought. An empty answer: this contender has nothing to say on the task, and gets no row.
SlateMaker = Callable[[Subject, Task, Sequence[str], int], Slates]

CONTENDERS: dict[str, SlateMaker] = {}
