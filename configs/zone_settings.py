"""The settings of one zone: its currency, taxes, price law, time and weekly targets."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from features.contracts.errors import BadInput, UnknownName
from features.contracts.money import minor_digits
from features.contracts.pricing import PriceLaw


def _check_currency(code: str) -> str:
    """Return the code. Raises ValueError where it is no currency."""
    try:
        minor_digits(code)
    except BadInput as error:
        raise ValueError(str(error)) from error
    return code


def _check_timezone(name: str) -> str:
    """Return the name. Raises ValueError where it is no time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone; write it like Europe/Berlin") from error
    return name


Currency = Annotated[str, AfterValidator(_check_currency)]
TimeZone = Annotated[str, AfterValidator(_check_timezone)]


class WeeklyTargets(BaseModel):
    """What the shop wants to reach in a week; None is no target.

    revenue, basket   in major units of the zone's currency, as customers pay it
    margin            share of the revenue net of tax
    """

    model_config = ConfigDict(extra="forbid")

    revenue: Decimal | None = Field(None, gt=0, lt=10**12)
    orders: int | None = Field(None, gt=0)
    units: int | None = Field(None, gt=0)
    margin: float | None = Field(None, gt=0, lt=1)
    basket: Decimal | None = Field(None, gt=0, lt=10**12)


class ZoneSettings(BaseModel):
    """The settings of one zone; SHOPWRIGHT_ZONES gives them as JSON, by zone."""

    model_config = ConfigDict(extra="forbid")

    currency: Currency = "USD"
    prices_include_tax: bool = False
    tax_rate: float = Field(0.0, ge=0, le=1)
    price_law: PriceLaw = PriceLaw.EU30
    perishable_days: int | None = Field(None, ge=0, le=30)
    new_arrival_days: int | None = Field(None, ge=1, le=30)
    progressive_reductions: bool = False
    country: str = ""
    timezone: TimeZone | None = None
    price_endings: tuple[str, ...] | None = None
    price_step: str | None = None
    weekly_targets: WeeklyTargets = WeeklyTargets()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_names(cls, values: object) -> object:
        for name in values if isinstance(values, Mapping) else ():
            if name not in cls.model_fields:
                raise ValueError(str(UnknownName(str(name), cls.model_fields, kind="name")))
        return values

    @property
    def tax_divisor(self) -> float:
        """What a price is divided by to leave out its tax."""
        return 1 + self.tax_rate if self.prices_include_tax else 1.0

    @property
    def net_share(self) -> float:
        """The share of a price that is left without tax."""
        return 1 / self.tax_divisor

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
