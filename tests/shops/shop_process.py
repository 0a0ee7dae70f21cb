"""A shop run by its real command line and its real server process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from configs.settings import Settings
from tests.shops.forked_program import Program, run_program, start_program
from tests.shops.private_servers import find_free_port

START_TIMEOUT_SECONDS = 180
COLD_START = ("-m", "serving.cli.main")  # as a shop starts it; benchmarks measure this


class ShopProcess:
    """A state folder, its settings, and a server that can be killed and started again."""

    def __init__(
        self, home: Path, settings: Mapping[str, str], *, program: Sequence[str] | None = None
    ) -> None:
        """Keep the state folder and the settings; `program` is what Python runs as the server.

        Without one the server is forked from a process that has imported it.
        """
        self.home = home
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("SHOPWRIGHT_", "MLFLOW_"))
        }
        self.env = inherited | {"SHOPWRIGHT_HOME": str(home)} | dict(settings)
        self._program = program
        self._server: Program | None = None
        self.port = 0
        self.key = ""

    def run(self, *arguments: str, expect: int = 0, refused: bool = False) -> str:
        """Run `shopwright ARGUMENTS` and return its stdout; the exit code must be `expect`.

        With `refused` it may also be that of a training whose model the gate refuses.
        """
        code, stdout, stderr = run_program(arguments, self.env)
        assert code in (expect, 3 if refused else expect), (
            f"{arguments} exited {code}\n{stdout}\n{stderr[-4000:]}"
        )
        return stdout

    def run_json(self, *arguments: str) -> Any:
        """Run `shopwright ARGUMENTS --json` and return the parsed document."""
        return json.loads(self.run(*arguments, "--json"))

    def now(self) -> datetime:
        """Return the current time of the shop's business clock."""
        start = datetime.fromisoformat(self.env["SHOPWRIGHT_CLOCK_START"])
        return Settings(home=self.home, clock_start=start).business_clock().now()

    def create_key(self, *scopes: str) -> str:
        """Create a key; the next requests of `client` use it."""
        created = self.run_json("keys", "create", "--scope", ",".join(scopes), "--name", "tests")
        self.key = created["key"]
        return self.key

    def start(self, until: str = "/readyz", verb: str = "serve") -> None:
        """Start the server, or the console, and wait until the path `until` answers 200."""
        self.port = find_free_port()
        arguments, log = [verb, "--port", str(self.port)], self.home / "server.log"
        if self._program is None:
            self._server = start_program(arguments, self.env, log, log)
        else:
            command = [sys.executable, *self._program, *arguments]
            with log.open("ab") as opened:
                self._server = subprocess.Popen(command, env=self.env, stdout=opened, stderr=opened)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            assert self._server.poll() is None, self.log()
            try:
                if httpx.get(f"{self.url}{until}", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        self.kill()
        raise AssertionError(f"the server was not ready in time\n{self.log()}")

    def read_memory_mib(self) -> float:
        """Return the resident memory of the server."""
        assert self._server is not None
        status = Path(f"/proc/{self._server.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()
        self._server = None

    def stop(self) -> None:
        """Stop the server with SIGTERM and wait until it has drained."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(timeout=30)
            self._server = None

    @property
    def pid(self) -> int:
        """The process of the server."""
        assert self._server is not None
        return self._server.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """Return the end of the server's log."""
        return (self.home / "server.log").read_text(errors="replace")[-4000:]

    def client(self) -> httpx.Client:
        """Return a client that sends the key."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30
        )

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
