"""The composition of a server process: `open_server(settings, metrics)`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.breaker import Breaker
from features.contracts.clock import Clock, ClockWatch, SystemClock
from features.contracts.money import to_major
from features.contracts.pricing import PresentItem
from features.database import Patience, reading
from features.database import engine as open_engine
from features.facts.erased_ids import IdDigests
from features.facts.exclusions import Exclusions
from features.facts.item_rules import ItemRules
from features.facts.known_events import ImportedEvents
from features.facts.zones import KnownZones
from features.online.live_catalogue import LiveCatalogue
from features.online.online_store import OnlineHistories
from features.online.visitor_activity import VisitorActivity
from features.prices.currencies import check_currencies
from features.prices.ledger import Ledger
from models.registry import Registry
from serving.audit.service import AuditService
from serving.browser.service import AddressLimits, BrowserService
from serving.browser.tokens import BrowserTokens
from serving.catalogue.service import CatalogueService
from serving.catalogue.writes import CatalogueWriter
from serving.conditions import Conditions
from serving.database.desk_tables import merchandising_rule_versions, placement_versions
from serving.database.migrate import upgrade
from serving.database.rule_versions import SavedVersions
from serving.effects.service import EffectService
from serving.effects.watch import EffectWatch
from serving.events.flagged import FlaggedEventsService
from serving.events.service import EventService
from serving.experiments.final_decisions import DecisionService
from serving.experiments.running_looks import ExperimentWatch
from serving.experiments.service import ExperimentService, ModelVersions
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
from serving.models.served_models import ServedModels
from serving.models.service import ModelService
from serving.models.variant_recommenders import VariantRecommenders
from serving.people.openid import OpenIdService
from serving.people.passwords import Passwords
from serving.people.service import PeopleService
from serving.people.sessions import SessionLimits, SessionService
from serving.price_desk.comments import CommentService
from serving.price_desk.controls import DeskControls
from serving.price_desk.forecast_freezer import ForecastFreezer
from serving.price_desk.locks import PriceLockService
from serving.price_desk.price_experiments import PriceTestService
from serving.price_desk.price_test_planner import PriceTestPlanner
from serving.price_desk.proposals import ProposalService
from serving.price_desk.runs import PricingRunService
from serving.price_desk.scenario_worker import ScenarioWorker
from serving.price_desk.scenarios import ScenarioService
from serving.price_desk.served_inputs import ServedInputs
from serving.price_desk.service import PriceDeskService
from serving.price_desk.ticker import DeskTicker
from serving.prices.service import PriceService, Quote
from serving.pricing_rules.service import PricingRulesService
from serving.privacy.service import PrivacyService
from serving.promotions.effect import PromotionEffectService
from serving.promotions.lifecycle import hold_scheduled
from serving.promotions.service import PromotionService
from serving.recommendations.allowed_items import AllowedItems
from serving.recommendations.assigned_units import UnitAssigner
from serving.recommendations.exposure_writer import ExposureWriter
from serving.recommendations.item_fields import ItemFields
from serving.recommendations.met_variants import MetVariants
from serving.recommendations.service import RecommendationService
from serving.recommendations.shown_slates import ShownSlates
from serving.recommendations.sign_ins import SignIns
from serving.recommendations.variant_rankers import VariantRankers
from serving.server import ACTIVATIONS, CLOCK, DATABASE, ONLINE_STORE, POLL_SECONDS, Server
from serving.shop_offer import TABLES, ShopOffer, read_versions
from serving.stored_tables import StoredTables
from serving.storefront.service import StorefrontService
from serving.webhooks.deliverer import Deliverer
from serving.webhooks.sender import Sender
from serving.webhooks.service import WebhookService
from serving.webhooks.targets import Targets
from serving.what_if.service import WhatIfService

if TYPE_CHECKING:
    from models.pricing.rules import CompetitorRule

# Requests wait for the database for so long; keys and slates less, over connections of their own.
_PATIENCE = Patience(lock=5.0, read=5.0, write=30.0)
_QUICK = Patience(lock=1.0, read=1.0, write=5.0, connections=4)
_REGISTRY_SECONDS = 5.0  # for one answer of a registry of models that is no local file
# SQLite lets one of them write at a time.
_EVENT_THREADS = 8
# Slates are made a few at a time: more threads would only take the interpreter from each other.
_SLATE_THREADS = 2


def open_server(settings: Settings, metrics: Metrics) -> Server:
    """Return the server of one shop.

    It opens without models or features too: `readiness` names what is missing. Raises BadInput
    where the shop's amounts are kept in another currency than the settings say.
    """
    # The refresher tries it more often: no request waits for a connection that does not come.
    database = Breaker("the database", "Try: shopwright doctor", 5 * POLL_SECONDS)
    engine = open_engine(settings, replace(_PATIENCE, breaker=database))
    quick_engine = open_engine(settings, replace(_QUICK, breaker=database))
    upgrade(engine)
    digests = IdDigests(settings)
    with reading(engine) as connection:
        check_currencies(settings, connection)
        digests.check(connection)
    clock, system_clock, clock_watch = settings.business_clock(), SystemClock(), ClockWatch()
    registry = Registry(settings.mlflow_url, settings.home, _REGISTRY_SECONDS)
    conditions = Conditions(system_clock)
    live = LiveCatalogue(settings)
    served_models = ServedModels(
        settings,
        registry,
        conditions,
        SavedVersions(quick_engine, merchandising_rule_versions),
        live,
        SavedVersions(quick_engine, placement_versions),
    )
    allowed_items = AllowedItems(settings, quick_engine, live)
    tables = StoredTables(settings, lambda: allowed_items.warm(clock.now()))
    offer = ShopOffer(served_models, tables, quick_engine, settings.serves)
    variants = VariantRecommenders(settings, registry, served_models, conditions)
    experiments = ExperimentService(
        settings,
        engine,
        clock,
        system_clock,
        ModelVersions.of(registry),
        lambda: served_models.placements,
    )
    histories = OnlineHistories(settings, quick_engine)
    exposures = ExposureWriter(
        engine,
        clock,
        conditions,
        keep_days=settings.slate_log_days,
        list_undecided=experiments.list_undecided,
        clock_watch=clock_watch,
        digests=digests,
    )
    workers = ThreadPoolExecutor(_SLATE_THREADS, thread_name_prefix="slates")
    met_variants = MetVariants(quick_engine)
    item_rules = ItemRules(settings, clock, engine)
    freezer = ForecastFreezer(settings, clock, served_models)
    price_desk = PriceDeskService(
        settings=settings,
        engine=engine,
        clock=clock,
        system_clock=system_clock,
        find_rules=item_rules,
        clock_watch=clock_watch,
        read_items=_read_present_items,
        freeze=freezer,
    )
    prices = PriceService(settings, engine, clock, item_rules, price_desk.catch_up)
    recommendations = RecommendationService(
        settings=settings,
        clock=clock,
        system_clock=system_clock,
        models=served_models,
        histories=histories,
        allowed_items=allowed_items,
        zones=KnownZones(settings, quick_engine),
        rankers=VariantRankers(
            UnitAssigner(lambda: experiments.current, met_variants, variants.can_answer),
            variants.find,
            experiments.read_override,
        ),
        met_variants=met_variants,
        activity=VisitorActivity(quick_engine),
        item_fields=ItemFields(
            live,
            lambda item_ids, zone: _describe_prices(
                prices.quote_items(item_ids, zone, prices.now())
            ),
        ),
        shown=ShownSlates(settings.home / "shown-slates.ring"),
        log=exposures.add,
        count=lambda answer: metrics.count_slate(answer.placement, answer.slate.fallback),
        workers=workers,
    )
    sign_ins = SignIns(
        experiments=lambda: experiments.current,
        met_variants=met_variants,
        find_refused=histories.find_refused_users,
        clock=clock,
        system_clock=system_clock,
        log=exposures.add,
    )
    events = EventService(
        settings=settings,
        engine=engine,
        clock=clock,
        system_clock=system_clock,
        imported=ImportedEvents(settings),
        zones=KnownZones(settings, engine),
        exclusions=Exclusions(settings),
        digests=digests,
        note_sign_ins=sign_ins.note,
        workers=ThreadPoolExecutor(_EVENT_THREADS, thread_name_prefix="events"),
        # Half of the places stay for everybody else.
        max_waiting=max(1, settings.max_inflight // 2),
    )
    what_if = WhatIfService(settings, engine, clock, served_models)
    served_inputs = ServedInputs(settings, engine, clock, served_models)
    proposals = ProposalService(price_desk, served_inputs.read)
    price_tests = PriceTestService(proposals)
    desk_worker = ScenarioWorker()
    effects = EffectService(settings, engine, clock, system_clock, price_desk.catch_up)
    passwords = Passwords()
    ticker = DeskTicker(price_desk)
    models = ModelService(registry, system_clock, engine)
    placements = PlacementService(
        settings, engine, system_clock, check_placement=served_models.check_placement
    )
    server = Server(
        settings=settings,
        engine=engine,
        quick_engine=quick_engine,
        database=database,
        histories=histories,
        clock=clock,
        system_clock=system_clock,
        registry=registry,
        served_models=served_models,
        variants=variants,
        models=models,
        experiments=experiments,
        experiment_watch=ExperimentWatch(experiments, settings),
        decisions=DecisionService(experiments, models, placements),
        placements=placements,
        recommendations=recommendations,
        merchandising=MerchandisingService(
            settings, engine, system_clock, check_set=served_models.check_set
        ),
        slate_trials=SlateTrialService(recommendations, lambda: served_models.rules),
        events=events,
        flagged_events=FlaggedEventsService(settings, engine),
        browser=BrowserService(
            settings=settings,
            clock=clock,
            tokens=BrowserTokens(settings, system_clock),
            limits=AddressLimits(settings.browser_requests_per_minute),
            live=live,
            recommendations=recommendations,
            events=events,
        ),
        prices=prices,
        price_desk=price_desk,
        proposals=proposals,
        price_locks=PriceLockService(price_desk),
        desk_controls=DeskControls(price_desk, hold_scheduled),
        comments=CommentService(price_desk),
        scenarios=ScenarioService(price_desk, served_inputs.read_zone, desk_worker),
        price_tests=price_tests,
        price_test_planner=PriceTestPlanner(price_tests, served_inputs.read_zone, desk_worker),
        desk_ticker=ticker,
        pricing_runs=PricingRunService(settings, engine),
        promotions=PromotionService(
            settings=settings,
            engine=engine,
            clock=clock,
            system_clock=system_clock,
            find_rules=item_rules,
            simulate=what_if.simulate_promotion,
            clock_watch=clock_watch,
            freeze=freezer,
        ),
        promotion_effects=PromotionEffectService(settings, engine, clock, effects.find_control),
        effects=effects,
        effect_watch=EffectWatch(effects, proposals),
        what_if=what_if,
        forecasts=ForecastService(settings, engine, clock, served_models),
        inventory=InventoryService(settings, engine, clock, served_models),
        catalogue=CatalogueService(settings),
        catalogue_writer=CatalogueWriter(
            settings=settings,
            clock=clock,
            system_clock=system_clock,
            enter_prices=lambda rows: _enter_list_prices(
                rows, engine, settings, clock, system_clock
            ),
            read_prices=lambda item_ids: _read_list_prices(item_ids, engine, settings, clock),
        ),
        keys=KeyService(quick_engine, system_clock),
        people=PeopleService(engine, system_clock, passwords),
        sessions=SessionService(
            quick_engine, system_clock, passwords, SessionLimits.from_settings(settings)
        ),
        openid=OpenIdService(settings, engine, system_clock),
        cookie=SessionCookie(settings.public_url),
        audit=AuditService(engine),
        privacy=PrivacyService(settings, engine, clock, system_clock, digests),
        pricing_rules=PricingRulesService(settings, engine, system_clock),
        webhooks=WebhookService(settings, engine, system_clock),
        deliverer=Deliverer(
            engine, system_clock, Sender(Targets.from_settings(settings)), conditions
        ),
        idempotency=IdempotencyService(engine, system_clock, clock_watch),
        exposures=exposures,
        metrics=metrics,
        conditions=conditions,
        readiness=Readiness(
            missing=lambda: offer.find_missing() | _name_problem(DATABASE, database.problem),
            unused=lambda: served_models.unused,
            serves=offer.list_served,
            versions=lambda: read_versions(served_models),
            degraded=lambda: (
                served_models.degraded
                | _name_problem(TABLES, tables.problem)
                | _name_problem(ONLINE_STORE, histories.problem)
                | _name_problem(CLOCK, clock_watch.problem)
                | _name_problem(ACTIVATIONS, ticker.problem)
            ),
        ),
        tables=tables,
        offer=offer,
        workers=workers,
    )
    server.scenarios.fail_interrupted()
    server.price_test_planner.fail_interrupted()
    server.refresh()
    metrics.before_scrape = server.observe
    return server


def open_storefront(server: Server) -> StorefrontService:
    """Return the server side of the demo storefront."""
    return StorefrontService(
        users=server.settings.storefront_users,
        key_path=server.settings.home / "storefront-key",
        clock=server.clock,
        live=server.browser.live,
        browser=server.browser,
        recommendations=server.recommendations,
        events=server.events,
        keys=server.keys,
    )


def _read_present_items(
    settings: Settings,
    now: datetime,
    zone: str,
    item_ids: Sequence[str],
    competitor: CompetitorRule | None = None,
) -> Mapping[str, PresentItem]:
    """Read what is known of items; the reader of tables is imported by the first decision."""
    from serving.price_desk.present_items import read_present_items

    return read_present_items(settings, now, zone, item_ids, competitor)


def _describe_prices(quotes: Iterable[Quote]) -> dict[str, dict[str, object]]:
    """Return the prices of items as fields of a slate, decimals in major units."""
    fields: dict[str, dict[str, object]] = {}
    for quote in quotes:
        price, prior = quote.price, quote.prior_price_minor
        fields[price.item_id] = {
            "price": to_major(price.offer_price_minor, price.currency),
            "list_price": to_major(price.list_price_minor, price.currency),
            "prior_price": None if prior is None else to_major(prior, price.currency),
            "currency": price.currency,
        }
    return fields


def _enter_list_prices(
    rows: Sequence[Mapping[str, object]],
    engine: sa.Engine,
    settings: Settings,
    clock: Clock,
    system_clock: Clock,
) -> None:
    """Give items without any price that of the catalogue; the first write imports the reader of
    tables."""
    from serving.prices.opening import enter_list_prices

    enter_list_prices(rows, engine, settings, clock, system_clock)


def _read_list_prices(
    item_ids: Iterable[str], engine: sa.Engine, settings: Settings, clock: Clock
) -> dict[str, int]:
    """Return the current list prices of items in the first zone of the shop's own currency."""
    from serving.prices.listed_prices import list_own_currency_zones

    zones = list_own_currency_zones(settings)
    if not zones:
        return {}
    with reading(engine) as connection:
        prices = Ledger(connection).find_current(item_ids, zones[0], clock.now())
    return {item_id: price.list_price_minor for item_id, price in prices.items()}


def _name_problem(part: str, problem: str | None) -> dict[str, str]:
    return {} if problem is None else {part: problem}
