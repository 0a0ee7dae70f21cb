"""Visitors who sign in with an event, such as the purchase at a checkout, and not with a slate.

The user gets the variant that the visitor met, as by a slate with both ids: an exposure that names
both, without an answer. So the report counts what the user bought for the variant that the visitor
saw, and later slates keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from experiments.definition import Experiment
from features.contracts.clock import Clock
from features.contracts.errors import Unavailable
from features.facts.exposures import Exposure
from serving.recommendations.met_variants import MetVariants

_MOST_KNOWN = 50_000  # pairs of visitor and user that were looked up already


@dataclass(frozen=True)
class SignIns:
    """Notes who signed in. Safe to share between threads.

    experiments    reads the experiments as they are now, by key
    find_refused   returns which of these users do not allow personalization
    log            takes exposures; never waits
    """

    experiments: Callable[[], Mapping[str, Experiment]]
    met_variants: MetVariants
    find_refused: Callable[[Collection[str]], set[str]]
    clock: Clock
    system_clock: Clock
    log: Callable[[Exposure], None]
    _known: set[tuple[str, str, str]] = field(default_factory=set)

    def note(self, events: Iterable[Mapping[str, object]]) -> None:
        """Log an exposure for each user of these events whose visitor met a variant before."""
        running = [
            experiment.key
            for experiment in self.experiments().values()
            if experiment.running and experiment.unit == "user"
        ]
        if not running:
            return
        pairs = {
            (str(event["visitor_id"]), str(event["user_id"]))
            for event in events
            if event.get("visitor_id") and event.get("user_id")
        }
        unknown = sorted(
            (key, *pair) for key in running for pair in pairs if (key, *pair) not in self._known
        )
        if not unknown:
            return
        try:
            refused = self.find_refused({user_id for _, _, user_id in unknown})
        except (sa.exc.SQLAlchemyError, Unavailable):  # without consent no ids are joined
            return
        for key, visitor_id, user_id in unknown:
            if user_id not in refused:
                self._link(key, visitor_id, user_id)

    def _link(self, experiment: str, visitor_id: str, user_id: str) -> None:
        variant = self.met_variants.find_of_visitor(experiment, user_id, visitor_id)
        if variant is None:
            return
        exposure = Exposure(
            exposure_id=f"{experiment}:sign-in:{visitor_id}:{user_id}",
            experiment=experiment,
            variant=variant,
            unit_id=user_id,
            exposed_at=self.clock.now(),
            recorded_at=self.system_clock.now(),
            visitor_id=visitor_id,
        )
        self.met_variants.remember(exposure)
        self.log(exposure)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add((experiment, visitor_id, user_id))
