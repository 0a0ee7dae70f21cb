"""Settings from the environment, all named SHOPWRIGHT_<NAME>; `shopwright doctor` lists them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from features.contracts.clock import BusinessClock


class ZoneSettings(BaseSettings):
    """What differs between zones. Given as JSON in SHOPWRIGHT_ZONES, keyed by zone."""

    currency: str = "USD"
    prices_include_tax: bool = False
    tax_rate: float = Field(0.0, ge=0, le=1)


class Settings(BaseSettings):
    """One frozen set of settings per process."""

    model_config = SettingsConfigDict(env_prefix="SHOPWRIGHT_", frozen=True, extra="ignore")

    home: Path = Field(Path(".shopwright"), description="State folder: tables, features, models, SQLite files")
    database_url: str | None = Field(None, description="SQLAlchemy URL; SQLite in the state folder when unset")
    redis_url: str | None = Field(None, description="Online features in Redis; SQLite in the state folder when unset")
    engine: str = Field("duckdb", description="Where feature expressions run: duckdb or spark")
    clock_start: datetime | None = Field(
        None, description="The business clock starts here and ticks; system time if unset"
    )
    config_dir: Path | None = Field(
        None, description="Folder of YAML files laid over the shipped configs, by same name"
    )
    timezone: str = Field("UTC", description="The shop's time zone: business weeks start Monday 00:00 there")
    zones: dict[str, ZoneSettings] = Field(
        default_factory=dict, description="Per zone: currency, prices_include_tax, tax_rate (JSON)"
    )
    currency: str = Field("USD", description="ISO 4217 currency of zones not named in SHOPWRIGHT_ZONES")
    prices_include_tax: bool = Field(False, description="Whether prices of zones not in SHOPWRIGHT_ZONES include tax")
    tax_rate: float = Field(0.0, ge=0, le=1, description="Tax rate of zones not in SHOPWRIGHT_ZONES, a share")
    assumed_margin: float = Field(
        0.3, ge=0, lt=1, description="Share of the net list price assumed to be margin where no cost is known"
    )
    seed: int = Field(17, description="Seed of every random stream")
    max_bad_share: float = Field(0.01, ge=0, le=1, description="Import fails above this share of bad rows")
    max_inflight: int = Field(64, ge=1, description="Requests in flight before the server sheds load")
    log_level: str = Field("info", description="Log level of the server")

    def zone(self, zone: str) -> ZoneSettings:
        """The settings of `zone`."""
        return self.zones.get(zone) or ZoneSettings(
            currency=self.currency, prices_include_tax=self.prices_include_tax, tax_rate=self.tax_rate
        )

    def business_clock(self) -> BusinessClock:
        """A new business clock that ticks from now."""
        return BusinessClock(self.clock_start)

    @property
    def sqlalchemy_url(self) -> str:
        """Where the database is."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'shopwright.db'}"

    @property
    def mlflow_url(self) -> str:
        """Where MLflow is when MLFLOW_TRACKING_URI does not say."""
        return f"sqlite:///{self.home.absolute() / 'mlflow.db'}"
