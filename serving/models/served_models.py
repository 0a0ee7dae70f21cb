"""The champions that this process answers with, replaced when others are promoted or features are
materialized."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from configs.settings import Settings
from features.contracts.errors import Damaged, Unavailable
from features.contracts.recommendations import ItemFeatures
from features.online.live_catalogue import LiveCatalogue, LiveItems
from features.online.snapshots import (
    check_pointer,
    current_version,
    load_items,
    pointer_stamp,
)
from features.pipelines.feature_constants import ALL_ZONES
from models.ranking.placement import Placement, add_rule_sets
from models.ranking.slate.merchandising_rules import RuleSet
from models.registry import NAMES, Registry, Version
from models.served_prices import ServedForecasts, ServedPricing
from models.served_recommender import ServedRecommender
from serving.conditions import Conditions
from serving.database.rule_versions import SavedVersions
from serving.models.model_files import (
    DEMAND,
    PRICING,
    RECOMMENDATIONS,
    build_recommender,
    load_placements,
    load_rules,
)
from serving.models.served_placements import ServedPlacements
from serving.models.served_rules import ServedRules
from serving.models.version_loader import VersionLoader, describe_error

log = logging.getLogger(__name__)

FEATURES = "features"
_STOCK = "stock_on_hand"
# A call waits until a catalogue of so many items is connected anew, about a second.
_MAX_WAITED_ITEMS = 100_000


@dataclass(frozen=True)
class _BuiltFrom:
    """What the recommender was made from: the version of the features, the catalogue, when the
    next item of it becomes available, and the items of the version."""

    stamp: object
    live: LiveItems
    next_arrival: datetime | None
    snapshot: ItemFeatures

    def covers(self, live: LiveItems, now: datetime) -> bool:
        """Return whether the catalogue is the same, and no item has become available since."""
        return self.live is live and (self.next_arrival is None or now < self.next_arrival)


@dataclass(frozen=True)
class _Loaded:
    """A version with what its loader returned."""

    version: Version
    model: Any


class ServedModels:
    """Holds the loaded champions and the merchandising rules; readers take no lock.

    Without `saved_rules` the rules are those of the files; placements likewise.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        conditions: Conditions | None = None,
        saved_rules: SavedVersions | None = None,
        live: LiveCatalogue | None = None,
        saved_placements: SavedVersions | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._conditions = conditions or Conditions()
        files = load_placements(settings)
        self._served_placements = ServedPlacements(files, saved_placements, self._conditions)
        self._placements = self._served_placements.current
        self._rules = ServedRules(
            load_rules(settings), self._placements, saved_rules, self._conditions
        )
        self._sets = self._rules.choose(None)
        self._live = live or LiveCatalogue(settings)
        self._clock = settings.business_clock()
        self._lock, self._build_lock = threading.Lock(), threading.Lock()
        self._registry_stamp: object = None
        self._built_from: _BuiltFrom | None = None
        self._loader = VersionLoader(settings, registry)
        self._loaded: dict[str, _Loaded] = {}
        self._degraded: dict[str, str] = {}
        self._problems: dict[str, str] = dict.fromkeys((*NAMES, FEATURES), "not loaded yet")
        self._unused: frozenset[str] = frozenset()
        self._recommender: ServedRecommender | None = None
        self._other_recommender: ServedRecommender | None = None

    @property
    def missing(self) -> dict[str, str]:
        """Why a model that has a champion, or its features, cannot answer, by its name."""
        return {name: why for name, why in self._read_problems() if name not in self._unused}

    @property
    def unused(self) -> dict[str, str]:
        """What the shop has no champion for, with what to do, by its name."""
        return {name: why for name, why in self._read_problems() if name in self._unused}

    def _read_problems(self) -> list[tuple[str, str]]:
        # Without a price model forecasts are not adjusted and nothing else is missed.
        return [(name, why) for name, why in [*self._problems.items()] if name != PRICING]

    @property
    def degraded(self) -> dict[str, str]:
        """Which part is damaged, and what answers in its place, by its name."""
        return dict(self._degraded)

    @property
    def placements(self) -> Mapping[str, Placement]:
        """The shop's placements by name, with all sets of rules that they follow."""
        return add_rule_sets(self._placements, self._sets)

    @property
    def versions(self) -> dict[str, Version]:
        """The loaded versions by model name."""
        return {name: loaded.version for name, loaded in list(self._loaded.items())}

    def serves(self, version: Version) -> bool:
        """Return whether this process answers with this version."""
        loaded = self.versions.get(version.name)
        return loaded is not None and loaded.version == version.version

    def elasticity(self, item_id: str, zone: str) -> float | None:
        """Return the item's own-price elasticity; None where no pricing champion knows one."""
        if (loaded := self._loaded.get(PRICING)) is None:
            return None
        value = float(loaded.model.find_response([item_id], zone).elasticity[0])
        return None if math.isnan(value) else value

    def pricing(self) -> ServedPricing:
        """Return the price response. Raises Unavailable without a pricing champion."""
        if (loaded := self._loaded.get(PRICING)) is None:
            raise self._unavailable(PRICING)
        return ServedPricing(loaded.model, loaded.version)

    def recommender(self) -> ServedRecommender:
        """Return the recommender, with the items that came since the last call. Raises Unavailable
        when model or features are missing.

        Where a catalogue is so large that it takes long to connect, they come with the next
        `refresh`.
        """
        built = self._built_from
        if (
            built is not None
            and built.live is not self._live.read().items
            and len(built.snapshot.item_ids) <= _MAX_WAITED_ITEMS
        ):
            self._refresh_recommender()
        if self._recommender is None:
            name = RECOMMENDATIONS if RECOMMENDATIONS in self._problems else FEATURES
            raise self._unavailable(name)
        return self._recommender

    @property
    def rules(self) -> Mapping[str, RuleSet]:
        """The sets of merchandising rules that are applied now, by name."""
        return self._sets

    def check_set(self, name: str, rule_set: RuleSet) -> None:
        """Raise UnknownName for a set that does not fit the placements or the catalogue."""
        current = self._recommender
        self._rules.check(name, rule_set, None if current is None else current.items)

    def load_other_recommender(self, version: Version) -> ServedRecommender:
        """Return a recommender of another version on the catalogue of today, for previews.

        The last one is kept. Raises Unavailable without features, and what loading raises.
        """
        current, kept = self.recommender(), self._other_recommender
        if kept and kept.version.version == version.version and kept.items is current.items:
            if kept.rules is self._sets:
                return kept
            other = kept.with_rules(self._sets)
        else:
            model = self._loader.load_for_preview(version)
            recommender = build_recommender(model, current.items, self._placements, self._sets)
            other = ServedRecommender(
                recommender, current.items, version, current.zones, self._sets
            )
        self._other_recommender = other
        return other

    def forecasts(self) -> ServedForecasts:
        """Return the forecasts. Raises Unavailable without a demand champion."""
        if (loaded := self._loaded.get(DEMAND)) is None:
            raise self._unavailable(DEMAND)
        return ServedForecasts(loaded.model, loaded.version)

    def refresh(self) -> None:
        """Load what was promoted, materialized or saved as rules since the last call; where that
        fails, what is served stays."""
        with self._lock:
            if self._served_placements.refresh(self._sets):
                self._apply_placements()
            if self._rules.refresh():
                self._apply_rules()
            stamp = self._registry.read_stamp()
            if stamp is None or stamp != self._registry_stamp:
                current = [self._load_champion(name) for name in NAMES]
                self._registry_stamp = stamp if all(current) else None
            self._refresh_recommender()

    def check_placement(self, name: str, placement: Placement) -> None:
        """Raise UnknownName for a placement that names no set of rules of the shop."""
        self._served_placements.check(name, placement, self._sets)

    def _apply_placements(self) -> None:
        """Answer with the placements that were saved."""
        self._placements = self._served_placements.current
        self._rules.use_placements(self._placements)
        if (current := self._recommender) is not None:
            recommender = current.recommender.with_placements(self._placements, self._sets)
            self._recommender = replace(current, recommender=recommender)

    def _apply_rules(self) -> None:
        """Answer under the rules that were saved."""
        current = self._recommender
        self._sets = self._rules.choose(None if current is None else current.items)
        if current is not None:
            self._recommender = current.with_rules(self._sets)

    def _load_champion(self, name: str) -> bool:
        """Load the champion of a model; return whether it serves now, or there is none.

        Where it cannot be loaded, what serves stays; at the start, the last version that served.
        """
        served, champion = self._loaded.get(name), None
        try:
            champion = self._registry.find_champion(name)
            if champion is None:
                self._go_on_without_champion(name)
                return True
            self._set_unused(name, unused=False)
            if served is None or not _is_same_version(served.version, champion):
                self._serve(champion, self._loader.load(champion))
        # A broken version or registry must not stop what is served already.
        except Exception as error:
            if served is None and (earlier := self._loader.load_earlier(name, champion)):
                self._serve(*earlier)
            self._report_failure(name, champion, describe_error(error))
            return False
        self._problems.pop(name, None)
        self._clear(name)
        return True

    def _go_on_without_champion(self, name: str) -> None:
        """Serve what served last where the registry was lost: a shop that had a champion always
        has one."""
        if name not in self._loaded and (earlier := self._loader.load_earlier(name, None)):
            self._serve(*earlier)
        served = self._loaded.get(name)
        self._set_unused(name, unused=served is None)
        if served is None:
            self._problems[name] = f"no champion yet; try: shopwright train {name}"
        else:
            self._problems.pop(name, None)
            last = f"version {served.version.version}, which served last, serves"
            self._report(name, f"the registry names no champion any more; {last}")

    def _set_unused(self, name: str, *, unused: bool) -> None:
        """Note whether the shop has a champion of a model; only slates need features."""
        names = {name, FEATURES} if name == RECOMMENDATIONS else {name}
        self._unused = self._unused | names if unused else self._unused - names

    def _serve(self, version: Version, model: object) -> None:
        self._loaded[version.name] = _Loaded(version, model)
        log.info("serving %s %s", version.name, version.version)

    def _report_failure(self, name: str, champion: Version | None, why: str) -> None:
        """Say why the champion does not serve, and what serves instead."""
        what = "the champion cannot be read"
        if champion is not None:
            what = f"version {champion.version} cannot be loaded"
        message = f"{what}: {why}"
        if served := self._loaded.get(name):
            self._problems.pop(name, None)
            message = f"{message}; version {served.version.version} serves"
        else:
            self._problems[name] = message
        self._report(name, message)

    def _report(self, part: str, reason: str) -> None:
        self._degraded[part] = reason
        self._conditions.report(part, reason)

    def _clear(self, part: str) -> None:
        self._degraded.pop(part, None)
        self._conditions.clear(part)

    def _refresh_recommender(self) -> None:
        """Make a recommender of the loaded model and the catalogue of now."""
        with self._build_lock:
            self._build_recommender()

    def _build_recommender(self) -> None:
        loaded, current = self._loaded.get(RECOMMENDATIONS), self._recommender
        live, now = self._live.read().items, self._clock.now()
        stamp, built = pointer_stamp(self._settings), self._built_from
        is_same_model = (current and current.version) == (loaded and loaded.version)
        is_same_version = built is not None and built.stamp == stamp
        if built and is_same_version and is_same_model and built.covers(live, now):
            return
        try:
            same = built and is_same_version and built.snapshot
            snapshot = same or load_items(self._settings)
            items = self._live.extend(snapshot, now)
            # Most changes of the catalogue leave the recommender as it is.
            is_same = current and is_same_model and _is_same(items, current.items)
            if loaded is not None and not is_same:
                self._connect(loaded, items)
            next_arrival = self._live.find_next_arrival(now)
            self._built_from = _BuiltFrom(stamp, live, next_arrival, snapshot)
            self._check_features(items)
        # As above.
        except Exception as error:
            if current is None:
                self._problems[FEATURES] = describe_error(error)
            if built is not None:  # so that no call tries it again before the next refresh
                self._built_from = replace(built, live=live)
            self._report(FEATURES, f"cannot be used: {describe_error(error)}")
        else:
            self._problems.pop(FEATURES, None)

    def _connect(self, loaded: _Loaded, items: ItemFeatures) -> None:
        sets = self._rules.choose(items)
        recommender = build_recommender(loaded.model, items, self._placements, sets)
        zones = _list_own_zones(self._settings, items)
        self._sets = sets
        self._recommender = ServedRecommender(recommender, items, loaded.version, zones)

    def _check_features(self, items: ItemFeatures) -> None:
        """Report where the current features are damaged, and those before them serve."""
        version = current_version(self._settings)
        try:
            check_pointer(self._settings)
        except Damaged as error:
            self._report(FEATURES, str(error))
            return
        if version is not None and version.as_of != items.as_of:
            self._report(FEATURES, f"damaged; those as of {items.as_of.isoformat()} serve")
        else:
            self._clear(FEATURES)

    def _unavailable(self, name: str) -> Unavailable:
        return Unavailable(
            f"nothing to answer with: {self._problems.get(name, 'not loaded yet')}", where=name
        )


def _list_own_zones(settings: Settings, items: ItemFeatures) -> frozenset[str]:
    """Return the zones with a snapshot of their own, none where nothing is known of stock."""
    version = current_version(settings)
    if version is None or _STOCK not in items.columns:
        return frozenset()
    return frozenset(version.zones) - {ALL_ZONES}


def _is_same(items: ItemFeatures, others: ItemFeatures) -> bool:
    """Return whether both are one version of the features, with equal items and texts."""
    texts = ("item_ids", "category", "brand", "family", "title")
    return items.as_of == others.as_of and all(
        np.array_equal(getattr(items, name), getattr(others, name)) for name in texts
    )


def _is_same_version(version: Version, other: Version) -> bool:
    """Return whether both are one version: another registry counts from 1 again."""
    return (version.version, version.run_id, version.created_at_seconds) == (
        other.version,
        other.run_id,
        other.created_at_seconds,
    )
