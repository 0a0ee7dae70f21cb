"""What both networks share once they are fitted: scores of the next item of some visitors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from features.contracts.arrays import Float32Array, ObjectArray
from features.contracts.sequences import Event
from models.retrieval.steps import Segment, Steps, build_steps, select_latest


class NextStepModel(ABC):
    """A fitted network that predicts the next item of a visitor.

    item_ids    str objects (N,), sorted
    max_steps   steps of a visitor that it reads, the latest
    """

    item_ids: ObjectArray
    max_steps: int

    def score(self, visitors: Sequence[Sequence[Event]]) -> Float32Array:
        """Return the probability of each item to be the next new one (B, N), by visitor; 0 for a
        visitor without events."""
        scores = np.zeros((len(visitors), len(self.item_ids)), np.float32)
        steps, rows = build_steps(visitors, self.item_ids)
        if len(rows):
            scores[rows] = self.score_segments(steps, select_latest(steps, self.max_steps))
        return scores

    @abstractmethod
    def score_segments(self, steps: Steps, segments: Sequence[Segment]) -> Float32Array:
        """Return the same probabilities (B, N) after each segment, none of them empty."""
