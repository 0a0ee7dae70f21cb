"""The services of one server process, opened once: `open_server(settings, metrics)`."""

from __future__ import annotations

import logging
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock, SystemClock
from features.database import engine as open_engine
from features.facts.item_rules import ItemRules
from features.facts.known_events import ImportedEvents
from features.online.online_store import OnlineHistories
from models.registry import Registry
from serving.audit.service import AuditService
from serving.database.migrate import upgrade
from serving.events.service import EventService
from serving.experiments.service import ExperimentService
from serving.forecasts.service import ForecastService
from serving.http.health import Readiness
from serving.http.idempotency import IdempotencyService
from serving.http.metrics import Metrics
from serving.inventory.service import InventoryService
from serving.keys.service import KeyService
from serving.models.served_models import ServedModels
from serving.models.service import ModelService
from serving.price_desk.service import PriceDeskService
from serving.prices.service import PriceService
from serving.recommendations.allowed_items import AllowedItems
from serving.recommendations.exposure_writer import ExposureWriter
from serving.recommendations.service import RecommendationService
from serving.what_if.service import WhatIfService

log = logging.getLogger(__name__)

# Slates are made a few at a time: more threads would only take the interpreter from each other.
_SLATE_THREADS = 2


@dataclass(frozen=True)
class Server:
    """The parts of a server process, and the services of its routers.

    workers     where slates are computed, away from the event loop
    readiness   what /readyz answers
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    system_clock: Clock
    registry: Registry
    served_models: ServedModels
    models: ModelService
    experiments: ExperimentService
    recommendations: RecommendationService
    events: EventService
    prices: PriceService
    price_desk: PriceDeskService
    what_if: WhatIfService
    forecasts: ForecastService
    inventory: InventoryService
    keys: KeyService
    audit: AuditService
    idempotency: IdempotencyService
    exposures: ExposureWriter
    metrics: Metrics
    readiness: Readiness
    workers: Executor

    def services(self) -> tuple[object, ...]:
        """Return what the routers use, for `provide`."""
        return (
            self.served_models,
            self.models,
            self.experiments,
            self.recommendations,
            self.events,
            self.prices,
            self.price_desk,
            self.what_if,
            self.forecasts,
            self.inventory,
            self.keys,
            self.audit,
            self.idempotency,
            self.metrics,
            self.readiness,
        )

    def refresh(self) -> None:
        """Read what other processes promoted, materialized, started or stopped."""
        self.served_models.refresh()
        self.experiments.refresh()
        self.observe()

    def observe(self) -> None:
        """Bring the metrics that are not counted as they change up to date."""
        self.metrics.observe(
            exposures_waiting=self.exposures.waiting,
            exposures_dropped=self.exposures.dropped,
            served_versions=_read_versions(self.served_models),
        )

    def close(self) -> None:
        """Finish the slates begun, write the queued exposures, and close the database."""
        self.workers.shutdown()
        self.exposures.close()
        self.metrics.close()
        self.engine.dispose()


def open_server(settings: Settings, metrics: Metrics) -> Server:
    """Return the server of one shop.

    It opens without models or features too: `readiness` names what is missing.
    """
    engine = open_engine(settings)
    upgrade(engine)
    clock, system_clock = settings.business_clock(), SystemClock()
    registry = Registry(settings.mlflow_url, settings.home)
    served_models = ServedModels(settings, registry)
    experiments = ExperimentService(settings, engine, clock, system_clock)
    histories = OnlineHistories(settings, engine)
    exposures = ExposureWriter(engine)
    workers = ThreadPoolExecutor(_SLATE_THREADS, thread_name_prefix="slates")
    recommendations = RecommendationService(
        settings=settings,
        clock=clock,
        system_clock=system_clock,
        models=served_models,
        histories=histories,
        allowed_items=AllowedItems(settings, engine),
        experiments=lambda: experiments.current,
        log=exposures.add,
        count=lambda answer: metrics.count_slate(answer.placement, answer.slate.fallback),
        workers=workers,
    )
    events = EventService(
        settings=settings,
        engine=engine,
        clock=clock,
        system_clock=system_clock,
        imported=ImportedEvents(settings),
    )
    item_rules = ItemRules(settings, clock)
    server = Server(
        settings=settings,
        engine=engine,
        clock=clock,
        system_clock=system_clock,
        registry=registry,
        served_models=served_models,
        models=ModelService(registry, system_clock),
        experiments=experiments,
        recommendations=recommendations,
        events=events,
        prices=PriceService(settings, engine, clock, item_rules),
        price_desk=PriceDeskService(settings, engine, clock, system_clock, item_rules),
        what_if=WhatIfService(settings, engine, clock, served_models),
        forecasts=ForecastService(settings, engine, clock, served_models),
        inventory=InventoryService(settings, engine, clock, served_models),
        keys=KeyService(engine, system_clock),
        audit=AuditService(engine),
        idempotency=IdempotencyService(engine, system_clock),
        exposures=exposures,
        metrics=metrics,
        readiness=Readiness(
            missing=lambda: served_models.missing, versions=lambda: _read_versions(served_models)
        ),
        workers=workers,
    )
    server.refresh()
    metrics.before_scrape = server.observe
    _warm_histories(histories)
    return server


def _warm_histories(histories: OnlineHistories) -> None:
    """Open the online features before the first visitor asks for them."""
    try:
        histories.warm()
    except Exception as error:  # the first read reports it again
        log.warning("online features are not open: %s", error)


def _read_versions(served_models: ServedModels) -> dict[str, str]:
    return {name: version.version for name, version in served_models.versions.items()}
