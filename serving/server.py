"""The services of one server process, and how they are kept up to date and closed."""

from __future__ import annotations

import threading
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.breaker import Breaker
from features.contracts.clock import Clock
from features.contracts.errors import Unavailable
from features.online.online_store import OnlineHistories
from models.registry import Registry
from serving.audit.service import AuditService
from serving.browser.service import BrowserService
from serving.catalogue.service import CatalogueService
from serving.catalogue.writes import CatalogueWriter
from serving.conditions import Conditions
from serving.effects.service import EffectService
from serving.effects.watch import EffectWatch
from serving.events.flagged import FlaggedEventsService
from serving.events.service import EventService
from serving.experiments.final_decisions import DecisionService
from serving.experiments.running_looks import ExperimentWatch
from serving.experiments.service import ExperimentService
from serving.forecasts.service import ForecastService
from serving.http.health import Readiness
from serving.http.idempotency import IdempotencyService
from serving.http.metrics import Metrics
from serving.http.session_cookie import SessionCookie
from serving.inventory.service import InventoryService
from serving.keys.service import KeyService
from serving.merchandising.placements import PlacementService
from serving.merchandising.service import MerchandisingService
from serving.merchandising.slate_trial import SlateTrialService
from serving.models.model_files import RECOMMENDATIONS
from serving.models.served_models import ServedModels
from serving.models.service import ModelService
from serving.models.variant_recommenders import VariantRecommenders
from serving.people.openid import OpenIdService
from serving.people.service import PeopleService
from serving.people.sessions import SessionService
from serving.price_desk.comments import CommentService
from serving.price_desk.controls import DeskControls
from serving.price_desk.locks import PriceLockService
from serving.price_desk.price_experiments import PriceTestService
from serving.price_desk.price_test_planner import PriceTestPlanner
from serving.price_desk.proposals import ProposalService
from serving.price_desk.runs import PricingRunService
from serving.price_desk.scenarios import ScenarioService
from serving.price_desk.service import PriceDeskService
from serving.price_desk.ticker import DeskTicker
from serving.prices.service import PriceService
from serving.pricing_rules.service import PricingRulesService
from serving.privacy.service import PrivacyService
from serving.promotions.effect import PromotionEffectService
from serving.promotions.service import PromotionService
from serving.recommendations.exposure_writer import ExposureWriter
from serving.recommendations.service import RecommendationService
from serving.shop_offer import TABLES, ShopOffer, read_versions
from serving.stored_tables import StoredTables
from serving.webhooks.deliverer import Deliverer
from serving.webhooks.service import WebhookService
from serving.what_if.service import WhatIfService

if TYPE_CHECKING:
    from serving.forecasts.history import SalesHistoryService
    from serving.forecasts.price_index import PriceIndexService

