"""Signing in by OpenID Connect: authorization code with PKCE, state and nonce.

The provider says who somebody is; what they may do stands in our roles. A person is known to the
provider by its `sub`, noted at the first sign-in, when the claim of the settings names them.

Reference: OpenID Connect Core 1.0, RFC 7636 (PKCE), RFC 9700 (current practice).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import requests
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import Forbidden, NotFound, Unauthorized, Unavailable
from features.database import transaction
from serving.database.audit_log import AuditEntry, AuditLog
from serving.people.repository import People, Person
from serving.people.service import normalise_name
from serving.people.session_repository import OpenIdRequest, OpenIdRequests

REQUEST_LIFETIME = timedelta(minutes=10)
CALLBACK_PATH = "/v1/sessions/openid/callback"
_HOME_PATH = "/v1/people/me"
# Signatures that need the provider's private key: a shared secret proves nothing about the sender.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
_TIMEOUT_SECONDS = 10.0
_LEEWAY_SECONDS = 60


class _Client(Protocol):
    """The part of Authlib's client that is used here."""

    def create_authorization_url(self, url: str, **values: str) -> tuple[str, str]: ...

    def fetch_token(self, url: str, **values: str) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class SentToProvider:
    """Where to send the browser, and the token that it keeps until it comes back."""

    url: str
    token: str


@dataclass(frozen=True)
class VerifiedPerson:
    """Whom the provider has verified, and the path of ours to go to."""

    person: Person
    next_path: str


