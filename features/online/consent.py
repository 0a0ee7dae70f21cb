"""Who allows personalization: what was stated last, to the shop or by an import.

Somebody who was erased allows nothing until they consent anew. Consent is read from the database
and from a file beside the features, never from rows of Redis, which may be evicted. Where it cannot
be read nobody is taken to allow it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.arrays import UInt64Array
from features.contracts.errors import Unavailable
from features.database_tables import user_consent
from features.facts.erased_ids import IdDigests, find_erased_users
from features.facts.known_events import NONE, digest_ids, mark_known, read_digests
from features.one_of import one_of
from features.online.snapshots import Version, refused_file

log = logging.getLogger(__name__)

NOT_KNOWN = "it is not known who allows personalization"


@dataclass(frozen=True)
class Consents:
    """The consents of one version of the features.

    refused   digests of those who do not allow personalization, as imported; None where the file
              is damaged, or missing because an older program made the version
    erased    by which those who were erased are recognised
    """

    refused: UInt64Array | None
    erased: IdDigests

    @classmethod
    def open(cls, settings: Settings, version: Version | None, digests: IdDigests) -> Self:
        """Return the consents of a version; without one nothing was imported."""
        if version is None:
            return cls(NONE, digests)
        path = refused_file(settings, version.name)
        try:
            return cls(read_digests(path) if path.exists() else None, digests)
        except (OSError, ValueError, EOFError) as error:
            log.warning("%s: %s", NOT_KNOWN, error)
            return cls(None, digests)

    def find_refused(self, connection: sa.Connection, user_ids: Collection[str]) -> set[str]:
        """Return those of these users who do not allow personalization. Raises Unavailable where
        that cannot be known."""
        if not user_ids:
            return set()
        query = sa.select(user_consent.c.user_id, user_consent.c.personalization_allowed)
        rows = connection.execute(query.where(one_of(user_consent.c.user_id, user_ids)))
        stated = {row.user_id: row.personalization_allowed for row in rows}
        stated |= dict.fromkeys(find_erased_users(connection, self.erased, user_ids), False)
        return {user_id for user_id in user_ids if not self.allow(user_id, stated.get(user_id))}

    def allow(self, user_id: str, stated: bool | None) -> bool:
        """Return whether this user allows personalization, by what was `stated` to the shop, else
        by what was imported. Raises Unavailable where that cannot be known."""
        if stated is not None:
            return stated
        if self.refused is None:
            raise Unavailable(
                NOT_KNOWN,
                hint="Try: shopwright features materialize",
            )
        return not bool(mark_known(digest_ids([user_id]), self.refused)[0])
