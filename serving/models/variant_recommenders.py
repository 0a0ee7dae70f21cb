"""The recommenders of variants that another model version or another placement answers for, loaded
beside the champion."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from configs.settings import Settings
from experiments.definition import CHAMPION, Experiment, Variant
from experiments.placement_changes import change_placements
from features.contracts.errors import Unavailable
from models.ranking.model import RecommendationModel
from models.registry import Registry, Version
from models.served_recommender import ServedRecommender
from serving.conditions import Conditions
from serving.models.model_files import RECOMMENDATIONS, build_recommender
from serving.models.served_models import ServedModels
from serving.models.version_loader import RETRY_SECONDS, VersionLoader, describe_error

log = logging.getLogger(__name__)
_Key = tuple[str, str]  # experiment and variant


@dataclass(frozen=True)
class _Built:
    """A variant's recommender, and what it was made from."""

    variant: Variant
    base: ServedRecommender
    served: ServedRecommender


@dataclass(frozen=True)
class _Failure:
    """A variant that could not be loaded: it is tried again when it changes, or after some time."""

    variant: Variant
    until_seconds: float

    def holds(self, variant: Variant) -> bool:
        """Return whether another try would be too soon."""
        return variant == self.variant and time.monotonic() < self.until_seconds


class VariantRecommenders:
    """Holds the recommenders of running variants; readers take no lock.

    A variant that cannot be loaded is reported, and takes no units until it can.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        served_models: ServedModels,
        conditions: Conditions,
    ) -> None:
        self._registry, self._served_models = registry, served_models
        self._conditions = conditions
        self._loader = VersionLoader(settings, registry)
        self._models: dict[str, tuple[Version, RecommendationModel]] = {}
        self._built: Mapping[_Key, _Built] = {}
        self._failed: dict[_Key, _Failure] = {}
        self._lock = threading.Lock()

    @property
    def versions(self) -> list[str]:
        """The versions that are loaded beside the champion, in order of their numbers."""
        return sorted(self._models, key=int)

    def find(self, experiment: Experiment, variant: Variant) -> ServedRecommender | None:
        """Return what answers for a variant; None where it is not loaded (yet)."""
        if variant.uses_served_models:
            return self._served_models.recommender()
        built = self._built.get((experiment.key, variant.name))
        return built.served if built is not None and built.variant == variant else None

    def can_answer(self, experiment: Experiment) -> bool:
        """Return whether every variant of an experiment is loaded."""
        return all(
            variant.uses_served_models or self.find(experiment, variant) is not None
            for variant in experiment.variants
        )

    def refresh(self, experiments: Iterable[Experiment]) -> None:
        """Load what the variants of experiments need, on the catalogue of today, and drop the
        rest."""
        with self._lock:
            self._refresh(list(experiments))

    def _refresh(self, experiments: list[Experiment]) -> None:
        built: dict[_Key, _Built] = {}
        needed = set()
        for experiment in experiments:
            for variant in experiment.variants:
                if variant.uses_served_models:
                    continue
                key, part = (experiment.key, variant.name), f"variant {variant.name}"
                part = f"experiment {experiment.key}, {part}"
                failure = self._failed.get(key)
                if failure is not None and failure.holds(variant):
                    continue
                try:
                    built[key] = self._build(experiment, variant)
                # One variant that cannot be loaded must not stop the others.
                except Exception as error:
                    self._failed[key] = _Failure(variant, time.monotonic() + RETRY_SECONDS)
                    self._conditions.report(part, describe_error(error))
                else:
                    self._failed.pop(key, None)
                    self._conditions.clear(part)
                if variant.model != CHAMPION:
                    needed.add(variant.model)
        self._built = built
        for model in set(self._models) - needed:
            del self._models[model]

    def _build(self, experiment: Experiment, variant: Variant) -> _Built:
        base, shop = self._served_models.recommender(), self._served_models.placements
        former = self._built.get((experiment.key, variant.name))
        if former and former.variant == variant and former.base is base:
            return former
        placements, sets = change_placements(shop, experiment, variant), self._served_models.rules
        if variant.model == CHAMPION:
            recommender = base.recommender.with_placements(placements, sets)
            version = base.version
        else:
            version, model = self._load(variant.model)
            recommender = build_recommender(model, base.items, placements, sets)
        served = ServedRecommender(recommender, base.items, version, base.zones, sets)
        log.info("experiment %s: variant %s is loaded", experiment.key, variant.name)
        return _Built(variant, base, served)

    def _load(self, model: str) -> tuple[Version, RecommendationModel]:
        if model not in self._models:
            version = self._registry.find_named(RECOMMENDATIONS, model)
            loaded = self._loader.load_for_preview(version)
            if not isinstance(loaded, RecommendationModel):
                raise Unavailable(f"version {model} is no recommendation model", where=model)
            self._models[model] = (version, loaded)
        return self._models[model]
