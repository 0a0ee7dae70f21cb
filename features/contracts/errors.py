"""Every error Shopwright raises on purpose.

    ShopwrightError
    ├── BadInput            422, exit 2   what was given cannot be used
    │   ├── UnknownName     422, exit 2   a name nobody knows; the nearest valid one is named
    │   └── TooManyBadRows  422, exit 2   an import above its share of bad rows; nothing was changed
    ├── Unauthorized        401           no key, or an unknown one
    ├── Forbidden           403           the key lacks the scope, or the actor may not do this
    ├── NotFound            404
    ├── Conflict            409           the state does not allow it
    ├── PreconditionFailed  412           If-Match names an older version
    ├── TooManyRequests     429           carries retry_after_seconds
    └── Unavailable         503           carries retry_after_seconds; not trained or not loaded yet

A message says what happened; `where` and `hint` (what to try) follow when known.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ShopwrightError(Exception):
    """The root. `status` is the HTTP status, `exit_code` that of the command line."""

    status = 500
    title = "Internal error"
    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = self.what
        if self.where:
            text += f" (in {self.where})"
        if self.hint:
            text += f". {self.hint}"
        return text


class BadInput(ShopwrightError):
    status = 422
    title = "Bad input"
    exit_code = 2


class UnknownName(BadInput):
    """A name that is not valid; the nearest valid one is named."""

    title = "Unknown name"

    def __init__(
        self, name: str, valid: Iterable[str], *, kind: str, where: str | None = None
    ) -> None:
        names = sorted(valid)
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = (
            f"Did you mean {nearest[0]!r}?" if nearest else f"Valid: {', '.join(names) or 'none'}"
        )
        super().__init__(f"unknown {kind} {name!r}", where=where, hint=hint)
        self.name = name


class TooManyBadRows(BadInput):
    title = "Too many bad rows"


class Unauthorized(ShopwrightError):
    status = 401
    title = "Unauthorized"


class Forbidden(ShopwrightError):
    status = 403
    title = "Forbidden"


class NotFound(ShopwrightError):
    status = 404
    title = "Not found"


class Conflict(ShopwrightError):
    status = 409
    title = "Conflict"


class PreconditionFailed(ShopwrightError):
    status = 412
    title = "Precondition failed"


class TooManyRequests(ShopwrightError):
    status = 429
    title = "Too many requests"

    def __init__(self, what: str, *, retry_after_seconds: int, hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(ShopwrightError):
    status = 503
    title = "Unavailable"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        retry_after_seconds: int = 5,
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.retry_after_seconds = retry_after_seconds
