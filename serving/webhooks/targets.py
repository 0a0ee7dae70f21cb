"""Where webhooks may be sent: the origins and networks that the settings name, and nothing else.

A name is resolved for each attempt, and the connection goes to the very address that was checked,
so that a name that points elsewhere later reaches nothing inside.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from configs.settings import Settings
from features.contracts.errors import BadInput, ShopwrightError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
_PORTS = {"https": 443, "http": 80}
_MAX_URL = 2_000
# By these prefixes an IPv6 address stands for an IPv4 address in its last four bytes.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(ShopwrightError):
    """A target lies where the settings do not allow, or its name is not known."""


@dataclass(frozen=True)
class Target:
    """The parts of the address of a receiver."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, without the usual port of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            f"{self.scheme}://{host}{'' if self.port == _PORTS[self.scheme] else f':{self.port}'}"
        )


@dataclass(frozen=True)
class Targets:
    """The targets that the settings allow.

    origins    scheme, host and port of the receivers
    networks   private networks in which a receiver may lie
    resolve    returns the addresses of a host and port
    """

    origins: frozenset[str]
    networks: tuple[Network, ...]
    resolve: Resolve

    @classmethod
    def from_settings(cls, settings: Settings) -> Targets:
        """Return the targets of a shop."""
        origins = frozenset(parse_url(origin).origin for origin in settings.webhook_targets)
        networks = tuple(map(ipaddress.ip_network, settings.webhook_networks))
        return cls(origins, networks, resolve_host)

    def check_url(self, url: str) -> Target:
        """Return the parts of an address. Raises BadInput where it is none, or not allowed."""
        target = parse_url(url)
        if target.origin not in self.origins:
            allowed = ", ".join(sorted(self.origins)) or "none"
            raise BadInput(
                f"webhooks may not be sent to {target.origin}",
                where="url",
                hint=f"Allowed by SHOPWRIGHT_WEBHOOK_TARGETS: {allowed}",
            )
        return target

    def find_addresses(self, target: Target) -> list[str]:
        """Return the addresses of a target now.

        Raises AddressRefused where one of them is private and in no network of the settings.
        """
        try:
            addresses = list(dict.fromkeys(self.resolve(target.host, target.port)))
        except OSError as error:
            raise AddressRefused(f"the name {target.host} is not known: {error}") from error
        for text in addresses:
            if not self._is_allowed(ipaddress.ip_address(text)):
                raise AddressRefused(
                    f"{target.host} is {text}, an address that is not public",
                    hint="SHOPWRIGHT_WEBHOOK_NETWORKS names the private networks of receivers",
                )
        return addresses

    def _is_allowed(self, address: Address) -> bool:
        inner = _unwrap(address)
        is_public = all(each.is_global and not each.is_multicast for each in (address, inner))
        return is_public or any(inner in network for network in self.networks)


def parse_url(url: str) -> Target:
    """Return the parts of an address of http or https. Raises BadInput for any other text."""
    problem = BadInput(
        "a webhook needs the address of a receiver",
        where="url",
        hint="Such as https://hooks.example.com/prices, without a name or password in it",
    )
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise problem
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise problem from error
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise problem
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    return Target(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], path)


def resolve_host(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises OSError where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # An IPv6 address may end with the name of an interface.
    return [str(address[0]).partition("%")[0] for *_, address in found]


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for; any other address as it is."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address
