"""Signed overrides: a token with which somebody who tests the shop sees a chosen variant."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

from features.contracts.errors import BadInput

_PARTS = 4


@dataclass(frozen=True)
class Override:
    """A variant that is shown in place of the assigned one, until `expires_at` (system time)."""

    experiment: str
    variant: str
    expires_at: datetime


def sign_override(override: Override, secret: str) -> str:
    """Return the token of an override."""
    seconds = int(override.expires_at.timestamp())
    text = f"{override.experiment}:{override.variant}:{seconds}"
    return f"{text}:{_sign(text, secret)}"


def read_experiment(token: str) -> str:
    """Return the key of the experiment that a token names, unchecked."""
    return token.split(":", 1)[0]


def check_override(token: str, secret: str, now: datetime) -> tuple[str, str]:
    """Return experiment and variant of a token.

    Raises BadInput for one that was not signed with this secret, or that has expired.
    """
    parts = token.rsplit(":", 2)
    text = ":".join(parts[:-1])
    names = parts[0].split(":", 1)
    hint = "Make another one: shopwright experiments override KEY VARIANT"
    if len(parts) + len(names) - 1 != _PARTS or not hmac.compare_digest(
        parts[-1].encode(), _sign(text, secret).encode()
    ):
        raise BadInput("the override is not one of this shop", where="override", hint=hint)
    if now.timestamp() >= int(parts[1]):
        raise BadInput("the override has expired", where="override", hint=hint)
    return names[0], names[1]


def _sign(text: str, secret: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
