"""The inputs of proposed prices from the models that a process serves, or without a model.

The readers of tables are imported by the first request: a server should be ready before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import Unavailable
from features.contracts.pricing import DEFAULT_RULES
from features.contracts.tables import TIMESTAMP
from features.database import reading
from models.pricing.rules import PricingRules
from models.served_prices import PriceModels
from serving.pricing_rules.present_rules import PresentRules

if TYPE_CHECKING:
    from serving.pricing_inputs.horizon_forecast import Forecaster
    from serving.pricing_inputs.items import PricingInputs

_NO_FORECASTS = pa.schema(
    [
        ("unique_id", pa.string()),
        ("zone", pa.string()),
        ("ds", TIMESTAMP),
        *((name, pa.float64()) for name in ("mean", "p10", "p50", "p90")),
    ]
)


@dataclass(frozen=True)
class NoForecasts:
    """A demand model that knows no item."""

    forecasts: pa.Table = field(default_factory=_NO_FORECASTS.empty_table)
    aggregates: None = None


@dataclass(frozen=True)
class NamedRules:
    """Rules with those of their stages, and what a run says of where they come from."""

    name: str
    rules: PricingRules
    presets: Mapping[str, PricingRules]
    version: str

    @classmethod
    def find(cls, present: PresentRules, name: str) -> NamedRules:
        """Return the rules of a name as they are valid now. Raises UnknownName."""
        rules = present.load(name)
        return cls(name, rules, present.load_presets(rules), present.describe_version(name))


@dataclass(frozen=True)
class ServedInputs:
    """Reads what prices are computed from, with the champions of this process."""

    settings: Settings
    engine: sa.Engine
    clock: Clock
    models: PriceModels

    def read(self, zone: str, item_ids: Sequence[str]) -> PricingInputs:
        """Return what prices of some items are computed from, under the default rules.

        Without a champion of demand or of pricing no effect is expected; the rules are the same.
        """
        with reading(self.engine) as connection:
            present_rules = PresentRules.read(self.settings, connection)
        return self._read(zone, item_ids, NamedRules.find(present_rules, DEFAULT_RULES))

    def read_zone(self, zone: str, named: NamedRules) -> PricingInputs:
        """Return what the prices of a zone are computed from. Raises Unavailable without a champion
        of demand."""
        return self._read(zone, self.models.forecasts().table.list_items(zone), named)

    def _read(self, zone: str, item_ids: Sequence[str], named: NamedRules) -> PricingInputs:
        from features.facts.facts import Facts
        from models.pricing.response.elasticity import ElasticityModel
        from serving.pricing_inputs.items import PricingInputs
        from serving.what_if.served_demand import ServedDemand

        now, weeks = self.clock.now(), named.rules.horizon_weeks
        versions = {"rules": named.version}
        demand: Forecaster = NoForecasts()
        try:
            forecasts = self.models.forecasts()
        except Unavailable:
            pass
        else:
            versions["demand"] = forecasts.version.version
            demand = ServedDemand(forecasts.table, item_ids, zone, weeks, now)
        try:
            pricing = self.models.pricing()
        except Unavailable:
            responses = ElasticityModel.without_series()
        else:
            versions["pricing"], responses = pricing.version.version, pricing.model
        return PricingInputs(
            facts=Facts(self.settings),
            engine=self.engine,
            settings=self.settings,
            demand_model=demand,
            pricing_model=responses,
            rules=named.rules,
            now=now,
            presets=named.presets,
            versions=versions,
            rules_name=named.name,
        )
