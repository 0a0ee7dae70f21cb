"""The variants of a visitor in the experiments that run on a placement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from experiments.assignment import assign, find_unit
from experiments.definition import Experiment, Variant
from serving.recommendations.met_variants import MetVariants


@dataclass(frozen=True)
class AssignedUnit:
    """The unit that takes part in an experiment, and its variant.

    visitor_id    the visitor as whom a user came
    is_override   whether somebody who tests the shop chose the variant: such answers do not count
    """

    experiment: Experiment
    variant: Variant
    unit_id: str
    visitor_id: str | None = None
    is_override: bool = False


@dataclass(frozen=True)
class AssignmentRequest:
    """Who asks for what, as far as experiments ask.

    is_known     whether the visitor bought something before
    attributes   of the request, such as device or channel
    override     experiment and variant that were chosen by hand
    """

    placement: str
    zone: str
    now: datetime
    user_id: str | None
    visitor_id: str | None
    session_id: str | None
    is_known: bool
    attributes: Mapping[str, str]
    override: tuple[str, str] | None = None


@dataclass(frozen=True)
class UnitAssigner:
    """Assigns units. Safe to share between threads.

    experiments    reads the experiments as they are now, by key
    met_variants   what units met before
    """

    experiments: Callable[[], Mapping[str, Experiment]]
    met_variants: MetVariants

    def assign(self, request: AssignmentRequest) -> tuple[AssignedUnit, ...]:
        """Return the variants under which a request is answered: that of a holdout, and that of the
        first other experiment which the unit takes part in, if it is not held out.

        The last one makes the slate.
        """
        if request.override is not None:
            return self._choose_by_hand(request, *request.override)
        running = [
            experiment
            for experiment in self.experiments().values()
            if experiment.running and experiment.covers(request.placement)
        ]
        holdout = self._find_first([one for one in running if one.holdout], request)
        if holdout is not None and holdout.variant.name != holdout.experiment.control:
            return (holdout,)
        other = self._find_first([one for one in running if not one.holdout], request)
        return tuple(unit for unit in (holdout, other) if unit is not None)

    def _choose_by_hand(
        self, request: AssignmentRequest, key: str, variant: str
    ) -> tuple[AssignedUnit, ...]:
        experiment = self.experiments().get(key)
        if experiment is None or not experiment.covers(request.placement):
            return ()
        unit_id = request.user_id or request.visitor_id or request.session_id or ""
        return (AssignedUnit(experiment, experiment.variant(variant), unit_id, is_override=True),)

    def _find_first(
        self, experiments: list[Experiment], request: AssignmentRequest
    ) -> AssignedUnit | None:
        for experiment in experiments:
            target = experiment.targeting
            is_admitted = target.admits(request.zone, request.is_known, request.attributes)
            if not is_admitted and not self._has_met(experiment, request):
                continue
            assigned = self._assign_in(experiment, request)
            if assigned is not None:
                return assigned
        return None

    def _has_met(self, experiment: Experiment, request: AssignmentRequest) -> bool:
        """Return whether a unit that does not belong to the target by now did when it met its
        variant: who was new and bought something stays in."""
        target = experiment.targeting
        if target.visitors == "any":
            return False
        if not replace(target, visitors="any").admits(
            request.zone, request.is_known, request.attributes
        ):
            return False
        unit_id = find_unit(
            experiment.unit,
            user_id=request.user_id,
            visitor_id=request.visitor_id,
            session_id=request.session_id,
        )
        return unit_id is not None and self.met_variants.has_met(experiment.key, unit_id)

    def _assign_in(self, experiment: Experiment, request: AssignmentRequest) -> AssignedUnit | None:
        """Return the variant of the visitor in one experiment; None where they take no part.

        A user who is known as a visitor too keeps the variant that they met first, also where a
        later request names the user alone.
        """
        user_id, visitor_id = request.user_id, request.visitor_id
        if experiment.unit == "user" and user_id:
            name = self.met_variants.find(experiment.key, user_id, visitor_id or None)
            kept = next((arm for arm in experiment.variants if arm.name == name), None)
            variant = kept or assign(experiment, user_id, request.now)
            if variant is None:
                return None
            return AssignedUnit(experiment, variant, user_id, visitor_id)
        unit_id = find_unit(
            experiment.unit, user_id=user_id, visitor_id=visitor_id, session_id=request.session_id
        )
        variant = None if unit_id is None else assign(experiment, unit_id, request.now)
        if unit_id is None or variant is None:
            return None
        return AssignedUnit(experiment, variant, unit_id)
