"""The variants of a visitor in the experiments that run on a placement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from experiments.assignment import assign, find_unit
from experiments.definition import Experiment, Targeting, Variant
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
    is_loaded      whether all variants of an experiment can answer: before that nobody is assigned,
                   or the units of those that can would be too many
    """

    experiments: Callable[[], Mapping[str, Experiment]]
    met_variants: MetVariants
    is_loaded: Callable[[Experiment], bool]

    def assign(self, request: AssignmentRequest) -> tuple[AssignedUnit, ...]:
        """Return the variants under which a request is answered: those of the holdouts, and that of
        the first other experiment which the unit takes part in, if it is not held out.

        The last one makes the slate.
        """
        if request.override is not None:
            return self._choose_by_hand(request, *request.override)
        running = [
            experiment
            for experiment in self.experiments().values()
            if experiment.running
            and experiment.covers(request.placement)
            and self.is_loaded(experiment)
        ]
        units: list[AssignedUnit] = []
        for rank in sorted({experiment.rank for experiment in running}):
            unit = self._find_first([one for one in running if one.rank == rank], request)
            if unit is not None:
                units.append(unit)
                if unit.experiment.holdout and unit.variant.name != unit.experiment.control:
                    break
        return tuple(units)

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
        """Return the variant that the unit met before; without one, that of the first experiment
        which the request belongs to and which takes the unit.

        Who met a variant stays in, whatever they do or sign in as: a visitor who was new and bought
        something is not new any more.
        """
        ordered = sorted(experiments, key=lambda experiment: experiment.key)
        for experiment in ordered:
            if (met := self._find_met(experiment, request)) is not None:
                return met
        for experiment in ordered:
            target = experiment.targeting
            if target.admits(request.zone, request.is_known, request.attributes):
                assigned = self._assign_by_hash(experiment, request)
                if assigned is not None:
                    return assigned
        return None

    def _find_met(self, experiment: Experiment, request: AssignmentRequest) -> AssignedUnit | None:
        """Return the variant that the unit met before; None without one, and where the hash gives
        it again anyway.

        A user who is known as a visitor too keeps the variant that they met first, also where a
        later request names the user alone.
        """
        user_id, visitor_id = request.user_id, request.visitor_id
        if experiment.unit == "user" and user_id:
            name = self.met_variants.find(experiment.key, user_id, visitor_id or None)
            unit_id: str | None = user_id
        elif experiment.targeting == _EVERYBODY and experiment.allocation != "thompson":
            return None
        else:
            unit_id = _find_unit(experiment, request)
            known = unit_id is not None
            name = self.met_variants.find_own(experiment.key, unit_id or "") if known else None
        variant = next((arm for arm in experiment.variants if arm.name == name), None)
        if variant is None or unit_id is None:
            return None
        return AssignedUnit(experiment, variant, unit_id, _name_visitor(experiment, request))

    def _assign_by_hash(
        self, experiment: Experiment, request: AssignmentRequest
    ) -> AssignedUnit | None:
        """Return the variant of the visitor by the hash; None where they take no part."""
        unit_id = _find_unit(experiment, request)
        variant = None if unit_id is None else assign(experiment, unit_id, request.now)
        if unit_id is None or variant is None:
            return None
        return AssignedUnit(experiment, variant, unit_id, _name_visitor(experiment, request))


_EVERYBODY = Targeting()


def _find_unit(experiment: Experiment, request: AssignmentRequest) -> str | None:
    return find_unit(
        experiment.unit,
        user_id=request.user_id,
        visitor_id=request.visitor_id,
        session_id=request.session_id,
    )


def _name_visitor(experiment: Experiment, request: AssignmentRequest) -> str | None:
    """Return the visitor as whom a user comes; None where the unit is no user."""
    return request.visitor_id if experiment.unit == "user" and request.user_id else None
