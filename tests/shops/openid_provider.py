"""A small OpenID provider on loopback that says yes to everybody, and can be told to lie."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "shopwright", "hush-hush"
CALLBACK = "http://testserver/v1/sessions/openid/callback"


@dataclass
class Provider:
    """The provider's state.

    claims   of whoever signs in next
    lies     claims that the id token has in place of the true ones
    """

    issuer: str
    claims: dict[str, object] = field(default_factory=lambda: {"sub": "1", "email": ""})
    lies: dict[str, object] = field(default_factory=dict)
    key: RSAKey | OctKey = field(default_factory=lambda: RSAKey.generate_key(2048))
    published: RSAKey | None = None
    algorithm: str = "RS256"
    requests: dict[str, dict[str, str]] = field(default_factory=dict)

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser goes after signing in at the provider."""
        assert query["client_id"] == CLIENT_ID
        assert query["redirect_uri"] == CALLBACK
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(8)
        self.requests[code] = query
        return f"{CALLBACK}?{urlencode({'code': code, 'state': query['state']})}"

    def exchange(self, form: dict[str, str], authorization: str) -> dict[str, object] | None:
        """Return the tokens of a code; None where the code or its verifier is wrong."""
        credentials = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        request = self.requests.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        known = request is not None and request["code_challenge"] == challenge
        if not known or credentials != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return None
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 60,
            "nonce": request["nonce"],
            **self.claims,
            **self.lies,
        }
        header = {"alg": self.algorithm}
        if isinstance(self.key, RSAKey):
            header["kid"] = self.key.thumbprint()
        token = jwt.encode(header, claims, self.key, algorithms=[self.algorithm])
        return {"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": token}

    def publish_keys(self) -> dict[str, object]:
        """Return the public keys."""
        key = self.published or self.key
        return {"keys": [key.as_dict(private=False) | {"kid": key.thumbprint()}]}


@contextmanager
def run_provider() -> Iterator[Provider]:
    """Run a provider on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.end_headers()
            elif address.path == "/keys":
                self.answer(200, provider.publish_keys())
            else:
                names = {
                    "authorization_endpoint": "authorize",
                    "token_endpoint": "token",
                    "jwks_uri": "keys",
                }
                addresses = {name: f"{provider.issuer}/{path}" for name, path in names.items()}
                self.answer(200, {"issuer": provider.issuer, **addresses})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            tokens = provider.exchange(form, self.headers["Authorization"])
            self.answer(400 if tokens is None else 200, tokens or {"error": "invalid_grant"})

        def answer(self, status: int, document: dict[str, object]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield provider
    server.shutdown()
    thread.join()
    server.server_close()
