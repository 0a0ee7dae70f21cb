"""How long a recommendation takes over HTTP, beside the floor: the same server sending a canned
body of the same size.

    python -m tests.benchmarks.http_latency [--rate 50] [--seconds 20]

Requests leave on a fixed schedule whether or not earlier ones were answered, and each is timed from
the instant at which it was due: a server that stalls cannot hide the requests that it kept waiting
(coordinated omission). Loopback only. The shop is the one that the environment names
(SHOPWRIGHT_HOME); it must have been trained.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from configs.settings import Settings
from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from features.facts.facts import Facts
from serving.database.migrate import upgrade
from serving.keys.service import KeyService

TARGET_P50_MS, TARGET_P99_MS = 15.0, 50.0
_START_SECONDS = 60
_N_CONNECTIONS = 32
_N_USERS = 1_000
_WARM_UP_SECONDS = 3


@dataclass(frozen=True)
class Timing:
    """What came of one run. Quantiles in milliseconds, from the instant a request was due to its
    last byte."""

    name: str
    n: int
    n_failed: int
    p50: float
    p90: float
    p99: float
    worst: float
    mean_bytes: float

    def __str__(self) -> str:
        return (
            f"{self.name:<26} n={self.n} failed={self.n_failed} body={self.mean_bytes:.0f} B  "
            f"p50={self.p50:.1f} ms  p90={self.p90:.1f} ms  p99={self.p99:.1f} ms  max={self.worst:.1f} ms"
        )


def measure(settings: Settings, *, rate: float, seconds: float) -> tuple[Timing, Timing]:
    """The timing of recommendations for real users, and that of the floor."""
    key, users = _key(settings), _users(settings)
    with _server(["-m", "serving.cli.main", "serve", "--port"], settings, "/readyz") as port:
        requests = [_request(port, key, user) for user in users]
        asyncio.run(_drive("warm-up", port, requests, rate, _WARM_UP_SECONDS))
        ours = asyncio.run(_drive("POST /v1/recommendations", port, requests, rate, seconds))
    os.environ["CANNED_BYTES"] = str(round(ours.mean_bytes))
    with _server(["-m", "tests.benchmarks.canned"], settings, "/healthz") as port:
        requests = [_request(port, key, user) for user in users]
        asyncio.run(_drive("warm-up", port, requests, rate, _WARM_UP_SECONDS))
        floor = asyncio.run(_drive("floor: a canned body", port, requests, rate, seconds / 2))
    return ours, floor


def _key(settings: Settings) -> str:
    opened = open_engine(settings)
    upgrade(opened)
    keys = KeyService(opened, SystemClock())
    made = keys.create("bench", ["storefront"])
    opened.dispose()
    return made.key


def _users(settings: Settings) -> list[str]:
    events = Facts(settings).read("events")
    found = (
        events.filter(events.user_id.notnull())
        .select("user_id")
        .distinct()
        .to_pyarrow()["user_id"]
        .to_pylist()
    )
    rng = np.random.default_rng(settings.seed)
    return [str(user) for user in rng.permutation(sorted(found))[:_N_USERS]]


def _request(port: int, key: str, user_id: str) -> bytes:
    body = json.dumps({"placement": "home", "user_id": user_id, "count": 20}).encode()
    head = (
        f"POST /v1/recommendations HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextlib.contextmanager
def _server(arguments: Sequence[str], settings: Settings, ready: str) -> Iterator[int]:
    """A server process of its own on a free port, stopped in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = os.environ | {
        "SHOPWRIGHT_HOME": str(settings.home),
        "SHOPWRIGHT_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen([sys.executable, *arguments, str(port)], env=environment)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(f"http://127.0.0.1:{port}{ready}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    "the server did not start; train first: shopwright demo --no-serve"
                )
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    """Whether the server is up; without price or demand models it still answers recommendations."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        missing = json.loads(error.read()).get("missing", {})
        return error.code == 503 and not {"recommendations", "features"} & set(missing)
    except OSError:
        return False


async def _drive(
    name: str, port: int, requests: Sequence[bytes], rate: float, seconds: float
) -> Timing:
    """Sends `rate` requests a second for `seconds`, whatever the answers do."""
    idle: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()
    for _ in range(_N_CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    n = int(rate * seconds)
    took = np.full(n, np.nan)
    sizes: list[int] = []
    start = time.perf_counter() + 0.1

    async def one(number: int) -> None:
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        reader, writer = await idle.get()
        if reader.at_eof():  # the server closes connections that were idle for seconds
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(requests[number % len(requests)])
        status, body = await _answer(reader)
        if status == 200:
            took[number] = time.perf_counter() - due
            sizes.append(len(body))
        idle.put_nowait((reader, writer))

    await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(n))), seconds + 30)
    while not idle.empty():
        idle.get_nowait()[1].close()
    answered = 1_000 * took[~np.isnan(took)]
    if not len(answered):
        raise SystemExit(f"{name}: no request was answered with 200")
    p50, p90, p99 = (float(each) for each in np.percentile(answered, [50, 90, 99]))
    return Timing(
        name, n, n - len(answered), p50, p90, p99, float(answered.max()), float(np.mean(sizes))
    )


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints both timings, and whether the target is met; exits 1 when it is not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    chosen = parser.parse_args(arguments)
    ours, floor = measure(Settings(), rate=chosen.rate, seconds=chosen.seconds)
    print(f"HTTP at {chosen.rate:g} requests a second, one process, open loop")
    print(ours)
    print(floor)
    met = ours.p50 <= TARGET_P50_MS and ours.p99 <= TARGET_P99_MS and not ours.n_failed
    print(
        f"target p50 <= {TARGET_P50_MS:g} ms, p99 <= {TARGET_P99_MS:g} ms: {'met' if met else 'missed'}"
    )
    if not met:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
