"""What a request finds on `request.app.state`, with its types."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field

import sqlalchemy as sa
from fastapi import Request

from configs.settings import Settings
from features.contracts.clock import Clock
from features.facts.known_events import ImportedEvents
from models.registry import Registry
from serving.experiments.service import ExperimentDesk
from serving.http.metrics import Metrics
from serving.inventory.service import InventoryDesk
from serving.models.served_models import Champions
from serving.recommendations.exposure_writer import ExposureWriter
from serving.recommendations.service import RecommendService


@dataclass
class Server:
    """The parts of one server process; app.py puts them together.

    workers     where slates are computed, away from the event loop
    draining    set when the process was told to stop: it still answers, but wants no new traffic
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    system_clock: Clock
    imported: ImportedEvents
    registry: Registry
    champions: Champions
    experiments: ExperimentDesk
    recommend: RecommendService
    inventory: InventoryDesk
    exposures: ExposureWriter
    metrics: Metrics
    workers: Executor
    draining: bool = field(default=False)


def server(request: Request) -> Server:
    """The server that got this request."""
    found: Server = request.app.state.server
    return found