DATABASE, ONLINE_STORE, CLOCK, ACTIVATIONS = "database", "online_store", "clock", "activations"
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Server:
    """The parts of a server process, and the services of its routers.

    engine      the database of most services
    quick_engine    the same one, over connections that slates and keys need not share
    database    whether it answers
    workers     where slates are computed, away from the event loop
    conditions  what does not work at the moment
    readiness   what /readyz answers
    tables      whether the imported tables can be read
    offer       whether the shop has anything to serve
    """

    settings: Settings
    engine: sa.Engine
    quick_engine: sa.Engine
    database: Breaker
    histories: OnlineHistories
    clock: Clock
    system_clock: Clock
    registry: Registry
    served_models: ServedModels
    variants: VariantRecommenders
    models: ModelService
    experiments: ExperimentService
    decisions: DecisionService
    experiment_watch: ExperimentWatch
    recommendations: RecommendationService
    merchandising: MerchandisingService
    placements: PlacementService
    slate_trials: SlateTrialService
    events: EventService
    flagged_events: FlaggedEventsService
    prices: PriceService
    price_desk: PriceDeskService
    proposals: ProposalService
    price_locks: PriceLockService
    desk_controls: DeskControls
    comments: CommentService
    scenarios: ScenarioService
    price_tests: PriceTestService
    price_test_planner: PriceTestPlanner
    desk_ticker: DeskTicker
    pricing_runs: PricingRunService
    promotions: PromotionService
    promotion_effects: PromotionEffectService
    effects: EffectService
    effect_watch: EffectWatch
    what_if: WhatIfService
    forecasts: ForecastService
    inventory: InventoryService
    catalogue: CatalogueService
    catalogue_writer: CatalogueWriter
    browser: BrowserService
    keys: KeyService
    people: PeopleService
    sessions: SessionService
    openid: OpenIdService
    cookie: SessionCookie
    audit: AuditService
    privacy: PrivacyService
    pricing_rules: PricingRulesService
    webhooks: WebhookService
    deliverer: Deliverer
    idempotency: IdempotencyService
    exposures: ExposureWriter
    metrics: Metrics
    conditions: Conditions
    readiness: Readiness
    tables: StoredTables
    offer: ShopOffer
    workers: Executor

    @cached_property
    def history(self) -> SalesHistoryService:
        """What was sold; the readers of tables are imported by the first look."""
        from serving.forecasts.history import SalesHistoryService

        return SalesHistoryService(self.settings, self.clock)

    @cached_property
    def price_index(self) -> PriceIndexService:
        """The prices beside those of competitors; imported by the first look, as `history`."""
        from serving.forecasts.price_index import PriceIndexService

        return PriceIndexService(self.settings, self.engine, self.clock, self.history)

    def services(self) -> tuple[object, ...]:
        """Return what the routers use, for `provide`."""
        return (
            self.served_models,
            self.models,
            self.experiments,
            self.decisions,
            self.recommendations,
            self.merchandising,
            self.placements,
            self.slate_trials,
            self.events,
            self.flagged_events,
            self.catalogue_writer,
            self.browser,
            self.prices,
            self.price_desk,
            self.proposals,
            self.price_locks,
            self.desk_controls,
            self.comments,
            self.scenarios,
            self.price_tests,
            self.price_test_planner,
            self.pricing_runs,
            self.promotions,
            self.promotion_effects,
            self.effects,
            self.what_if,
            self.forecasts,
            self.inventory,
            self.keys,
            self.people,
            self.sessions,
            self.openid,
            self.cookie,
            self.audit,
            self.privacy,
            self.pricing_rules,
            self.webhooks,
            self.idempotency,
            self.metrics,
            self.readiness,
        )

    def refresh(self) -> None:
        """Read what other processes promoted, materialized, started or stopped, and try the parts
        that did not answer.

        What fails is tried again the next time, and keeps nothing else from being read.
        """
        steps = {
            "the database": self._try_database,
            "experiments": self._refresh_experiments,
            "online features": self.histories.warm,
            "lost rows": self.histories.restore_rows,
            TABLES: self.tables.refresh,
            "models": self.served_models.refresh,
            "variants": self._refresh_variants,
            "prices": self.offer.refresh,
            "promotions": self.promotions.settle,
            "the price desk": self.desk_ticker.tick,
            "effects of price changes": self.effect_watch.tick,
            "running experiments": lambda: self.experiment_watch.tick(self.system_clock.now()),
            "erased rows": self.privacy.empty_logs_left,
            "metrics": self.observe,
        }
        for name, step in steps.items():
            try:
                step()
            except Exception as error:  # the next round may succeed
                self.conditions.report(name, str(error))
            else:
                self.conditions.clear(name)

    def _refresh_experiments(self) -> None:
        """Read the experiments. Raises Unavailable for definitions that cannot be used."""
        self.experiments.refresh()
        if problems := self.experiments.problems:
            raise Unavailable("; ".join(f"{key}: {why}" for key, why in sorted(problems.items())))

    def _refresh_variants(self) -> None:
        """Load what running variants need, once there is a champion beside which they answer."""
        if self.served_models.versions.get(RECOMMENDATIONS) is not None:
            self.variants.refresh(self.experiments.list_answering())

    def ping_database(self) -> None:
        """Ask the database for nothing. Raises what it raises where it does not answer."""
        with self.quick_engine.connect() as connection:
            connection.execute(sa.select(1))

    def _try_database(self) -> None:
        """Tell the breaker whether the database answers, also while it refuses calls."""
        try:
            self.ping_database()
        except sa.exc.OperationalError as error:
            self.database.fail(error)
            raise
        self.database.succeed()

    def observe(self) -> None:
        """Bring the metrics that are not counted as they change up to date."""
        self.metrics.observe(
            exposures_waiting=self.exposures.waiting,
            exposures_dropped=self.exposures.dropped,
            served_versions=read_versions(self.served_models),
            faults=self.conditions.states,
        )

    def close(self) -> None:
        """Finish the slates begun, write the queued exposures, and close the database."""
        self.deliverer.stop()
        self.workers.shutdown()
        self.events.workers.shutdown()
        self.scenarios.close()
        self.price_test_planner.close()
        self.effect_watch.workers.shutdown(wait=False, cancel_futures=True)
        self.experiment_watch.workers.shutdown(wait=False, cancel_futures=True)
        self.keys.workers.shutdown(wait=False)
        self.exposures.close()
        self.metrics.close()
        self.engine.dispose()
        self.quick_engine.dispose()


class Refresher:
    """Refreshes a server every POLL_SECONDS, on a thread that nobody waits for: what it reads may
    hang."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refresher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further refresh."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            self._server.refresh()
