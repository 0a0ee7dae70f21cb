"""Every error Shopwright raises on purpose.

    ShopwrightError
    ├── BadInput            422, exit 2   what was given cannot be used
    │   ├── UnknownName     422, exit 2   a name nobody knows; the nearest valid one is named
    │   ├── TooManyBadRows  422, exit 2   an import above its share of bad rows; nothing was changed
    │   ├── TooManyUnknownItems           the same for events of items that nobody knows
    │   └── TooLittleData   422, exit 2   the data do not suffice to train this model
    ├── Unauthorized        401           no key or session, or an unknown one; wrong password
    │   └── SecondFactorNeeded  401       the password is right, a code is needed too
    ├── Forbidden           403           the key lacks the scope, or the actor may not do this
    ├── NotFound            404
    ├── Conflict            409           the state does not allow it
    ├── PreconditionFailed  412           If-Match names an older version
    ├── TooManyRequests     429           carries retry_after_seconds
    └── Unavailable         503           carries retry_after_seconds; not trained or not loaded yet
        └── Damaged         503           files of the state folder are not what was written

A message says what happened; `where` and `hint` (what to try) follow when known.
"""

from __future__ import annotations

from collections.abc import Iterable

from features.contracts.near_names import find_near_names


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


_MAX_NAMES = 50  # of the valid ones in a message


class UnknownName(BadInput):
    """A name that is not valid; the nearest valid one is named."""

    title = "Unknown name"

    def __init__(
        self, name: str, valid: Iterable[str], *, kind: str, where: str | None = None
    ) -> None:
        names = sorted(valid)
        nearest = find_near_names(name, names)
        some = f"{', '.join(names[:_MAX_NAMES])}{' ...' * (len(names) > _MAX_NAMES)}"
        hint = f"Did you mean {nearest[0]!r}?" if nearest else f"Valid: {some or 'none'}"
        super().__init__(f"unknown {kind} {name!r}", where=where, hint=hint)
        self.name = name


class TooManyBadRows(BadInput):
    title = "Too many bad rows"


class TooManyUnknownItems(BadInput):
    title = "Too many unknown items"


class TooLittleData(BadInput):
    title = "Too little data"


class Unauthorized(ShopwrightError):
    status = 401
    title = "Unauthorized"


class SecondFactorNeeded(Unauthorized):
    title = "Second factor needed"


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


class Damaged(Unavailable):
    title = "Damaged"
