"""Passwords: what one must be like, and argon2 hashes of them.

Reference: NIST SP 800-63B (length counts, not kinds of letters); RFC 9106 (argon2id).
"""

from __future__ import annotations

import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from features.contracts.errors import BadInput, Unavailable

MIN_LENGTH = 12
MAX_LENGTH = 256
_MIN_LETTERS = 5
# A hash takes 64 MiB: many at once would take the memory of the server. Those who wait for one take
# places of requests: few may.
_AT_ONCE = 4
_IN_LINE = 12


def check_password(password: str, name: str) -> None:
    """Raise BadInput for a password that is too easy to guess; `name` is its owner's."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise BadInput(
            f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters",
            where="password",
            hint="A sentence of some words is easy to remember",
        )
    plain = _normalise(password).lower()
    if len(set(plain)) < _MIN_LETTERS or plain.replace(name, "").strip(" 0123456789!.-_") == "":
        raise BadInput(
            "this password is too easy to guess",
            where="password",
            hint="Take neither your own name nor the same few letters",
        )


def generate_password() -> str:
    """Return a new random password that people can type: 20 letters and digits in groups."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    groups = ("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))
    return "-".join(groups)


class Passwords:
    """Hashes passwords and compares them, a few at a time."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._line = threading.BoundedSemaphore(_IN_LINE)
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    @cached_property
    def _nobodys_hash(self) -> str:
        return self._hasher.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """Return the argon2 hash of a password, with its salt and parameters."""
        with self._slot():
            return self._hasher.hash(_normalise(password))

    def verify(self, stored: str | None, password: str) -> bool:
        """Return whether the password has this hash; without a hash it takes as long to say no."""
        with self._slot():
            try:
                matches = self._hasher.verify(stored or self._nobodys_hash, _normalise(password))
            except (VerificationError, InvalidHashError):
                return False
        return matches and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Return whether a hash was made with weaker parameters than those of today."""
        return self._hasher.check_needs_rehash(stored)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._line.acquire(blocking=False):
            raise Unavailable("too many people sign in at once", retry_after_seconds=1)
        try:
            with self._slots:
                yield
        finally:
            self._line.release()


def _normalise(password: str) -> str:
    """Return the password as every keyboard and browser writes it."""
    return unicodedata.normalize("NFKC", password)
