"""Types of fields and bodies that several endpoints share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput
from features.contracts.money import parse_amount
from features.contracts.texts import clean_text


def check_storable(text: str) -> str:
    """Return the text. Raises ValueError where a database or UTF-8 cannot keep it."""
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("a text holds no NUL and no half of a surrogate pair")
    return text


def _read_time(given: object) -> object:
    """Return the instant of a text in UTC; numbers are no times, and a time needs an offset."""
    if isinstance(given, datetime):
        return given
    if not isinstance(given, str):
        raise ValueError("a time is a text such as 2018-01-01T05:00:00Z")
    try:
        return parse_time(given)
    except BadInput as error:
        raise ValueError(str(error)) from error


def _clean_id(text: str) -> str:
    """Return an id as imports store it. Raises ValueError where nothing is left."""
    cleaned = clean_text(text)
    if cleaned is None:
        raise ValueError("an id is more than blanks")
    return cleaned


def _check_amount(given: object) -> object:
    """Return what was given. Raises ValueError for a text that is no amount of money."""
    if isinstance(given, str):
        try:
            parse_amount(given)
        except BadInput as error:
            raise ValueError(str(error)) from error
    return given


# No database keeps NUL in text.
_STORABLE = r"^[^\x00]+$"
Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1_000, pattern=_STORABLE),
    AfterValidator(_clean_id),
]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=_STORABLE),
    AfterValidator(_clean_id),
]
# A text that every database can keep, and a time with an offset, in UTC.
Text = Annotated[str, AfterValidator(check_storable)]
Time = Annotated[AwareDatetime, BeforeValidator(_read_time)]

# An amount of money in major units.
Money = Annotated[
    str,
    Field(max_length=32, description="A decimal in major units"),
    AfterValidator(_check_amount),
]
# The same as a number of JSON, or as text.
MoneyNumber = Annotated[
    float, BeforeValidator(_check_amount), Field(ge=0, le=1e9, allow_inf_nan=False)
]


class ModelResponse(BaseModel):
    """The model version that answered."""

    name: str
    version: str


class ReasonRequest(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: Text | None = Field(None, max_length=2_000)
