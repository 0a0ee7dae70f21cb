"""Where webhooks may go: listed origins at public addresses, or in networks that are listed too."""

import http.server
import socket
import threading

import pytest
from pydantic import ValidationError

from configs.settings import Settings
from features.contracts.errors import BadInput
from serving.webhooks import sender as sender_module
from serving.webhooks.sender import Sender
from serving.webhooks.targets import AddressRefused, Targets, parse_url
from tests.shops.private_servers import find_free_port

PUBLIC = "93.184.215.14"


def make_targets(*origins, networks=(), addresses=(PUBLIC,)):
    settings = Settings(webhook_targets=origins, webhook_networks=networks)
    made = Targets.from_settings(settings)
    return Targets(made.origins, made.networks, lambda *_: list(addresses))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.shop.example/prices",
        "https://HOOKS.shop.example:443/prices?channel=7",
        "http://10.0.0.7:9000",
    ],
)
def test_a_listed_origin_is_allowed_with_any_path(url):
    make_targets("https://hooks.shop.example", "http://10.0.0.7:9000").check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.shop.example/prices",  # another scheme
        "https://hooks.shop.example:8443/prices",  # another port
        "https://shop.example/",
        "https://hooks.shop.example.evil.example/",
        "https://hooks.shop.example@evil.example/",
        "https://evil.example/#https://hooks.shop.example",
        "https://hooks.shop.example\\@evil.example/",
        "https://hooks.shop.example/a\r\nX-Header: b",
        "file:///etc/passwd",
        "hooks.shop.example",
        "https://hooks.shop.example:99999/",
        "https:///prices",
        "",
    ],
)
def test_any_other_address_is_refused(url):
    with pytest.raises(BadInput):
        make_targets("https://hooks.shop.example").check_url(url)


def test_without_the_setting_nothing_is_allowed():
    with pytest.raises(BadInput, match="Allowed by SHOPWRIGHT_WEBHOOK_TARGETS: none"):
        make_targets().check_url("https://hooks.shop.example/")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.1.2.3",
        "64:ff9b::a01:203",
        "2002:a01:203::1",
    ],
)
def test_no_private_address_is_reached_unless_its_network_is_listed(address):
    target = parse_url("https://hooks.shop.example/")
    for addresses in ([address], [PUBLIC, address]):
        with pytest.raises(AddressRefused, match="not public"):
            make_targets("https://hooks.shop.example", addresses=addresses).find_addresses(target)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_an_address_in_a_listed_network_is_reached(address):
    targets = make_targets("http://erp", networks=("10.0.0.0/8",), addresses=[address])
    assert targets.find_addresses(parse_url("http://erp/")) == [address]


@pytest.mark.parametrize(
    "values",
    [
        {"webhook_targets": "hooks.shop.example"},
        {"webhook_targets": "https://hooks.shop.example/path"},
        {"webhook_networks": "10.0.0.0/33"},
    ],
)
def test_settings_that_mean_nothing_are_refused(values):
    with pytest.raises(ValidationError):
        Settings(**values)


class _Server:
    """A server on loopback that answers as `answer` does, and counts the requests."""

    def __init__(self, answer):
        outer = self
        self.requests = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.requests += 1
                self.rfile.read(int(self.headers["content-length"]))
                answer(self)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.origin = f"http://hooks.shop.example:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def answer(status, body=b"", **headers):
    def write(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


def send(server, addresses=("127.0.0.1",), networks=("127.0.0.0/8",)):
    targets = make_targets(server.origin, networks=networks, addresses=addresses)
    return Sender(targets).send(f"{server.origin}/prices", {"a": "b"}, b"{}")


def test_a_message_that_is_accepted_has_arrived():
    with _Server(answer(202)) as server:
        result = send(server)
    assert (result.is_delivered, result.status, server.requests) == (True, 202, 1)


def test_a_name_that_points_inside_later_reaches_nothing():
    """DNS rebinding: allowed when the webhook was added, and another address at the attempt."""
    with _Server(answer(204)) as server:
        result = send(server, networks=())
    assert (result.is_delivered, result.status, server.requests) == (False, None, 0)
    assert "127.0.0.1, an address that is not public" in result.error


def test_a_redirect_is_not_followed():
    with _Server(answer(204)) as inside:
        location = f"http://127.0.0.1:{inside.port}/"
        with _Server(answer(307, Location=location)) as server:
            result = send(server)
        assert (result.is_delivered, server.requests, inside.requests) == (False, 1, 0)
    assert "redirects are not followed" in result.error


def test_of_an_endless_answer_the_beginning_is_read():
    def pour(handler):
        handler.send_response(500)
        handler.end_headers()
        for _ in range(10_000):
            handler.wfile.write(b"x" * 65_536)

    with _Server(pour) as server:
        result = send(server)
    assert result.status == 500
    assert len(result.error) < 1_000


def test_an_answer_that_drips_is_cut_off(monkeypatch):
    monkeypatch.setattr(sender_module, "ANSWER_SECONDS", 0.5)

    def drip(handler):
        for _ in range(50):
            handler.wfile.write(b"H")
            handler.wfile.flush()
            threading.Event().wait(0.1)

    with _Server(drip) as server:
        result = send(server)
    assert (result.is_delivered, result.status) == (False, None)


def test_what_does_not_listen_or_has_no_name_is_an_error_in_words():
    port = find_free_port()
    targets = make_targets(f"http://a:{port}", networks=("127.0.0.0/8",), addresses=["127.0.0.1"])
    assert "refused" in Sender(targets).send(f"http://a:{port}/", {}, b"").error

    def fail(*_):
        raise socket.gaierror("Name or service not known")

    unknown = Targets(targets.origins, targets.networks, fail)
    assert "the name a is not known" in Sender(unknown).send(f"http://a:{port}/", {}, b"").error


def test_https_needs_a_certificate_of_that_name():
    with _Server(answer(204)) as server:  # it speaks no TLS at all
        origin = server.origin.replace("http:", "https:")
        targets = make_targets(origin, networks=("127.0.0.0/8",), addresses=["127.0.0.1"])
        result = Sender(targets).send(f"{origin}/", {}, b"")
    assert (result.is_delivered, server.requests) == (False, 0)
