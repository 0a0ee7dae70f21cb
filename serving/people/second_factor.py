"""The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime

import pyotp

ISSUER = "Shopwright"
N_RECOVERY_CODES = 10
STEP_SECONDS = 30
# A clock may be wrong by one step.
_TOLERANCE = 1


def generate_secret() -> str:
    """Return a new secret of 160 bits, in base 32 as authenticator apps read it."""
    return pyotp.random_base32()


def make_uri(secret: str, name: str) -> str:
    """Return the otpauth:// address that an app reads, mostly as a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def find_step(secret: str, code: str, now: datetime, *, after: int | None) -> int | None:
    """Return the time step whose code this is; None for a wrong code, or one of a step used before.

    `after` is the last step used: a code that somebody looked at is worth nothing afterwards.
    """
    digits = "".join(code.split())
    present = int(now.timestamp()) // STEP_SECONDS
    matching = None
    for step in range(present - _TOLERANCE, present + _TOLERANCE + 1):
        expected = pyotp.TOTP(secret).generate_otp(step)
        is_new = after is None or step > after
        if hmac.compare_digest(expected.encode(), digits.encode()) and is_new:
            matching = step
    return matching


def generate_recovery_codes() -> list[str]:
    """Return new codes of 80 bits in groups of four letters; each is good for one sign-in."""
    codes = (
        base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(N_RECOVERY_CODES)
    )
    return ["-".join(code[start : start + 4] for start in range(0, 16, 4)) for code in codes]


def hash_recovery_code(code: str) -> str:
    """Return the SHA-256 of a code, however it was grouped."""
    plain = "".join(letter for letter in code.lower() if letter.isalnum())
    return hashlib.sha256(plain.encode()).hexdigest()
