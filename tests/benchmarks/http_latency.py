"""Latency of recommendations over HTTP, beside a constant answer of the same size.

    python -m tests.benchmarks.http_latency [--rate 50] [--seconds 20]

Requests are sent on a fixed schedule whether or not earlier ones were answered, and each is timed
from the instant at which it was due: a server that stalls cannot hide the requests that waited
(coordinated omission). Loopback only. The shop is that of SHOPWRIGHT_HOME, with trained models.
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
    """The result of one run; milliseconds from the instant a request was due to its last byte."""

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
            f"p50={self.p50:.1f} ms  p90={self.p90:.1f} ms  p99={self.p99:.1f} ms  "
            f"max={self.worst:.1f} ms"
        )


def measure(settings: Settings, *, rate: float, seconds: float) -> tuple[Timing, Timing]:
    """Return the timing of recommendations for real users, and that of a constant answer."""
    key, users = _create_key(settings), _choose_users(settings)
    with _run_server(["-m", "serving.cli.main", "serve", "--port"], settings, "/readyz") as port:
        requests = [_encode_request(port, key, user) for user in users]
        asyncio.run(_send_requests("warm-up", port, requests, rate, _WARM_UP_SECONDS))
        ours = asyncio.run(
            _send_requests("POST /v1/recommendations", port, requests, rate, seconds)
        )
    os.environ["ANSWER_BYTES"] = str(round(ours.mean_bytes))
    with _run_server(["-m", "tests.benchmarks.constant_answer"], settings, "/healthz") as port:
        requests = [_encode_request(port, key, user) for user in users]
        asyncio.run(_send_requests("warm-up", port, requests, rate, _WARM_UP_SECONDS))
        floor = asyncio.run(
            _send_requests("floor: a constant body", port, requests, rate, seconds / 2)
        )
    return ours, floor


def _create_key(settings: Settings) -> str:
    opened = open_engine(settings)
    upgrade(opened)
    keys = KeyService(opened, SystemClock())
    created = keys.create("bench", ["storefront"])
    opened.dispose()
    return created.key


def _choose_users(settings: Settings) -> list[str]:
    events = Facts(settings).read("events")
    user_ids = (
        events.filter(events.user_id.notnull())
        .select("user_id")
        .distinct()
        .to_pyarrow()["user_id"]
        .to_pylist()
    )
    rng = np.random.default_rng(settings.seed)
    return [str(user) for user in rng.permutation(sorted(user_ids))[:_N_USERS]]


def _encode_request(port: int, key: str, user_id: str) -> bytes:
    body = json.dumps({"placement": "home", "user_id": user_id, "count": 20}).encode()
    head = (
        "POST /v1/recommendations HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextlib.contextmanager
def _run_server(arguments: Sequence[str], settings: Settings, ready: str) -> Iterator[int]:
    """Run a server process on a free port, and stop it at the end."""
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
        while not _is_ready(f"http://127.0.0.1:{port}{ready}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    "the server did not start; train first: shopwright demo --no-serve"
                )
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(url: str) -> bool:
    """Return whether the server answers recommendations; it may lack price and demand models."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        missing = json.loads(error.read()).get("missing", {})
        return error.code == 503 and not {"recommendations", "features"} & set(missing)
    except OSError:
        return False


async def _send_requests(
    name: str, port: int, requests: Sequence[bytes], rate: float, seconds: float
) -> Timing:
    """Send `rate` requests a second for `seconds`, independently of the answers."""
    idle: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()
    for _ in range(_N_CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    n = int(rate * seconds)
    latencies = np.full(n, np.nan)
    sizes: list[int] = []
    start = time.perf_counter() + 0.1

    async def send_request(number: int) -> None:
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        reader, writer = await idle.get()
        if reader.at_eof():  # the server closes connections that were idle for seconds
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(requests[number % len(requests)])
        status, body = await _read_answer(reader)
        if status == 200:
            latencies[number] = time.perf_counter() - due
            sizes.append(len(body))
        idle.put_nowait((reader, writer))

    await asyncio.wait_for(
        asyncio.gather(*(send_request(number) for number in range(n))), seconds + 30
    )
    while not idle.empty():
        idle.get_nowait()[1].close()
    answered = 1_000 * latencies[~np.isnan(latencies)]
    if not len(answered):
        raise SystemExit(f"{name}: no request was answered with 200")
    p50, p90, p99 = map(float, np.percentile(answered, [50, 90, 99]))
    return Timing(
        name=name,
        n=n,
        n_failed=n - len(answered),
        p50=p50,
        p90=p90,
        p99=p99,
        worst=float(answered.max()),
        mean_bytes=float(np.mean(sizes)),
    )


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both timings, and whether the target is met; exit with 1 when it is not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args(arguments)
    ours, floor = measure(Settings(), rate=options.rate, seconds=options.seconds)
    print(f"HTTP at {options.rate:g} requests a second, one process, open loop")
    print(ours)
    print(floor)
    met = ours.p50 <= TARGET_P50_MS and ours.p99 <= TARGET_P99_MS and not ours.n_failed
    print(
        f"target p50 <= {TARGET_P50_MS:g} ms, p99 <= {TARGET_P99_MS:g} ms: "
        f"{'met' if met else 'missed'}"
    )
    if not met:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
