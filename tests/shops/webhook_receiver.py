"""A receiver of webhooks as a process of its own, which a test stops and starts.

    python -m tests.shops.webhook_receiver PORT FILE [STATUS]

It appends the headers and the text of each request to FILE, a line of JSON each, and answers
STATUS.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.shops.private_servers import find_free_port


class Receiver:
    """The process, seen from the test."""

    def __init__(self, folder: Path) -> None:
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}/prices"
        self._file = folder / f"received-{self.port}.jsonl"
        self._file.touch()
        self._process: subprocess.Popen[str] | None = None

    def start(self, status: int = 204) -> None:
        """Start it, and wait until it listens."""
        arguments = [str(self.port), str(self._file), str(status)]
        command = [sys.executable, "-m", "tests.shops.webhook_receiver", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        """Kill it; what it has received stays known."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def read(self) -> list[dict[str, Any]]:
        """Return what was received so far, in order."""
        return [json.loads(line) for line in self._file.read_text().splitlines()]

    def read_items(self) -> list[dict[str, Any]]:
        """Return the items of all messages, in order."""
        messages = [json.loads(request["body"]) for request in self.read()]
        return [item for message in messages for item in message["data"]["items"]]

    def wait_for(self, n_items: int, seconds: float = 30) -> list[dict[str, Any]]:
        """Return the items once there are so many."""
        deadline = time.monotonic() + seconds
        while len(items := self.read_items()) < n_items:
            assert time.monotonic() < deadline, f"{len(items)} of {n_items} items came"
            time.sleep(0.05)
        return items

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _serve(port: int, path: Path, status: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            request = {"path": self.path, "headers": dict(self.headers.items()), "body": body}
            # A receiver that refuses has received nothing.
            if 200 <= status < 300:
                with path.open("a") as file:
                    file.write(json.dumps(request) + "\n")
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"http://127.0.0.1:{port}/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
