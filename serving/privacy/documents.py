"""The JSON documents about a person, of the command line and of HTTP alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from configs.settings import Settings
from features.contracts.money import mean_to_major, to_major
from features.contracts.tables import ATTRIBUTES, DEFAULT_ZONE, EVENTS, Kind
from features.facts.consents import Consent
from features.facts.person import Person
from serving.privacy.repository import StoredRows

Row = dict[str, object]


class ConsentResponse(BaseModel):
    """Whether somebody allows personalization, and since when that is stated; `erased` is whether
    the person was erased and has not consented anew. `subject_id` is the person in the audit
    log."""

    personalization_allowed: bool
    stated_at: datetime | None
    erased: bool
    subject_id: str


class LinkedIdsResponse(BaseModel):
    """The visitors and sessions that came with the user; shared ones came with others too."""

    visitor_ids: list[str]
    session_ids: list[str]
    shared_ids: list[str] = Field(description="Their rows without a user may be anybody's")


class UserExportResponse(BaseModel):
    """All that is kept about a person: times are of the shop's clock, amounts in major units."""

    user_id: str
    exported_at: datetime
    consent: ConsentResponse
    linked: LinkedIdsResponse
    profile: Row | None = Field(description="The row of the imported table users")
    events: list[Row] = Field(description="Imported ones and those sent over HTTP")
    features: dict[str, list[Row]] = Field(
        description="What was computed, by view; amounts of these in minor units"
    )
    exposures: list[Row] = Field(description="Variants of experiments that the person met")
    slates: list[Row] = Field(description="What was recommended")
    quarantined: list[Row] = Field(description="Rows of imported files that failed validation")
    rules: list[Row] = Field(description="Rules that leave events of the person out of counts")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        kept = (self.events, self.features, self.exposures, self.slates, self.quarantined)
        is_stated = self.consent.stated_at is not None
        return not (any(kept) or self.rules or self.profile or is_stated)


class ErasureResponse(BaseModel):
    """How many rows this call removed, and under which `subject_id` the audit log names the
    person."""

    subject_id: str
    erased_at: datetime
    events: int = Field(description="Sent over HTTP")
    imported_rows: int = Field(description="Of the tables events and users")
    feature_rows: int = Field(description="Of all stored versions")
    exposures: int
    slates: int = Field(description="These stay without the id")
    quarantined_rows: int
    rules: int
    statements: int = Field(description="Of consent")
    linked_ids: int = Field(description="Visitors and sessions that were this person's alone")


def describe_linked(person: Person) -> LinkedIdsResponse:
    """Return the linked ids of a person."""
    return LinkedIdsResponse(
        visitor_ids=sorted(person.visitor_ids),
        session_ids=sorted(person.session_ids),
        shared_ids=sorted(person.shared_ids),
    )


def describe_consent(
    consent: Consent | None, profile: Mapping[str, object] | None, *, erased: bool, subject_id: str
) -> ConsentResponse:
    """Return the consent of a person: as stated to the shop, else as imported."""
    allowed, stated_at = True, None
    if consent is not None:
        allowed, stated_at = consent.personalization_allowed, consent.stated_at
    elif profile is not None:
        allowed = profile["personalization_allowed"] is not False
        updated_at = profile["updated_at"]
        stated_at = updated_at if isinstance(updated_at, datetime) else None
    return ConsentResponse(
        personalization_allowed=allowed and not erased,
        stated_at=stated_at,
        erased=erased,
        subject_id=subject_id,
    )


def describe_events(
    imported: Sequence[Mapping[str, object]], stored: StoredRows, settings: Settings
) -> list[Row]:
    """Return the events of a person in their order, each once, with attributes beside columns."""
    received = {str(row["event_id"]): row for row in stored.events}
    by_id = received | {str(row["event_id"]): dict(row) for row in imported}
    rows = sorted(by_id.values(), key=lambda row: (row["occurred_at"], row["event_id"]))
    return [_describe_event(row, settings) for row in rows]


def _describe_event(row: Mapping[str, object], settings: Settings) -> Row:
    currency = settings.zone(str(row["zone"] or DEFAULT_ZONE)).currency
    described: Row = {}
    for column in EVENTS.columns:
        value = row[column.stored_name]
        if column.kind is Kind.MONEY and isinstance(value, int):
            value = to_major(value, currency)
        elif column.kind is Kind.UNIT_MONEY and isinstance(value, float):
            value = mean_to_major(value, currency)
        if value is not None:
            described[column.name] = value
    attributes: Row = json.loads(str(row[ATTRIBUTES] or "{}"))
    return described | attributes
