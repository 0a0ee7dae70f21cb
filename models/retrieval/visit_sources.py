"""The sources of a visit's next items, by name: all that is fitted on past visits together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

from features.contracts.arrays import ObjectArray
from features.contracts.errors import BadInput
from features.contracts.visits import Visits
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.retrieval.co_views import CoViews, CoViewsConfig, fit_co_views
from models.retrieval.recent_views import RecentViews, RecentViewsConfig, fit_recent_views
from models.retrieval.sequential_rules import (
    SequentialRules,
    SequentialRulesConfig,
    fit_sequential_rules,
)
from models.retrieval.session_knn import SessionKnn, SessionKnnConfig, fit_session_knn
from models.retrieval.visit_source import VisitSource

KIND = "visit_sources"
CO_VIEWS = "co_views"


class SourceKind(NamedTuple):
    """How a source is fitted on visits with its config, and loaded.

    from_views   whether its scores depend on what was viewed: what it proposes has that reason
    """

    fit: Callable[[Visits, Any], VisitSource]
    load: Callable[[Path], VisitSource]
    from_views: bool = True


SOURCES: Mapping[str, SourceKind] = {
    "session_knn": SourceKind(fit_session_knn, SessionKnn.load),
    "sequential_rules": SourceKind(fit_sequential_rules, SequentialRules.load),
    "next_views": SourceKind(fit_sequential_rules, SequentialRules.load),
    CO_VIEWS: SourceKind(fit_co_views, CoViews.load),
    "recent_views": SourceKind(fit_recent_views, RecentViews.load, from_views=False),
}


@dataclass(frozen=True)
class VisitSourcesConfig:
    """The settings of each source, and how many candidates it gives; with 0 it is none."""

    session_knn: SessionKnnConfig = field(default_factory=SessionKnnConfig)
    sequential_rules: SequentialRulesConfig = field(default_factory=SequentialRulesConfig)
    next_views: SequentialRulesConfig = field(
        default_factory=lambda: SequentialRulesConfig(max_steps=1)
    )
    co_views: CoViewsConfig = field(default_factory=CoViewsConfig)
    recent_views: RecentViewsConfig = field(default_factory=RecentViewsConfig)
    candidates: Mapping[str, int] = field(
        default_factory=lambda: {
            "session_knn": 80,
            "sequential_rules": 60,
            "next_views": 30,
            "co_views": 60,
            "recent_views": 10,
        }
    )

    def __post_init__(self) -> None:
        if unknown := self.candidates.keys() - SOURCES.keys():
            raise BadInput(
                f"no source is called {min(unknown)!r}",
                where="visits.sources.candidates",
                hint=f"Sources: {', '.join(SOURCES)}",
            )


@dataclass(frozen=True)
class VisitSources:
    """Fitted sources by name, over the same items.

    item_ids     str objects (n_items,), sorted ascending
    candidates   how many candidates each source gives
    co_views     what was looked at together, which ranks product pages, whether or not it is one of
                 the sources; None: the model is of an older version, which left it out
    """

    item_ids: ObjectArray
    sources: Mapping[str, VisitSource]
    candidates: Mapping[str, int]
    co_views: CoViews | None

    def save(self, folder: Path) -> None:
        """Write one subfolder per source, `items.npz` and `model.json`."""
        write_meta(folder, KIND, {"candidates": list(self.candidates.items())})
        write_arrays(folder / "items.npz", item_ids=self.item_ids)
        for name, source in self.sources.items():
            source.save(folder / name)
        if self.co_views is not None and CO_VIEWS not in self.sources:
            self.co_views.save(folder / CO_VIEWS)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        candidates = dict(read_meta(folder, KIND)["candidates"])  # in the order of the columns
        item_ids = read_arrays(folder / "items.npz")["item_ids"]
        sources = {name: SOURCES[name].load(folder / name) for name in candidates}
        co_views = sources.get(CO_VIEWS)
        if co_views is None and (folder / CO_VIEWS).exists():
            co_views = CoViews.load(folder / CO_VIEWS)
        return cls(item_ids, sources, candidates, cast(CoViews | None, co_views))

    def leave_out(self, names: Collection[str]) -> VisitSources:
        """Return the sources without some of them."""
        kept = [name for name in self.sources if name not in names]
        return replace(
            self,
            sources={name: self.sources[name] for name in kept},
            candidates={name: self.candidates[name] for name in kept},
        )


def fit_visit_sources(visits: Visits, config: VisitSourcesConfig) -> VisitSources:
    """Fit every source that gives candidates, and what was looked at together in any case."""
    candidates = {name: n for name, n in config.candidates.items() if n > 0}
    co_views = fit_co_views(visits, config.co_views)
    sources = {
        name: co_views if name == CO_VIEWS else SOURCES[name].fit(visits, getattr(config, name))
        for name in candidates
    }
    return VisitSources(visits.item_ids, sources, candidates, co_views)
