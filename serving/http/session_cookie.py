"""The cookie of a session, and what a write that carries it must prove.

A browser sends cookies with requests that another site has made. So a write needs a token that only
our own pages can read, and must not come from another origin.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Request, Response

from features.contracts.errors import Forbidden

CSRF_HEADER = "X-CSRF-Token"
_READING = ("GET", "HEAD", "OPTIONS")


def make_csrf_token(session_token: str) -> str:
    """Return the token that writes of a session send in CSRF_HEADER."""
    return hmac.new(session_token.encode(), b"csrf", hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class SessionCookie:
    """Sets and reads cookies: never read by scripts, never sent with writes from another site.

    public_url   where people reach the server; None: as the request says
    """

    public_url: str | None

    @property
    def is_secure(self) -> bool:
        """Whether the cookies are sent over TLS alone."""
        return self.public_url is not None and self.public_url.startswith("https://")

    @property
    def name(self) -> str:
        """The cookie of the session; behind TLS no other host can set one of this name."""
        return "__Host-shopwright" if self.is_secure else "shopwright_session"

    def read(self, request: Request) -> str | None:
        """Return the token of the request's session, None without one."""
        return request.cookies.get(self.name) or None

    def put(self, response: Response, token: str, max_age_seconds: int) -> None:
        """Give the browser the token of a session."""
        response.set_cookie(
            self.name,
            token,
            max_age=max_age_seconds,
            path="/",
            secure=self.is_secure,
            httponly=True,
            samesite="lax",
        )

    def remove(self, response: Response) -> None:
        """Take the token from the browser."""
        response.delete_cookie(
            self.name, path="/", secure=self.is_secure, httponly=True, samesite="lax"
        )

    def check_write(self, request: Request, session_token: str) -> None:
        """Raise Forbidden for a write that another site may have made in somebody's name."""
        if request.method in _READING:
            return
        self.check_origin(request)
        sent = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(sent.encode(), make_csrf_token(session_token).encode()):
            raise Forbidden(
                f"a write of a session needs the header {CSRF_HEADER}",
                hint="Send the csrf_token of GET /v1/people/me",
            )

    def check_origin(self, request: Request) -> None:
        """Raise Forbidden for a request that a page of another origin has made."""
        origin = request.headers.get("origin")
        if origin is None:
            return
        own = urlsplit(self.public_url).netloc if self.public_url else request.headers.get("host")
        if urlsplit(origin).netloc != own:
            raise Forbidden(
                f"a page of {origin} may not do this",
                hint="Where people reach the server by another address, set SHOPWRIGHT_PUBLIC_URL",
            )