@dataclass
class OpenIdService:
    """Signs people in by the provider of the settings."""

    settings: Settings
    engine: sa.Engine
    system_clock: Clock
    _metadata: dict[str, str] = field(default_factory=dict)

    def begin(self, next_path: str | None) -> SentToProvider:
        """Return where to send the browser. Raises NotFound without a provider in the settings."""
        metadata = self._read_metadata()
        verifier, nonce, token = (secrets.token_urlsafe(48) for _ in range(3))
        url, state = self._client().create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier, nonce=nonce
        )
        request = OpenIdRequest(
            state=state,
            nonce=nonce,
            code_verifier=verifier,
            next_path=_check_path(next_path),
            created_at=self.system_clock.now(),
        )
        with transaction(self.engine) as connection:
            OpenIdRequests(connection).add(request, token)
        return SentToProvider(url, token)

    def finish(self, token: str | None, answer: Mapping[str, str]) -> VerifiedPerson:
        """Return whom the provider's answer names. Each request is answered once.

        Raises Unauthorized where the answer does not belong to this browser's request or proves
        nothing, and Forbidden where it names nobody who may sign in.
        """
        metadata = self._read_metadata()
        with transaction(self.engine) as connection:
            earliest = self.system_clock.now() - REQUEST_LIFETIME
            request = OpenIdRequests(connection).take(token, earliest) if token else None
        if request is None or not secrets.compare_digest(
            answer.get("state", "").encode(), request.state.encode()
        ):
            raise Unauthorized("this sign-in was not begun here", hint="Sign in again")
        if "code" not in answer:
            raise Unauthorized(f"the provider refused: {answer.get('error', 'it sent no code')}")
        claims = self._fetch_claims(metadata, request, answer["code"])
        return VerifiedPerson(self._find_person(claims), request.next_path)

    def _fetch_claims(
        self, metadata: Mapping[str, str], request: OpenIdRequest, code: str
    ) -> Mapping[str, Any]:
        """Return the verified claims of the id token that a code stands for."""
        # Half a second to import, for shops that use it only.
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.jwk import KeySet

        try:
            tokens = self._client().fetch_token(
                metadata["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                code_verifier=request.code_verifier,
            )
            keys = KeySet.import_key_set(_fetch_json(metadata["jwks_uri"]))
            token = jwt.decode(tokens["id_token"], keys, algorithms=_ALGORITHMS)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self.settings.openid_issuer},
                    "aud": {"essential": True, "value": self.settings.openid_client_id},
                },
                {
                    "nonce": request.nonce,
                    "client_id": self.settings.openid_client_id,
                    "access_token": tokens.get("access_token"),
                },
            )
            claims.validate(leeway=_LEEWAY_SECONDS)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise Unavailable("the OpenID provider does not answer", where=str(error)) from error
        except Exception as error:  # whatever is wrong with a token, nobody is signed in by it
            raise Unauthorized(f"the provider's answer proves nothing: {error}") from error
        verified: Mapping[str, Any] = claims
        return verified

    def _find_person(self, claims: Mapping[str, Any]) -> Person:
        """Return the person of the claims; the first time by name, then by the provider's `sub`."""
        issuer, subject = str(self.settings.openid_issuer), str(claims["sub"])
        with transaction(self.engine) as connection:
            people = People(connection)
            person = people.by_openid(issuer, subject)
            if person is None:
                name = self._read_name(claims)
                person = people.get(name)
                # A name is what somebody chose at the provider: it opens no account that has a
                # password and a second factor of its own.
                is_open = person is not None and not person.has_password
                if person is None or not is_open or person.openid_subject is not None:
                    raise Forbidden(
                        f"the provider knows you as {name!r}, who may not sign in here",
                        hint="An admin lets you in: shopwright users create --openid, or "
                        "reset without a password",
                    )
                people.change(person.name, openid_issuer=issuer, openid_subject=subject)
                entry = AuditEntry(
                    person.name, "link_openid", "person", person.name, {"subject": subject}
                )
                AuditLog(connection).append([entry], self.system_clock.now())
        if person.disabled_at is not None:
            raise Forbidden("you may not sign in any more", hint="Ask an admin")
        return person

    def _read_name(self, claims: Mapping[str, Any]) -> str:
        claim = self.settings.openid_name_claim
        value = claims.get(claim)
        if not isinstance(value, str) or not value:
            raise Forbidden(
                f"the provider sent no claim {claim}",
                hint="Set SHOPWRIGHT_OPENID_NAME_CLAIM to one that it sends",
            )
        if claim == "email" and claims.get("email_verified") is not True:
            raise Forbidden("the provider has not verified your mail address")
        return normalise_name(value)

    def _client(self) -> _Client:
        from authlib.integrations.requests_client import OAuth2Session

        secret = self.settings.openid_client_secret
        client: _Client = OAuth2Session(
            client_id=self.settings.openid_client_id,
            client_secret=secret.get_secret_value() if secret else None,
            scope="openid profile email",
            redirect_uri=f"{self.settings.public_url}{CALLBACK_PATH}",
            code_challenge_method="S256",
            default_timeout=_TIMEOUT_SECONDS,
        )
        return client

    def _read_metadata(self) -> Mapping[str, str]:
        """Return the addresses of the provider of the settings, read once."""
        issuer = self.settings.openid_issuer
        if issuer is None:
            raise NotFound(
                "no OpenID provider is set", hint="Set SHOPWRIGHT_OPENID_ISSUER, or use a password"
            )
        if not self._metadata:
            url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                metadata = _fetch_json(url)
            except (requests.RequestException, ValueError) as error:
                raise Unavailable(
                    "the OpenID provider does not answer", where=url, hint=str(error)
                ) from error
            if metadata.get("issuer") != issuer:
                raise Unavailable(
                    f"the provider calls itself {metadata.get('issuer')!r}", where=url
                )
            self._metadata = metadata
        return self._metadata


def _fetch_json(url: str) -> Any:
    answer = requests.get(url, timeout=_TIMEOUT_SECONDS)
    answer.raise_for_status()
    return answer.json()


def _check_path(path: str | None) -> str:
    """Return a path of this server to go to afterwards; never the address of another one."""
    if path is None or not path.startswith("/") or path[1:2] in ("/", "\\"):
        return _HOME_PATH
    return path
