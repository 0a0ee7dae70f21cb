"""Settings from the environment, all named SHOPWRIGHT_<NAME>; `shopwright doctor` lists them."""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from configs.zone_settings import Currency, ZoneSettings
from features.contracts.clock import BusinessClock
from features.contracts.errors import Damaged, UnknownName
from features.contracts.event_types import DEFAULT_ZONE
from features.contracts.files import read_json, write_json
from features.contracts.pricing import PriceLaw

REMEMBERED = "shop.json"
_RESTORE = (
    "Restore it from a backup; or delete it, and set SHOPWRIGHT_TIMEZONE, SHOPWRIGHT_CURRENCY and "
    "SHOPWRIGHT_CLOCK_START as they were"
)
ENGINES = ("duckdb",)
# What a server answers, as /readyz names it.
PARTS = ("recommendations", "forecasts", "prices")
PREFIX = "SHOPWRIGHT_"
# Variables that are no settings: warnings of libraries, servers of the tests.
_OTHER_VARIABLES = ("DEBUG", "TEST_POSTGRES_URL", "TEST_REDIS_URL")
_NEAR = 0.75  # similarity from which an unknown variable counts as a misspelt one


class Settings(BaseSettings):
    """One frozen set of settings per process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

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
    data_until: datetime | None = Field(
        None,
        description="Sales are complete until this time, and later weeks missing; without it weeks "
        "without a sale up to now count as weeks in which nothing sold",
    )
    config_dir: Path | None = Field(
        None, description="Folder of YAML files laid over the shipped configs, by same name"
    )
    timezone: str = Field(
        "UTC", description="The shop's time zone: business weeks start Monday 00:00 there"
    )
    zones: dict[str, ZoneSettings] = Field(
        default_factory=dict,
        description="Per zone, as JSON: currency, prices_include_tax, tax_rate, country, timezone, "
        "price_law, perishable_days, new_arrival_days, progressive_reductions, price_endings, "
        "price_step, weekly_targets",
    )
    currency: Currency = Field(
        "USD",
        description="ISO 4217 currency of the shop: of the default zone, of the catalogue, and of "
        "zones that name none",
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
    price_endings: tuple[str, ...] | None = Field(
        None,
        description='Ends of suggested prices there, as JSON: ["9"], [".99"], ["9.00"], [] for '
        "all; learnt from the list prices if unset",
    )
    price_step: str | None = Field(
        None, description="Smallest step of suggested prices there, major units: 0.05, 1.00"
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
    max_unknown_items: float = Field(
        0.5, ge=0, le=1, description="Import fails above this share of events of unknown items"
    )
    unknown_zones: Literal["quarantine", "default"] = Field(
        "quarantine",
        description="Rows of zones that neither the settings nor the price list know: quarantine "
        "refuses them, default makes them rows of the zone default",
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
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s]+$",
        description="Address at which people reach the server; cookies are Secure where it is "
        "https. The address of each request if unset",
    )
    session_idle_minutes: int = Field(
        60, ge=1, description="Minutes without a request after which a sign-in ends"
    )
    session_hours: int = Field(12, ge=1, description="Hours after which every sign-in ends")
    openid_issuer: str | None = Field(
        None, description="Issuer of the OpenID provider by which people may sign in"
    )
    openid_client_id: str | None = Field(None, description="Our client id at that provider")
    openid_client_secret: SecretStr | None = Field(
        None, description="Our client secret there; none for a public client"
    )
    openid_name_claim: str = Field(
        "preferred_username",
        description="Claim that holds the sign-in name; email counts where it is verified",
    )
    orders_per_buyer: int = Field(
        1,
        ge=1,
        description="So many orders of an item by one buyer in a week, and so many views by one "
        "visitor, count for what is popular and trending",
    )
    webhook_targets: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Where webhooks may be sent, with commas between them: "
        "https://hooks.example.com, http://10.0.0.7:9000; nowhere if unset",
    )
    webhook_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Private networks in which such a target may lie, with commas between them: "
        "10.0.0.0/8; public addresses alone if unset",
    )
    serves: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="What must be answered before /readyz is 200, of recommendations, forecasts "
        "and prices, with commas between them; what has a champion, or prices, if unset",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins whose pages may call the addresses for browsers, with commas between "
        "them: https://shop.example.com; pages of the server's own origin alone if unset",
    )
    public_attributes: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Extra columns of the catalogue that a publishable key may read and filter by, "
        "with commas between them: color,material; none if unset",
    )
    browser_secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret that signs the proofs of browsers, 32 characters or more; the same on "
        "all machines of a shop. One in the state folder if unset",
    )
    privacy_secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret of the digests by which erased people are recognised, 32 characters or "
        "more; the same on all machines of a shop. One in the state folder if unset",
    )
    browser_requests_per_minute: int = Field(
        600,
        ge=1,
        description="Requests of one address with a publishable key in a minute, for each worker; "
        "more are answered with 429",
    )
    storefront_users: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Users as whom anybody may sign in, without a password, on the demo storefront "
        "at /storefront, with commas between them; no storefront if unset",
    )
    slate_log_days: int = Field(
        30,
        ge=0,
        description="Days after which the log of answered slates is deleted; 0: none is written",
    )
    slate_log_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the slates that are logged. Those of placements that explore, of an "
        "experiment and of requests with rotate always are",
    )
    max_variant_models: int = Field(
        4,
        ge=0,
        description="Model versions that each process holds for experiments beside the champion; "
        "a start that needs more is refused",
    )
    max_inflight: int = Field(
        64, ge=1, description="Requests in flight before the server sheds load"
    )
    request_seconds: float = Field(
        20.0,
        gt=0,
        description="A caller has so many seconds to send the headers of a request, as many again "
        "for its body, and to take an answer",
    )
    log_level: str = Field("info", description="Log level of the server")

    @model_validator(mode="after")
    def _check_openid(self) -> Self:
        if self.openid_issuer and not (self.openid_client_id and self.public_url):
            raise ValueError(
                "SHOPWRIGHT_OPENID_ISSUER needs SHOPWRIGHT_OPENID_CLIENT_ID and "
                "SHOPWRIGHT_PUBLIC_URL too"
            )
        return self

    @field_validator("engine")
    @classmethod
    def _check_engine(cls, engine: str) -> str:
        if engine not in ENGINES:
            raise ValueError(
                f"there is no engine {engine!r} yet; unset it, or set it to {' or '.join(ENGINES)}"
            )
        return engine

    @field_validator(
        "serves",
        "webhook_targets",
        "webhook_networks",
        "cors_origins",
        "public_attributes",
        "storefront_users",
        mode="before",
    )
    @classmethod
    def _read_names(cls, given: str | Sequence[str]) -> Sequence[str]:
        """Return the names of a text: JSON, or names with commas between them."""
        if isinstance(given, str):
            names = json.loads(given) if given.startswith("[") else given.split(",")
            return [str(name).strip() for name in names if name]
        return given

    @field_validator("serves")
    @classmethod
    def _check_parts(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in parts if name not in PARTS]:
            raise ValueError(str(UnknownName(unknown[0], PARTS, kind="part")))
        return parts

    @field_validator("webhook_targets")
    @classmethod
    def _check_targets(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for target in targets:
            if not re.fullmatch(r"https?://[^/\s@?#]+", target):
                raise ValueError(
                    f"{target!r} is no target; write https://HOST or https://HOST:PORT"
                )
        return targets

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[^/\s@?#*]+", origin):
                raise ValueError(
                    f"{origin!r} is no origin; write https://HOST or https://HOST:PORT"
                )
        return origins

    @field_validator("webhook_networks")
    @classmethod
    def _check_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)  # raises ValueError with the reason
        return networks

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelt_variables(cls, values: object) -> object:
        for variable in list_unknown_variables():
            name = variable.removeprefix(PREFIX).lower()
            nearest = difflib.get_close_matches(name, cls.model_fields, n=1, cutoff=_NEAR)
            if nearest:
                meant = f"{PREFIX}{nearest[0].upper()}"
                raise ValueError(f"{variable} is no setting. Did you mean {meant}?")
        return values

    @model_validator(mode="after")
    def _complete_zones(self) -> Self:
        """Give zones that name no currency the shop's, which the default zone always has."""
        for name, zone in self.zones.items():
            if "currency" not in zone.model_fields_set:
                self.zones[name] = zone.model_copy(update={"currency": self.currency})
            elif name == DEFAULT_ZONE and zone.currency != self.currency:
                raise ValueError(
                    f"the zone {name!r} has the currency of the shop, which is {self.currency}. "
                    f"Set {PREFIX}CURRENCY={zone.currency}"
                )
        return self

    @field_validator("data_until")
    @classmethod
    def _read_as_utc(cls, at: datetime | None) -> datetime | None:
        """Return a time without an offset as UTC."""
        return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at

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
            price_endings=self.price_endings,
            price_step=self.price_step,
        )

    def find_timezone(self, zone: str) -> str:
        """Return the time zone in which the prices of a zone begin and end, else the shop's."""
        return self.zone(zone).timezone or self.timezone

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
        remembered = InitSettingsSource(settings_cls, _read_stored(Path(home) / REMEMBERED))
        return init_settings, env_settings, remembered

    def remember(self, **values: str) -> None:
        """Store facts about the shop (time zone, currency, clock) in the state folder.

        The environment has precedence.
        """
        write_json(self.home / REMEMBERED, values)

    def business_clock(self) -> BusinessClock:
        """Return the clock of the shop.

        All processes on one state folder, and every restart, read the same time from it.
        """
        if self.clock_start is None:
            return BusinessClock()
        start = self.clock_start.astimezone(UTC)
        path = self.home / "clock.json"
        anchor = _read_stored(path)
        if anchor.get("start") != start.isoformat():
            anchor = {"start": start.isoformat(), "anchored_at": datetime.now(UTC).isoformat()}
            write_json(path, anchor)
        try:
            anchored_at = datetime.fromisoformat(anchor["anchored_at"])
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(
                "the file is damaged: no time in anchored_at", where=str(path), hint=_RESTORE
            ) from error
        return BusinessClock(start, anchored_at)

    @property
    def sqlalchemy_url(self) -> str:
        """The URL of the database."""
        return self.database_url or _sqlite_url(self.home.absolute() / "shopwright.db")

    @property
    def mlflow_url(self) -> str:
        """The URL of MLflow when MLFLOW_TRACKING_URI is not set."""
        return _sqlite_url(self.home.absolute() / "mlflow.db")


def _sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file.

    Question marks and percent signs would not be read as parts of the path. Where there are any
    the slashes are escaped too: MLflow makes the folder in the URL, and takes it as it is written.
    """
    text = str(path)
    return f"sqlite:///{quote(text, safe='') if set(text) & set('?%') else text}"


def list_unknown_variables() -> list[str]:
    """Return the variables of the environment that are named like settings and are none."""
    known = {PREFIX + name.upper() for name in (*Settings.model_fields, *_OTHER_VARIABLES)}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def _read_stored(path: Path) -> dict[str, str]:
    """Return the values of a file of the state folder, none without one. Raises Damaged."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
    except Damaged as error:
        raise Damaged(error.what, where=error.where, hint=_RESTORE) from error
