"""Proofs that a browser may use an id: signed by the shop's server, so that no page can make them.

A visitor's proof is bound to the visitor_id and kept by that browser alone: who learns the id from
an export or a log has no proof. A user's proof is asked for by the shop's own server, which knows
who has signed in, and ends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import Forbidden
from features.contracts.files import make_secret, read_secret

_FILE = "browser-secret"
_SIGNATURE_BYTES = 24
_TIME_BYTES = 5


class BrowserTokens:
    """Signs and checks proofs with the shop's secret, the same in all workers."""

    def __init__(self, settings: Settings, system_clock: Clock) -> None:
        self._settings, self._clock = settings, system_clock
        self._secret: bytes | None = None

    def make_visitor(self) -> tuple[str, str]:
        """Return a new visitor_id that nobody can guess, and its proof."""
        visitor_id = f"v_{secrets.token_urlsafe(18)}"
        return visitor_id, self.sign_visitor(visitor_id)

    def sign_visitor(self, visitor_id: str) -> str:
        """Return the proof of a visitor_id, which does not end."""
        return _encode(self._sign("visitor", visitor_id))

    def sign_user(self, user_id: str, hours: float) -> tuple[str, datetime]:
        """Return the proof of a user_id, and when it ends."""
        ends_at = (self._clock.now() + timedelta(hours=hours)).replace(microsecond=0)
        end = int(ends_at.timestamp()).to_bytes(_TIME_BYTES, "big")
        return _encode(end + self._sign("user", user_id, end)), ends_at

    def check_visitor(self, visitor_id: str, token: str | None) -> None:
        """Raise Forbidden where a token does not prove the visitor_id."""
        if not hmac.compare_digest(_decode(token), self._sign("visitor", visitor_id)):
            raise Forbidden(
                "visitor_token is not that of this visitor_id",
                where="visitor_token",
                hint="A browser gets both by POST /v1/browser/visitors",
            )

    def check_user(self, user_id: str, token: str | None) -> None:
        """Raise Forbidden where a token does not prove the user_id, or has ended."""
        given = _decode(token)
        end, signature = given[:_TIME_BYTES], given[_TIME_BYTES:]
        hint = "The shop's server gets one by POST /v1/browser-tokens when somebody signs in"
        if not hmac.compare_digest(signature, self._sign("user", user_id, end)):
            raise Forbidden("user_token is not that of this user_id", where="user_token", hint=hint)
        if datetime.fromtimestamp(int.from_bytes(end, "big"), UTC) <= self._clock.now():
            raise Forbidden("user_token has ended", where="user_token", hint=hint)

    def _sign(self, kind: str, text: str, end: bytes = b"") -> bytes:
        message = b"\0".join([kind.encode(), text.encode(), end])
        return hmac.new(self._read_secret(), message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]

    def _read_secret(self) -> bytes:
        if self._secret is None:
            given = self._settings.browser_secret
            self._secret = given.get_secret_value().encode() if given else self._read_file()
        return self._secret

    def _read_file(self) -> bytes:
        path = self._settings.home / _FILE
        make_secret(path)
        return read_secret(path)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(token: str | None) -> bytes:
    """Return the bytes of a token, none where it is no token."""
    text = token or ""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return b""
