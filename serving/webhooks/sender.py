"""Sends one message to one receiver: no redirect, no proxy, limits on time and on the answer."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from features.contracts.errors import BadInput
from serving.webhooks.targets import AddressRefused, Target, Targets

CONNECT_SECONDS = 5.0
# From the connection to the end of the answer, however slowly its bytes come.
ANSWER_SECONDS = 15.0
_MAX_ADDRESSES = 3
_MAX_ANSWER = 500  # bytes of a refusal that are kept for people


@dataclass(frozen=True)
class Answer:
    """What became of an attempt: the status of the answer, None without one, and what is wrong."""

    status: int | None
    error: str | None

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has accepted the message."""
        return self.error is None

    @property
    def is_refused(self) -> bool:
        """Whether the receiver works and says that it will never accept this message."""
        return self.status in (400, 413, 422)


@dataclass(frozen=True)
class Sender:
    """Sends to the allowed targets."""

    targets: Targets

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message and return what became of it; never raises."""
        try:
            target = self.targets.check_url(url)
            addresses = self.targets.find_addresses(target)
            with _connect(target, addresses) as connection:
                connection.request("POST", target.path, body, dict(headers))
                response = connection.getresponse()
                text = response.read(_MAX_ANSWER).decode("utf-8", "replace")
        except (AddressRefused, BadInput) as error:
            return Answer(None, str(error))
        except TimeoutError:
            return Answer(None, "the receiver did not answer in time")
        except (OSError, http.client.HTTPException) as error:
            return Answer(None, f"{type(error).__name__}: {error}")
        return _read_answer(response, text)


def _read_answer(response: http.client.HTTPResponse, text: str) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(status, None)
    if 300 <= status < 400:
        return Answer(status, f"the receiver answered {status}; redirects are not followed")
    said = f": {text.strip()}" if text.strip() else ""
    return Answer(status, f"the receiver answered {status}{said}")


@contextlib.contextmanager
def _connect(target: Target, addresses: list[str]) -> Iterator[http.client.HTTPConnection]:
    """Yield a connection to one of the addresses, which ends after ANSWER_SECONDS."""
    raw = _open_socket(target, addresses)
    # A copy of the socket: shutting it down ends the connection in the middle of any call.
    with raw.dup() as handle:
        deadline = threading.Timer(ANSWER_SECONDS, _shut_down, [handle])
        deadline.daemon = True
        deadline.start()
        connection = http.client.HTTPConnection(target.host, target.port)
        try:
            connection.sock = _secure(raw, target.host) if target.scheme == "https" else raw
            yield connection
        finally:
            deadline.cancel()
            deadline.join()
            connection.close()
            raw.close()


def _open_socket(target: Target, addresses: list[str]) -> socket.socket:
    """Return a socket to the first address that accepts. Raises the OSError of the last."""
    failure: OSError = OSError(f"the name {target.host} has no address")
    for address in addresses[:_MAX_ADDRESSES]:
        try:
            opened = socket.create_connection((address, target.port), timeout=CONNECT_SECONDS)
        except OSError as error:
            failure = error
        else:
            opened.settimeout(ANSWER_SECONDS)
            return opened
    raise failure


def _secure(raw: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(raw, server_hostname=host)


def _shut_down(handle: socket.socket) -> None:
    with contextlib.suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)
