"""Types of fields and bodies that several endpoints share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints


def check_storable(text: str) -> str:
    """Return the text. Raises ValueError where a database or UTF-8 cannot keep it."""
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("a text holds no NUL and no half of a surrogate pair")
    return text


def _convert_to_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time lies outside the calendar") from error


# No database keeps NUL in text.
Id = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=r"^[^\x00]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
# A text that every database can keep, and a time with an offset, in UTC.
Text = Annotated[str, AfterValidator(check_storable)]
Time = Annotated[AwareDatetime, AfterValidator(_convert_to_utc)]


class ModelResponse(BaseModel):
    """The model version that answered."""

    name: str
    version: str


class ReasonRequest(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: Text | None = Field(None, max_length=2_000)
