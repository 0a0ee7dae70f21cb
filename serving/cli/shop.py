"""The shop that a verb works on: settings, facts, database, registry and clocks, opened on use."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_settings import SettingsError

from configs.settings import Settings
from features.contracts.clock import Clock, SystemClock
from features.contracts.errors import BadInput, Unavailable
from models.registry import Registry, Version
from serving.cli.file_modes import close_state_folder

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from features.facts.facts import Facts
    from features.prices.currencies import KeptCurrency


class Shop:
    """One shop, as the environment and the state folder describe it."""

    def __init__(self) -> None:
        try:
            self.settings = Settings()
        except SettingsError as error:
            hint = """Try: SHOPWRIGHT_ZONES='{"north": {"currency": "EUR"}}'"""
            raise BadInput("a setting is no JSON", where=str(error), hint=hint) from error
        except ValidationError as error:
            first = error.errors()[0]
            setting, *inner = map(str, first["loc"] or ("*",))
            raise BadInput(
                first["msg"].removeprefix("Value error, "),
                where=": ".join([f"SHOPWRIGHT_{setting.upper()}", *inner]),
                hint="See: shopwright doctor",
            ) from error
        close_state_folder(self.settings.home)

    @cached_property
    def facts(self) -> Facts:
        """The imported tables together with the events that came over HTTP.

        Raises BadInput where their amounts are kept in another currency than the settings say.
        """
        from features.facts.facts import Facts

        self.check_currencies()
        return Facts(self.settings)

    @cached_property
    def engine(self) -> Engine:
        """The SQL database, migrated. Raises Damaged where it is gone from a shop that has
        tables."""
        from features.database import engine, refuse_missing_file
        from serving.database.migrate import upgrade

        refuse_missing_file(self.settings)
        opened = engine(self.settings)
        upgrade(opened)
        return opened

    @cached_property
    def registry(self) -> Registry:
        """The registered models."""
        return Registry(self.settings.mlflow_url, self.settings.home)

    @cached_property
    def clock(self) -> Clock:
        """The business clock."""
        return self.settings.business_clock()

    @cached_property
    def system_clock(self) -> Clock:
        """The clock of keys and audit."""
        return SystemClock()

    def check_currencies(self) -> dict[str, KeptCurrency]:
        """Return the currencies that the shop's amounts are kept in.

        Raises BadInput where the settings say others.
        """
        from features.database import reading
        from features.prices.currencies import check_currencies

        with reading(self.engine) as connection:
            return check_currencies(self.settings, connection)

    def now(self) -> datetime:
        """Return the present business time."""
        return self.clock.now()

    def champion(self, name: str) -> Version:
        """Return the live version of a model. Raises Unavailable where there is none."""
        champion = self.registry.find_champion(name)
        if champion is None:
            raise Unavailable(
                f"no {name} model is champion yet",
                hint=f"Try: shopwright train {name}. A version that the gate refused is listed by "
                f"`shopwright models list {name}` with the reason; "
                f"`shopwright models promote {name} VERSION` makes it live all the same",
            )
        return champion
