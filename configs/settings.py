"""Settings from the environment, all named SHOPWRIGHT_<NAME>; `shopwright doctor` lists them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from features.contracts.clock import BusinessClock
from features.contracts.pricing import PriceLaw

REMEMBERED = "shop.json"
ENGINES = ("duckdb",)


class ZoneSettings(BaseModel):
    """The settings of one zone; SHOPWRIGHT_ZONES gives them as JSON, by zone."""

    model_config = ConfigDict(extra="forbid")

    currency: str = "USD"
    prices_include_tax: bool = False
    tax_rate: float = Field(0.0, ge=0, le=1)
    price_law: PriceLaw = PriceLaw.EU30
    perishable_days: int | None = Field(None, ge=0, le=30)
    new_arrival_days: int | None = Field(None, ge=1, le=30)
    progressive_reductions: bool = False
    country: str = ""

    def describe_law(self) -> str:
        """Return the price law with its options, in words."""
        parts = [f"{self.price_law} ({self.price_law.days} days)"]
        if self.perishable_days == 0:
            parts.append("perishables count from the price right before")
        elif self.perishable_days is not None:
            parts.append(f"perishables {self.perishable_days} days")
        if self.new_arrival_days is not None:
            parts.append(f"new arrivals {self.new_arrival_days} days")
        if self.progressive_reductions:
            parts.append("progressive reductions count from their first step")
        return ", ".join(parts)


class Settings(BaseSettings):
    """One frozen set of settings per process."""

    model_config = SettingsConfigDict(env_prefix="SHOPWRIGHT_", frozen=True, extra="ignore")

    home: Path = Field(
        Path(".shopwright"), description="State folder: tables, features, models, SQLite files"
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL; SQLite in the state folder when unset"
    )
    redis_url: str | None = Field(
        None, description="Online features in Redis; SQLite in the state folder when unset"
    )
    engine: str = Field(
        "duckdb", description="Where feature expressions run: duckdb, the only one so far"
    )
    clock_start: datetime | None = Field(
        None, description="The business clock starts here and ticks; system time if unset"
    )
    config_dir: Path | None = Field(
        None, description="Folder of YAML files laid over the shipped configs, by same name"
    )
    timezone: str = Field(
        "UTC", description="The shop's time zone: business weeks start Monday 00:00 there"
    )
    zones: dict[str, ZoneSettings] = Field(
        default_factory=dict,
        description="Per zone, as JSON: currency, prices_include_tax, tax_rate, country, "
        "price_law, perishable_days, new_arrival_days, progressive_reductions",
    )
    currency: str = Field(
        "USD", description="ISO 4217 currency of zones not named in SHOPWRIGHT_ZONES"
    )
    country: str = Field(
        "", description="Country whose public holidays forecasts know, ISO 3166 (US, DE-BY)"
    )
    prices_include_tax: bool = Field(
        False, description="Whether prices of zones not in SHOPWRIGHT_ZONES include tax"
    )
    tax_rate: float = Field(
        0.0, ge=0, le=1, description="Tax rate of zones not in SHOPWRIGHT_ZONES, a share"
    )
    price_law: PriceLaw = Field(
        PriceLaw.EU30,
        description="Prior price of a reduction in zones not in SHOPWRIGHT_ZONES: EU30 or CN7",
    )
    perishable_days: int | None = Field(
        None,
        ge=0,
        le=30,
        description="Days that count before a reduction of a perishable item there; "
        "0: the price right before; those of the law if unset",
    )
    new_arrival_days: int | None = Field(
        None,
        ge=1,
        le=30,
        description="Days that count before a reduction of an item on the market for less than "
        "30 days there; those of the law if unset",
    )
    progressive_reductions: bool = Field(
        False,
        description="Whether a reduction there that grows step by step counts from its first step",
    )
    assumed_margin: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Share of the net list price assumed to be margin where neither a cost nor the "
        "response of the item's category to prices is known",
    )
    seed: int = Field(17, description="Seed of every random stream")
    max_bad_share: float = Field(
        0.01, ge=0, le=1, description="Import fails above this share of bad rows"
    )
    lead_time_days: float = Field(
        14.0, gt=0, description="Days from order to shelf of items that do not say their own"
    )
    review_days: float = Field(7.0, ge=0, description="Days between two looks at what to order")
    service_level: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="Share of cycles without a stock-out, of items that do not say their own",
    )
    max_inflight: int = Field(
        64, ge=1, description="Requests in flight before the server sheds load"
    )
    log_level: str = Field("info", description="Log level of the server")

    @field_validator("engine")
    @classmethod
    def _check_engine(cls, engine: str) -> str:
        if engine not in ENGINES:
            raise ValueError(
                f"there is no engine {engine!r} yet; unset it, or set it to {' or '.join(ENGINES)}"
            )
        return engine

    def zone(self, zone: str) -> ZoneSettings:
        """Return the settings of `zone`."""
        return self.zones.get(zone) or ZoneSettings(
            currency=self.currency,
            prices_include_tax=self.prices_include_tax,
            tax_rate=self.tax_rate,
            price_law=self.price_law,
            perishable_days=self.perishable_days,
            new_arrival_days=self.new_arrival_days,
            progressive_reductions=self.progressive_reductions,
            country=self.country,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Prefer arguments to the environment, and that to the values of the state folder."""
        home = (
            init_settings().get("home")
            or env_settings().get("home")
            or cls.model_fields["home"].default
        )
        remembered = JsonConfigSettingsSource(settings_cls, json_file=Path(home) / REMEMBERED)
        return init_settings, env_settings, remembered

    def remember(self, **values: str) -> None:
        """Store facts about the shop (time zone, currency, clock) in the state folder.

        The environment has precedence.
        """
        _write_json(self.home / REMEMBERED, values)

    def business_clock(self) -> BusinessClock:
        """Return the clock of the shop.

        All processes on one state folder, and every restart, read the same time from it.
        """
        if self.clock_start is None:
            return BusinessClock()
        start = self.clock_start.astimezone(UTC)
        path = self.home / "clock.json"
        try:
            anchor = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            anchor = {}
        if anchor.get("start") != start.isoformat():
            anchor = {"start": start.isoformat(), "anchored_at": datetime.now(UTC).isoformat()}
            _write_json(path, anchor)
        return BusinessClock(start, datetime.fromisoformat(anchor["anchored_at"]))

    @property
    def sqlalchemy_url(self) -> str:
        """The URL of the database."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'shopwright.db'}"

    @property
    def mlflow_url(self) -> str:
        """The URL of MLflow when MLFLOW_TRACKING_URI is not set."""
        return f"sqlite:///{self.home.absolute() / 'mlflow.db'}"


def _write_json(path: Path, values: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, delete=False, encoding="utf-8"
    ) as staging:
        json.dump(values, staging, indent=1)
    Path(staging.name).replace(path)
